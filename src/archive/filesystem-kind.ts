import { statfsSync } from 'node:fs';
import { descriptorPath } from '../sys/descriptor-path.ts';

/** What is read of entries besides `stat`; xattrs include the next two. */
export interface AttributeFeatures {
  xattrs: boolean;
  acls: boolean;
  fileCapabilities: boolean;
  quotaProjectId: boolean;
}

/** Of one mounted file system, by its magic number. Switches go off when it turns out not to have something. */
export interface FilesystemKind extends AttributeFeatures {
  /** Made by the kernel: nothing in it is archived. */
  isVirtual: boolean;
  fatAttributes: boolean;
}

/** binfmt_misc, cgroup2, cgroup, configfs, debugfs, devpts, efivarfs, fusectl, hugetlbfs, mqueue, nfsd, proc, pstore, rpc_pipefs, securityfs, selinuxfs, smackfs, sysfs (spec pxar 5.2). */
const virtualMagics: ReadonlySet<number> = new Set([
  0x42494e4d, 0x63677270, 0x0027e0eb, 0x62656570, 0x64626720, 0x00001cd1, 0xde5e81e4, 0x65735543, 0x958458f6, 0x19800202, 0x6e667364, 0x00009fa0, 0x6165676c, 0x67596969, 0x73636673, 0xf97cff8c,
  0x43415d53, 0x62656572,
]);

const fat = 0x4d44;
const fuse = 0x65735546;
const tmpfs = 0x01021994;
/** ext2 to ext4, XFS, ZFS. */
const withProjects: ReadonlySet<number> = new Set([0xef53, 0x58465342, 0x2fc12fc1]);

/** What the archiver reads from a file system with this magic number (spec pxar 5.2). */
export function filesystemKind(magic: number): FilesystemKind {
  const xattrs = magic !== tmpfs && magic !== fat;
  const more = xattrs && magic !== fuse;
  return { isVirtual: virtualMagics.has(magic), xattrs, acls: more, fileCapabilities: more, quotaProjectId: withProjects.has(magic), fatAttributes: magic === fat || magic === fuse };
}

/** The file system of an open descriptor, without the features that are not wanted. */
export function filesystemOf(fd: number, wanted: AttributeFeatures): FilesystemKind {
  const kind = filesystemKind(Number(BigInt.asUintN(32, statfsSync(descriptorPath(fd), { bigint: true }).type)));
  return {
    ...kind,
    xattrs: kind.xattrs && wanted.xattrs,
    acls: kind.acls && wanted.acls,
    fileCapabilities: kind.fileCapabilities && wanted.fileCapabilities,
    quotaProjectId: kind.quotaProjectId && wanted.quotaProjectId,
  };
}
