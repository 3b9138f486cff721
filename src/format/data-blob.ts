import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { crc32 } from 'node:zlib';
import { asBuffer, bytesEqual, toHex, type Digest } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { ivLength, type CryptConfig } from '../crypto/crypt-config.ts';
import { compress, compressAsync, decompress, decompressAsync } from './zstd-payload.ts';

/** The four kinds of data blob (spec formats 1.1). */
export type BlobKind = 'uncompressed' | 'compressed' | 'encrypted' | 'encr_compr';

/** Largest plain content of a blob: 128 MiB. */
export const maxBlobPlainSize = 128 * 1024 * 1024;
/** Largest plain content of a chunk: 16 MiB. */
export const maxChunkPlainSize = 16 * 1024 * 1024;
/** Largest encoded chunk or uploaded blob file (spec formats 1.6). */
export const maxChunkEncodedSize = maxChunkPlainSize + 44;

const plainHeaderLength = 12;
const encryptedHeaderLength = 44;
const crcOffset = 8;
const ivOffset = 12;
const tagOffset = ivOffset + ivLength;

const magics: Record<BlobKind, Buffer> = {
  uncompressed: Buffer.from('42ab3807be8370a1', 'hex'),
  compressed: Buffer.from('31b958426fb6a37f', 'hex'),
  encrypted: Buffer.from('7b6785be222d4cf0', 'hex'),
  encr_compr: Buffer.from('e6591bbf0bbfd80b', 'hex'),
};
const kinds = Object.keys(magics) as BlobKind[];

export function isEncryptedKind(kind: BlobKind): boolean {
  return kind === 'encrypted' || kind === 'encr_compr';
}

function headerLength(kind: BlobKind): number {
  return isEncryptedKind(kind) ? encryptedHeaderLength : plainHeaderLength;
}

/** Kind of an encoded blob: length and magic are checked, the CRC is not (spec formats 1.4, from_raw). FormatError `format.blob-short`, `format.blob-magic`. */
export function blobKind(raw: Uint8Array): BlobKind {
  if (raw.byteLength < plainHeaderLength) throw new FormatError('format.blob-short', `data blob too small (${raw.byteLength} bytes)`);
  const magic = asBuffer(raw).subarray(0, 8);
  const kind = kinds.find((candidate) => magics[candidate].equals(magic));
  if (kind === undefined) throw new FormatError('format.blob-magic', `not a data blob: unknown magic ${toHex(magic)}`);
  if (raw.byteLength < headerLength(kind)) throw new FormatError('format.blob-short', `encrypted data blob too small (${raw.byteLength} bytes)`);
  return kind;
}

/** FormatError `format.crypt-mode` unless the chunk is of an encrypted (true) or of a plain kind (false), as its archive is. */
export function requireKind(raw: Uint8Array, encrypted: boolean): void {
  if (isEncryptedKind(blobKind(raw)) === encrypted) return;
  throw new FormatError('format.crypt-mode', `the chunk is ${encrypted ? 'not encrypted' : 'encrypted'}, the archive is ${encrypted ? 'encrypted' : 'not'}`);
}

/** `blobKind` plus the CRC over the payload; FormatError `format.blob-crc`. */
export function checkBlobCrc(raw: Uint8Array): BlobKind {
  const kind = blobKind(raw);
  if (asBuffer(raw).readUInt32LE(crcOffset) !== crc32(raw.subarray(headerLength(kind)))) {
    throw new FormatError('format.blob-crc', 'data blob has wrong CRC checksum');
  }
  return kind;
}

/** Copy with the CRC recomputed: what a server stores of an uploaded chunk (spec formats 1.4). */
export function withFreshCrc(raw: Uint8Array): Buffer {
  const copy = Buffer.from(raw);
  copy.writeUInt32LE(crc32(copy.subarray(headerLength(blobKind(copy)))), crcOffset);
  return copy;
}

export interface EncodeOptions {
  compress: boolean;
  /** Encrypt with this key. */
  crypt?: CryptConfig | undefined;
}

function assemble(data: Uint8Array, frame: Buffer | null, crypt: CryptConfig | undefined): Buffer {
  const body = frame ?? data;
  if (crypt === undefined) {
    const blob = Buffer.allocUnsafe(plainHeaderLength + body.byteLength);
    blob.set(magics[frame === null ? 'uncompressed' : 'compressed']);
    blob.set(body, plainHeaderLength);
    blob.writeUInt32LE(crc32(body), crcOffset);
    return blob;
  }
  const { iv, tag, ciphertext } = crypt.encrypt(body);
  const blob = Buffer.allocUnsafe(encryptedHeaderLength + ciphertext.byteLength);
  blob.set(magics[frame === null ? 'encrypted' : 'encr_compr']);
  blob.set(iv, ivOffset);
  blob.set(tag, tagOffset);
  blob.set(ciphertext, encryptedHeaderLength);
  blob.writeUInt32LE(crc32(ciphertext), crcOffset);
  return blob;
}

function checkPlainSize(data: Uint8Array): void {
  if (data.byteLength > maxBlobPlainSize) throw new FormatError('format.too-large', `data blob too large (${data.byteLength} bytes)`);
}

/** Encodes `data` (at most 128 MiB, FormatError `format.too-large`). Falls back to the uncompressed kind when compression does not pay (spec formats 1.3). */
export function encodeBlob(data: Uint8Array, options: EncodeOptions): Buffer {
  checkPlainSize(data);
  return assemble(data, options.compress ? compress(data) : null, options.crypt);
}

