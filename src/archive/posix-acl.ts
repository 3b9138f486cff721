import { FormatError } from '../base/errors.ts';
import { emptyAcl, type AclName, type EntryAcl } from '../pxar/entry-metadata.ts';

/** Names of the kernel's attributes. */
export const accessAclName = 'system.posix_acl_access';
export const defaultAclName = 'system.posix_acl_default';

const tags = { userObject: 1, user: 2, groupObject: 4, group: 8, mask: 0x10, other: 0x20 } as const;
const version = 2;
const headerLength = 4;
const entryLength = 8;
const noId = 0xffff_ffff;

interface AclEntry {
  tag: number;
  permissions: number;
  id: number;
}

function decodeEntries(value: Buffer): AclEntry[] {
  if (value.length < headerLength || (value.length - headerLength) % entryLength !== 0 || value.readUInt32LE(0) !== version) throw new FormatError('format.acl', 'ACL has an unknown form');
  const entries: AclEntry[] = [];
  for (let at = headerLength; at < value.length; at += entryLength) entries.push({ tag: value.readUInt16LE(at), permissions: value.readUInt16LE(at + 2) & 7, id: value.readUInt32LE(at + 4) });
  return entries;
}

function encodeEntries(entries: readonly AclEntry[]): Buffer {
  const value = Buffer.alloc(headerLength + entries.length * entryLength);
  value.writeUInt32LE(version, 0);
  // The kernel wants them by tag, and a name only once.
  const sorted = entries.toSorted((a, b) => a.tag - b.tag || a.id - b.id);
  for (const [i, { tag, permissions, id }] of sorted.entries()) {
    const at = headerLength + i * entryLength;
    value.writeUInt16LE(tag, at);
    value.writeUInt16LE(permissions, at + 2);
    value.writeUInt32LE(id, at + 4);
  }
  return value;
}

function named(entries: readonly AclEntry[], tag: number): AclName[] {
  const found = entries.filter((entry) => entry.tag === tag).map(({ id, permissions }) => ({ id, permissions }));
  return found.sort((a, b) => a.id - b.id || a.permissions - b.permissions);
}

function of(entries: readonly AclEntry[], tag: number): number | null {
  return entries.find((entry) => entry.tag === tag)?.permissions ?? null;
}

/**
 * ACLs of an entry from the values of its two attributes (spec pxar 5.6), null where it has none. Null as result: nothing that the mode does
 * not say already. FormatError `format.acl`.
 */
export function decodePosixAcls(access: Buffer | null, byDefault: Buffer | null): EntryAcl | null {
  const acl = emptyAcl();
  if (access !== null) {
    const entries = decodeEntries(access);
    acl.users = named(entries, tags.user);
    acl.groups = named(entries, tags.group);
    if (of(entries, tags.mask) !== null) acl.groupObject = of(entries, tags.groupObject);
  }
  if (byDefault !== null) {
    const entries = decodeEntries(byDefault);
    const base = { userObject: of(entries, tags.userObject), groupObject: of(entries, tags.groupObject), other: of(entries, tags.other), mask: of(entries, tags.mask) };
    if (Object.values(base).some((permissions) => permissions !== null)) acl.default = base;
    acl.defaultUsers = named(entries, tags.user);
    acl.defaultGroups = named(entries, tags.group);
  }
  const isEmpty = acl.users.length + acl.groups.length + acl.defaultUsers.length + acl.defaultGroups.length === 0 && acl.groupObject === null && acl.default === null;
  return isEmpty ? null : acl;
}

function entry(tag: number, permissions: number | null): AclEntry[] {
  return permissions === null ? [] : [{ tag, permissions, id: noId }];
}

function namedEntries(tag: number, names: readonly AclName[]): AclEntry[] {
  return names.map(({ id, permissions }) => ({ tag, permissions, id }));
}

/** Values of the two attributes to set (spec pxar 8.6). `hasNoMask`: named entries without a stored group permission; the mode's group bits stand in. */
export function encodePosixAcls(acl: EntryAcl, mode: number): { access: Buffer; byDefault: Buffer | null; hasNoMask: boolean } {
  const group = (mode >> 3) & 7;
  const hasNames = acl.users.length + acl.groups.length > 0;
  const hasNoMask = hasNames && acl.groupObject === null;
  const access = encodeEntries([
    ...entry(tags.userObject, (mode >> 6) & 7),
    ...namedEntries(tags.user, acl.users),
    ...entry(tags.groupObject, acl.groupObject ?? group),
    ...namedEntries(tags.group, acl.groups),
    ...entry(tags.mask, hasNames || acl.groupObject !== null ? group : null),
    ...entry(tags.other, mode & 7),
  ]);
  if (acl.default === null) return { access, byDefault: null, hasNoMask };
  const byDefault = encodeEntries([
    ...entry(tags.userObject, acl.default.userObject),
    ...namedEntries(tags.user, acl.defaultUsers),
    ...entry(tags.groupObject, acl.default.groupObject),
    ...namedEntries(tags.group, acl.defaultGroups),
    ...entry(tags.mask, acl.default.mask),
    ...entry(tags.other, acl.default.other),
  ]);
  return { access, byDefault, hasNoMask };
}
