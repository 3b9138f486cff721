import { HttpError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import { isAuthId, isUserId, tokenNameOf } from '../format/auth-id.ts';
import type { Accounts } from './accounts.ts';
import { verifyCsrfToken } from './csrf.ts';
import type { ServerKeys } from './server-keys.ts';
import { ticketMaxAge, ticketMinAge, verifyTicket } from './ticket.ts';
import type { ApiTokens } from './api-tokens.ts';

/** What a request brings to prove who it comes from. */
export interface Credentials {
  method: string;
  /** Values of all `Cookie` headers, one each. */
  cookies: readonly string[];
  authorization: string | undefined;
  csrfToken: string | undefined;
}

/** A request that is not from whom it says, or from nobody: 401, and the caller is told nothing else. */
export class AuthenticationError extends HttpError {
  /** For the auth log only (spec server 11). */
  readonly reason: string;
  /** Who it claimed to be, where that is known. */
  readonly claimed: string | undefined;

  constructor(reason: string, claimed?: string) {
    super(401, 'authentication failed');
    this.reason = reason;
    this.claimed = claimed;
  }
}

const maxHeaderLength = 16_384;

/** Credentials from Node's `rawHeaders` (name, value, name, value ...): the parsed headers join several cookies to one. */
export function credentialsFrom(method: string, rawHeaders: readonly string[]): Credentials {
  const cookies: string[] = [];
  let authorization: string | undefined;
  let csrfToken: string | undefined;
  for (let i = 0; i + 1 < rawHeaders.length; i += 2) {
    const name = rawHeaders[i]!.toLowerCase();
    const value = rawHeaders[i + 1]!;
    if (name === 'cookie') cookies.push(value);
    else if (name === 'authorization') authorization ??= value;
    else if (name === 'csrfpreventiontoken') csrfToken ??= value;
  }
  return { method, cookies, authorization, csrfToken };
}

/** Only `%XX` is decoded, a `+` stays (spec rest-api 13.21); null for a broken escape. */
function percentDecode(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Cookie pairs of one header; null when a pair has no `=`, which makes the header unusable. */
function cookiePairs(header: string): Array<[string, string]> | null {
  const pairs: Array<[string, string]> = [];
  for (const part of header.split(';')) {
    const at = part.indexOf('=');
    if (at < 0) return null;
    pairs.push([part.slice(0, at).trim(), part.slice(at + 1).trim()]);
  }
  return pairs;
}

/** The ticket in the cookies: `__Host-PBSAuthCookie` wins over `PBSAuthCookie`. */
export function ticketFromCookies(cookies: readonly string[]): string | null {
  const pairs = cookies.filter((header) => header.length <= maxHeaderLength).flatMap((header) => cookiePairs(header) ?? []);
  for (const wanted of ['__Host-PBSAuthCookie', 'PBSAuthCookie']) {
    const found = pairs.find(([name]) => name === wanted);
    if (found !== undefined) return percentDecode(found[1]);
  }
  return null;
}

/** Token id and secret from `PBSAPIToken=id:secret` or `PBSAPIToken id:secret`; null for anything else. */
export function tokenFromAuthorization(authorization: string): { tokenId: string; secret: string } | null {
  const match = authorization.length > maxHeaderLength ? null : /^PBSAPIToken[= ]([^:]*):(.*)$/s.exec(authorization);
  if (match === null) return null;
  const secret = percentDecode(match[2]!);
  return secret === null ? null : { tokenId: match[1]!, secret };
}

export interface AuthenticatorParts {
  keys: ServerKeys;
  accounts: Accounts;
  tokens: ApiTokens;
  clock: Clock;
}

/** From the headers of a request to the auth-id it comes from (spec rest-api 5). */
export class Authenticator {
  readonly #parts: AuthenticatorParts;

  constructor(parts: AuthenticatorParts) {
    this.#parts = parts;
  }

  /** The auth-id, or AuthenticationError. A ticket that is found decides: `Authorization` is not looked at any more. */
  async authenticate(credentials: Credentials): Promise<string> {
    const ticket = ticketFromCookies(credentials.cookies);
    if (ticket !== null) return this.#byTicket(ticket, credentials);
    const { authorization } = credentials;
    if (authorization === undefined || !/^PBSAPIToken[= ]/.test(authorization)) throw new AuthenticationError('no authentication credentials provided.');
    return this.#byToken(authorization);
  }

  #byTicket(ticket: string, { method, csrfToken }: Credentials): string {
    const { keys, clock } = this.#parts;
    const verified = verifyTicket(keys.ticketVerifyKey, ticket, { nowMs: clock.now(), minAge: ticketMinAge, maxAge: ticketMaxAge });
    if ('problem' in verified) throw new AuthenticationError(verified.problem);
    const userId = verified.data;
    if (userId.startsWith('!tfa!')) throw new AuthenticationError('access denied - second login factor required');
    if (!isUserId(userId)) throw new AuthenticationError('ticket without a valid user id');
    this.#refuseInactive(userId);
    if (method === 'GET') return userId;
    if (csrfToken === undefined) throw new AuthenticationError('missing CSRF prevention token', userId);
    const problem = verifyCsrfToken(keys.csrfKey, userId, csrfToken, clock.now());
    if (problem !== null) throw new AuthenticationError(problem, userId);
    return userId;
  }

  async #byToken(authorization: string): Promise<string> {
    const given = tokenFromAuthorization(authorization);
    if (given === null || !isAuthId(given.tokenId) || tokenNameOf(given.tokenId) === null) throw new AuthenticationError('malformed API token');
    this.#refuseInactive(given.tokenId);
    if (!(await this.#parts.tokens.verifySecret(given.tokenId, given.secret))) throw new AuthenticationError('invalid credentials', given.tokenId);
    return given.tokenId;
  }

  #refuseInactive(authId: string): void {
    const problem = this.#parts.accounts.inactiveReason(authId);
    if (problem !== null) throw new AuthenticationError(problem, authId);
  }
}
