import assert from 'node:assert/strict';
import { fuseMajor } from './request.ts';

/** Replies to the kernel (linux/fuse.h 7.31). */

const replyHeaderLength = 16;
const attributesLength = 88;
const entryLength = 40 + attributesLength;
const direntLength = 24;

/** What is known of a node. Times are of the modification: archives keep no other. */
export interface NodeAttributes {
  /** Number of the inode, and name of the node in requests. 1 is the root. */
  node: bigint;
  /** Type and permissions. */
  mode: number;
  nlink: number;
  uid: number;
  gid: number;
  size: number;
  mtimeNs: bigint;
  /** For devices. */
  device: { major: number; minor: number } | null;
}

/** What FUSE version 7.31 is negotiated with. */
const ourMinor = 31;
const initFlags = {
  asyncRead: 1 << 0,
  readdirplus: 1 << 13,
  readdirplusAuto: 1 << 14,
  parallelDirectories: 1 << 18,
  posixAcl: 1 << 20,
  maxPages: 1 << 22,
  cacheSymlinks: 1 << 23,
} as const;
const wantedFlags = Object.values(initFlags).reduce((all, flag) => all | flag, 0);
/** Of 4096 bytes: reads are up to 1 MiB. */
const maxPages = 256;
const maxBackground = 64;
const maxReadahead = 1024 * 1024;
/** The least that Linux allows; nothing is written. */
const maxWrite = 4096;

/** An archive does not change: what was said holds. Seconds. */
const validSeconds = 24 * 3600;
/** FOPEN_KEEP_CACHE, and for folders FOPEN_CACHE_DIR. */
const keepCache = 2;
const cacheDirectory = 8;

/** Puts the header before the parts of a good reply. */
export function goodReply(unique: bigint, ...parts: readonly Buffer[]): Buffer[] {
  return [replyHeader(unique, 0, parts.reduce((sum, part) => sum + part.length, 0)), ...parts.filter((part) => part.length > 0)];
}

/** A reply that says that the request failed; `errno` is positive. */
export function errorReply(unique: bigint, errno: number): Buffer[] {
  assert.ok(errno > 0 && errno < 512, 'an errno that the kernel takes');
  return [replyHeader(unique, -errno, 0)];
}

function replyHeader(unique: bigint, error: number, length: number): Buffer {
  const header = Buffer.alloc(replyHeaderLength);
  header.writeUInt32LE(replyHeaderLength + length, 0);
  header.writeInt32LE(error, 4);
  header.writeBigUInt64LE(unique, 8);
  return header;
}

export function initBody(init: { minor: number; maxReadahead: number; flags: number }): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(fuseMajor, 0);
  body.writeUInt32LE(Math.min(init.minor, ourMinor), 4);
  body.writeUInt32LE(Math.min(init.maxReadahead, maxReadahead), 8);
  body.writeUInt32LE((init.flags & wantedFlags) >>> 0, 12);
  body.writeUInt16LE(maxBackground, 16);
  body.writeUInt16LE((maxBackground * 3) / 4, 18);
  body.writeUInt32LE(maxWrite, 20);
  body.writeUInt32LE(1, 24);
  body.writeUInt16LE(maxPages, 28);
  return body;
}

/** What a kernel of another major version is answered: it asks again with ours. */
export function initVersionBody(): Buffer {
  const body = Buffer.alloc(64);
  body.writeUInt32LE(fuseMajor, 0);
  body.writeUInt32LE(ourMinor, 4);
  return body;
}

/** As the kernel encodes device numbers for users. */
function encodedDevice({ major, minor }: { major: number; minor: number }): number {
  return ((minor & 0xff) | ((major & 0xfff) << 8) | ((minor & 0xfff00) << 12)) >>> 0;
}

