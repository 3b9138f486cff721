import { performance } from 'node:perf_hooks';
import { formatTimeSpan } from '../base/time-span.ts';
import type { TextSink } from './output.ts';

const percentagePattern = /\b([0-9]{1,3}(?:\.[0-9]+)?)%/;
/** Lines of replication about the whole job, e.g. `progress: 45.3% (1.2 GiB of 2.7 GiB), 120 MiB/s, 12s left`. */
const wholeTaskPrefix = 'progress: ';
const barWidth = 20;
const ratePattern = /([0-9.]+ (?:[KMGTP]i?)?B\/s)/;

/** Time left when `fraction` (0 to 1) took `elapsed` seconds; null when nothing can be said yet. */
export function secondsLeft(fraction: number, elapsed: number): number | null {
  if (fraction <= 0 || fraction > 1 || elapsed < 2) return null;
  return (elapsed / fraction) * (1 - fraction);
}

/**
 * One line at the bottom of the terminal while a task runs: share done, rate, time passed and left, taken from the
 * lines of its log. Draws nothing without a terminal.
 */
export class TaskProgress {
  readonly #terminal: TextSink | null;
  readonly #width: number;
  readonly #start: number;
  readonly #now: () => number;
  #percent: number | null = null;
  #rate: string | null = null;
  #drawn = false;
  #knowsWhole = false;

  /** `now` in milliseconds. */
  constructor(terminal: TextSink | null, width: number | undefined, now: () => number = () => performance.now()) {
    this.#terminal = terminal;
    this.#width = width ?? 80;
    this.#now = now;
    this.#start = now();
  }

  /** Takes what a line of the log says about progress. Once the task speaks of itself as a whole, percentages of its parts do not count. */
  see(line: string): void {
    const whole = line.startsWith(wholeTaskPrefix);
    if (this.#knowsWhole && !whole) return;
    this.#knowsWhole ||= whole;
    const percent = percentagePattern.exec(line)?.[1];
    if (percent !== undefined) this.#percent = Number(percent);
    this.#rate = ratePattern.exec(line)?.[1] ?? this.#rate;
  }

  draw(): void {
    if (this.#terminal === null) return;
    const elapsed = Math.round((this.#now() - this.#start) / 1000);
    const parts = [
      ...(this.#percent === null ? [] : [`${bar(this.#percent)} ${this.#percent}% done`]),
      ...(this.#rate === null ? [] : [this.#rate]),
      `running for ${formatTimeSpan(elapsed)}`,
    ];
    const left = this.#percent === null ? null : secondsLeft(this.#percent / 100, elapsed);
    if (left !== null) parts.push(`about ${formatTimeSpan(Math.round(left))} left`);
    this.#terminal.write(`\r\x1b[K${parts.join(', ').slice(0, this.#width - 1)}`);
    this.#drawn = true;
  }

  /** Removes the line, so that text can be printed. */
  clear(): void {
    if (!this.#drawn) return;
    this.#terminal?.write('\r\x1b[K');
    this.#drawn = false;
  }
}

/** `[##########----------]` */
function bar(percent: number): string {
  const full = Math.min(barWidth, Math.max(0, Math.round((percent / 100) * barWidth)));
  return `[${'#'.repeat(full)}${'-'.repeat(barWidth - full)}]`;
}
