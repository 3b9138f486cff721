import { chmodSync, chownSync } from 'node:fs';
import { errorCode, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../pxar/entry-metadata.ts';
import { descriptorPath } from '../sys/descriptor-path.ts';
import { setDescriptorTimes } from '../sys/file-times.ts';
import { getFatAttributes, getInodeFlags, setFatAttributes, setInodeFlags, setProjectId } from '../sys/inode-flags.ts';
import { setDescriptorXattr } from '../sys/xattr.ts';
import { hasFatAttributes, restoredFatAttributes, restoredInodeFlags } from './entry-flags.ts';
import { accessAclName, defaultAclName, encodePosixAcls } from './posix-acl.ts';
import { capabilityName, isArchivedXattr } from './xattr-names.ts';

/** What is restored of entries. */
export interface RestoredAttributes {
  ownership: boolean;
  permissions: boolean;
  xattrs: boolean;
  acls: boolean;
  fileCapabilities: boolean;
  quotaProjectId: boolean;
  /** Of chattr and of FAT. */
  flags: boolean;
}

export interface ApplyContext {
  attributes: RestoredAttributes;
  /** Each step that fails; returns to go on with the next, or throws. */
  onError: (error: StoreError) => void;
  log: ProgressLog;
  /** In messages. */
  shown: string;
}

const notSupported = new Set(['EOPNOTSUPP', 'ENOTSUP']);

/** False when the file system does not know the call. */
function supported(call: () => void): boolean {
  try {
    call();
    return true;
  } catch (e) {
    if (notSupported.has(errorCode(e))) return false;
    throw e;
  }
}

function step(context: ApplyContext, what: string, work: () => void): void {
  try {
    work();
  } catch (e) {
    context.onError(new StoreError('store.target', `failed to ${what}`, { cause: e }));
  }
}

/** Flags that must be there before content is (spec pxar 8.4). Errors are reported as failed steps. */
export function applyInitialFlags(fd: number, metadata: EntryMetadata, context: ApplyContext): void {
  if (!context.attributes.flags || metadata.flags === 0n) return;
  step(context, 'apply initial flags', () => applyInodeFlags(fd, metadata.flags, 'before-content'));
}

function applyInodeFlags(fd: number, archived: bigint, when: 'before-content' | 'at-end'): void {
  const current = getInodeFlags(fd);
  if (current === null) return;
  const flags = restoredInodeFlags(archived, current, when);
  if (flags !== current) setInodeFlags(fd, flags);
}

function applyXattrs(fd: number, metadata: EntryMetadata, context: ApplyContext): void {
  const { attributes, log, shown } = context;
  let isSupported = true;
  if (attributes.xattrs) {
    for (const { name, value } of metadata.xattrs) {
      if (!isSupported) return;
      if (isArchivedXattr(name)) step(context, `set extended attribute ${JSON.stringify(name.toString())}`, () => (isSupported = supported(() => setDescriptorXattr(fd, name, value))));
      else log.warn(`skipping invalid extended attribute ${JSON.stringify(name.toString())} of ${shown}`);
    }
  }
  const capabilities = metadata.fileCapabilities;
  if (attributes.fileCapabilities && capabilities !== null && isSupported) step(context, 'set file capabilities', () => supported(() => setDescriptorXattr(fd, capabilityName, capabilities)));
}

function applyAcls(fd: number, metadata: EntryMetadata, context: ApplyContext): void {
  if (metadata.acl === null) return;
  const { access, byDefault, hasNoMask } = encodePosixAcls(metadata.acl, metadata.mode);
  if (hasNoMask) context.log.warn(`ACL of ${context.shown} has no mask, using the permissions of the group`);
  step(context, 'set access ACL', () => setDescriptorXattr(fd, accessAclName, access));
  if (byDefault !== null) step(context, 'set default ACL', () => setDescriptorXattr(fd, defaultAclName, byDefault));
}

function applyFlags(fd: number, archived: bigint): void {
  applyInodeFlags(fd, archived, 'at-end');
  if (!hasFatAttributes(archived)) return;
  const current = getFatAttributes(fd);
  if (current === null) return;
  const attributes = restoredFatAttributes(archived, current);
  if (attributes !== current) setFatAttributes(fd, attributes);
}

/**
 * Gives what `fd` stands for (also when it was opened with O_PATH) the metadata of its entry, in the order in which no step undoes another
 * (spec pxar 8.6).
 */
export function applyMetadata(fd: number, metadata: EntryMetadata, context: ApplyContext): void {
  const { attributes } = context;
  const path = descriptorPath(fd);
  const type = fileTypeOf(metadata.mode);
  if (attributes.ownership) step(context, 'set ownership', () => supported(() => chownSync(path, metadata.uid, metadata.gid)));
  applyXattrs(fd, metadata, context);
  if (attributes.acls) applyAcls(fd, metadata, context);
  if (attributes.quotaProjectId && metadata.quotaProjectId !== null) {
    const projectId = metadata.quotaProjectId;
    step(context, 'set quota project id', () => {
      if (!setProjectId(fd, projectId)) throw new StoreError('store.target', 'the file system has no project ids');
    });
  }
  if (attributes.permissions && type !== fileTypes.symlink) step(context, 'set permissions', () => supported(() => chmodSync(path, metadata.mode & 0o7777)));
  step(context, 'set modification time', () => supported(() => setDescriptorTimes(fd, { atime: 'keep', mtime: metadata.mtimeNs })));
  if (attributes.flags && metadata.flags !== 0n) step(context, 'set flags', () => applyFlags(fd, metadata.flags));
}
