import { FarshoreError } from '../base/errors.ts';
import { realmsOf } from '../config/domain-config.ts';
import type { SectionFile } from '../config/files.ts';
import type { HashFile } from '../config/shadow-config.ts';
import { hashPassword, verifyPassword } from '../sys/crypt.ts';

/** Where passwords of users are checked and kept (spec rest-api 5.4). */
export interface PasswordRealm {
  /** Whether `password` is that of the user (name without realm). A FarshoreError says that it cannot be checked at all. */
  checkPassword(name: string, password: string): Promise<boolean>;
  storePassword(name: string, password: string): Promise<void>;
  removePassword(name: string): Promise<void>;
}

/** Realm `pbs`: crypt(3) hashes in shadow.json. */
export class PbsRealm implements PasswordRealm {
  readonly #file: HashFile;

  constructor(file: HashFile) {
    this.#file = file;
  }

  async checkPassword(name: string, password: string): Promise<boolean> {
    const hash = this.#file.load().value.get(name);
    if (hash === undefined) {
      // As slow as a wrong password, so that the answer does not tell who exists.
      await verifyPassword(password, await this.#absentUserHash());
      return false;
    }
    if (!(await verifyPassword(password, hash))) return false;
    await this.#renewHash(name, password, hash);
    return true;
  }

  #absent: Promise<string> | null = null;

  async #absentUserHash(): Promise<string> {
    this.#absent ??= hashPassword('no such user');
    return this.#absent;
  }

  /** Old kinds of hash become the current one at the next successful login. */
  async #renewHash(name: string, password: string, hash: string): Promise<void> {
    if (hash.startsWith('$y$')) return;
    const renewed = await hashPassword(password);
    if (!renewed.startsWith('$y$')) return;
    await this.#file.update((table) => {
      if (table.get(name) === hash) table.set(name, renewed);
    });
  }

  async storePassword(name: string, password: string): Promise<void> {
    const hash = await hashPassword(password);
    await this.#file.update((table) => {
      table.set(name, hash);
    });
  }

  async removePassword(name: string): Promise<void> {
    await this.#file.update((table) => {
      table.delete(name);
    });
  }
}

/** A realm that this server cannot ask: the reason goes to the auth log, the caller sees a failed login. */
export class UnsupportedRealm implements PasswordRealm {
  readonly #realm: string;
  readonly #type: string;

  constructor(realm: string, type: string) {
    this.#realm = realm;
    this.#type = type;
  }

  #refuse(): FarshoreError {
    const what = this.#type === 'openid' ? 'password authentication is not implemented for OpenID realms' : `realm '${this.#realm}' (${this.#type}) is not supported by this server`;
    return new FarshoreError('access.realm', what, { hint: "use a user of realm 'pbs', or an API token" });
  }

  async checkPassword(): Promise<boolean> {
    return Promise.reject(this.#refuse());
  }

  async storePassword(): Promise<void> {
    await Promise.reject(this.#refuse());
  }

  async removePassword(): Promise<void> {
    // Nothing is kept here.
  }
}

/** Finds realms by domains.cfg as it is now; null for one that is not there. */
export function realmFinder(domains: SectionFile, pbs: PbsRealm): (realm: string) => PasswordRealm | null {
  return (realm) => {
    const found = realmsOf(domains.load().value).find((one) => one.realm === realm);
    if (found === undefined) return null;
    return found.type === 'pbs' ? pbs : new UnsupportedRealm(realm, found.type);
  };
}
