import type { Clock } from '../base/clock.ts';
import { humanSize } from '../base/human-size.ts';
import { Progress } from '../base/progress.ts';
import { formatTimeSpan } from '../base/time-span.ts';
import type { TextSink } from '../terminal/output.ts';

const firstLineMs = 5000;
const longestIntervalMs = 60_000;
const redrawMs = 200;

export interface RestoreProgressParts {
  stderr: TextSink;
  /** True: one line at the bottom of the terminal is drawn anew instead of log lines. */
  drawsProgress: boolean;
  /** Columns of the terminal. */
  width: number | undefined;
  clock: Clock;
}

/** What a restore says while it goes on (spec client-cli 5): log lines as the reference has them, or a live line with rate and time left. */
export class RestoreProgress {
  readonly #parts: RestoreProgressParts;
  readonly #total: number;
  readonly #startMs: number;
  readonly #live: Progress;
  #done = 0;
  #intervalMs = firstLineMs;
  #nextMs: number;
  #lastMs: number;
  #lastDone = 0;
  #isDrawn = false;

  /** `total`: bytes of the archive. */
  constructor(total: number, parts: RestoreProgressParts) {
    this.#parts = parts;
    this.#total = total;
    this.#startMs = parts.clock.now();
    this.#lastMs = this.#startMs;
    this.#live = new Progress(parts.clock);
    this.#nextMs = this.#startMs + (parts.drawsProgress ? redrawMs : firstLineMs);
  }

  /** So many bytes more have been restored. */
  advance(bytes: number): void {
    const { clock, drawsProgress, stderr } = this.#parts;
    this.#done += bytes;
    this.#live.update(this.#done, this.#total);
    const now = clock.now();
    if (now < this.#nextMs) return;
    if (drawsProgress) {
      stderr.write(`\r\x1b[K${this.#live.text().slice(0, (this.#parts.width ?? 80) - 1)}`);
      this.#isDrawn = true;
      this.#nextMs = now + redrawMs;
      return;
    }
    stderr.write(`${this.#line(now)}\n`);
    this.#intervalMs = Math.min(longestIntervalMs, this.#intervalMs * 2);
    this.#nextMs = now + this.#intervalMs;
    this.#lastMs = now;
    this.#lastDone = this.#done;
  }

  /** Takes the live line away, so that something else can be said. */
  clear(): void {
    if (!this.#isDrawn) return;
    this.#parts.stderr.write('\r\x1b[K');
    this.#isDrawn = false;
  }

  /** The last line. */
  complete(): void {
    this.clear();
    const seconds = this.#seconds(this.#parts.clock.now() - this.#startMs);
    this.#parts.stderr.write(`restore complete (${humanSize(this.#done)} processed in ${formatTimeSpan(seconds)}, average ${humanSize(this.#done / seconds)}/s)\n`);
  }

  #line(now: number): string {
    const speed = humanSize((this.#done - this.#lastDone) / this.#seconds(now - this.#lastMs));
    const span = formatTimeSpan(this.#seconds(now - this.#startMs));
    if (this.#total === 0) return `processed ${humanSize(this.#done)} in ${span}, ${speed}/s`;
    return `progress ${Math.floor((this.#done / this.#total) * 100)}% (${humanSize(this.#done)} of ${humanSize(this.#total)} in ${span}, ${speed}/s)`;
  }

  /** Never 0, to be divided by. */
  #seconds(milliseconds: number): number {
    return Math.max(1, milliseconds) / 1000;
  }
}
