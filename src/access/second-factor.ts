import { createHmac } from 'node:crypto';
import { secretsEqual } from '../base/bytes.ts';
import { nowSeconds, type Clock } from '../base/clock.ts';
import { FarshoreError } from '../base/errors.ts';
import type { TfaFile, UserFactors } from '../config/tfa-config.ts';
import { matchingStep, parseTotp } from './totp.ts';

/** What a user is asked for; the JSON in a challenge ticket (spec rest-api 6.2). */
export interface Challenge {
  totp?: true;
  /** Indexes of the recovery keys that are left. */
  recovery?: number[];
}

const maxTotpFailures = 8;
const maxFailures = 100;
const lockSeconds = 3600;

function isOn(entry: { enable?: boolean }): boolean {
  return entry.enable !== false;
}

function hasFactors(factors: UserFactors): boolean {
  const lists = [factors.totp, factors.webauthn, factors.u2f, factors.yubico];
  return lists.some((list) => list?.some(isOn) === true) || (factors.recovery !== undefined && factors.recovery !== null);
}

/**
 * Second factors: TOTP and recovery keys. A user who has only others (webauthn, u2f, yubico) cannot log in with a
 * password: letting him in without would be worse.
 */
export class SecondFactor {
  readonly #file: TfaFile;
  readonly #clock: Clock;
  /** Failures in a row since this process started. */
  readonly #failures = new Map<string, { totp: number; any: number }>();

  constructor(file: TfaFile, clock: Clock) {
    this.#file = file;
    this.#clock = clock;
  }

  /** What `userId` must answer after the password; null when nothing. */
  challenge(userId: string): Challenge | null {
    const factors = this.#factors(userId);
    if (factors === undefined || !hasFactors(factors)) return null;
    const keys = (factors.recovery?.entries ?? []).flatMap((entry, i) => (entry === null ? [] : [i]));
    const hasTotp = factors.totp?.some(isOn) === true && factors['totp-locked'] !== true;
    return { ...(hasTotp ? { totp: true as const } : {}), ...(keys.length > 0 ? { recovery: keys } : {}) };
  }

  #factors(userId: string): UserFactors | undefined {
    const { users } = this.#file.load().value;
    return Object.hasOwn(users, userId) ? users[userId] : undefined;
  }

  /**
   * Checks `totp:123456` or `recovery:xxxx-...`; a code or key counts once. FarshoreError `access.tfa` with the reason for
   * the auth log when it is wrong, or the user is locked.
   */
  async verify(userId: string, response: string): Promise<void> {
    const at = response.indexOf(':');
    const kind = response.slice(0, Math.max(at, 0));
    const typed = response.slice(at + 1);
    const isRight = await this.#file.update((content) => {
      const factors = Object.hasOwn(content.users, userId) ? content.users[userId] : undefined;
      if (factors === undefined) throw new FarshoreError('access.tfa', 'user has no second factor');
      if ((factors['tfa-locked-until'] ?? 0) > nowSeconds(this.#clock)) throw new FarshoreError('access.tfa', 'second factors of the user are locked');
      const passed = this.#passes(factors, kind, typed);
      this.#count(userId, factors, kind, passed);
      return passed;
    });
    if (!isRight) throw new FarshoreError('access.tfa', 'wrong second factor');
  }

  #passes(factors: UserFactors, kind: string, typed: string): boolean {
    if (kind === 'totp') return factors['totp-locked'] !== true && this.#useTotp(factors, typed);
    if (kind === 'recovery') return useRecoveryKey(factors, typed);
    throw new FarshoreError('access.tfa', `second factor of kind '${kind.slice(0, 32)}' is not supported`);
  }

  /** Marks the time step of the entry as used. */
  #useTotp(factors: UserFactors, code: string): boolean {
    for (const entry of factors.totp ?? []) {
      if (!isOn(entry)) continue;
      const address = typeof entry.entry === 'string' ? entry.entry : entry.entry.totp;
      const last = typeof entry.entry === 'string' ? undefined : entry.entry['last-count'];
      const step = matchingStep(parseTotp(address), code, nowSeconds(this.#clock), last);
      if (step === null) continue;
      entry.entry = { totp: address, 'last-count': step };
      return true;
    }
    return false;
  }

  #count(userId: string, factors: UserFactors, kind: string, passed: boolean): void {
    if (passed) {
      this.#failures.delete(userId);
      if (kind === 'recovery') delete factors['totp-locked'];
      return;
    }
    const before = this.#failures.get(userId) ?? { totp: 0, any: 0 };
    const now = { totp: before.totp + Number(kind === 'totp'), any: before.any + 1 };
    this.#failures.set(userId, now);
    if (now.totp >= maxTotpFailures) factors['totp-locked'] = true;
    if (now.any >= maxFailures) {
      factors['tfa-locked-until'] = nowSeconds(this.#clock) + lockSeconds;
      this.#failures.delete(userId);
    }
  }
}

/** A recovery key that fits becomes null. */
function useRecoveryKey(factors: UserFactors, typed: string): boolean {
  const { recovery } = factors;
  if (recovery === undefined || recovery === null) return false;
  const mac = Buffer.from(createHmac('sha256', recovery.secret).update(typed).digest('hex'));
  const index = recovery.entries.findIndex((entry) => entry !== null && secretsEqual(Buffer.from(entry), mac));
  if (index < 0) return false;
  recovery.entries[index] = null;
  return true;
}
