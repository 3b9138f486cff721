import { FormatError } from '../base/errors.ts';

/** Identifiers of spec rest-api 4. */
const safeIdPattern = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;
// eslint-disable-next-line no-control-regex -- control characters are what the rule excludes
const userNamePattern = /^[^\s:/\u0000-\u001f\u007f-\u009f]+$/u;

/** `[A-Za-z0-9_][A-Za-z0-9._-]*`, between `min` and `max` characters. */
export function isSafeId(text: string, min = 1, max = Number.MAX_SAFE_INTEGER): boolean {
  return text.length >= min && text.length <= max && safeIdPattern.test(text);
}

export function isRealm(text: string): boolean {
  return isSafeId(text, 2, 32);
}

interface AuthIdParts {
  /** Part before the last `@`. */
  name: string;
  realm: string;
  token: string | null;
}

function parts(text: string): AuthIdParts | null {
  const length = Array.from(text).length;
  if (length < 3 || length > 64) return null;
  const at = text.lastIndexOf('@');
  if (at < 1) return null;
  const name = text.slice(0, at);
  const bang = text.lastIndexOf('!');
  const realm = bang > at ? text.slice(at + 1, bang) : text.slice(at + 1);
  const token = bang > at ? text.slice(bang + 1) : null;
  if (!userNamePattern.test(name) || !isRealm(realm)) return null;
  return token === null || isSafeId(token) ? { name, realm, token } : null;
}

function requiredParts(authId: string): AuthIdParts {
  const found = parts(authId);
  if (found === null) throw new FormatError('format.auth-id', `'${authId.slice(0, 100)}' is not a user or token id`);
  return found;
}

/** True for `user@realm` and `user@realm!token`, 3 to 64 characters. */
export function isAuthId(text: string): boolean {
  return parts(text) !== null;
}

/** True for `user@realm` only. */
export function isUserId(text: string): boolean {
  return parts(text)?.token === null;
}

/** `user@realm` of a user or token id. Throws FormatError `format.auth-id`, as do the other three. */
export function userOf(authId: string): string {
  const { name, realm } = requiredParts(authId);
  return `${name}@${realm}`;
}

/** Token name, null for a user. */
export function tokenNameOf(authId: string): string | null {
  return requiredParts(authId).token;
}

/** Name part before the realm. */
export function userNameOf(authId: string): string {
  return requiredParts(authId).name;
}

export function realmOf(authId: string): string {
  return requiredParts(authId).realm;
}

/** Owner rule (spec formats 4.3): the caller is the owner, or the owner is a token and the caller the user of that token. */
export function isOwner(owner: string, caller: string): boolean {
  return owner === caller || (tokenNameOf(owner) !== null && userOf(owner) === caller);
}
