import { createHmac, randomBytes, randomUUID } from 'node:crypto';
import { nowSeconds, type Clock } from '../base/clock.ts';
import { HttpError } from '../base/errors.ts';
import type { TfaFile, TotpEntry, UserFactors } from '../config/tfa-config.ts';
import { formatTotp, matchingStep, parseTotp } from './totp.ts';

/** Setting up, changing and removing second factors in tfa.json (spec rest-api 6.2). */

const recoveryKeys = 10;
/** Of one user; the reference names no limit. */
const maxEntries = 32;

const listNames = ['totp', 'u2f', 'webauthn', 'yubico'] as const;

/** What is told of a second factor: nothing that would let anybody use it. Enabled ones and empty descriptions say nothing, as in the reference. */
export interface FactorView {
  created: number;
  description?: string;
  enable?: false;
  id: string;
  type: string;
}

export class FactorChanges {
  readonly #file: TfaFile;
  readonly #clock: Clock;

  constructor(file: TfaFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  /** Adds a TOTP entry after its first code was shown to be right, and returns its id. HttpError 400. */
  async addTotp(userId: string, description: string, address: string, code: string): Promise<string> {
    const totp = parseTotp(address);
    if (matchingStep(totp, code, nowSeconds(this.#clock)) === null) throw new HttpError(400, 'failed to verify TOTP challenge');
    const entry: TotpEntry = { id: randomUUID(), description, created: nowSeconds(this.#clock), entry: formatTotp(address, totp) };
    await this.#file.update((content) => {
      const factors = ownOf(content.users, userId) ?? {};
      if ((factors.totp?.length ?? 0) >= maxEntries) throw new HttpError(400, `user '${userId}' has ${maxEntries} TOTP entries already`);
      setOwn(content.users, userId, { ...factors, totp: [...(factors.totp ?? []), entry] });
    });
    return entry.id;
  }

  /** Makes recovery keys and returns them; only what checks them is stored. HttpError 400 when the user has some. */
  async addRecovery(userId: string): Promise<string[]> {
    const secret = randomBytes(8).toString('hex');
    const keys = Array.from({ length: recoveryKeys }, () => randomBytes(8).toString('hex').replace(/(.{4})(?=.)/g, '$1-'));
    const entries = keys.map((key) => createHmac('sha256', secret).update(key).digest('hex'));
    await this.#file.update((content) => {
      const factors = ownOf(content.users, userId) ?? {};
      if (factors.recovery !== undefined && factors.recovery !== null) throw new HttpError(400, 'user already has recovery keys');
      setOwn(content.users, userId, { ...factors, recovery: { secret, entries, created: nowSeconds(this.#clock) } });
    });
    return keys;
  }

  /** Changes description or `enable` of an entry; recovery keys have neither. HttpError 404. */
  async change(userId: string, id: string, changes: { description?: string | undefined; enable?: boolean | undefined }): Promise<void> {
    await this.#file.update((content) => {
      const factors = ownOf(content.users, userId);
      const entry = listNames.flatMap((name) => (factors?.[name] ?? []) as TotpEntry[]).find((one) => one.id === id);
      if (entry === undefined) throw new HttpError(404, `no such entry: ${userId}/${id}`);
      if (changes.description !== undefined) entry.description = changes.description;
      if (changes.enable === false) entry.enable = false;
      else if (changes.enable === true) delete entry.enable;
    });
  }

  /** Removes an entry, or all recovery keys (`recovery`). A user without any is asked for nothing more at logins. HttpError 404. */
  async remove(userId: string, id: string): Promise<void> {
    await this.#file.update((content) => {
      const factors = ownOf(content.users, userId);
      if (factors === undefined || !removeFrom(factors, id)) throw new HttpError(404, `no such tfa entry: ${userId}/${id}`);
      if (viewsOf(factors).length === 0) delete content.users[userId];
    });
  }

  /** Ends a lock after too many failures; whether there was one. HttpError 400 when the user has no second factor. */
  async unlock(userId: string): Promise<boolean> {
    return this.#file.update((content) => {
      const factors = ownOf(content.users, userId);
      if (factors === undefined) throw new HttpError(400, 'no such user');
      const wasLocked = factors['totp-locked'] === true || (factors['tfa-locked-until'] ?? 0) > nowSeconds(this.#clock);
      delete factors['totp-locked'];
      delete factors['tfa-locked-until'];
      return wasLocked;
    });
  }
}

/** All factors of a user, in the reference's order. */
export function viewsOf(factors: UserFactors): FactorView[] {
  const { recovery } = factors;
  const keys: FactorView[] = recovery === undefined || recovery === null ? [] : [{ created: recovery.created ?? 0, id: 'recovery', type: 'recovery' }];
  return [...keys, ...listNames.flatMap((type) => (factors[type] ?? []).map((entry) => viewOf(type, entry)))];
}

function viewOf(type: string, entry: { id?: unknown; created?: unknown; description?: unknown; enable?: boolean }): FactorView {
  const { id, created, description, enable } = entry;
  return {
    created: typeof created === 'number' ? created : 0,
    ...(typeof description === 'string' && description !== '' ? { description } : {}),
    ...(enable === false ? { enable } : {}),
    id: typeof id === 'string' ? id : '',
    type,
  };
}

function removeFrom(factors: UserFactors, id: string): boolean {
  if (id === 'recovery') {
    const had = factors.recovery !== undefined && factors.recovery !== null;
    delete factors.recovery;
    return had;
  }
  for (const name of listNames) {
    const list = factors[name] as Array<{ id?: string }> | undefined;
    const at = list?.findIndex((entry) => entry.id === id) ?? -1;
    if (list === undefined || at < 0) continue;
    list.splice(at, 1);
    if (list.length === 0) delete factors[name];
    return true;
  }
  return false;
}

/** A user may be called like something that every object has. */
function ownOf(users: Record<string, UserFactors>, userId: string): UserFactors | undefined {
  return Object.hasOwn(users, userId) ? users[userId] : undefined;
}

function setOwn(users: Record<string, UserFactors>, userId: string, factors: UserFactors): void {
  Object.defineProperty(users, userId, { value: factors, enumerable: true, configurable: true, writable: true });
}
