import assert from 'node:assert/strict';
import { asBuffer } from './bytes.ts';

const nothing = Buffer.alloc(0);
/** Drop the consumed places of the list once there are so many. */
const compactAfter = 1024;

/**
 * Bytes of a stream that have arrived and were not taken yet. What is taken is a view of what was pushed, or a copy where it crosses
 * two pushes: pushed bytes must not be changed afterwards.
 */
export class ByteQueue {
  #pieces: Buffer[] = [];
  /** Place of the first piece that is left. */
  #head = 0;
  #length = 0;

  /** Bytes in the queue. */
  get length(): number {
    return this.#length;
  }

  push(bytes: Uint8Array): void {
    if (bytes.byteLength === 0) return;
    this.#pieces.push(asBuffer(bytes));
    this.#length += bytes.byteLength;
  }

  /** The next `count` bytes; there must be so many. */
  take(count: number): Buffer {
    assert.ok(count >= 0 && count <= this.#length, `${count} of ${this.#length} bytes`);
    if (count === 0) return Buffer.alloc(0);
    const first = this.takeSome(count);
    if (first.byteLength === count) return first;
    const joined = Buffer.allocUnsafe(count);
    first.copy(joined);
    for (let at = first.byteLength; at < count; ) at += this.takeSome(count - at).copy(joined, at);
    return joined;
  }

  /** Up to `limit` of the next bytes without a copy: as many as arrived together. The queue must not be empty. */
  takeSome(limit: number): Buffer {
    const piece = this.#pieces[this.#head];
    assert.ok(piece !== undefined, 'the queue is empty');
    if (piece.byteLength > limit) {
      this.#pieces[this.#head] = piece.subarray(limit);
      this.#length -= limit;
      return piece.subarray(0, limit);
    }
    // The place stays for a while, what was in it must not: it may be a thousand times a megabyte.
    this.#pieces[this.#head] = nothing;
    this.#head += 1;
    this.#length -= piece.byteLength;
    if (this.#head === this.#pieces.length || this.#head >= compactAfter) {
      this.#pieces = this.#pieces.slice(this.#head);
      this.#head = 0;
    }
    return piece;
  }

  /** Drops the next `count` bytes; there must be so many. */
  skip(count: number): void {
    for (let left = count; left > 0; ) left -= this.takeSome(left).byteLength;
  }
}
