import { emptyAcl, type AclName, type AclPermissions, type EntryMetadata } from './entry-metadata.ts';
import { pxarError, readU64, writeU64, type ItemKind } from './item.ts';

const nsPerSecond = 1_000_000_000n;
/** Stands for a permission that is not there. */
const noPermission = 0xffff_ffff_ffff_ffffn;
const maxMode = 0o177_777;

/** Length of the content of an ENTRY item. */
export const statLength = 40;

/** Writes the content of an ENTRY item (spec pxar 1.2). */
export function writeStat(into: Buffer, { mode, flags, uid, gid, mtimeNs }: EntryMetadata, at: number): void {
  writeU64(into, mode, at);
  if (flags === 0n) writeU64(into, 0, at + 8);
  else into.writeBigUInt64LE(flags, at + 8);
  into.writeUInt32LE(uid, at + 16);
  into.writeUInt32LE(gid, at + 20);
  // Nanoseconds count forward, before the epoch too.
  let seconds = mtimeNs / nsPerSecond;
  let nanoseconds = Number(mtimeNs - seconds * nsPerSecond);
  if (nanoseconds < 0) {
    seconds -= 1n;
    nanoseconds += Number(nsPerSecond);
  }
  into.writeBigInt64LE(seconds, at + 24);
  into.writeUInt32LE(nanoseconds, at + 32);
  into.writeUInt32LE(0, at + 36);
}

/** Whether an entry has no items besides ENTRY. */
export function isPlain({ xattrs, acl, fileCapabilities, quotaProjectId }: EntryMetadata): boolean {
  return xattrs.length === 0 && acl === null && fileCapabilities === null && quotaProjectId === null;
}

/** Metadata of an ENTRY or ENTRY_V1 item, without attributes. */
export function decodeStat(kind: 'entry' | 'entryV1', content: Buffer): EntryMetadata {
  const mode = readU64(content, 0);
  if (mode > maxMode) throw pxarError(`mode ${mode.toString(8)} is out of range`);
  const stat = { mode, flags: content.readBigUInt64LE(8), uid: content.readUInt32LE(16), gid: content.readUInt32LE(20) };
  const attributes = { xattrs: [], acl: null, fileCapabilities: null, quotaProjectId: null };
  if (kind === 'entryV1') return { ...stat, mtimeNs: content.readBigUInt64LE(24), ...attributes };
  const nanoseconds = content.readUInt32LE(32);
  if (nanoseconds >= Number(nsPerSecond)) throw pxarError(`${nanoseconds} nanoseconds of a second`);
  return { ...stat, mtimeNs: content.readBigInt64LE(24) * nsPerSecond + BigInt(nanoseconds), ...attributes };
}

function encodeName({ id, permissions }: AclName): Buffer {
  const content = Buffer.alloc(16);
  writeU64(content, id, 0);
  writeU64(content, permissions, 8);
  return content;
}

function encodePermissions(...all: Array<AclPermissions | null>): Buffer {
  const content = Buffer.alloc(8 * all.length);
  for (const [i, permissions] of all.entries()) content.writeBigUInt64LE(permissions === null ? noPermission : BigInt(permissions), 8 * i);
  return content;
}

function readPermissions(content: Buffer, at: number): AclPermissions | null {
  const value = content.readBigUInt64LE(at);
  if (value === noPermission) return null;
  if (value > 7n) throw pxarError(`ACL permissions 0x${value.toString(16)}`);
  return Number(value);
}

function decodeName(content: Buffer): AclName {
  const id = readU64(content, 0);
  const permissions = readPermissions(content, 8);
  if (id > 0xffff_ffff || permissions === null) throw pxarError('ACL entry is out of range');
  return { id, permissions };
}

/** The attribute items of an entry, in the order of the grammar (spec pxar 2). */
export function* attributeItems(metadata: EntryMetadata): Generator<[ItemKind, Buffer], void, undefined> {
  for (const { name, value } of metadata.xattrs) yield ['xattr', Buffer.concat([name, Buffer.of(0), value])];
  const { acl } = metadata;
  if (acl !== null) {
    for (const user of acl.users) yield ['aclUser', encodeName(user)];
    for (const group of acl.groups) yield ['aclGroup', encodeName(group)];
    if (acl.groupObject !== null) yield ['aclGroupObject', encodePermissions(acl.groupObject)];
    if (acl.default !== null) yield ['aclDefault', encodePermissions(acl.default.userObject, acl.default.groupObject, acl.default.other, acl.default.mask)];
    for (const user of acl.defaultUsers) yield ['aclDefaultUser', encodeName(user)];
    for (const group of acl.defaultGroups) yield ['aclDefaultGroup', encodeName(group)];
  }
  if (metadata.fileCapabilities !== null) yield ['fileCapabilities', metadata.fileCapabilities];
  if (metadata.quotaProjectId !== null) {
    const content = Buffer.alloc(8);
    writeU64(content, metadata.quotaProjectId, 0);
    yield ['quotaProjectId', content];
  }
}

function refuseSecond(kind: ItemKind, present: unknown): void {
  if (present !== null) throw pxarError(`an entry has more than one ${kind} item`);
}

/** Attributes of one entry, and its ACL entries, are kept in memory: more of them are not found in any file system. */
const maxAttributes = 65_536;

function addAclItem(metadata: EntryMetadata, kind: ItemKind, content: Buffer): void {
  const acl = (metadata.acl ??= emptyAcl());
  const names = { aclUser: acl.users, aclGroup: acl.groups, aclDefaultUser: acl.defaultUsers, aclDefaultGroup: acl.defaultGroups }[kind as string];
  if (names !== undefined) {
    if (names.length >= maxAttributes) throw pxarError(`more than ${maxAttributes} ${kind} items`);
    names.push(decodeName(content));
    return;
  }
  if (kind === 'aclGroupObject') {
    refuseSecond(kind, acl.groupObject);
    acl.groupObject = readPermissions(content, 0);
    return;
  }
  refuseSecond(kind, acl.default);
  acl.default = { userObject: readPermissions(content, 0), groupObject: readPermissions(content, 8), other: readPermissions(content, 16), mask: readPermissions(content, 24) };
}

function addXattr(metadata: EntryMetadata, content: Buffer): void {
  const end = content.indexOf(0);
  if (end < 1) throw pxarError('xattr item without a name');
  if (metadata.xattrs.length >= maxAttributes) throw pxarError(`more than ${maxAttributes} xattr items`);
  metadata.xattrs.push({ name: Buffer.from(content.subarray(0, end)), value: Buffer.from(content.subarray(end + 1)) });
}

/** Adds an attribute item to what was read of its entry, in any order; false when the item is not an attribute. */
export function addAttribute(metadata: EntryMetadata, kind: ItemKind, content: Buffer): boolean {
  if (kind === 'xattr') addXattr(metadata, content);
  else if (kind.startsWith('acl')) addAclItem(metadata, kind, content);
  else if (kind === 'fileCapabilities') {
    refuseSecond(kind, metadata.fileCapabilities);
    metadata.fileCapabilities = Buffer.from(content);
  } else if (kind === 'quotaProjectId') {
    refuseSecond(kind, metadata.quotaProjectId);
    metadata.quotaProjectId = readU64(content, 0);
  } else return false;
  return true;
}
