import { closeSync, fchmodSync, fchownSync, fsyncSync, openSync, writeSync } from 'node:fs';
import type { Clock } from '../base/clock.ts';
import { nowSeconds } from '../base/clock.ts';
import type { ProgressLog } from '../base/log.ts';
import type { FileRights } from '../config/atomic-file.ts';
import { formatLocalTime } from './local-time.ts';
import { finalLine, splitLogLine } from './task-status.ts';
import type { TaskResult } from './worker-task.ts';

/** Lines wait at most until the end of the current turn of the event loop, and never more than this. */
const maxPendingLength = 64 * 1024;
/** What is kept of lines while the disk takes none; later ones are counted and dropped. */
const maxStuckLength = 1024 * 1024;
/** Longest message of one line, in UTF-16 units: peers' error texts end up here. */
const maxMessageLength = 64 * 1024;

export interface TaskLogOptions {
  clock: Clock;
  timeZone: string;
  /** Writes `DEBUG: ` lines too. */
  debug: boolean;
  /** Told once when lines cannot be written. */
  onWriteError: (error: unknown) => void;
}

/**
 * The log of one running task (spec server 3). Writes whole lines, in order: the first line of a turn of the event loop
 * at once, the others together at its end. Writing is synchronous, since a line must be on its way before the work that
 * it announces goes on; the page cache takes it in microseconds.
 */
export class TaskLogWriter implements ProgressLog {
  #warnings = 0;
  readonly #fd: number;
  readonly #options: TaskLogOptions;
  #pending = '';
  #unwritten: Buffer | null = null;
  #turnScheduled = false;
  #closed = false;
  #failed = false;
  #lost = 0;
  #stampSecond = Number.NaN;
  #stamp = '';

  /** `fd` is open for appending; `finish` closes it. */
  constructor(fd: number, options: TaskLogOptions) {
    this.#options = options;
    this.#fd = fd;
  }

  /** Makes the log at `path`, which must not exist. */
  static create(path: string, rights: FileRights, options: TaskLogOptions): TaskLogWriter {
    const fd = openSync(path, 'ax', rights.mode);
    fchmodSync(fd, rights.mode);
    if (rights.owner !== null) fchownSync(fd, rights.owner.uid, rights.owner.gid);
    return new TaskLogWriter(fd, options);
  }

  /** Lines of `warn` and `error` so far; they carry no mark in the text (spec server, trap 6). */
  get warnings(): number {
    return this.#warnings;
  }

  debug(message: string): void {
    if (this.#options.debug) this.#line(`DEBUG: ${message}`);
  }

  info(message: string): void {
    this.#line(message);
  }

  warn(message: string): void {
    this.#warnings += 1;
    this.#line(message);
  }

  error(message: string): void {
    this.#warnings += 1;
    this.#line(message);
  }

  /** Writes the final line, brings the log to the disk and closes it. Later lines are dropped: the task is over. */
  finish(result: TaskResult): void {
    if (this.#closed) return;
    if (this.#lost > 0) this.#line(`${this.#lost} lines could not be written`);
    this.#line(finalLine(result));
    this.#flush();
    this.#closed = true;
    try {
      fsyncSync(this.#fd);
    } catch (e) {
      this.#fail(e);
    } finally {
      closeSync(this.#fd);
    }
  }

  #line(message: string): void {
    if (this.#closed) return;
    const stuck = this.#unwritten?.length ?? 0;
    if (stuck + this.#pending.length > maxStuckLength && !message.startsWith('TASK ')) {
      this.#lost += 1;
      return;
    }
    this.#pending += `${this.#timeStamp()}: ${this.#text(message)}\n`;
    if (!this.#turnScheduled) {
      this.#turnScheduled = true;
      setImmediate(() => {
        this.#turnScheduled = false;
        this.#flush();
      });
      this.#flush();
    } else if (this.#pending.length >= maxPendingLength) {
      this.#flush();
    }
  }

  #timeStamp(): string {
    const second = nowSeconds(this.#options.clock);
    if (second !== this.#stampSecond) {
      this.#stampSecond = second;
      this.#stamp = formatLocalTime(second, this.#options.timeZone);
    }
    return this.#stamp;
  }

  #text(message: string): string {
    const text = message.length > maxMessageLength ? `${message.slice(0, maxMessageLength)} [...]` : message;
    if (!text.includes('\n')) return text;
    // A continuation line must not pass for a line of its own: a peer's error text could end with a forged final line.
    return text
      .split('\n')
      .map((line, i) => (i > 0 && splitLogLine(line) !== null ? ` ${line}` : line))
      .join('\n');
  }

  #flush(): void {
    if (this.#closed || (this.#pending === '' && this.#unwritten === null)) return;
    const fresh = Buffer.from(this.#pending, 'utf8');
    let bytes = this.#unwritten === null ? fresh : Buffer.concat([this.#unwritten, fresh]);
    this.#pending = '';
    try {
      while (bytes.length > 0) bytes = bytes.subarray(writeSync(this.#fd, bytes));
      this.#unwritten = null;
    } catch (e) {
      // Kept, and tried again with the next line: a full disk may get room again.
      this.#unwritten = bytes;
      this.#fail(e);
    }
  }

  #fail(e: unknown): void {
    if (this.#failed) return;
    this.#failed = true;
    this.#options.onWriteError(e);
  }
}
