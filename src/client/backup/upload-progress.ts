import type { Clock } from '../../base/clock.ts';
import { humanSize } from '../../base/human-size.ts';
import { Progress } from '../../base/progress.ts';
import { formatTimeSpan } from '../../base/time-span.ts';
import type { UploadCounts } from '../../protocol/index-uploader.ts';
import type { TextSink } from '../../terminal/output.ts';

const lineEveryMs = 60_000;
const redrawMs = 200;

export interface ProgressOutput {
  stderr: TextSink;
  /** True: one line at the bottom of the terminal is drawn anew instead of log lines. */
  drawsProgress: boolean;
  /** Columns of the terminal. */
  width: number | undefined;
  clock: Clock;
}

/** What is said of an archive while it is uploaded (spec client-cli 4.5): a log line a minute, or a live line with rate, reused share and time left. */
export class UploadProgress {
  readonly #output: ProgressOutput;
  readonly #name: string;
  readonly #total: number;
  readonly #startMs: number;
  readonly #live: Progress;
  #nextMs: number;
  #isDrawn = false;

  /** `total`: bytes of the archive, 0 when not known. */
  constructor(name: string, total: number, output: ProgressOutput) {
    this.#output = output;
    this.#name = name;
    this.#total = total;
    this.#startMs = output.clock.now();
    this.#live = new Progress(output.clock);
    this.#nextMs = this.#startMs + (output.drawsProgress ? redrawMs : lineEveryMs);
  }

  update(counts: Readonly<UploadCounts>): void {
    const { clock, drawsProgress, stderr } = this.#output;
    this.#live.update(counts.size, this.#total);
    const now = clock.now();
    if (now < this.#nextMs) return;
    if (drawsProgress) {
      stderr.write(`\r\x1b[K${this.#line(counts).slice(0, (this.#output.width ?? 80) - 1)}`);
      this.#isDrawn = true;
      this.#nextMs = now + redrawMs;
      return;
    }
    stderr.write(`processed ${humanSize(counts.size)} in ${formatTimeSpan((now - this.#startMs) / 1000)}, uploaded ${humanSize(counts.uploadedSize)}\n`);
    this.#nextMs = now + lineEveryMs;
  }

  /** Takes the live line away, so that something else can be said. */
  clear(): void {
    if (!this.#isDrawn) return;
    this.#output.stderr.write('\r\x1b[K');
    this.#isDrawn = false;
  }

  #line({ size, reusedSize }: Readonly<UploadCounts>): string {
    const reused = size === 0 ? '' : `, ${Math.floor((reusedSize / size) * 100)}% reused`;
    return `${this.#name}: ${this.#live.text()}${reused}`;
  }
}

/** What is said of an archive that is uploaded (spec client-cli 4.5). `seconds`: how long it took. */
export function uploadReport(name: string, counts: Readonly<UploadCounts>, seconds: number): string {
  const { size, reusedSize, injectedChunks, injectedSize, encodedSize } = counts;
  const dirty = size - reusedSize;
  const speed = humanSize(Math.floor(dirty / Math.max(seconds, 0.000_001)));
  const lines: string[] = [];
  if (injectedChunks > 0) lines.push(`${name}: reused ${humanSize(injectedSize)} from previous snapshot for unchanged files (${injectedChunks} chunks)`);
  lines.push(`${name}: had to backup ${humanSize(dirty)} of ${humanSize(size)} (compressed ${humanSize(encodedSize)}) in ${seconds.toFixed(2)} s (average ${speed}/s)`);
  if (reusedSize > 0 && size > 1024 * 1024) lines.push(`${name}: backup was done incrementally, reused ${humanSize(reusedSize)} (${((reusedSize / size) * 100).toFixed(1)}%)`);
  return lines.map((line) => `${line}\n`).join('');
}
