import assert from 'node:assert/strict';
import { createHash, type Hash } from 'node:crypto';
import { asBuffer, bytesEqual, digestLength, type Digest } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';

export { archiveKind, type ArchiveKind } from './backup-path.ts';

/** Index files (spec formats 2). */
export type IndexKind = 'fixed' | 'dynamic';

/** One chunk of an archive: bytes `start` to `end` (exclusive) of the logical stream. */
export interface IndexEntry {
  digest: Digest;
  start: number;
  end: number;
}

export interface IndexHeader {
  kind: IndexKind;
  /** 16 bytes, never checked. */
  uuid: Buffer;
  /** Seconds since the epoch, never checked. */
  ctime: number;
  /** As stored: recompute it from the entries before trusting it. */
  csum: Digest;
  /** Bytes of the image; fixed only. */
  size?: number;
  /** Power of two; fixed only. */
  chunkSize?: number;
}

export const indexHeaderLength = 4096;
const entryLengths = { fixed: digestLength, dynamic: 8 + digestLength } as const;
const magics = { fixed: Buffer.from('2f7f41ed91fd0fcd', 'hex'), dynamic: Buffer.from('1c914ea519bab3cd', 'hex') } as const;
const csumOffset = 0x20;

/** Where a writer puts the csum at close. */
export const indexCsumOffset = csumOffset;

/** Bytes of an index file with `count` entries. */
export function indexFileLength(kind: IndexKind, count: number): number {
  return indexHeaderLength + count * entryLengths[kind];
}

function fail(code: string, message: string): never {
  throw new FormatError(`format.index-${code}`, message);
}

function safeInteger(value: bigint, what: string): number {
  if (value > BigInt(Number.MAX_SAFE_INTEGER) || value < BigInt(Number.MIN_SAFE_INTEGER)) fail('number', `index: ${what} ${value} is out of range`);
  return Number(value);
}

function decodeHeader(kind: IndexKind, header: Uint8Array): IndexHeader {
  if (header.byteLength < indexHeaderLength) fail('short', `${kind} index too small (${header.byteLength} bytes)`);
  const bytes = asBuffer(header);
  if (!bytes.subarray(0, 8).equals(magics[kind])) fail('magic', `not a ${kind} index: wrong magic ${bytes.toString('hex', 0, 8)}`);
  const common = {
    kind,
    uuid: Buffer.from(bytes.subarray(8, 24)),
    ctime: safeInteger(bytes.readBigInt64LE(24), 'ctime'),
    csum: Buffer.from(bytes.subarray(csumOffset, csumOffset + digestLength)),
  };
  if (kind === 'dynamic') return common;
  const size = safeInteger(bytes.readBigUInt64LE(0x40), 'size');
  const chunkSizeRaw = bytes.readBigUInt64LE(0x48);
  if (chunkSizeRaw === 0n || (chunkSizeRaw & (chunkSizeRaw - 1n)) !== 0n) fail('chunk-size', `fixed index: chunk size ${chunkSizeRaw} is not a power of two`);
  if (size === 0) fail('empty', 'fixed index has no entries');
  return { ...common, size, chunkSize: safeInteger(chunkSizeRaw, 'chunk size') };
}

/**
 * Header of an index file of `fileLength` bytes, with the number of entries; the length must fit exactly and there is at least one
 * entry (spec formats 2.1, 2.2). FormatError `format.index-*`.
 */
export function parseIndexHeader(kind: IndexKind, header4096: Uint8Array, fileLength: number): IndexHeader & { count: number } {
  const header = decodeHeader(kind, header4096);
  const count = (fileLength - indexHeaderLength) / entryLengths[kind];
  if (!Number.isInteger(count) || count < 0) fail('length', `${kind} index has ${fileLength} bytes, which is no whole number of entries`);
  if (count < 1) fail('empty', `${kind} index has no entries`);
  if (header.size !== undefined && header.chunkSize !== undefined) {
    const expected = Math.ceil(header.size / header.chunkSize);
    if (count !== expected) fail('length', `fixed index has ${count} entries, its size needs ${expected}`);
  }
  return { ...header, count };
}

function checkStep(previousEnd: number, end: number): void {
  if (end <= previousEnd) fail('order', `dynamic index: chunk end ${end} does not follow ${previousEnd}`);
}

/** A whole index file in memory. Keeps a reference to the bytes: they must not change. */
export class ChunkIndex {
  readonly header: IndexHeader;
  readonly kind: IndexKind;
  readonly count: number;
  /** Logical bytes of the archive. */
  readonly size: number;
  readonly #entries: Buffer;

  private constructor(header: IndexHeader & { count: number }, entries: Buffer) {
    this.header = header;
    this.kind = header.kind;
    this.count = header.count;
    this.#entries = entries;
    this.size = header.size ?? this.#dynamicEnd(header.count - 1);
  }

