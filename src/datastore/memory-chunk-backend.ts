import assert from 'node:assert/strict';
import { pause } from '../base/async.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import { nowSeconds, systemClock, type Clock } from '../base/clock.ts';
import { StoreError } from '../base/errors.ts';
import type { ChunkBackend, InsertResult, SweepOptions, SweepStatistics } from './chunk-backend.ts';
import { zeroChunkBlob, zeroChunkDigest } from './access-time-check.ts';
import { checkChunkBlob, chunkPrecedence } from './chunk-precedence.ts';
import { emptySweepStatistics } from './chunk-sweep.ts';

interface StoredChunk {
  blob: Buffer;
  /** Seconds since the epoch. */
  usedAt: number;
  order: bigint;
}

const badCopies = 10;

/** Chunks in memory, for tests: the contract of ChunkBackend without a disk. Names as on disk: 64 hex digits, set-aside copies with `.N.bad`. */
export class MemoryChunkBackend implements ChunkBackend {
  readonly stored = new Map<string, StoredChunk>();
  readonly #clock: Clock;
  #inserted = 0n;

  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  async read(digest: Digest): Promise<Buffer> {
    const found = this.stored.get(toHex(digest));
    if (found === undefined) throw new StoreError('store.chunk-missing', `chunk ${toHex(digest)} does not exist`);
    return Buffer.from(found.blob);
  }

  async size(digest: Digest): Promise<number | null> {
    return this.stored.get(toHex(digest))?.blob.byteLength ?? null;
  }

  async insert(digest: Digest, blob: Uint8Array): Promise<InsertResult> {
    checkChunkBlob(blob);
    const existing = this.stored.get(toHex(digest));
    if (existing === undefined) return this.#store(digest, blob);
    const bytes = async (): Promise<Uint8Array> => existing.blob;
    const { verdict } = await chunkPrecedence({ name: toHex(digest), size: existing.blob.byteLength, head: bytes, whole: bytes }, blob);
    // Swept while it was looked at: then it has to be stored again.
    if (verdict !== 'keep' || this.stored.get(toHex(digest)) !== existing) return this.#store(digest, blob);
    existing.usedAt = nowSeconds(this.#clock);
    return { duplicate: true, storedSize: existing.blob.byteLength };
  }

  async replace(digest: Digest, blob: Uint8Array): Promise<InsertResult> {
    checkChunkBlob(blob);
    return this.#store(digest, blob);
  }

  async touch(digest: Digest): Promise<boolean> {
    return this.#touch(toHex(digest));
  }

  async touchBad(digest: Digest): Promise<void> {
    for (let n = 0; n < badCopies; n += 1) this.#touch(`${toHex(digest)}.${n}.bad`);
  }

  async markCorrupt(digest: Digest): Promise<string | null> {
    const hex = toHex(digest);
    const found = this.stored.get(hex);
    if (found === undefined) return null;
    let n = 0;
    while (n < badCopies - 1 && this.stored.has(`${hex}.${n}.bad`)) n += 1;
    this.stored.delete(hex);
    this.stored.set(`${hex}.${n}.bad`, found);
    return `${hex}.${n}.bad`;
  }

  async readingOrder(digest: Digest): Promise<bigint | null> {
    return this.stored.get(toHex(digest))?.order ?? null;
  }

  async checkAccessTimes(options: { signal?: AbortSignal }): Promise<number> {
    await this.insert(zeroChunkDigest, zeroChunkBlob());
    await pause(0, options.signal);
    return this.stored.get(toHex(zeroChunkDigest))!.usedAt;
  }

  async sweep(minAtime: number, oldestWriter: number, options: SweepOptions = {}): Promise<SweepStatistics> {
    assert.ok(minAtime <= oldestWriter);
    const statistics = emptySweepStatistics();
    let handled = 0;
    let percentShown = 0;
    for (const name of [...this.stored.keys()].toSorted()) {
      const percent = Math.floor((100 * Number.parseInt(name.slice(0, 4), 16)) / 65_536);
      if (percent > percentShown) options.onProgress?.((percentShown = percent), handled);
      await pause(0, options.signal);
      const chunk = this.stored.get(name);
      if (chunk === undefined) continue;
      handled += 1;
      const bytes = chunk.blob.byteLength;
      const bad = name.endsWith('.bad');
      if (chunk.usedAt < minAtime) {
        if (options.dryRun !== true) this.stored.delete(name);
        statistics.removedBytes += bytes;
        if (bad) statistics.removedBad += 1;
        else statistics.removedChunks += 1;
      } else if (chunk.usedAt < oldestWriter) {
        statistics.pendingBytes += bytes;
        if (bad) statistics.stillBad += 1;
        else statistics.pendingChunks += 1;
      } else {
        statistics.diskBytes += bytes;
        if (!bad) statistics.diskChunks += 1;
      }
    }
    return statistics;
  }

  #touch(name: string): boolean {
    const found = this.stored.get(name);
    if (found === undefined) return false;
    found.usedAt = nowSeconds(this.#clock);
    return true;
  }

  #store(digest: Digest, blob: Uint8Array): InsertResult {
    this.#inserted += 1n;
    this.stored.set(toHex(digest), { blob: Buffer.from(blob), usedAt: nowSeconds(this.#clock), order: this.#inserted });
    return { duplicate: false, storedSize: blob.byteLength };
  }
}
