import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import type { FileHandle } from 'node:fs/promises';
import { digestLength, type Digest } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { indexFileLength, indexHeaderLength, parseIndexHeader, type IndexEntry, type IndexHeader, type IndexKind } from '../format/chunk-index.ts';
import { openRegularFile } from './file-read.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Entries per read: 640 KiB of a dynamic index. */
const batchEntries = 16_384;

/** Kind of an index by the extension of its file, which is all that counts. FormatError for a blob or anything else. */
export function indexKindOf(path: string): IndexKind {
  if (path.endsWith('.fidx')) return 'fixed';
  if (path.endsWith('.didx')) return 'dynamic';
  throw new FormatError('format.archive-kind', `${quotedPath(path)} is not an index`);
}

/**
 * An open index file, read in pieces: memory stays bounded however many chunks it names (spec formats 2). Several iterations may run at once.
 * The stored csum is not to be trusted until `computeCsum` agrees.
 */
export class IndexFile implements AsyncDisposable {
  readonly path: string;
  readonly kind: IndexKind;
  readonly header: IndexHeader;
  readonly count: number;
  /** Logical bytes of the archive. */
  readonly size: number;
  readonly #handle: FileHandle;

  constructor(path: string, handle: FileHandle, header: IndexHeader & { count: number }, size: number) {
    this.path = path;
    this.kind = header.kind;
    this.header = header;
    this.count = header.count;
    this.size = size;
    this.#handle = handle;
  }

  /** All entries from `fromEntry` on, in order; digests are the caller's to keep. FormatError `format.index-order` where ends do not grow. */
  async *entries(fromEntry = 0): AsyncGenerator<IndexEntry, void> {
    for await (const batch of this.batches(fromEntry)) yield* batch;
  }

  /** As `entries`, in arrays of up to 16,384: for millions of entries several times as fast. */
  async *batches(fromEntry = 0): AsyncGenerator<IndexEntry[], void> {
    assert.ok(Number.isSafeInteger(fromEntry) && fromEntry >= 0);
    let start = fromEntry === 0 ? 0 : await this.#endBefore(fromEntry);
    for (let at = fromEntry; at < this.count; at += batchEntries) {
      const count = Math.min(batchEntries, this.count - at);
      const bytes = await this.#readEntries(at, count);
      const batch: IndexEntry[] = [];
      for (let i = 0; i < count; i += 1) {
        const entry = this.#decode(bytes, i, start);
        batch.push(entry);
        start = entry.end;
      }
      yield batch;
    }
  }

  /** Checksum over the entries as they are now (spec formats 2.1, 2.2). */
  async computeCsum(): Promise<Digest> {
    const hash = createHash('sha256');
    for (let at = 0; at < this.count; at += batchEntries) hash.update(await this.#readEntries(at, Math.min(batchEntries, this.count - at)));
    return hash.digest();
  }

  async close(): Promise<void> {
    await this.#handle.close();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }

  async #readEntries(from: number, count: number): Promise<Buffer> {
    const position = indexFileLength(this.kind, from);
    return readExactly(this.#handle, this.path, position, indexFileLength(this.kind, from + count) - position);
  }

  async #endBefore(entry: number): Promise<number> {
    if (this.header.chunkSize !== undefined) return Math.min(entry * this.header.chunkSize, this.size);
    return entry > this.count ? this.size : readEnd(await this.#readEntries(entry - 1, 1), 0);
  }

  #decode(bytes: Buffer, i: number, start: number): IndexEntry {
    if (this.header.chunkSize !== undefined) {
      return { digest: bytes.subarray(i * digestLength, (i + 1) * digestLength), start, end: Math.min(start + this.header.chunkSize, this.size) };
    }
    const entryLength = 8 + digestLength;
    const end = readEnd(bytes, i * entryLength);
    if (end <= start) throw new FormatError('format.index-order', `dynamic index ${quotedPath(this.path)}: chunk end ${end} does not follow ${start}`);
    return { digest: bytes.subarray(i * entryLength + 8, (i + 1) * entryLength), start, end };
  }
}

function readEnd(bytes: Buffer, offset: number): number {
  const end = bytes.readBigUInt64LE(offset);
  if (end > BigInt(Number.MAX_SAFE_INTEGER)) throw new FormatError('format.index-number', `dynamic index: chunk end ${end} is out of range`);
  return Number(end);
}

async function readExactly(handle: FileHandle, path: string, position: number, length: number): Promise<Buffer> {
  const buffer = Buffer.allocUnsafeSlow(length);
  let done = 0;
  try {
    while (done < length) {
      const { bytesRead } = await handle.read(buffer, done, length - done, position + done);
      if (bytesRead === 0) break;
      done += bytesRead;
    }
  } catch (e) {
    throw toStoreError(e, `unable to read index ${quotedPath(path)}`);
  }
  if (done < length) throw new FormatError('format.index-short', `index ${quotedPath(path)} became shorter while it was read`);
  return buffer;
}

/**
 * Opens an index file; `kind` by its name unless given (a temporary name). StoreError `store.missing` when there is none, FormatError
 * `format.index-*` when it is damaged.
 */
export async function openIndexFile(path: string, kind: IndexKind = indexKindOf(path)): Promise<IndexFile> {
  const { handle, size: fileLength } = await openRegularFile(path);
  try {
    const header = parseIndexHeader(kind, await readExactly(handle, path, 0, Math.min(fileLength, indexHeaderLength)), fileLength);
    let size = header.size;
    if (size === undefined) {
      const position = indexFileLength(kind, header.count - 1);
      size = readEnd(await readExactly(handle, path, position, fileLength - position), 0);
    }
    return new IndexFile(path, handle, header, size);
  } catch (e) {
    await handle.close();
    throw e;
  }
}
