import type { Clock } from '../base/clock.ts';

/** Never goes back, so that a corrected system time neither stops nor floods a line. */
const steadyClock: Clock = { now: () => performance.timeOrigin + performance.now() };

/** Shorter waits are not worth a timer (spec sync 9); what is not waited for stays in the bucket. */
const ignoredDelayMs = 10;

/** The arithmetic of a limit (spec sync 9, server 12). Rate 0: not limited. */
export class TokenBucket {
  #rate: number;
  #burst: number;
  readonly #clock: Clock;
  #consumed: number;
  #updatedMs: number;

  /** `rate` bytes per second, `burst` bytes (default: one second's worth). It starts empty: nothing has been saved up. */
  constructor(rate: number, options: { burst?: number | undefined; clock?: Clock } = {}) {
    this.#rate = rate;
    this.#burst = options.burst ?? rate;
    this.#clock = options.clock ?? steadyClock;
    this.#consumed = this.#burst;
    this.#updatedMs = this.#clock.now();
  }

  get limited(): boolean {
    return this.#rate > 0;
  }

  /** Counts `bytes` and returns the milliseconds to wait before the next traffic of the same stream. */
  consume(bytes: number): number {
    if (!this.limited) return 0;
    this.#drain();
    this.#consumed += bytes;
    return this.dueMs();
  }

  /** Milliseconds until what has been counted is paid for; 0 when that is not worth waiting. */
  dueMs(): number {
    if (!this.limited) return 0;
    this.#drain();
    const delayMs = Math.max(0, ((this.#consumed - this.#burst) / this.#rate) * 1000);
    return delayMs < ignoredDelayMs ? 0 : delayMs;
  }

  /** Another rate from now on. What was consumed stays, but a smaller burst caps it (spec server 12). */
  retune(rate: number, burst: number): void {
    if (rate === this.#rate && burst === this.#burst) return;
    this.#drain();
    // Where nothing was limited nothing was counted: as new.
    if (!this.limited) this.#consumed = burst;
    else if (burst < this.#burst) this.#consumed = Math.min(this.#consumed, burst);
    this.#rate = rate;
    this.#burst = burst;
  }

  #drain(): void {
    const now = this.#clock.now();
    const elapsedMs = Math.max(0, now - this.#updatedMs);
    this.#updatedMs = now;
    if (this.limited) this.#consumed = Math.max(0, this.#consumed - (this.#rate * elapsedMs) / 1000);
  }
}
