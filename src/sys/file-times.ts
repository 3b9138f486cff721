import assert from 'node:assert/strict';
import { lutimes } from 'node:fs/promises';
import { errorCode } from '../base/errors.ts';
import { descriptorPath } from './descriptor-path.ts';
import { checkedCall, cString, libc } from './libc.ts';

const [uvMajor = 0, uvMinor = 0] = (process.versions.uv ?? '').split('.').map(Number);
const atCurrentFolder = -100;
const noFollowLinks = 0x100;
const timeNow = 0x3fffffffn;
const timeOmit = 0x3ffffffen;
const nsPerSecond = 1_000_000_000n;

/**
 * Sets atime to the file system's now and leaves mtime as it is, nanoseconds included; links are not followed (spec formats 3.4).
 * False when there is no such file. Runs off the event loop: on a disk that has to seek for the inode it takes milliseconds.
 */
export async function touchAtime(path: string): Promise<boolean> {
  // libuv passes these two on as UTIME_NOW and UTIME_OMIT since 1.51; before, mtime would be destroyed.
  assert.ok(uvMajor > 1 || uvMinor >= 51, `libuv ${process.versions.uv} cannot set atime alone`);
  try {
    await lutimes(path, 'Infinity', new Date(Number.NaN));
    return true;
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return false;
    throw e;
  }
}

/** A time to set: nanoseconds since the epoch, the file system's now, or left as it is. */
export type FileTime = bigint | 'now' | 'keep';

function writeTimespec(target: Buffer, offset: number, time: FileTime): void {
  if (typeof time !== 'bigint') {
    target.writeBigInt64LE(time === 'now' ? timeNow : timeOmit, offset + 8);
    return;
  }
  // Times before the epoch: seconds are rounded down, nanoseconds are never negative.
  const nanoseconds = ((time % nsPerSecond) + nsPerSecond) % nsPerSecond;
  target.writeBigInt64LE((time - nanoseconds) / nsPerSecond, offset);
  target.writeBigInt64LE(nanoseconds, offset + 8);
}

/** Sets both times to the nanosecond without following links. Path as bytes or text. Synchronous. Throws SystemCallError. */
export function setFileTimes(path: string | Uint8Array, times: { atime: FileTime; mtime: FileTime }): void {
  const timespecs = Buffer.alloc(32);
  writeTimespec(timespecs, 0, times.atime);
  writeTimespec(timespecs, 16, times.mtime);
  const name = cString(path);
  checkedCall('utimensat', path, () => libc.utimensat(atCurrentFolder, name, timespecs, noFollowLinks));
}

/** As `setFileTimes` for what an open descriptor stands for, also one that was opened with O_PATH. */
export function setDescriptorTimes(fd: number, times: { atime: FileTime; mtime: FileTime }): void {
  const timespecs = Buffer.alloc(32);
  writeTimespec(timespecs, 0, times.atime);
  writeTimespec(timespecs, 16, times.mtime);
  const path = descriptorPath(fd);
  const name = cString(path);
  checkedCall('utimensat', path, () => libc.utimensat(atCurrentFolder, name, timespecs, 0));
}