  /** FormatError `format.index-*`; the ends of a dynamic index must grow. The stored csum is not compared: see `computeCsum`. */
  static parse(kind: IndexKind, bytes: Uint8Array): ChunkIndex {
    const header = parseIndexHeader(kind, bytes.subarray(0, indexHeaderLength), bytes.byteLength);
    const entries = asBuffer(bytes).subarray(indexHeaderLength);
    if (kind === 'dynamic') {
      for (let i = 0, end = 0; i < header.count; i += 1) {
        const next = readEnd(entries, i);
        checkStep(end, next);
        end = next;
      }
    }
    return new ChunkIndex(header, entries);
  }

  /** As stored in the header. */
  get csum(): Digest {
    return this.header.csum;
  }

  /** Entry number `i`; the digest is a view of the file's bytes. */
  entry(i: number): IndexEntry {
    return { digest: this.digest(i), start: i === 0 ? 0 : this.#end(i - 1), end: this.#end(i) };
  }

  digest(i: number): Digest {
    assert.ok(Number.isInteger(i) && i >= 0 && i < this.count, `no entry ${i}`);
    const end = (i + 1) * entryLengths[this.kind];
    return this.#entries.subarray(end - digestLength, end);
  }

  *entries(): Generator<IndexEntry, void, undefined> {
    for (let i = 0; i < this.count; i += 1) yield this.entry(i);
  }

  /** The csum that the entries have (spec formats 2): what a manifest's `csum` must equal. */
  computeCsum(): Digest {
    return createHash('sha256').update(this.#entries).digest();
  }

  /** Number of the entry that holds logical byte `offset`, which is below `size`. */
  find(offset: number): number {
    assert.ok(Number.isSafeInteger(offset) && offset >= 0 && offset < this.size, `offset ${offset} outside the archive`);
    if (this.header.chunkSize !== undefined) return Math.floor(offset / this.header.chunkSize);
    let low = 0;
    let high = this.count - 1;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#dynamicEnd(middle) > offset) high = middle;
      else low = middle + 1;
    }
    return low;
  }

  #end(i: number): number {
    return this.header.chunkSize === undefined ? this.#dynamicEnd(i) : Math.min((i + 1) * this.header.chunkSize, this.size);
  }

  #dynamicEnd(i: number): number {
    return readEnd(this.#entries, i);
  }
}

function readEnd(entries: Buffer, i: number): number {
  // Two 32-bit reads: four times as fast as a BigInt.
  const at = i * entryLengths.dynamic;
  const end = entries.readUInt32LE(at + 4) * 2 ** 32 + entries.readUInt32LE(at);
  if (!Number.isSafeInteger(end)) fail('number', `dynamic index: chunk end ${end} is out of range`);
  return end;
}

/** What `IndexEntryDecoder.finish` found, all from the entries themselves. */
export interface IndexSummary {
  count: number;
  size: number;
  csum: Digest;
}

/** Decodes an index file that arrives in pieces, in constant memory. */
export class IndexEntryDecoder {
  readonly kind: IndexKind;
  /** Once the first 4096 bytes have arrived. */
  header: IndexHeader | null = null;
  #pending: Buffer = Buffer.alloc(0);
  readonly #hash: Hash = createHash('sha256');
  #count = 0;
  #end = 0;
  #finished = false;

  constructor(kind: IndexKind) {
    this.kind = kind;
  }

