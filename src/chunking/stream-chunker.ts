import assert from 'node:assert/strict';
import { ByteQueue } from '../base/byte-queue.ts';
import { BuzhashScanner } from './buzhash-scanner.ts';

/**
 * Cuts a stream into chunks. Chunks are views of the pushed bytes where they lie in one push, so these must not be changed afterwards.
 */
export interface StreamChunker {
  /** Takes the next bytes; the chunks that are complete with them, in order. */
  push(bytes: Uint8Array): Buffer[];
  /** The last chunk; null when nothing is left. */
  finish(): Buffer | null;
}

function rest(queue: ByteQueue): Buffer | null {
  return queue.length === 0 ? null : queue.take(queue.length);
}

/** Chunks of one size, the last one shorter (spec formats 7.1). */
export class FixedChunker implements StreamChunker {
  readonly #size: number;
  readonly #queue = new ByteQueue();

  /** `size` in bytes. */
  constructor(size: number) {
    assert.ok(Number.isSafeInteger(size) && size > 0, `chunk size ${size}`);
    this.#size = size;
  }

  push(bytes: Uint8Array): Buffer[] {
    this.#queue.push(bytes);
    const chunks: Buffer[] = [];
    while (this.#queue.length >= this.#size) chunks.push(this.#queue.take(this.#size));
    return chunks;
  }

  finish(): Buffer | null {
    return rest(this.#queue);
  }
}

/** Average chunk size of archives and of the catalog, bytes. */
export const archiveChunkSize = 4 * 1024 * 1024;
export const catalogChunkSize = 512 * 1024;

/** Chunks whose boundaries the content defines (spec formats 7.2). */
export class BuzhashChunker implements StreamChunker {
  readonly #scanner: BuzhashScanner;
  readonly #queue = new ByteQueue();

  /** `average`: bytes, a power of two. */
  constructor(average: number = archiveChunkSize) {
    this.#scanner = new BuzhashScanner(average);
  }

  push(bytes: Uint8Array): Buffer[] {
    this.#queue.push(bytes);
    const chunks: Buffer[] = [];
    for (let at = 0; at < bytes.byteLength; ) {
      const count = this.#scanner.scan(bytes, at);
      if (count === 0) break;
      at += count;
      chunks.push(this.#queue.take(this.#queue.length - (bytes.byteLength - at)));
    }
    return chunks;
  }

  finish(): Buffer | null {
    this.#scanner.reset();
    return rest(this.#queue);
  }
}
