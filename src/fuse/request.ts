import { FormatError } from '../base/errors.ts';

/** The kernel's side of the FUSE protocol (linux/fuse.h, 7.23 and newer): requests as they come from /dev/fuse. */

export const fuseMajor = 7;
/** Oldest minor version whose structures are the ones here (Linux 3.15). */
export const oldestMinor = 23;

export const requestHeaderLength = 40;
/** The longest request that a file system gets that nobody writes to. */
export const maxRequestLength = 64 * 1024;

export const opcodes = {
  lookup: 1,
  forget: 2,
  getattr: 3,
  readlink: 5,
  open: 14,
  read: 15,
  statfs: 17,
  release: 18,
  fsync: 20,
  getxattr: 22,
  listxattr: 23,
  flush: 25,
  init: 26,
  opendir: 27,
  readdir: 28,
  releasedir: 29,
  fsyncdir: 30,
  access: 34,
  interrupt: 36,
  destroy: 38,
  batchForget: 42,
  readdirplus: 44,
} as const;

/** Requests that would change something. */
const changes: ReadonlySet<number> = new Set([4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51]);

/** Node of the root. */
export const rootNode = 1n;

interface Addressed {
  /** Names the request in its reply. */
  unique: bigint;
  node: bigint;
}

/** A request. Numbers of nodes are those that the file system gave. */
export type FuseRequest = Addressed &
  (
    | { kind: 'init'; major: number; minor: number; maxReadahead: number; flags: number }
    | { kind: 'lookup'; name: Buffer }
    | { kind: 'getattr' | 'readlink' | 'statfs' | 'open' | 'opendir' | 'destroy' | 'forget' }
    /** Closing, flushing, syncing: there is nothing to do. */
    | { kind: 'done' }
    | { kind: 'access'; mask: number }
    | { kind: 'read'; offset: number; size: number }
    | { kind: 'readdir'; offset: number; size: number; plus: boolean }
    | { kind: 'getxattr'; name: Buffer; size: number }
    | { kind: 'listxattr'; size: number }
    | { kind: 'interrupt'; interrupted: bigint }
    /** What a read-only file system refuses. */
    | { kind: 'change' }
    /** What this file system does not have, or does not know. */
    | { kind: 'unknown'; opcode: number }
  );

function fail(why: string): never {
  throw new FormatError('format.fuse', `request of the kernel: ${why}`);
}

/** Longest name that Linux looks up. */
const maxNameLength = 1024;
/** A reply is held in memory. */
const maxReplyLength = 4 * 1024 * 1024;

function nameFrom(body: Buffer): Buffer {
  const end = body.indexOf(0);
  if (end < 1 || end !== body.length - 1 || end > maxNameLength) fail('a name is not one');
  return Buffer.from(body.subarray(0, end));
}

function needs(body: Buffer, length: number): void {
  if (body.length < length) fail(`${body.length} bytes instead of ${length}`);
}

function offsetAt(body: Buffer, at: number): number {
  const offset = body.readBigUInt64LE(at);
  if (offset > BigInt(Number.MAX_SAFE_INTEGER)) fail(`offset ${offset}`);
  return Number(offset);
}

function sizeAt(body: Buffer, at: number): number {
  const size = body.readUInt32LE(at);
  if (size > maxReplyLength) fail(`${size} bytes at once`);
  return size;
}

function range(body: Buffer): { offset: number; size: number } {
  needs(body, 24);
  return { offset: offsetAt(body, 8), size: sizeAt(body, 16) };
}

function initFrom(body: Buffer): { major: number; minor: number; maxReadahead: number; flags: number } {
  needs(body, 16);
  return { major: body.readUInt32LE(0), minor: body.readUInt32LE(4), maxReadahead: body.readUInt32LE(8), flags: body.readUInt32LE(12) };
}

/** `unique` and node of a request that cannot be read further, to refuse it; null when not even that is there. */
export function requestAddress(bytes: Buffer): Addressed | null {
  return bytes.length < requestHeaderLength ? null : { unique: bytes.readBigUInt64LE(8), node: bytes.readBigUInt64LE(16) };
}

/** Reads one whole request. FormatError `format.fuse` for anything that is not as the protocol says. */
export function decodeRequest(bytes: Buffer): FuseRequest {
  if (bytes.length < requestHeaderLength || bytes.length > maxRequestLength || bytes.readUInt32LE(0) !== bytes.length) fail(`${bytes.length} bytes`);
  const opcode = bytes.readUInt32LE(4);
  const unique = bytes.readBigUInt64LE(8);
  const node = bytes.readBigUInt64LE(16);
  // Extensions stand at the end, in units of 8 bytes; none is asked for.
  const extensions = bytes.readUInt16LE(36) * 8;
  if (requestHeaderLength + extensions > bytes.length) fail('extensions are longer than the request');
  const body = bytes.subarray(requestHeaderLength, bytes.length - extensions);
  return { unique, node, ...decodeBody(opcode, body) };
}

type Body<T> = T extends FuseRequest ? Omit<T, keyof Addressed> : never;

function decodeBody(opcode: number, body: Buffer): Body<FuseRequest> {
  switch (opcode) {
    case opcodes.init:
      return { kind: 'init', ...initFrom(body) };
    case opcodes.lookup:
      return { kind: 'lookup', name: nameFrom(body) };
    case opcodes.getattr:
      return { kind: 'getattr' };
    case opcodes.readlink:
      return { kind: 'readlink' };
    case opcodes.statfs:
      return { kind: 'statfs' };
    case opcodes.open:
      return { kind: 'open' };
    case opcodes.opendir:
      return { kind: 'opendir' };
    case opcodes.destroy:
      return { kind: 'destroy' };
    case opcodes.forget:
    case opcodes.batchForget:
      return { kind: 'forget' };
    case opcodes.access:
      needs(body, 4);
      return { kind: 'access', mask: body.readUInt32LE(0) };
    case opcodes.read:
      return { kind: 'read', ...range(body) };
    case opcodes.readdir:
    case opcodes.readdirplus:
      return { kind: 'readdir', ...range(body), plus: opcode === opcodes.readdirplus };
    case opcodes.getxattr:
      needs(body, 10);
      return { kind: 'getxattr', size: sizeAt(body, 0), name: nameFrom(body.subarray(8)) };
    case opcodes.listxattr:
      needs(body, 8);
      return { kind: 'listxattr', size: sizeAt(body, 0) };
    case opcodes.interrupt:
      needs(body, 8);
      return { kind: 'interrupt', interrupted: body.readBigUInt64LE(0) };
    case opcodes.release:
    case opcodes.releasedir:
    case opcodes.fsync:
    case opcodes.fsyncdir:
    case opcodes.flush:
      return { kind: 'done' };
    default:
      return changes.has(opcode) ? { kind: 'change' } : { kind: 'unknown', opcode };
  }
}
