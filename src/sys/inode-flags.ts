import { getRawPointer } from 'node:ffi';
import { errnos, libc, retryInterrupted, SystemCallError } from './libc.ts';

/** ioctl numbers of 64-bit Linux. */
const requests = {
  getFlags: 0x80086601n,
  setFlags: 0x40086602n,
  getAttributes: 0x801c581fn,
  setAttributes: 0x401c5820n,
  getFatAttributes: 0x80047210n,
  setFatAttributes: 0x40047211n,
} as const;

/** struct fsxattr: fsx_projid is its fourth u32. */
const attributesLength = 28;
const projectIdAt = 12;

/** What a file system answers that does not have such flags. */
const unsupported: ReadonlySet<number> = new Set([errnos.EBADF, errnos.EINVAL, errnos.ENOTTY, errnos.ENOSYS, errnos.EOPNOTSUPP]);

/** False where the file system does not know the request. */
function control(fd: number, request: keyof typeof requests, data: Buffer | bigint): boolean {
  const result = retryInterrupted(() => libc.ioctl(fd, requests[request], data));
  if (result >= 0) return true;
  if (unsupported.has(-result)) return false;
  throw new SystemCallError(`ioctl ${request}`, -result);
}

/** The kernel writes 32 bits, whatever the request says. Calls are synchronous: one at a time uses it. */
const word = new Uint32Array(2);
const wordAt = getRawPointer(word);

function readWord(fd: number, request: 'getFlags' | 'getFatAttributes'): number | null {
  return control(fd, request, wordAt) ? word[0]! : null;
}

function writeWord(fd: number, request: 'setFlags' | 'setFatAttributes', value: number): boolean {
  const data = Buffer.alloc(8);
  data.writeUInt32LE(value, 0);
  return control(fd, request, data);
}

/** Flags of chattr(1) (FS_IOC_GETFLAGS); null where the file system has none. All here throw SystemCallError. */
export function getInodeFlags(fd: number): number | null {
  return readWord(fd, 'getFlags');
}

/** Sets the flags of chattr(1); false where the file system has none. */
export function setInodeFlags(fd: number, flags: number): boolean {
  return writeWord(fd, 'setFlags', flags);
}

/** Attributes of a FAT file (hidden 2, system 4, archive 32); null on other file systems. */
export function getFatAttributes(fd: number): number | null {
  return readWord(fd, 'getFatAttributes');
}

export function setFatAttributes(fd: number, attributes: number): boolean {
  return writeWord(fd, 'setFatAttributes', attributes);
}

/** Project id for quotas; null where the file system has none. */
export function getProjectId(fd: number): number | null {
  const data = Buffer.alloc(attributesLength);
  return control(fd, 'getAttributes', data) ? data.readUInt32LE(projectIdAt) : null;
}

/** Sets the project id; false where the file system has none. */
export function setProjectId(fd: number, projectId: number): boolean {
  const data = Buffer.alloc(attributesLength);
  if (!control(fd, 'getAttributes', data)) return false;
  data.writeUInt32LE(projectId, projectIdAt);
  return control(fd, 'setAttributes', data);
}
