import type { Clock } from './clock.ts';
import { humanSize } from './human-size.ts';
import { formatTimeSpan } from './time-span.ts';

interface Sample {
  atMs: number;
  done: number;
}

/** Rate is measured over this much of the recent past, so that it follows the line but does not jump with each chunk. */
const windowMs = 15_000;
/** One sample per this much time is kept: bounded memory however often `update` is called. */
const sampleGapMs = 250;
/** Below this a rate is noise. */
const shortestMeasureMs = 500;

/** Rate and time left of long work that counts bytes. Pure arithmetic on an injected clock; `update` is cheap. */
export class Progress {
  readonly #clock: Clock;
  readonly #samples: Sample[] = [];
  #done = 0;
  #total = 0;
  #lastMs: number;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#lastMs = clock.now();
    this.#samples.push({ atMs: this.#lastMs, done: 0 });
  }

  /** `doneBytes` so far of `totalBytes` (0 = not known). The total may change; a `doneBytes` that shrinks starts the measuring anew. */
  update(doneBytes: number, totalBytes: number): void {
    // A clock that was set back must not give negative times.
    const now = Math.max(this.#clock.now(), this.#lastMs);
    if (doneBytes < this.#done) {
      this.#samples.length = 0;
      this.#samples.push({ atMs: now, done: doneBytes });
    }
    this.#done = doneBytes;
    this.#total = totalBytes;
    this.#lastMs = now;
    const newest = this.#samples.at(-1)!;
    if (now - newest.atMs < sampleGapMs) return;
    this.#samples.push({ atMs: now, done: doneBytes });
    while (this.#samples.length > 2 && now - this.#samples[1]!.atMs >= windowMs) this.#samples.shift();
  }

  /** Bytes a second over the last 15 seconds; null until half a second has been measured. */
  rate(): number | null {
    const oldest = this.#samples[0]!;
    // A stall counts: the time since the last update is part of the measure.
    const elapsed = Math.max(this.#clock.now(), this.#lastMs) - oldest.atMs;
    return elapsed < shortestMeasureMs ? null : ((this.#done - oldest.done) / elapsed) * 1000;
  }

  /** Seconds until the total at the present rate; null when total or rate are not known or nothing moves. */
  secondsLeft(): number | null {
    const rate = this.rate();
    if (this.#total <= 0) return null;
    if (this.#done >= this.#total) return 0;
    return rate === null || rate <= 0 ? null : (this.#total - this.#done) / rate;
  }

  /** E.g. `45.3% (1.223 GiB of 2.7 GiB), 120 MiB/s, 12s left`; what is not known yet is left out. */
  text(): string {
    const parts: string[] = [];
    if (this.#total > 0) {
      // Cut down, not rounded: 100% is said only when all is done.
      const tenths = Math.min(1000, Math.floor((this.#done / this.#total) * 1000));
      parts.push(`${(tenths / 10).toFixed(1)}% (${humanSize(this.#done)} of ${humanSize(this.#total)})`);
    } else {
      parts.push(humanSize(this.#done));
    }
    const rate = this.rate();
    if (rate !== null) parts.push(`${humanSize(rate)}/s`);
    const left = this.secondsLeft();
    if (left !== null && left > 0) parts.push(`${formatTimeSpan(Math.ceil(left))} left`);
    return parts.join(', ');
  }
}
