import { createWriteStream, existsSync, renameSync, rmSync, statSync, type WriteStream } from 'node:fs';
import { once } from 'node:events';
import type { ProgressLog } from '../base/log.ts';
import type { RotatedLog } from '../schedule/log-rotation-job.ts';

/** Spec server 7: rotated above 32 MiB - 1, 14 kept. */
const rotateAboveBytes = 32 * 1024 * 1024 - 1;
const keptFiles = 14;

/** A log that lines are appended to (access log, auth log). A line that cannot be written is said in the server's log once and never stops a request. */
export class LogFile implements RotatedLog {
  readonly name: string;
  readonly #path: string;
  readonly #log: ProgressLog;
  #stream: WriteStream;
  #failed = false;

  constructor(name: string, path: string, log: ProgressLog) {
    this.name = name;
    this.#path = path;
    this.#log = log;
    this.#stream = this.#open();
  }

  append(line: string): void {
    this.#stream.write(`${line}\n`);
  }

  async rotate(): Promise<boolean> {
    if (!existsSync(this.#path) || statSync(this.#path).size <= rotateAboveBytes) return false;
    await this.close();
    rmSync(`${this.#path}.${keptFiles}`, { force: true });
    for (let i = keptFiles - 1; i >= 1; i -= 1) if (existsSync(`${this.#path}.${i}`)) renameSync(`${this.#path}.${i}`, `${this.#path}.${i + 1}`);
    renameSync(this.#path, `${this.#path}.1`);
    this.#stream = this.#open();
    return true;
  }

  async close(): Promise<void> {
    if (this.#stream.destroyed) return;
    this.#stream.end();
    await once(this.#stream, 'close');
  }

  #open(): WriteStream {
    const stream = createWriteStream(this.#path, { flags: 'a', mode: 0o640 });
    stream.on('error', (e) => {
      if (!this.#failed) this.#log.error(`${this.name} '${this.#path}' cannot be written: ${e.message}`);
      this.#failed = true;
    });
    return stream;
  }
}
