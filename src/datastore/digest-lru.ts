import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { digestLength, type Digest } from '../base/bytes.ts';

const none = -1;
const firstCapacity = 1024;

/**
 * The last `capacity` different digests, least recently used leaves first: about 52 bytes each in flat arrays that grow as they fill, where a Map
 * of strings takes 200. Counts hits and misses.
 */
export class DigestLru {
  readonly capacity: number;
  hits = 0;
  misses = 0;
  #digests = Buffer.alloc(0);
  /** Ring of use: `#newer` and `#older` neighbours by slot. */
  #newer = new Int32Array(0);
  #older = new Int32Array(0);
  /** Chain of slots with the same hash. */
  #next = new Int32Array(0);
  #buckets = new Int32Array(0);
  #newest = none;
  #oldest = none;
  #count = 0;
  /** Digests may be chosen by a hostile client so that they fall into one bucket. */
  readonly #multiplier = randomInt(2 ** 31) | 1;

  constructor(capacity: number) {
    assert.ok(Number.isSafeInteger(capacity) && capacity >= 1 && capacity <= 2 ** 26);
    this.capacity = capacity;
    this.#resize(Math.min(capacity, firstCapacity));
  }

  get size(): number {
    return this.#count;
  }

  /** True (a hit) when it is among the remembered ones; false (a miss) when it was not: now it is. Either way it is the newest now. */
  remember(digest: Digest): boolean {
    assert.equal(digest.byteLength, digestLength);
    const found = this.#find(digest);
    if (found !== none) {
      this.hits += 1;
      this.#unlinkUse(found);
      this.#linkNewest(found);
      return true;
    }
    this.misses += 1;
    this.#add(digest);
    return false;
  }

  #add(digest: Digest): void {
    let slot = this.#count;
    if (slot === this.capacity) {
      slot = this.#oldest;
      this.#unlinkUse(slot);
      this.#unlinkBucket(slot);
    } else {
      if (slot === this.#next.length) this.#resize(Math.min(this.capacity, slot * 2));
      this.#count += 1;
    }
    this.#digests.set(digest, slot * digestLength);
    this.#linkBucket(slot);
    this.#linkNewest(slot);
  }

  #bucketOf(bytes: Uint8Array, at: number): number {
    const first = bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24);
    const second = bytes[at + 4]! | (bytes[at + 5]! << 8) | (bytes[at + 6]! << 16) | (bytes[at + 7]! << 24);
    const hash = Math.imul(first ^ Math.imul(second, 0x9e3779b1), this.#multiplier);
    return (hash ^ (hash >>> 15)) & (this.#buckets.length - 1);
  }

  #find(digest: Uint8Array): number {
    let slot = this.#buckets[this.#bucketOf(digest, 0)]!;
    while (slot !== none) {
      const at = slot * digestLength;
      if (this.#digests.compare(digest, 0, digestLength, at, at + digestLength) === 0) return slot;
      slot = this.#next[slot]!;
    }
    return none;
  }

  #linkBucket(slot: number): void {
    const bucket = this.#bucketOf(this.#digests, slot * digestLength);
    this.#next[slot] = this.#buckets[bucket]!;
    this.#buckets[bucket] = slot;
  }

  #unlinkBucket(slot: number): void {
    const bucket = this.#bucketOf(this.#digests, slot * digestLength);
    if (this.#buckets[bucket] === slot) {
      this.#buckets[bucket] = this.#next[slot]!;
      return;
    }
    let at = this.#buckets[bucket]!;
    while (this.#next[at] !== slot) at = this.#next[at]!;
    this.#next[at] = this.#next[slot]!;
  }

  #linkNewest(slot: number): void {
    this.#older[slot] = this.#newest;
    this.#newer[slot] = none;
    if (this.#newest !== none) this.#newer[this.#newest] = slot;
    this.#newest = slot;
    if (this.#oldest === none) this.#oldest = slot;
  }

  #unlinkUse(slot: number): void {
    const [newer, older] = [this.#newer[slot]!, this.#older[slot]!];
    if (newer === none) this.#newest = older;
    else this.#older[newer] = older;
    if (older === none) this.#oldest = newer;
    else this.#newer[older] = newer;
  }

  #resize(slots: number): void {
    const digests = Buffer.alloc(slots * digestLength);
    this.#digests.copy(digests);
    this.#digests = digests;
    const grown = (array: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> => {
      const larger = new Int32Array(slots);
      larger.set(array);
      return larger;
    };
    this.#newer = grown(this.#newer);
    this.#older = grown(this.#older);
    this.#next = new Int32Array(slots);
    let buckets = 64;
    while (buckets < slots) buckets *= 2;
    this.#buckets = new Int32Array(buckets).fill(none);
    for (let slot = 0; slot < this.#count; slot += 1) this.#linkBucket(slot);
  }
}