  /** Entries that `bytes` completes, in order; digests are copies. FormatError `format.index-*` as soon as something is wrong; then the decoder is spent. */
  push(bytes: Uint8Array): IndexEntry[] {
    assert.ok(!this.#finished, 'push after finish');
    let input = this.#pending.byteLength === 0 ? asBuffer(bytes) : Buffer.concat([this.#pending, bytes]);
    if (this.header === null) {
      if (input.byteLength < indexHeaderLength) {
        this.#pending = Buffer.from(input);
        return [];
      }
      this.header = decodeHeader(this.kind, input);
      input = input.subarray(indexHeaderLength);
    }
    const step = entryLengths[this.kind];
    const whole = Math.floor(input.byteLength / step);
    const used = Buffer.from(input.subarray(0, whole * step));
    this.#pending = Buffer.from(input.subarray(whole * step));
    this.#hash.update(used);
    const entries: IndexEntry[] = [];
    for (let i = 0; i < whole; i += 1) entries.push(this.#entry(used, i));
    return entries;
  }

  /** Call once after the last byte. FormatError when the file is truncated, empty or has not the length that its header announces. */
  finish(): IndexSummary {
    assert.ok(!this.#finished, 'finish twice');
    this.#finished = true;
    if (this.header === null) return fail('short', `${this.kind} index too small (${this.#pending.byteLength} bytes)`);
    if (this.#pending.byteLength > 0) fail('length', `${this.kind} index ends inside an entry`);
    if (this.#count === 0) fail('empty', `${this.kind} index has no entries`);
    if (this.header.size !== undefined && this.#end !== this.header.size) fail('length', `fixed index ends at ${this.#end} instead of ${this.header.size}`);
    return { count: this.#count, size: this.#end, csum: this.#hash.digest() };
  }

  #entry(bytes: Buffer, i: number): IndexEntry {
    const { size, chunkSize } = this.header!;
    const start = this.#end;
    let end: number;
    if (size === undefined || chunkSize === undefined) {
      end = readEnd(bytes, i);
      checkStep(start, end);
    } else {
      if (start >= size) fail('length', `fixed index has more entries than its size of ${size} needs`);
      end = Math.min(start + chunkSize, size);
    }
    this.#count += 1;
    this.#end = end;
    const digestEnd = (i + 1) * entryLengths[this.kind];
    return { digest: bytes.subarray(digestEnd - digestLength, digestEnd), start, end };
  }
}

/** Running csum of a writer (spec formats 2): over the digests of a fixed index, over the whole entries of a dynamic one. */
export class IndexCsum {
  readonly #kind: IndexKind;
  readonly #hash: Hash = createHash('sha256');

  constructor(kind: IndexKind) {
    this.#kind = kind;
  }

  /** `end` counts only for a dynamic index. */
  add(end: number, digest: Digest): void {
    this.#hash.update(this.#kind === 'fixed' ? digest : encodeDynamicEntry(end, digest));
  }

  /** Once. */
  digest(): Digest {
    return this.#hash.digest();
  }
}

/** The 40 bytes of one dynamic entry; `end` is the exclusive end offset. */
export function encodeDynamicEntry(end: number, digest: Digest): Buffer {
  assert.ok(Number.isSafeInteger(end) && end > 0);
  assert.equal(digest.byteLength, digestLength);
  const entry = Buffer.allocUnsafe(entryLengths.dynamic);
  entry.writeBigUInt64LE(BigInt(end), 0);
  entry.set(digest, 8);
  return entry;
}

function commonHeader(kind: IndexKind, fields: { uuid: Uint8Array; ctime: number; csum: Digest }): Buffer {
  assert.equal(fields.uuid.byteLength, 16);
  assert.equal(fields.csum.byteLength, digestLength);
  const header = Buffer.alloc(indexHeaderLength);
  header.set(magics[kind]);
  header.set(fields.uuid, 8);
  header.writeBigInt64LE(BigInt(fields.ctime), 24);
  header.set(fields.csum, csumOffset);
  return header;
}

/** 4096 bytes. A writer starts with a csum (and size, when unknown) of zeros and rewrites the header at close. */
export function encodeFixedIndexHeader(fields: { uuid: Uint8Array; ctime: number; csum: Digest; size: number; chunkSize: number }): Buffer {
  assert.ok(Number.isSafeInteger(fields.size) && fields.size >= 0);
  assert.ok(Number.isSafeInteger(fields.chunkSize) && fields.chunkSize >= 1 && Number.isInteger(Math.log2(fields.chunkSize)));
  const header = commonHeader('fixed', fields);
  header.writeBigUInt64LE(BigInt(fields.size), 0x40);
  header.writeBigUInt64LE(BigInt(fields.chunkSize), 0x48);
  return header;
}

/** 4096 bytes. */
export function encodeDynamicIndexHeader(fields: { uuid: Uint8Array; ctime: number; csum: Digest }): Buffer {
  return commonHeader('dynamic', fields);
}

/** A whole fixed index file; as many digests as the size needs. */
export function encodeFixedIndex(fields: { uuid: Uint8Array; ctime: number; size: number; chunkSize: number; digests: readonly Digest[] }): Buffer {
  assert.equal(fields.digests.length, Math.ceil(fields.size / fields.chunkSize));
  assert.ok(fields.digests.length >= 1);
  const csum = new IndexCsum('fixed');
  for (const digest of fields.digests) csum.add(0, digest);
  return Buffer.concat([encodeFixedIndexHeader({ ...fields, csum: csum.digest() }), ...fields.digests]);
}

/** A whole dynamic index file; at least one entry, ends growing. */
export function encodeDynamicIndex(fields: { uuid: Uint8Array; ctime: number; entries: ReadonlyArray<{ end: number; digest: Digest }> }): Buffer {
  assert.ok(fields.entries.length >= 1);
  let previous = 0;
  const encoded = fields.entries.map(({ end, digest }) => {
    assert.ok(end > previous);
    previous = end;
    return encodeDynamicEntry(end, digest);
  });
  const csum = createHash('sha256');
  for (const entry of encoded) csum.update(entry);
  return Buffer.concat([encodeDynamicIndexHeader({ ...fields, csum: csum.digest() }), ...encoded]);
}

/** Compares what an index's entries say with the manifest: FormatError `format.index-csum`, `format.index-size`. */
export function checkIndexSummary(summary: IndexSummary, expected: { csum: Digest; size: number }, name: string): void {
  if (!bytesEqual(summary.csum, expected.csum)) fail('csum', `${name}: wrong index checksum, the manifest has another`);
  if (summary.size !== expected.size) fail('size', `${name}: wrong size (${summary.size}), the manifest says ${expected.size}`);
}
