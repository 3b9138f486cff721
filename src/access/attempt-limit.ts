import { isIPv6 } from 'node:net';
import type { Clock } from '../base/clock.ts';

/**
 * How often passwords and second factors may be tried, by address and by account, so that guessing gets nowhere and costs little: a refused
 * attempt is not looked at. An attempt takes a place when it begins and gives it back when it was right; places grow back with time. Tickets and
 * API tokens are not concerned, so that nobody can stop a running sync by wrong logins.
 */

export interface AttemptLimits {
  /** Wrong attempts at once from one address (IPv6: one /64). */
  addressPlaces: number;
  /** Seconds until a place of an address is free again. */
  addressRefill: number;
  /** Wrong attempts at once for one account, from anywhere. More than for an address: nobody shall lock out others easily. */
  accountPlaces: number;
  accountRefill: number;
  /** Addresses and accounts that are remembered. */
  remembered: number;
}

export const usualLimits: AttemptLimits = { addressPlaces: 20, addressRefill: 15, accountPlaces: 60, accountRefill: 5, remembered: 20_000 };

/** One attempt under way. */
export interface Attempt {
  /** It was right: the places are free again. Once only. */
  succeeded(): void;
}

/** Places taken at a time; they grow back. */
interface Bucket {
  taken: number;
  atMs: number;
}

export class AttemptLimit {
  readonly #clock: Clock;
  readonly #limits: AttemptLimits;
  /** Oldest use first. */
  readonly #buckets = new Map<string, Bucket>();

  constructor(clock: Clock, limits: AttemptLimits = usualLimits) {
    this.#clock = clock;
    this.#limits = limits;
  }

  /** Null when `address` or `account` has no place left: the attempt is to be refused like a wrong one. `address` undefined: only the account counts. */
  begin(address: string | undefined, account: string): Attempt | null {
    const { addressPlaces, addressRefill, accountPlaces, accountRefill } = this.#limits;
    const wanted: Array<[string, number, number]> = [
      ...(address === undefined ? [] : [[`address ${networkOf(address)}`, addressPlaces, addressRefill] as [string, number, number]]),
      [`account ${account}`, accountPlaces, accountRefill],
    ];
    const buckets = wanted.map(([name, places, refill]) => ({ bucket: this.#bucket(name, refill), places }));
    if (buckets.some(({ bucket, places }) => bucket.taken + 1 > places)) return null;
    for (const { bucket } of buckets) bucket.taken += 1;
    return {
      succeeded: () => {
        for (const { bucket } of buckets) bucket.taken = Math.max(0, bucket.taken - 1);
      },
    };
  }

  #bucket(name: string, refillSeconds: number): Bucket {
    const now = this.#clock.now();
    const found = this.#buckets.get(name) ?? { taken: 0, atMs: now };
    // A clock that was set back must not make attempts impossible, nor free.
    const elapsed = Math.max(0, now - found.atMs) / 1000;
    found.taken = Math.max(0, found.taken - elapsed / refillSeconds);
    found.atMs = now;
    this.#buckets.delete(name);
    this.#buckets.set(name, found);
    if (this.#buckets.size > this.#limits.remembered) this.#buckets.delete(this.#buckets.keys().next().value!);
    return found;
  }
}

/** An IPv6 host has a whole /64 to itself; mapped IPv4 addresses are one address. */
export function networkOf(address: string): string {
  const plain = address.replace(/^::ffff:(?=[0-9.]+$)/i, '').replace(/%.*$/, '');
  if (!isIPv6(plain)) return plain;
  const [head = '', tail] = plain.split('::');
  const first = head === '' ? [] : head.split(':');
  const last = tail === undefined || tail === '' ? [] : tail.split(':');
  const groups = tail === undefined ? first : [...first, ...Array.from({ length: Math.max(0, 8 - first.length - last.length) }, () => '0'), ...last];
  return groups.slice(0, 4).map((group) => Number.parseInt(group, 16).toString(16)).join(':');
}
