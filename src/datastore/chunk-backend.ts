import type { Digest } from '../base/bytes.ts';
import type { ProgressLog } from '../base/log.ts';

export interface InsertResult {
  /** The chunk was there already (and is marked as used now). */
  duplicate: boolean;
  /** Bytes of the encoded blob that is stored now: the existing one's for a duplicate. */
  storedSize: number;
}

export interface SweepStatistics {
  removedChunks: number;
  removedBytes: number;
  pendingChunks: number;
  pendingBytes: number;
  diskChunks: number;
  diskBytes: number;
  removedBad: number;
  stillBad: number;
}

/**
 * `minAtime` and `oldestWriter` are seconds since the epoch: last used before `minAtime` is removed, before `oldestWriter` is
 * pending, everything else is in use. Needs `minAtime <= oldestWriter`.
 */
export interface SweepOptions {
  log?: ProgressLog;
  signal?: AbortSignal;
  /** Percent done, and chunks (also set-aside ones) handled until then; only when the percentage has grown. */
  onProgress?: (percent: number, handledChunks: number) => void;
  /** Counts as removed what would be, and removes nothing. */
  dryRun?: boolean;
}

/**
 * Where encoded chunks live, by digest of their plain content (spec formats 3). Every method may be called concurrently.
 * All failures are StoreError; a missing chunk has code `store.chunk-missing`, a full disk `store.full`, a target
 * that cannot be written `store.read-only`. The suite in `test/support/chunk-backend-suite.ts` is this contract in code.
 */
export interface ChunkBackend {
  /** The encoded blob, exactly as stored, unchecked. */
  read(digest: Digest): Promise<Buffer>;

  /** Stored size in bytes, null when there is none. Does not mark as used. */
  size(digest: Digest): Promise<number | null>;

  /**
   * Stores `blob` whole or not at all, by the rules of spec formats 3.3 (what exists wins unless it is empty or a larger plain chunk).
   * The caller has verified it. Afterwards it counts as used now. An existing chunk is never touched half-way.
   */
  insert(digest: Digest, blob: Uint8Array): Promise<InsertResult>;

  /** Replaces whatever is stored (healing a corrupt chunk); the caller has verified `blob`. */
  replace(digest: Digest, blob: Uint8Array): Promise<InsertResult>;

  /** Marks as used now; false when there is no such chunk. */
  touch(digest: Digest): Promise<boolean>;

  /** Marks the set-aside copies `<digest>.N.bad` as used now, so that they live while their chunk is referenced and missing. */
  touchBad(digest: Digest): Promise<void>;

  /** Sets a corrupt chunk aside under `<digest>.N.bad`; returns the new name, null when there was no chunk. */
  markCorrupt(digest: Digest): Promise<string | null>;

  /** A key that sorts chunks into the cheapest reading order (inode on a local disk); null when it is missing. */
  readingOrder(digest: Digest): Promise<bigint | null>;

  /**
   * Proves that `touch` moves the time that `sweep` compares, by means of the chunk of 4 MiB zeros, which stays in the store (spec retention 5.1).
   * Takes a second. StoreError `store.access-time` when it does not: then nothing may be swept. Returns the time (seconds) that the touch has set:
   * the clock of the store, which may be another host's.
   */
  checkAccessTimes(options: { log?: ProgressLog; signal?: AbortSignal }): Promise<number>;

  /** Removes what was last used too long ago (spec formats 8.3). Only garbage collection calls it, holding the process lock alone. */
  sweep(minAtime: number, oldestWriter: number, options?: SweepOptions): Promise<SweepStatistics>;
}
