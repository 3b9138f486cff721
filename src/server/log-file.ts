import { createWriteStream, existsSync, renameSync, rmSync, statSync, type WriteStream } from 'node:fs';
import type { ProgressLog } from '../base/log.ts';
import type { RotatedLog } from '../schedule/log-rotation-job.ts';

/** Spec server 7: rotated above 32 MiB - 1, 14 kept. */
const rotateAboveBytes = 32 * 1024 * 1024 - 1;
const keptFiles = 14;
/** Not left to the daily rotation: whoever sends requests may not fill the disk with their lines. */
const rotateAtOnceAboveBytes = 64 * 1024 * 1024;
/** Of lines that the disk has not taken; further ones are counted and dropped. */
const waitingBytes = 4 * 1024 * 1024;
/** Until a log that could not be written is tried again. */
const retryMs = 10_000;

/**
 * A log that lines are appended to (access log, auth log). A line that cannot be written is said in the server's log once and never stops a request. With
 * its rotated files it takes at most 15 × 64 MiB.
 */
export class LogFile implements RotatedLog {
  readonly name: string;
  readonly #path: string;
  readonly #log: ProgressLog;
  #stream: WriteStream;
  #bytes = 0;
  #failed = false;
  #dropped = 0;
  #retry: NodeJS.Timeout | undefined;

  constructor(name: string, path: string, log: ProgressLog) {
    this.name = name;
    this.#path = path;
    this.#log = log;
    this.#stream = this.#open();
  }

  append(line: string): void {
    if (this.#stream.destroyed || this.#stream.writableLength > waitingBytes) {
      this.#dropped += 1;
      return;
    }
    if (this.#bytes > rotateAtOnceAboveBytes) this.#switchAtOnce();
    if (this.#dropped > 0) this.#write(`${this.#dropped} lines could not be written`);
    this.#dropped = 0;
    this.#write(line);
  }

  async rotate(): Promise<boolean> {
    if (!existsSync(this.#path) || statSync(this.#path).size <= rotateAboveBytes) return false;
    const old = this.#switch();
    await ended(old);
    return true;
  }

  async close(): Promise<void> {
    clearTimeout(this.#retry);
    await ended(this.#stream);
  }

  #write(line: string): void {
    const text = `${line}\n`;
    this.#bytes += Buffer.byteLength(text);
    this.#stream.write(text);
  }

  #switchAtOnce(): void {
    try {
      this.#switch().end();
    } catch (e) {
      // It goes on growing rather than being lost; the next try comes after as many bytes again.
      this.#bytes = 0;
      this.#log.error(`${this.name} '${this.#path}' cannot be rotated: ${String(e)}`);
    }
  }

  /** Lines go into a new file from here on; the old stream, which still has some to write, is the result. */
  #switch(): WriteStream {
    const old = this.#stream;
    rmSync(`${this.#path}.${keptFiles}`, { force: true });
    for (let i = keptFiles - 1; i >= 1; i -= 1) if (existsSync(`${this.#path}.${i}`)) renameSync(`${this.#path}.${i}`, `${this.#path}.${i + 1}`);
    renameSync(this.#path, `${this.#path}.1`);
    this.#stream = this.#open();
    return old;
  }

  #open(): WriteStream {
    clearTimeout(this.#retry);
    this.#bytes = existsSync(this.#path) ? statSync(this.#path).size : 0;
    const stream = createWriteStream(this.#path, { flags: 'a', mode: 0o640 });
    stream.once('ready', () => (this.#failed = false));
    stream.on('error', (e) => {
      if (!this.#failed) this.#log.error(`${this.name} '${this.#path}' cannot be written: ${e.message}`);
      this.#failed = true;
      if (stream !== this.#stream) return;
      this.#retry = setTimeout(() => (this.#stream = this.#open()), retryMs).unref();
    });
    return stream;
  }
}

/** Not `events.once`: that one rejects when writing fails meanwhile, which is said elsewhere. */
function ended(stream: WriteStream): Promise<void> {
  return new Promise((resolve) => {
    if (stream.closed) resolve();
    else stream.once('close', resolve);
    stream.end();
  });
}
