import { FormatError } from '../base/errors.ts';

/** An archive is a flat sequence of items (spec pxar 1): 16 bytes of header, then content. */
export const itemHeaderLength = 16;

export const maxNameLength = 4096;
/** Longest content of an xattr item: name, NUL and value. */
export const maxXattrLength = 255 + 1 + 65_535;
/** Patterns that were given for the backup; the format has no bound, memory has. */
export const maxPreludeLength = 16 * 1024 * 1024;
/** One record of a goodbye table. */
export const goodbyeRecordLength = 24;
/** Bound of a table that is held in memory: eight million entries in one directory. */
export const maxGoodbyeLength = itemHeaderLength + 8 * 1024 * 1024 * goodbyeRecordLength;
/** Marks the last record of a goodbye table. */
export const goodbyeTail = { high: 0xef5eed5b, low: 0x753e1555 };

interface ItemRule {
  /** Constant in the header. */
  type: bigint;
  /** Lawful content lengths. */
  min: number;
  max: number;
}

const unbounded = Number.MAX_SAFE_INTEGER - itemHeaderLength;
const exactly = (type: bigint, length: number): ItemRule => ({ type, min: length, max: length });

/** Every kind of item (spec pxar 1.1). */
export const itemRules = {
  formatVersion: exactly(0x730f6c75df16a40dn, 8),
  prelude: { type: 0xe309d79d9f7b771bn, min: 0, max: maxPreludeLength },
  entry: exactly(0xd5956474e588acefn, 40),
  entryV1: exactly(0x11da850a1c1cceffn, 32),
  filename: { type: 0x16701121063917b3n, min: 2, max: maxNameLength + 1 },
  symlink: { type: 0x27f971e7dbf5dc5fn, min: 1, max: maxNameLength + 1 },
  device: exactly(0x9fc9e906586d5ce9n, 16),
  xattr: { type: 0x0dab0229b57dcd03n, min: 2, max: maxXattrLength },
  aclUser: exactly(0x2ce8540a457d55b8n, 16),
  aclGroup: exactly(0x136e3eceb04c03abn, 16),
  aclGroupObject: exactly(0x10868031e9582876n, 8),
  aclDefault: exactly(0xbbbb13415a6896f5n, 32),
  aclDefaultUser: exactly(0xc89357b40532cd1fn, 16),
  aclDefaultGroup: exactly(0xf90a8a5816038ffen, 16),
  fileCapabilities: { type: 0x2da9dd9db5f7fb67n, min: 0, max: maxXattrLength },
  quotaProjectId: exactly(0xe07540e82f7d1cbbn, 8),
  hardlink: { type: 0x51269c8422bd7275n, min: 10, max: 8 + maxNameLength + 1 },
  payload: { type: 0x28147a1b0b7c1a25n, min: 0, max: unbounded },
  payloadReference: exactly(0x419d3d6bc4ba977en, 16),
  goodbye: { type: 0x2fec4fa642d5731dn, min: goodbyeRecordLength, max: unbounded },
  payloadStart: exactly(0x834c68c2194a4ed2n, 0),
  payloadTail: exactly(0x6c72b78b984c81b5n, 0),
} as const satisfies Record<string, ItemRule>;

export type ItemKind = keyof typeof itemRules;

/** Numbers of 64 bits are slow, and headers many. */
const typeHalves = Object.fromEntries(Object.entries(itemRules).map(([kind, { type }]) => [kind, { low: Number(type & 0xffff_ffffn), high: Number(type >> 32n) }])) as Record<ItemKind, { low: number; high: number }>;

const kindByType = new Map<bigint, ItemKind>((Object.keys(itemRules) as ItemKind[]).map((kind) => [itemRules[kind].type, kind]));

/** FormatError `format.pxar`. */
export function pxarError(why: string): FormatError {
  return new FormatError('format.pxar', `archive: ${why}`);
}

/** u64 as a number. FormatError when it is not a safe integer. */
export function readU64(bytes: Buffer, at: number): number {
  const value = bytes.readUInt32LE(at) + bytes.readUInt32LE(at + 4) * 2 ** 32;
  if (value > Number.MAX_SAFE_INTEGER) throw pxarError(`number ${bytes.readBigUInt64LE(at)} is out of range`);
  return value;
}

export function writeU64(bytes: Buffer, value: number, at: number): void {
  bytes.writeUInt32LE(value >>> 0, at);
  bytes.writeUInt32LE(Math.floor(value / 2 ** 32), at + 4);
}

export interface ItemHeader {
  kind: ItemKind;
  /** Bytes of content. */
  length: number;
}

/** Reads the header at `at`; its 16 bytes are there. FormatError for unknown types and unlawful lengths. */
export function decodeItemHeader(bytes: Buffer, at: number): ItemHeader {
  const type = bytes.readBigUInt64LE(at);
  const kind = kindByType.get(type);
  if (kind === undefined) throw pxarError(`unknown item type 0x${type.toString(16).padStart(16, '0')}`);
  const length = readU64(bytes, at + 8) - itemHeaderLength;
  const { min, max } = itemRules[kind];
  if (length < min || length > max) throw pxarError(`${kind} item of ${length} bytes`);
  return { kind, length };
}

/** Writes a header for `length` bytes of content. FormatError when an item of the kind cannot be so long. */
export function writeItemHeader(bytes: Buffer, kind: ItemKind, length: number, at: number): void {
  const { min, max } = itemRules[kind];
  if (length < min || length > max) throw pxarError(`${kind} item of ${length} bytes`);
  const { low, high } = typeHalves[kind];
  bytes.writeUInt32LE(low, at);
  bytes.writeUInt32LE(high, at + 4);
  writeU64(bytes, itemHeaderLength + length, at + 8);
}
