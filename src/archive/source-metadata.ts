import { errorCode, StoreError } from '../base/errors.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../pxar/entry-metadata.ts';
import type { EntryStat } from '../sys/entry-calls.ts';
import { getFatAttributes, getInodeFlags, getProjectId } from '../sys/inode-flags.ts';
import { getDescriptorXattr, listDescriptorXattrs } from '../sys/xattr.ts';
import { entryFlags } from './entry-flags.ts';
import type { FilesystemKind } from './filesystem-kind.ts';
import { accessAclName, decodePosixAcls, defaultAclName } from './posix-acl.ts';
import { capabilityName, isArchivedXattr } from './xattr-names.ts';

/** Metadata of what `statx` said, without attributes. */
export function statMetadata({ mode, uid, gid, mtimeNs }: EntryStat): EntryMetadata {
  return { mode, flags: 0n, uid, gid, mtimeNs, xattrs: [], acl: null, fileCapabilities: null, quotaProjectId: null };
}

/** Runs a read of attributes; those that are larger than the kernel hands out end it, or are passed over. */
function withinLimit(skipTooLarge: boolean, read: () => void): void {
  try {
    read();
  } catch (e) {
    if (errorCode(e) !== 'E2BIG') throw e;
    if (!skipTooLarge) throw new StoreError('store.xattr', 'extended attributes are too large to be read', { cause: e, hint: 'use --skip-e2big-xattr to leave them out' });
  }
}

function readXattrs(fd: number, metadata: EntryMetadata, filesystem: FilesystemKind): void {
  const names = listDescriptorXattrs(fd);
  if (names === null) {
    filesystem.xattrs = false;
    return;
  }
  let access: Buffer | null = null;
  let byDefault: Buffer | null = null;
  for (const name of names) {
    const text = name.toString('latin1');
    if (text === accessAclName || text === defaultAclName) {
      if (!filesystem.acls) continue;
      const value = getDescriptorXattr(fd, name);
      if (text === accessAclName) access = value;
      else if (fileTypeOf(metadata.mode) === fileTypes.directory) byDefault = value;
    } else if (text === capabilityName) {
      if (filesystem.fileCapabilities) metadata.fileCapabilities = getDescriptorXattr(fd, name);
    } else if (isArchivedXattr(name)) {
      const value = getDescriptorXattr(fd, name);
      // Gone since it was listed.
      if (value !== null) metadata.xattrs.push({ name: Buffer.from(name), value });
    }
  }
  metadata.acl = decodePosixAcls(access, byDefault);
}

/**
 * Adds to `metadata` what an open directory or regular file has besides `stat` (spec pxar 5.5). Other kinds cannot be asked. Throws SystemCallError, StoreError
 * `store.xattr` for attributes that are too large, unless these are to be skipped.
 */
export function readAttributes(fd: number, metadata: EntryMetadata, filesystem: FilesystemKind, options: { skipTooLargeXattrs: boolean }): void {
  if (filesystem.xattrs) withinLimit(options.skipTooLargeXattrs, () => readXattrs(fd, metadata, filesystem));
  metadata.flags = entryFlags(getInodeFlags(fd) ?? 0, filesystem.fatAttributes ? (getFatAttributes(fd) ?? 0) : 0);
  if (!filesystem.quotaProjectId) return;
  const projectId = getProjectId(fd);
  if (projectId === null) filesystem.quotaProjectId = false;
  else if (projectId !== 0) metadata.quotaProjectId = projectId;
}
