import { nowSeconds, type Clock } from '../base/clock.ts';
import { ConfigError, HttpError } from '../base/errors.ts';
import type { AclFile } from '../config/acl-config.ts';
import { realmsOf } from '../config/domain-config.ts';
import type { SectionFile } from '../config/files.ts';
import { changedRecord, type RecordChanges } from '../config/section-table.ts';
import { superuser, tokenType, userType, type TokenRecord, type UserRecord } from '../config/user-config.ts';
import type { TfaFile } from '../config/tfa-config.ts';
import { realmOf, tokenNameOf, userNameOf, userOf } from '../format/auth-id.ts';
import type { ApiTokens } from './api-tokens.ts';
import type { PasswordRealm } from './realm.ts';

/** Without what says nothing: an account is enabled and never expires unless its record says otherwise (spec rest-api 9.1). */
export function plainAccount<T extends { enable?: boolean; expire?: number }>(record: T): T {
  const result = { ...record };
  if (result.enable === true) delete result.enable;
  if (result.expire === 0) delete result.expire;
  return result;
}

export interface Usability {
  enable?: boolean;
  expire?: number;
}

function isUsable(record: Usability | undefined, now: number): boolean {
  if (record === undefined || record.enable === false) return false;
  return record.expire === undefined || record.expire === 0 || record.expire > now;
}

/** Users and tokens as user.cfg has them: who exists, and may he log in (spec rest-api 5.1, 9.1). */
export class Accounts {
  readonly #file: SectionFile;
  readonly #clock: Clock;

  constructor(file: SectionFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  /** All users, root@pam among them, and the digest of user.cfg. */
  users(): { records: UserRecord[]; digest: string } {
    const { value, digest } = this.#file.load();
    return { records: value.list(userType), digest };
  }

  findUser(userId: string): UserRecord | undefined {
    return this.#file.load().value.find(userType, userId);
  }

  /** ConfigError: `no such user 'x'`. */
  getUser(userId: string): UserRecord {
    return this.#file.load().value.get(userType, userId);
  }

  /** Tokens of one user, or of all. */
  tokens(userId?: string): { records: TokenRecord[]; digest: string } {
    const { value, digest } = this.#file.load();
    return { records: value.list(tokenType).filter((token) => userId === undefined || userOf(token.tokenid) === userId), digest };
  }

  findToken(tokenId: string): TokenRecord | undefined {
    return this.#file.load().value.find(tokenType, tokenId);
  }

  getToken(tokenId: string): TokenRecord {
    return this.#file.load().value.get(tokenType, tokenId);
  }

  /** True when the user, or the token and its user, are in user.cfg. */
  exists(authId: string): boolean {
    return this.findUser(userOf(authId)) !== undefined && (tokenNameOf(authId) === null || this.findToken(authId) !== undefined);
  }

  /** Why an auth-id may not be used now, for the auth log; null when it may: it and its user exist, are enabled, not expired. */
  inactiveReason(authId: string): string | null {
    const now = nowSeconds(this.#clock);
    if (!isUsable(this.findUser(userOf(authId)), now)) return 'user account disabled or expired.';
    if (tokenNameOf(authId) !== null && !isUsable(this.findToken(authId), now)) return 'token disabled or expired.';
    return null;
  }
}

export interface AccountChangerParts {
  users: SectionFile;
  acl: AclFile;
  domains: SectionFile;
  tokens: ApiTokens;
  tfa: TfaFile;
  /** Where passwords of a realm are kept; null when the realm keeps none that can be set here. */
  realmOf: (realm: string) => PasswordRealm | null;
}

/** Changes of users and tokens, with what hangs on them: passwords, secrets, ACL entries (spec rest-api 10.5). */
export class AccountChanger {
  readonly #parts: AccountChangerParts;

  constructor(parts: AccountChangerParts) {
    this.#parts = parts;
  }

  /** Adds a user, with a first password where one is given. */
  async createUser(record: UserRecord, options: { password?: string | undefined; digest?: string | undefined } = {}): Promise<void> {
    const realmName = realmOf(record.userid);
    if (!realmsOf(this.#parts.domains.load().value).some((realm) => realm.realm === realmName)) throw new ConfigError('config.missing', `unknown realm '${realmName}'`);
    const realm = options.password === undefined ? this.#parts.realmOf(realmName) : this.#realm(realmName);
    await this.#parts.users.update(async (config) => {
      if (config.has(record.userid)) throw new ConfigError('config.exists', `user '${record.userid}' already exists.`);
      config.set(userType, plainAccount(changedRecord(record, { set: record })));
      // Before the user is there, so that a failure leaves no half account; and a password left over from an earlier user of that name must not let anybody in.
      const name = userNameOf(record.userid);
      if (options.password === undefined) await realm?.removePassword(name);
      else await realm?.storePassword(name, options.password);
    }, options);
  }

  async updateUser(userId: string, changes: RecordChanges<UserRecord>, options: { digest?: string | undefined } = {}): Promise<void> {
    await this.#parts.users.update((config) => {
      config.set(userType, plainAccount(changedRecord(config.get(userType, userId), changes)));
    }, options);
  }

