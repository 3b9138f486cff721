import { getRawPointer } from 'node:ffi';
import { descriptorPath } from './descriptor-path.ts';
import { checkedCall, cString, errnos, libc, pathText, retryInterrupted, SystemCallError } from './libc.ts';

/** Kernel limits (VFS): one value, and the list of names. */
const maxXattrSize = 65_536;

/** A call that fills a buffer, started small and repeated with the largest size that the kernel allows. */
function filledBuffer(call: (buffer: Buffer) => bigint): { result: number; buffer: Buffer } {
  for (const size of [256, maxXattrSize]) {
    const buffer = Buffer.alloc(size);
    const result = retryInterrupted(() => call(buffer));
    if (-result !== errnos.ERANGE || size === maxXattrSize) return { result, buffer };
  }
  throw new Error('not reached');
}

/**
 * Names of all extended attributes, as bytes, in the kernel's order; links are not followed. None where the file system has no
 * extended attributes. Throws SystemCallError.
 */
export function listXattrs(path: string | Uint8Array): Buffer[] {
  const name = cString(path);
  const { result, buffer } = filledBuffer((into) => libc.llistxattr(name, into, BigInt(into.byteLength)));
  if (-result === errnos.EOPNOTSUPP) return [];
  if (result < 0) throw new SystemCallError('llistxattr', -result, pathText(path));
  return splitNames(buffer.subarray(0, result));
}

function splitNames(list: Buffer): Buffer[] {
  const names: Buffer[] = [];
  for (let at = 0; at < list.length; ) {
    const end = list.indexOf(0, at);
    names.push(Buffer.from(list.subarray(at, end)));
    at = end + 1;
  }
  return names;
}

/** Calls are synchronous: one at a time uses it. */
const list = Buffer.alloc(maxXattrSize);
const listAt = getRawPointer(list);
const noNames: readonly Buffer[] = [];

/** As `listXattrs` for an open descriptor (not O_PATH); null where the file system has no extended attributes. */
export function listDescriptorXattrs(fd: number): readonly Buffer[] | null {
  const result = retryInterrupted(() => libc.flistxattr(fd, listAt, BigInt(maxXattrSize)));
  if (result === 0) return noNames;
  if (-result === errnos.EOPNOTSUPP) return null;
  if (result < 0) throw new SystemCallError('flistxattr', -result);
  return splitNames(list.subarray(0, result));
}

/** Value of one extended attribute; null when the file does not have it. Links are not followed. Throws SystemCallError. */
export function getXattr(path: string | Uint8Array, attribute: string | Uint8Array): Buffer | null {
  const name = cString(path);
  const attributeName = cString(attribute);
  const { result, buffer } = filledBuffer((into) => libc.lgetxattr(name, attributeName, into, BigInt(into.byteLength)));
  if (-result === errnos.ENODATA || -result === errnos.EOPNOTSUPP) return null;
  if (result < 0) throw new SystemCallError('lgetxattr', -result, pathText(path));
  return Buffer.from(buffer.subarray(0, result));
}

/** Sets (or replaces) one extended attribute; links are not followed. Throws SystemCallError. */
export function setXattr(path: string | Uint8Array, attribute: string | Uint8Array, value: Uint8Array): void {
  const name = cString(path);
  const attributeName = cString(attribute);
  // An empty array has no address to pass.
  const bytes = value.byteLength === 0 ? Buffer.alloc(1) : value;
  checkedCall('lsetxattr', path, () => libc.lsetxattr(name, attributeName, bytes, BigInt(value.byteLength), 0));
}

/** As `getXattr` for an open descriptor (not O_PATH). */
export function getDescriptorXattr(fd: number, attribute: string | Uint8Array): Buffer | null {
  const attributeName = cString(attribute);
  const { result, buffer } = filledBuffer((into) => libc.fgetxattr(fd, attributeName, into, BigInt(into.byteLength)));
  if (-result === errnos.ENODATA || -result === errnos.EOPNOTSUPP) return null;
  if (result < 0) throw new SystemCallError('fgetxattr', -result);
  return Buffer.from(buffer.subarray(0, result));
}

/** As `setXattr` for what an open descriptor stands for, also one that was opened with O_PATH. */
export function setDescriptorXattr(fd: number, attribute: string | Uint8Array, value: Uint8Array): void {
  const path = descriptorPath(fd);
  const name = cString(path);
  const attributeName = cString(attribute);
  const bytes = value.byteLength === 0 ? Buffer.alloc(1) : value;
  checkedCall('setxattr', path, () => libc.setxattr(name, attributeName, bytes, BigInt(value.byteLength), 0));
}