/** Like `encodeBlob`, zstd off the event loop. `data` must not change meanwhile. */
export async function encodeBlobAsync(data: Uint8Array, options: EncodeOptions): Promise<Buffer> {
  checkPlainSize(data);
  return assemble(data, options.compress ? await compressAsync(data) : null, options.crypt);
}

export interface DecodeOptions {
  /** Needed for the encrypted kinds; ignored for the others. */
  crypt?: CryptConfig | undefined;
  /** Bound on the decoded size; 128 MiB by default. */
  maxSize?: number | undefined;
  /** Expected digest of the decoded data: keyed for the encrypted kinds, SHA-256 for the others. */
  digest?: Digest | undefined;
}

/** Payload after CRC and decryption: the data itself or zstd frames. */
function openPayload(raw: Uint8Array, options: DecodeOptions): { kind: BlobKind; body: Buffer; maxSize: number } {
  const kind = checkBlobCrc(raw);
  const maxSize = options.maxSize ?? maxBlobPlainSize;
  assert.ok(Number.isSafeInteger(maxSize) && maxSize >= 0 && maxSize <= maxBlobPlainSize);
  const blob = asBuffer(raw);
  const payload = blob.subarray(headerLength(kind));
  if (!isCompressedKind(kind) && payload.byteLength > maxSize) throw new FormatError('format.too-large', `data blob holds more than ${maxSize} bytes`);
  if (!isEncryptedKind(kind)) return { kind, body: payload, maxSize };
  if (options.crypt === undefined) throw new FormatError('format.key-missing', 'data blob is encrypted, but no key was given');
  return { kind, body: options.crypt.decrypt(blob.subarray(ivOffset, tagOffset), blob.subarray(tagOffset, encryptedHeaderLength), payload), maxSize };
}

function isCompressedKind(kind: BlobKind): boolean {
  return kind === 'compressed' || kind === 'encr_compr';
}

/** Digest of a chunk's plain data: keyed for the encrypted kinds, SHA-256 for the others (spec formats 1.5). */
function plainDigest(kind: BlobKind, data: Uint8Array, crypt: CryptConfig | undefined): Buffer {
  if (!isEncryptedKind(kind)) return createHash('sha256').update(data).digest();
  assert.ok(crypt !== undefined);
  return crypt.digest(data);
}

function checkDigest(kind: BlobKind, data: Uint8Array, options: DecodeOptions): void {
  if (options.digest === undefined) return;
  const actual = plainDigest(kind, data, options.crypt);
  if (!bytesEqual(actual, options.digest)) {
    throw new FormatError('format.digest', `data has digest ${toHex(actual)} instead of ${toHex(options.digest)}`);
  }
}

/**
 * Plain content of a blob; CRC, GCM tag, size bound and (if given) digest are checked first. For the uncompressed kind the
 * result is a view of `raw`. FormatError: `format.blob-*`, `format.key-missing`, `format.auth-tag`, `format.zstd`, `format.too-large`, `format.digest`.
 */
export function decodeBlob(raw: Uint8Array, options: DecodeOptions = {}): Buffer {
  const { kind, body, maxSize } = openPayload(raw, options);
  const data = isCompressedKind(kind) ? decompress(body, maxSize) : body;
  checkDigest(kind, data, options);
  return data;
}

/** Like `decodeBlob`, zstd off the event loop. `raw` must not change meanwhile. */
export async function decodeBlobAsync(raw: Uint8Array, options: DecodeOptions = {}): Promise<Buffer> {
  const { kind, body, maxSize } = openPayload(raw, options);
  const data = isCompressedKind(kind) ? await decompressAsync(body, maxSize) : body;
  checkDigest(kind, data, options);
  return data;
}

function sizeMismatch(actual: number | string, expected: number): FormatError {
  return new FormatError('format.chunk-size', `chunk holds ${actual} bytes instead of ${expected}`);
}

/**
 * Checks a stored or received chunk against its digest and plain size (spec formats 1.4): the CRC always; plain kinds decode, length and
 * SHA-256; encrypted kinds with the key: tag, length and keyed digest. Without the key the content cannot be checked, only
 * the length of an uncompressed one. Resolves when nothing is wrong, else FormatError (`format.chunk-size`, `format.digest`, those of `decodeBlob`).
 */
export async function verifyChunk(raw: Uint8Array, digest: Digest, size: number, options: { crypt?: CryptConfig | undefined } = {}): Promise<void> {
  if (size < 1 || size > maxChunkPlainSize) throw new FormatError('format.chunk-size', `a chunk cannot hold ${size} bytes`);
  const kind = blobKind(raw);
  if (isEncryptedKind(kind) && options.crypt === undefined) {
    checkBlobCrc(raw);
    const length = raw.byteLength - encryptedHeaderLength;
    if (kind === 'encrypted' && length !== size) throw sizeMismatch(length, size);
    return;
  }
  let data: Buffer;
  try {
    data = await decodeBlobAsync(raw, { crypt: options.crypt, maxSize: size });
  } catch (e) {
    if (e instanceof FormatError && e.code === 'format.too-large') throw sizeMismatch('more', size);
    throw e;
  }
  if (data.byteLength !== size) throw sizeMismatch(data.byteLength, size);
  checkDigest(kind, data, { crypt: options.crypt, digest });
}
