import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { open, rename, rm, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { bytesEqual, digestLength, type Digest } from '../base/bytes.ts';
import { nowSeconds, systemClock, type Clock } from '../base/clock.ts';
import { FormatError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { encodeDynamicEntry, encodeDynamicIndexHeader, encodeFixedIndexHeader, indexFileLength, type IndexKind, type IndexSummary } from '../format/chunk-index.ts';
import { maxChunkPlainSize } from '../format/data-blob.ts';
import { fileOwner } from './file-owner.ts';
import type { IndexFile } from './index-file.ts';
import { syncDirectory, writeFully } from './replace-file.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Chunk size of every fixed index that a server makes (spec formats 2.1). */
export const fixedIndexChunkSize = 4 * 1024 * 1024;
/** 256 TiB in chunks of 4 MiB; bounds the memory for which entries have been filled. */
const maxIndexEntries = 2 ** 26;
/** Dynamic entries collected before they are written. */
const bufferedEntries = 1024;
const emptyCsum = Buffer.alloc(digestLength);
const extensions = { fixed: '.fidx', dynamic: '.didx' } as const;

export interface IndexWriterOptions {
  /** fsync the file before and its folder after the rename. Default true. */
  sync?: boolean;
  clock?: Clock;
  /** 16 bytes; random by default. */
  uuid?: Uint8Array;
}

function fail(code: string, message: string): never {
  throw new FormatError(`format.index-${code}`, message);
}

/** `drive.img.fidx` → `drive.img.tmp_fidx` (spec formats 2.1). */
function temporaryIndexName(finalPath: string, kind: IndexKind): string {
  assert.ok(finalPath.endsWith(extensions[kind]), `the name of a ${kind} index ends in ${extensions[kind]}: ${finalPath}`);
  return `${finalPath.slice(0, -extensions[kind].length)}.tmp_${kind === 'fixed' ? 'fidx' : 'didx'}`;
}

/** The file under its temporary name, until it is published or removed. */
class TemporaryIndex {
  readonly finalPath: string;
  readonly temporaryPath: string;
  readonly handle: FileHandle;
  readonly #sync: boolean;
  #open = true;

  private constructor(finalPath: string, temporaryPath: string, handle: FileHandle, sync: boolean) {
    this.finalPath = finalPath;
    this.temporaryPath = temporaryPath;
    this.handle = handle;
    this.#sync = sync;
  }

  static async create(finalPath: string, kind: IndexKind, header: Buffer, sync: boolean): Promise<TemporaryIndex> {
    const temporaryPath = temporaryIndexName(finalPath, kind);
    try {
      const handle = await open(temporaryPath, 'w+', 0o644);
      const file = new TemporaryIndex(finalPath, temporaryPath, handle, sync);
      try {
        const owner = fileOwner();
        if (owner !== null) await handle.chown(owner.uid, owner.gid);
        await writeFully(handle, header);
        return file;
      } catch (e) {
        await file.remove();
        throw e;
      }
    } catch (e) {
      throw toStoreError(e, `unable to create index ${quotedPath(temporaryPath)}`);
    }
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** Runs a file operation; failures become StoreError. */
  async io<T>(work: () => Promise<T>): Promise<T> {
    assert.ok(this.#open, `index ${this.finalPath} is closed`);
    try {
      return await work();
    } catch (e) {
      throw toStoreError(e, `unable to write index ${quotedPath(this.temporaryPath)}`);
    }
  }

  async publish(): Promise<void> {
    await this.io(async () => {
      if (this.#sync) await this.handle.sync();
      failpoint('index.publish');
      this.#open = false;
      await this.handle.close();
      await rename(this.temporaryPath, this.finalPath);
      if (this.#sync) await syncDirectory(dirname(this.finalPath));
    });
  }

  async remove(): Promise<void> {
    if (this.#open) {
      this.#open = false;
      await this.handle.close();
    }
    // After a failed rename the temporary file is still there; after a good one nothing is.
    await rm(this.temporaryPath, { force: true });
  }
}

/**
 * Writes a fixed index (spec formats 2.1) in any order of chunks. It exists under its name only after `close`; `abort`, or leaving the `await using`
 * block before, removes it. Calls may overlap.
 */
export class FixedIndexWriter implements AsyncDisposable {
  readonly chunkSize: number;
  /** Calls of `addChunk` that were accepted, repeated ones included. */
  appendedChunks = 0;
  readonly #file: TemporaryIndex;
  readonly #fields: { uuid: Uint8Array; ctime: number };
  /** One bit per entry that has a digest. */
  #filled = Buffer.alloc(1024);
  #filledCount = 0;
  #size: number;
  #sizeIsFinal: boolean;

  private constructor(file: TemporaryIndex, fields: { uuid: Uint8Array; ctime: number }, chunkSize: number, size: number | undefined) {
    this.#file = file;
    this.#fields = fields;
    this.chunkSize = chunkSize;
    this.#size = size ?? 0;
    this.#sizeIsFinal = size !== undefined;
  }

  /** `size` = bytes of the image when they are known beforehand. FormatError for no bytes or too many. */
  static async create(finalPath: string, options: IndexWriterOptions & { size?: number | undefined; chunkSize?: number } = {}): Promise<FixedIndexWriter> {
    const { size, chunkSize = fixedIndexChunkSize, sync = true } = options;
    if (size !== undefined && (!Number.isSafeInteger(size) || size < 1)) fail('empty', `fixed index: no image has a size of ${size} bytes`);
    if (size !== undefined && Math.ceil(size / chunkSize) > maxIndexEntries) fail('size', `fixed index: ${size} bytes are more than ${maxIndexEntries} chunks`);
    const fields = { uuid: options.uuid ?? randomUuid(), ctime: nowSeconds(options.clock ?? systemClock) };
    const header = encodeFixedIndexHeader({ ...fields, csum: emptyCsum, size: 0, chunkSize });
    return new FixedIndexWriter(await TemporaryIndex.create(finalPath, 'fixed', header, sync), fields, chunkSize, size);
  }

  /** Bytes of the image as far as they are known. */
  get size(): number {
    return this.#size;
  }

  /** Entries that the present size needs. */
  get count(): number {
    return Math.ceil(this.#size / this.chunkSize);
  }

  /** Takes over all digests of an older index with as many entries; chunks added later overwrite them (spec formats 2.1, incremental reuse). */
  async copyDigests(older: IndexFile): Promise<void> {
    if (older.kind !== 'fixed' || older.header.chunkSize !== this.chunkSize) fail('reuse', 'reuse of an index with another chunk size');
    if (!this.#sizeIsFinal || older.count !== this.count) fail('reuse', `reuse of an index with ${older.count} entries for one with ${this.count}`);
    let at = 0;
    for await (const batch of older.batches()) {
      const first = at;
      const digests = Buffer.concat(batch.map((entry) => entry.digest));
      await this.#file.io(() => writeFully(this.#file.handle, digests, indexFileLength('fixed', first)));
      for (const _ of batch) this.#markFilled(at++);
    }
  }

  /** Names the chunk of bytes `start` to `start + length`. FormatError when it does not fit the image or its raster. */
  async addChunk(start: number, length: number, digest: Digest): Promise<void> {
    assert.equal(digest.byteLength, digestLength);
    const entry = this.#accept(start, length);
    await this.#file.io(() => writeFully(this.#file.handle, digest, indexFileLength('fixed', entry)));
    this.#markFilled(entry);
    this.appendedChunks += 1;
  }

  /**
   * Checks that no entry is missing, writes csum and size and publishes the file. The writer is spent, also by a failure.
   * `expectedCsum`: checked before the file gets its name.
   */
  async close(expectedCsum?: Digest): Promise<IndexSummary> {
    try {
      const { count } = this;
      if (count < 1) fail('empty', 'fixed index has no chunks');
      if (this.#filledCount !== count) fail('incomplete', `fixed index has ${this.#filledCount} of ${count} chunks`);
      const csum = await this.#file.io(() => csumOf(this.#file.handle, 'fixed', count));
      checkCsum(csum, expectedCsum);
      const header = encodeFixedIndexHeader({ ...this.#fields, csum, size: this.#size, chunkSize: this.chunkSize });
      await this.#file.io(async () => {
        await this.#file.handle.truncate(indexFileLength('fixed', count));
        await writeFully(this.#file.handle, header, 0);
      });
      await this.#file.publish();
      return { count, size: this.#size, csum };
    } catch (e) {
      await this.abort();
      throw e;
    }
  }

  /** Removes what was written; harmless after `close`. */
  async abort(): Promise<void> {
    await this.#file.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  /** Entry number of a chunk; takes a growing size over. */
  #accept(start: number, length: number): number {
    const end = start + length;
    if (!Number.isSafeInteger(start) || start < 0 || !Number.isSafeInteger(end)) fail('append', `fixed index: chunk at ${start} is out of range`);
    if (!Number.isInteger(length) || length < 1 || length > this.chunkSize) fail('append', `fixed index: chunk of ${length} bytes, allowed are 1 to ${this.chunkSize}`);
    if (start % this.chunkSize !== 0) fail('append', `fixed index: chunk at ${start} is not aligned to ${this.chunkSize}`);
    if (start / this.chunkSize >= maxIndexEntries) fail('size', `fixed index: more than ${maxIndexEntries} chunks`);
    const grows = end > this.#size;
    if (grows && this.#sizeIsFinal) fail('append', `fixed index: chunk ends at ${end}, the image at ${this.#size}`);
    if (!grows && length !== this.chunkSize && end !== this.#size) fail('append', `fixed index: chunk of ${length} bytes inside the image`);
    if (grows) {
      this.#size = end;
      this.#sizeIsFinal = end % this.chunkSize !== 0;
    }
    return start / this.chunkSize;
  }

  #markFilled(entry: number): void {
    const at = entry >>> 3;
    if (at >= this.#filled.byteLength) {
      const larger = Buffer.alloc(Math.max(at + 1, this.#filled.byteLength * 2));
      this.#filled.copy(larger);
      this.#filled = larger;
    }
    const bit = 1 << (entry & 7);
    if ((this.#filled[at]! & bit) !== 0) return;
    this.#filled[at]! |= bit;
    this.#filledCount += 1;
  }
}

/** Writes a dynamic index (spec formats 2.2): chunks in the order of the stream. Otherwise as FixedIndexWriter. */
export class DynamicIndexWriter implements AsyncDisposable {
  readonly #file: TemporaryIndex;
  readonly #fields: { uuid: Uint8Array; ctime: number };
  readonly #csum = createHash('sha256');
  #pending: Buffer[] = [];
  /** Writes follow one another, whoever waits for them. */
  #written: Promise<void> = Promise.resolve();
  #count = 0;
  #size = 0;

  private constructor(file: TemporaryIndex, fields: { uuid: Uint8Array; ctime: number }) {
    this.#file = file;
    this.#fields = fields;
  }

  static async create(finalPath: string, options: IndexWriterOptions = {}): Promise<DynamicIndexWriter> {
    const fields = { uuid: options.uuid ?? randomUuid(), ctime: nowSeconds(options.clock ?? systemClock) };
    const header = encodeDynamicIndexHeader({ ...fields, csum: emptyCsum });
    return new DynamicIndexWriter(await TemporaryIndex.create(finalPath, 'dynamic', header, options.sync ?? true), fields);
  }

  /** End of the last chunk: where the next one starts. */
  get size(): number {
    return this.#size;
  }

  get count(): number {
    return this.#count;
  }

  get appendedChunks(): number {
    return this.#count;
  }

  /** Appends the chunk that starts where the last one ended. FormatError when it does not. */
  async addChunk(start: number, length: number, digest: Digest): Promise<void> {
    assert.ok(this.#file.isOpen, `index ${this.#file.finalPath} is closed`);
    if (start !== this.#size) fail('append', `dynamic index: chunk starts at ${start} instead of ${this.#size}`);
    if (!Number.isInteger(length) || length < 1 || length > maxChunkPlainSize) fail('append', `dynamic index: chunk of ${length} bytes, allowed are 1 to ${maxChunkPlainSize}`);
    if (this.#count >= maxIndexEntries) fail('size', `dynamic index: more than ${maxIndexEntries} chunks`);
    const entry = encodeDynamicEntry(start + length, digest);
    this.#csum.update(entry);
    this.#pending.push(entry);
    this.#size = start + length;
    this.#count += 1;
    if (this.#pending.length >= bufferedEntries) await this.#flush();
  }

  /** Writes the csum and publishes the file; see FixedIndexWriter. */
  async close(expectedCsum?: Digest): Promise<IndexSummary> {
    try {
      if (this.#count < 1) fail('empty', 'dynamic index has no chunks');
      await this.#flush();
      const csum = this.#csum.digest();
      checkCsum(csum, expectedCsum);
      const header = encodeDynamicIndexHeader({ ...this.#fields, csum });
      await this.#file.io(() => writeFully(this.#file.handle, header, 0));
      await this.#file.publish();
      return { count: this.#count, size: this.#size, csum };
    } catch (e) {
      await this.abort();
      throw e;
    }
  }

  async abort(): Promise<void> {
    await this.#written.catch(() => {});
    await this.#file.remove();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.abort();
  }

  #flush(): Promise<void> {
    const bytes = Buffer.concat(this.#pending);
    this.#pending = [];
    // A failed write fails every later one too: an index with a hole must never be published.
    this.#written = this.#written.then(() => this.#file.io(() => writeFully(this.#file.handle, bytes)));
    return this.#written;
  }
}

function randomUuid(): Buffer {
  const uuid = randomBytes(16);
  uuid[6] = (uuid[6]! & 0x0f) | 0x40;
  uuid[8] = (uuid[8]! & 0x3f) | 0x80;
  return uuid;
}

function checkCsum(csum: Digest, expected: Digest | undefined): void {
  if (expected !== undefined && !bytesEqual(csum, expected)) fail('csum', 'index checksum differs from the one that was announced');
}

/** SHA-256 of the first `count` entries as they are in the file. */
async function csumOf(handle: FileHandle, kind: IndexKind, count: number): Promise<Digest> {
  const hash = createHash('sha256');
  const block = Buffer.allocUnsafeSlow(1024 * 1024);
  const end = indexFileLength(kind, count);
  for (let at = indexFileLength(kind, 0); at < end; ) {
    const { bytesRead } = await handle.read(block, 0, Math.min(block.byteLength, end - at), at);
    if (bytesRead === 0) throw new Error('the file ends before its last entry');
    hash.update(block.subarray(0, bytesRead));
    at += bytesRead;
  }
  return hash.digest();
}
