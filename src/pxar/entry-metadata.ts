/** Rights of an ACL entry: 4 read, 2 write, 1 execute. */
export type AclPermissions = number;

/** A named user or group. */
export interface AclName {
  id: number;
  permissions: AclPermissions;
}

/** Default ACL of a directory, without its named entries; null: not present. */
export interface AclDefault {
  userObject: AclPermissions | null;
  groupObject: AclPermissions | null;
  other: AclPermissions | null;
  mask: AclPermissions | null;
}

/** ACLs as an archive keeps them (spec pxar 5.6): what the mode does not say. */
export interface EntryAcl {
  users: AclName[];
  groups: AclName[];
  /** Only with a mask, which then is in the mode's group bits. */
  groupObject: AclPermissions | null;
  default: AclDefault | null;
  defaultUsers: AclName[];
  defaultGroups: AclName[];
}

export interface EntryXattr {
  name: Buffer;
  value: Buffer;
}

/** What an archive keeps of an entry besides name and content (spec pxar 1.2, 2). */
export interface EntryMetadata {
  /** The whole `st_mode`: type and permission bits. */
  mode: number;
  /** Bits of spec pxar 6.1. */
  flags: bigint;
  uid: number;
  gid: number;
  /** Nanoseconds since the epoch. */
  mtimeNs: bigint;
  /** In the kernel's order. */
  xattrs: EntryXattr[];
  acl: EntryAcl | null;
  /** Value of `security.capability`. */
  fileCapabilities: Buffer | null;
  quotaProjectId: number | null;
}

/** File type bits of a mode. */
export const fileTypes = { socket: 0o140000, symlink: 0o120000, file: 0o100000, block: 0o060000, directory: 0o040000, character: 0o020000, fifo: 0o010000 } as const;
const fileTypeMask = 0o170000;

/** Type bits of a mode. */
export function fileTypeOf(mode: number): number {
  return mode & fileTypeMask;
}

export function emptyAcl(): EntryAcl {
  return { users: [], groups: [], groupObject: null, default: null, defaultUsers: [], defaultGroups: [] };
}

/** Metadata without attributes. */
export function plainMetadata(stat: Pick<EntryMetadata, 'mode' | 'uid' | 'gid' | 'mtimeNs'>): EntryMetadata {
  return { ...stat, flags: 0n, xattrs: [], acl: null, fileCapabilities: null, quotaProjectId: null };
}

function sameNames(a: readonly AclName[], b: readonly AclName[]): boolean {
  return a.length === b.length && a.every(({ id, permissions }, i) => id === b[i]!.id && permissions === b[i]!.permissions);
}

function sameDefault(a: AclDefault | null, b: AclDefault | null): boolean {
  if (a === null || b === null) return a === b;
  return a.userObject === b.userObject && a.groupObject === b.groupObject && a.other === b.other && a.mask === b.mask;
}

function sameAcl(a: EntryAcl, b: EntryAcl): boolean {
  return (
    a.groupObject === b.groupObject &&
    sameDefault(a.default, b.default) &&
    sameNames(a.users, b.users) &&
    sameNames(a.groups, b.groups) &&
    sameNames(a.defaultUsers, b.defaultUsers) &&
    sameNames(a.defaultGroups, b.defaultGroups)
  );
}

function sameBytes(a: Buffer | null, b: Buffer | null): boolean {
  return a === null || b === null ? a === b : a.equals(b);
}

/** Whether a file counts as unchanged by its metadata; of xattrs the names only (spec pxar 9.1). */
export function sameMetadata(a: EntryMetadata, b: EntryMetadata): boolean {
  return (
    a.mode === b.mode &&
    a.flags === b.flags &&
    a.uid === b.uid &&
    a.gid === b.gid &&
    a.mtimeNs === b.mtimeNs &&
    a.quotaProjectId === b.quotaProjectId &&
    a.xattrs.length === b.xattrs.length &&
    a.xattrs.every(({ name }, i) => name.equals(b.xattrs[i]!.name)) &&
    sameBytes(a.fileCapabilities, b.fileCapabilities) &&
    sameAcl(a.acl ?? emptyAcl(), b.acl ?? emptyAcl())
  );
}
