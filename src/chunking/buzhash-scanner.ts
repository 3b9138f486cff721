import assert from 'node:assert/strict';
import { buzhashTable } from './buzhash-table.ts';

const windowSize = 64;
const table = buzhashTable;

/** Sizes of chunks around an average (spec formats 7.2), bytes. */
export interface ChunkSizes {
  min: number;
  max: number;
}

/** `average`: a power of two, 1 KiB to 64 MiB. */
export function chunkSizes(average: number): ChunkSizes {
  assert.ok(Number.isInteger(Math.log2(average)) && average >= 1024 && average <= 64 * 1024 * 1024, `average chunk size ${average} is not a power of two`);
  return { min: average / 4, max: average * 4 };
}

/**
 * Finds content-defined boundaries (spec formats 7.2). The hash at a place depends on the 64 bytes before it only, so that what lies before the
 * smallest possible boundary is not looked at. Where boundaries fall does not depend on how the stream is cut into buffers.
 */
export class BuzhashScanner {
  readonly sizes: ChunkSizes;
  readonly #mask: number;
  readonly #threshold: number;
  /** Bytes of the current chunk that were seen. */
  #size = 0;
  #hash = 0;
  /** The last 64 bytes (fewer while it fills) and, for the start of the next buffer, room for 64 more. */
  readonly #seam = new Uint8Array(2 * windowSize);

  constructor(average: number) {
    this.sizes = chunkSizes(average);
    this.#mask = 2 * average - 1;
    this.#threshold = this.#mask - 2;
  }

  /** Forgets the current chunk. */
  reset(): void {
    this.#size = 0;
    this.#hash = 0;
  }

  /**
   * Looks at `bytes` from `from` to `to`, the continuation of what was scanned before. Returns how many of them belong to the current chunk and
   * starts the next one, or 0 when no boundary was found: all of them were consumed.
   */
  scan(bytes: Uint8Array, from = 0, to = bytes.byteLength): number {
    const { min, max } = this.sizes;
    let at = from;
    if (this.#size < min) {
      at += this.#fill(bytes, from, to);
      if (this.#size < min) return 0;
      if (at > from && (this.#hash & this.#mask) >= this.#threshold) return this.#found(at - from);
    }
    const end = Math.min(to, at + max - this.#size);
    const boundary = this.#roll(bytes, at, end);
    if (boundary !== 0) return this.#found(boundary - from);
    this.#size += end - at;
    if (this.#size === max) return this.#found(end - from);
    return 0;
  }

  #found(count: number): number {
    this.reset();
    return count;
  }

  /** Up to the minimum: skips, and hashes the last 64 bytes. Returns the bytes consumed. */
  #fill(bytes: Uint8Array, from: number, to: number): number {
    const { min } = this.sizes;
    const start = min - windowSize;
    let at = from;
    if (this.#size < start) {
      const skipped = Math.min(start - this.#size, to - at);
      at += skipped;
      this.#size += skipped;
    }
    while (at < to && this.#size < min) {
      const byte = bytes[at]!;
      this.#hash = ((this.#hash << 1) | (this.#hash >>> 31)) ^ table[byte]!;
      this.#seam[this.#size - start] = byte;
      this.#size += 1;
      at += 1;
    }
    return at - from;
  }

  /** Index after the first boundary in `bytes[from..to]`, 0 when there is none; then the window is kept for the next buffer. */
  #roll(bytes: Uint8Array, from: number, to: number): number {
    const count = to - from;
    const early = Math.min(windowSize, count);
    const seam = this.#seam;
    for (let i = 0; i < early; i += 1) seam[windowSize + i] = bytes[from + i]!;
    const inSeam = this.#step(seam, windowSize, windowSize + early);
    if (inSeam !== 0) return from + inSeam - windowSize;
    if (count > windowSize) {
      const inBytes = this.#step(bytes, from + windowSize, to);
      if (inBytes !== 0) return inBytes;
      seam.set(bytes.subarray(to - windowSize, to));
    } else {
      seam.copyWithin(0, early, early + windowSize);
    }
    return 0;
  }

  /** The rolling hash over `bytes[from..to]`, of which the 64 bytes before `from` are there too. */
  #step(bytes: Uint8Array, from: number, to: number): number {
    const mask = this.#mask;
    const threshold = this.#threshold;
    let hash = this.#hash;
    for (let i = from; i < to; i += 1) {
      hash = ((hash << 1) | (hash >>> 31)) ^ table[bytes[i - windowSize]!]! ^ table[bytes[i]!]!;
      if ((hash & mask) >= threshold) return i + 1;
    }
    this.#hash = hash;
    return 0;
  }
}
