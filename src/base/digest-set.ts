import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { digestLength, type Digest } from './bytes.ts';

/**
 * Set of digests in about 40 bytes each, where a Set of strings takes 120 and more: an image of 8 TiB names two million chunks.
 * Slots are chosen with a random multiplier per set: digests of encrypted chunks come unchecked from a remote, who could otherwise
 * name a million that fall into one slot.
 */
export class DigestSet {
  #digests: Buffer;
  /** Position in `#digests` plus one; 0 = free. Length is a power of two. */
  #slots: Uint32Array;
  #count = 0;
  readonly #multipliers = [randomInt(2 ** 31) | 1, randomInt(2 ** 31) | 1] as const;

  constructor(expected = 64) {
    let slots = 128;
    while (slots < expected * 2) slots *= 2;
    this.#slots = new Uint32Array(slots);
    this.#digests = Buffer.allocUnsafe(Math.max(64, expected) * digestLength);
  }

  get size(): number {
    return this.#count;
  }

  has(digest: Digest): boolean {
    return this.#slots[this.#find(digest)] !== 0;
  }

  /** Which one it is in the order of adding, from 0; -1 when it is not there. For values kept beside the set. */
  position(digest: Digest): number {
    return this.#slots[this.#find(digest)]! - 1;
  }

  /** False when it was there already. */
  add(digest: Digest): boolean {
    assert.equal(digest.byteLength, digestLength);
    const slot = this.#find(digest);
    if (this.#slots[slot] !== 0) return false;
    const at = this.#count * digestLength;
    if (at + digestLength > this.#digests.byteLength) {
      const larger = Buffer.allocUnsafe(this.#digests.byteLength * 2);
      this.#digests.copy(larger);
      this.#digests = larger;
    }
    this.#digests.set(digest, at);
    this.#count += 1;
    this.#slots[slot] = this.#count;
    if (this.#count * 2 > this.#slots.length) this.#grow();
    return true;
  }

  /** In the order of adding; each is a view that is valid until the next change. */
  *values(): Generator<Digest, void> {
    for (let i = 0; i < this.#count; i += 1) yield this.#digests.subarray(i * digestLength, (i + 1) * digestLength);
  }

  clear(): void {
    this.#slots = new Uint32Array(128);
    this.#digests = Buffer.allocUnsafe(64 * digestLength);
    this.#count = 0;
  }

  #find(digest: Uint8Array): number {
    const mask = this.#slots.length - 1;
    const first = digest[0]! | (digest[1]! << 8) | (digest[2]! << 16) | (digest[3]! << 24);
    const second = digest[4]! | (digest[5]! << 8) | (digest[6]! << 16) | (digest[7]! << 24);
    const hash = Math.imul(first, this.#multipliers[0]) + Math.imul(second, this.#multipliers[1]);
    // Multiplication mixes upwards only, so the upper half is folded back into the bits that the mask keeps.
    let slot = (hash ^ (hash >>> 15)) & mask;
    for (;;) {
      const entry = this.#slots[slot]!;
      if (entry === 0) return slot;
      const at = (entry - 1) * digestLength;
      if (this.#digests.compare(digest, 0, digestLength, at, at + digestLength) === 0) return slot;
      slot = (slot + 1) & mask;
    }
  }

  #grow(): void {
    this.#slots = new Uint32Array(this.#slots.length * 2);
    for (let i = 0; i < this.#count; i += 1) {
      const slot = this.#find(this.#digests.subarray(i * digestLength, (i + 1) * digestLength));
      this.#slots[slot] = i + 1;
    }
  }
}