function writeAttributes(into: Buffer, at: number, attributes: NodeAttributes): void {
  const { node, mode, nlink, uid, gid, size, mtimeNs, device } = attributes;
  into.writeBigUInt64LE(node, at);
  into.writeBigUInt64LE(BigInt(size), at + 8);
  into.writeBigUInt64LE(BigInt(Math.ceil(size / 512)), at + 16);
  // Rounded down, so that the nanoseconds are positive before 1970 too.
  const nanoseconds = BigInt.asUintN(64, ((mtimeNs % 1_000_000_000n) + 1_000_000_000n) % 1_000_000_000n);
  const seconds = BigInt.asUintN(64, (mtimeNs - nanoseconds) / 1_000_000_000n);
  for (let time = 0; time < 3; time += 1) {
    into.writeBigUInt64LE(seconds, at + 24 + 8 * time);
    into.writeUInt32LE(Number(nanoseconds), at + 48 + 4 * time);
  }
  into.writeUInt32LE(mode >>> 0, at + 60);
  into.writeUInt32LE(nlink, at + 64);
  into.writeUInt32LE(uid, at + 68);
  into.writeUInt32LE(gid, at + 72);
  into.writeUInt32LE(device === null ? 0 : encodedDevice(device), at + 76);
  into.writeUInt32LE(4096, at + 80);
}

function writeEntry(into: Buffer, at: number, attributes: NodeAttributes): void {
  into.writeBigUInt64LE(attributes.node, at);
  into.writeBigUInt64LE(BigInt(validSeconds), at + 16);
  into.writeBigUInt64LE(BigInt(validSeconds), at + 24);
  writeAttributes(into, at + 40, attributes);
}

/** Of a lookup; null: there is no such name, and there will be none. */
export function entryBody(attributes: NodeAttributes | null): Buffer {
  const body = Buffer.alloc(entryLength);
  if (attributes === null) body.writeBigUInt64LE(BigInt(validSeconds), 16);
  else writeEntry(body, 0, attributes);
  return body;
}

export function attributesBody(attributes: NodeAttributes): Buffer {
  const body = Buffer.alloc(16 + attributesLength);
  body.writeBigUInt64LE(BigInt(validSeconds), 0);
  writeAttributes(body, 16, attributes);
  return body;
}

export function openBody(isDirectory: boolean): Buffer {
  const body = Buffer.alloc(16);
  body.writeUInt32LE(isDirectory ? keepCache | cacheDirectory : keepCache, 8);
  return body;
}

export interface FileSystemTotals {
  bytes: number;
}

const blockLength = 4096;
const maxNameLength = 255;

export function statfsBody({ bytes }: FileSystemTotals): Buffer {
  const body = Buffer.alloc(80);
  body.writeBigUInt64LE(BigInt(Math.ceil(bytes / blockLength)), 0);
  body.writeUInt32LE(blockLength, 40);
  body.writeUInt32LE(maxNameLength, 44);
  body.writeUInt32LE(blockLength, 48);
  return body;
}

export function xattrSizeBody(size: number): Buffer {
  const body = Buffer.alloc(8);
  body.writeUInt32LE(size, 0);
  return body;
}

/** A name in a folder. */
export interface DirectoryRecord {
  name: Buffer;
  node: bigint;
  mode: number;
  /** Null: to be looked up when somebody wants them. */
  attributes: NodeAttributes | null;
  /** Where a listing goes on behind it; above 0. */
  next: number;
}

/** Puts the records of a listing together, as many as have room. */
export class ListingBody {
  readonly #plus: boolean;
  readonly #buffer: Buffer;
  #length = 0;

  constructor(size: number, plus: boolean) {
    this.#plus = plus;
    this.#buffer = Buffer.alloc(size);
  }

  /** False: there was no room. */
  add(record: DirectoryRecord): boolean {
    const { name, node, mode, attributes, next } = record;
    const before = this.#plus ? entryLength : 0;
    const length = Math.ceil((before + direntLength + name.length) / 8) * 8;
    const at = this.#length;
    if (at + length > this.#buffer.length) return false;
    if (this.#plus && attributes !== null) writeEntry(this.#buffer, at, attributes);
    const entry = at + before;
    this.#buffer.writeBigUInt64LE(node, entry);
    this.#buffer.writeBigUInt64LE(BigInt(next), entry + 8);
    this.#buffer.writeUInt32LE(name.length, entry + 16);
    this.#buffer.writeUInt32LE((mode >>> 12) & 0o17, entry + 20);
    name.copy(this.#buffer, entry + direntLength);
    this.#length += length;
    return true;
  }

  get bytes(): Buffer {
    return this.#buffer.subarray(0, this.#length);
  }
}
