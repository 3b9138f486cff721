import { open, type FileHandle } from 'node:fs/promises';
import { StoreError } from '../../base/errors.ts';
import { quotedPath } from '../../datastore/store-error.ts';
import { systemErrorText } from '../../client/system-error-text.ts';
import { RandomPayload, SequentialPayload, type PayloadSource } from '../../pxar/payload-source.ts';
import { standardStream } from './pxar-io.ts';

const pieceLength = 1024 * 1024;
const headerLength = 16;

function readError(path: string, e: unknown): StoreError {
  return new StoreError('store.source', `unable to read ${quotedPath(path)} - ${systemErrorText(e)}`);
}

interface InputFile {
  handle: FileHandle;
  size: number;
  isRegular: boolean;
}

/** A file that an archive is read from, or standard input. Everything throws StoreError `store.source`. */
export class ArchiveInput implements AsyncDisposable {
  readonly #path: string;
  /** Null: standard input. */
  readonly #file: InputFile | null;
  readonly #stdin: AsyncIterable<Uint8Array>;

  private constructor(path: string, file: InputFile | null, stdin: AsyncIterable<Uint8Array>) {
    this.#path = path;
    this.#file = file;
    this.#stdin = stdin;
  }

  static async open(path: string, stdin: AsyncIterable<Uint8Array>): Promise<ArchiveInput> {
    if (path === standardStream) return new ArchiveInput(path, null, stdin);
    let handle: FileHandle | null = null;
    try {
      handle = await open(path, 'r');
      const stat = await handle.stat();
      return new ArchiveInput(path, { handle, size: stat.size, isRegular: stat.isFile() }, stdin);
    } catch (e) {
      await handle?.close();
      throw readError(path, e);
    }
  }

  /** The bytes in order. `passOver` is asked before each piece for a number of bytes that nobody needs; where one can seek they are not read. */
  async *stream(passOver: () => number = () => 0): AsyncGenerator<Uint8Array, void, undefined> {
    if (this.#file === null || !this.#file.isRegular) {
      yield* this.#sequence();
      return;
    }
    for (let at = 0; ; ) {
      at += passOver();
      const bytes = await this.#read(at, pieceLength);
      if (bytes.length === 0) return;
      at += bytes.length;
      yield bytes;
    }
  }

  /** As the payload of a split archive. */
  payload(): PayloadSource {
    if (this.#file === null || !this.#file.isRegular) return new SequentialPayload(this.#sequence());
    return new RandomPayload(async (offset, length) => this.#read(offset, length), this.#file.size);
  }

  /** The item header that the file begins with; empty for what cannot be read twice. */
  async head(): Promise<Buffer> {
    return this.#file?.isRegular === true ? this.#read(0, headerLength) : Buffer.alloc(0);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#file?.handle.close();
  }

  async *#sequence(): AsyncGenerator<Uint8Array, void, undefined> {
    try {
      const source: AsyncIterable<Uint8Array> = this.#file === null ? this.#stdin : this.#file.handle.createReadStream({ autoClose: false, highWaterMark: pieceLength });
      yield* source;
    } catch (e) {
      throw readError(this.#path, e);
    }
  }

  async #read(position: number, length: number): Promise<Buffer> {
    const buffer = Buffer.allocUnsafeSlow(length);
    let done = 0;
    try {
      while (done < length) {
        const { bytesRead } = await this.#file!.handle.read(buffer, done, length - done, position + done);
        if (bytesRead === 0) break;
        done += bytesRead;
      }
    } catch (e) {
      throw readError(this.#path, e);
    }
    return buffer.subarray(0, done);
  }
}
