import type { Clock } from '../base/clock.ts';
import { TokenBucket } from './token-bucket.ts';

/** What a stream pays for its traffic, after it. */
export interface Toll {
  /**
   * Counts `bytes` that were moved. Null: go on at once. Otherwise `go` is called, once, when they are paid for; the returned function takes that
   * back, for a stream that ends before.
   */
  pay(bytes: number, go: () => void): (() => void) | null;
}

/** Bytes per second (0: not limited) and bytes. */
export interface Rate {
  rate: number;
  burst: number;
}

/** Calls `work` after `milliseconds`; the returned function takes it back. */
export type StartTimer = (milliseconds: number, work: () => void) => () => void;

const startTimer: StartTimer = (milliseconds, work) => {
  const timer = setTimeout(work, milliseconds);
  return () => clearTimeout(timer);
};

/** How long a change of the rate may take to reach a stream that waits. */
const lookAgainMs = 1000;

export interface FairBucketOptions {
  /** Of the bucket; must not go back. */
  clock?: Clock;
  startTimer?: StartTimer;
  /** Asked for the rate now, at traffic and while somebody waits, at least once a second: limits that change with the time of day. */
  rateNow?: () => Rate;
}

interface Waiter {
  bytes: number;
  go: () => void;
}

/** One job or one peer, with any number of streams. */
class Party {
  readonly waiting: Waiter[] = [];
  /** Bytes that it was served, counted from where the others stood when it came. */
  served = 0;
}

/**
 * One limit that parties share equally (spec server 12, sync 9): whoever of those that wait was served least is next, however many streams each
 * has; what one does not use is the others'. For a single stream it is the reference's bucket: the time for its own traffic after each piece.
 */
export class FairBucket {
  readonly #bucket: TokenBucket;
  readonly #startTimer: StartTimer;
  readonly #clock: Clock;
  readonly #rateNow: (() => Rate) | undefined;
  readonly #waiting = new Set<Party>();
  /** Its bytes are counted, and it goes on when they are paid for. */
  #head: Waiter | null = null;
  #stopTimer: (() => void) | null = null;
  #pumping = false;
  /** Where the last one that was served stood before. */
  #level = 0;
  #lookedMs = -Infinity;
  #total = 0;

  constructor({ rate, burst }: Rate, options: FairBucketOptions = {}) {
    this.#clock = options.clock ?? { now: () => performance.now() };
    this.#bucket = new TokenBucket(rate, { burst, clock: this.#clock });
    this.#startTimer = options.startTimer ?? startTimer;
    this.#rateNow = options.rateNow;
  }

  /** Bytes so far, limited or not. */
  get total(): number {
    return this.#total;
  }

  /** For a party of one stream. */
  toll(): Toll {
    return this.party().toll();
  }

  /** Its streams share what one party gets. */
  party(): { toll(): Toll } {
    const party = new Party();
    const toll: Toll = { pay: (bytes, go) => this.#pay(party, bytes, go) };
    return { toll: () => toll };
  }

  /** Another rate from now on, also for those that wait. */
  retune({ rate, burst }: Rate): void {
    this.#bucket.retune(rate, burst);
    this.#pump();
  }

  #look(): void {
    if (this.#rateNow === undefined) return;
    const now = this.#clock.now();
    if (now - this.#lookedMs < lookAgainMs) return;
    this.#lookedMs = now;
    const { rate, burst } = this.#rateNow();
    this.#bucket.retune(rate, burst);
  }

  #pay(party: Party, bytes: number, go: () => void): (() => void) | null {
    this.#look();
    this.#total += bytes;
    if (!this.#bucket.limited && this.#head === null) return null;
    party.served = Math.max(party.served, this.#level);
    const waiter: Waiter = { bytes, go };
    if (this.#head === null && this.#waiting.size === 0) {
      this.#serve(party, waiter);
      if (this.#bucket.dueMs() === 0) {
        this.#head = null;
        return null;
      }
    } else {
      party.waiting.push(waiter);
      this.#waiting.add(party);
    }
    this.#arm();
    return () => this.#leave(party, waiter);
  }

  #serve(party: Party, waiter: Waiter): void {
    this.#level = Math.max(this.#level, party.served);
    party.served += waiter.bytes;
    this.#head = waiter;
    this.#bucket.consume(waiter.bytes);
  }

  /** The traffic of who leaves was traffic all the same: coming back with another connection gains nothing. */
  #leave(party: Party, waiter: Waiter): void {
    if (this.#head === waiter) {
      // Counted already; the next one waits for that, too.
      this.#head = null;
      this.#pump();
      return;
    }
    const index = party.waiting.indexOf(waiter);
    if (index < 0) return;
    party.waiting.splice(index, 1);
    if (party.waiting.length === 0) this.#waiting.delete(party);
    party.served += waiter.bytes;
    this.#bucket.consume(waiter.bytes);
  }

  #pump(): void {
    // Whoever is let go may move its next piece at once: it queues up, and this loop finds it.
    if (this.#pumping) return;
    this.#pumping = true;
    this.#stopTimer?.();
    this.#stopTimer = null;
    try {
      this.#look();
      for (;;) {
        if (this.#head !== null) {
          if (this.#bucket.dueMs() > 0) break;
          const { go } = this.#head;
          this.#head = null;
          go();
        }
        const next = this.#least();
        if (next === null) break;
        const waiter = next.waiting.shift()!;
        if (next.waiting.length === 0) this.#waiting.delete(next);
        this.#serve(next, waiter);
      }
    } finally {
      this.#pumping = false;
    }
    this.#arm();
  }

  #least(): Party | null {
    let least: Party | null = null;
    for (const party of this.#waiting) if (least === null || party.served < least.served) least = party;
    return least;
  }

  #arm(): void {
    if (this.#pumping || this.#head === null || this.#stopTimer !== null) return;
    this.#stopTimer = this.#startTimer(Math.min(this.#bucket.dueMs(), lookAgainMs), () => this.#pump());
  }
}

/** All tolls of `several`, each on its own: goes on when the last one is paid. */
export function allTolls(several: readonly Toll[]): Toll {
  return {
    pay: (bytes, go) => {
      const cancels: Array<() => void> = [];
      let open = 0;
      const paid = (): void => {
        open -= 1;
        if (open === 0) go();
      };
      // Held open until all have been asked: one of them may let go before the next one knows.
      open += 1;
      for (const toll of several) {
        open += 1;
        const cancel = toll.pay(bytes, paid);
        if (cancel === null) open -= 1;
        else cancels.push(cancel);
      }
      open -= 1;
      return open === 0 ? null : () => cancels.forEach((cancel) => cancel());
    },
  };
}