  /** Removes a user with password, second factors, tokens and the tokens' ACL entries. The user's own ACL entries stay, as the reference leaves them. */
  async deleteUser(userId: string, options: { digest?: string | undefined } = {}): Promise<void> {
    if (userId === superuser) throw new HttpError(400, `user '${superuser}' cannot be removed.`);
    const tokens = await this.#parts.users.update((config) => {
      const owned = config.list(tokenType).map((token) => token.tokenid).filter((tokenId) => userOf(tokenId) === userId);
      if (!config.remove(userType, userId)) throw new ConfigError('config.missing', `user '${userId}' does not exist.`);
      for (const tokenId of owned) config.remove(tokenType, tokenId);
      return owned;
    }, options);
    await this.#parts.realmOf(realmOf(userId))?.removePassword(userNameOf(userId));
    const { tfa } = this.#parts;
    if (Object.hasOwn(tfa.load().value.users, userId)) await tfa.update((content) => void delete content.users[userId]);
    for (const tokenId of tokens) await this.#forgetToken(tokenId);
  }

  /** Adds a token to a user and returns its secret, which is not stored and cannot be shown again. */
  async createToken(record: TokenRecord, options: { digest?: string | undefined } = {}): Promise<string> {
    return this.#parts.users.update(async (config) => {
      config.get(userType, userOf(record.tokenid));
      if (config.has(record.tokenid)) {
        throw new ConfigError('config.exists', `token '${tokenNameOf(record.tokenid)}' for user '${userOf(record.tokenid)}' already exists.`);
      }
      config.set(tokenType, plainAccount(changedRecord(record, { set: record })));
      return this.#parts.tokens.generateSecret(record.tokenid);
    }, options);
  }

  async updateToken(tokenId: string, changes: RecordChanges<TokenRecord>, options: { digest?: string | undefined } = {}): Promise<void> {
    await this.#parts.users.update((config) => {
      config.set(tokenType, plainAccount(changedRecord(config.get(tokenType, tokenId), changes)));
    }, options);
  }

  /** Gives an existing token a new secret; the old one is void at once. */
  async regenerateToken(tokenId: string): Promise<string> {
    this.#parts.users.load().value.get(tokenType, tokenId);
    return this.#parts.tokens.generateSecret(tokenId);
  }

  /** Removes a token with its secret and its ACL entries. */
  async deleteToken(tokenId: string, options: { digest?: string | undefined } = {}): Promise<void> {
    await this.#parts.users.update((config) => {
      if (!config.remove(tokenType, tokenId)) {
        throw new ConfigError('config.missing', `token '${tokenNameOf(tokenId)}' of user '${userOf(tokenId)}' does not exist.`);
      }
    }, options);
    await this.#forgetToken(tokenId);
  }

  async #forgetToken(tokenId: string): Promise<void> {
    await this.#parts.tokens.removeSecret(tokenId);
    await this.#parts.acl.update((tree) => {
      tree.removeSubject(tokenId);
    });
  }

  /** Stores a new password in the user's realm. */
  async setPassword(userId: string, password: string): Promise<void> {
    this.#parts.users.load().value.get(userType, userId);
    await this.#realm(realmOf(userId)).storePassword(userNameOf(userId), password);
  }

  #realm(realmName: string): PasswordRealm {
    const realm = this.#parts.realmOf(realmName);
    if (realm === null) throw new HttpError(501, `storing passwords is not implemented for realm '${realmName}'`);
    return realm;
  }
}
