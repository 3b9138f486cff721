import { closeSync, ftruncateSync, write as writeWithCallback, writeSync } from 'node:fs';
import { promisify } from 'node:util';
import { FormatError } from '../base/errors.ts';

const write = promisify(writeWithCallback);

/** Zeros that fill a block of the file become a hole (spec pxar 8.5). */
const blockLength = 4096;
const zeros = Buffer.alloc(blockLength);
/** Larger writes go off the event loop. */
const smallWrite = 128 * 1024;

function isZero(bytes: Buffer, from: number, to: number): boolean {
  return bytes[from] === 0 && bytes[to - 1] === 0 && bytes.compare(zeros, 0, to - from, from, to) === 0;
}

/** Content of a new or emptied file, in order. */
export class TargetFile implements Disposable {
  readonly fd: number;
  readonly #size: number;
  /** Bytes that came, holes counted. */
  #at = 0;
  /** Where the file ends on disk. */
  #written = 0;
  #isOpen = true;

  /** Takes over `fd`. `size`: as the archive says. */
  constructor(fd: number, size: number) {
    this.fd = fd;
    this.#size = size;
  }

  async write(bytes: Buffer): Promise<void> {
    let start = 0;
    for (let at = 0; at < bytes.length; ) {
      const end = Math.min(bytes.length, at + blockLength - ((this.#at + at) % blockLength));
      if (isZero(bytes, at, end)) {
        await this.#put(bytes, start, at);
        start = end;
      }
      at = end;
    }
    await this.#put(bytes, start, bytes.length);
    this.#at += bytes.length;
  }

  /** All content came: gives the file its size. FormatError when the content had another one. */
  finish(): void {
    if (this.#at !== this.#size) throw new FormatError('format.pxar', `archive: file of ${this.#size} bytes has ${this.#at} bytes of content`);
    if (this.#written < this.#size) ftruncateSync(this.fd, this.#size);
  }

  [Symbol.dispose](): void {
    if (this.#isOpen) closeSync(this.fd);
    this.#isOpen = false;
  }

  async #put(bytes: Buffer, from: number, to: number): Promise<void> {
    for (let at = from; at < to; ) {
      const length = to - at;
      const position = this.#at + at;
      at += length <= smallWrite ? writeSync(this.fd, bytes, at, length, position) : (await write(this.fd, bytes, at, length, position)).bytesWritten;
      this.#written = this.#at + at;
    }
  }
}
