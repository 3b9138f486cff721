import { closeSync } from 'node:fs';
import { getRawPointer } from 'node:ffi';
import { checkedCall, libc } from './libc.ts';

/** AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC. */
const unixFamily = 1;
const streamType = 1 | 0o2000000;
/** MSG_DONTWAIT | MSG_CMSG_CLOEXEC. */
const receiveFlags = 0x40 | 0x40000000;
const socketLevel = 1;
const rights = 1;

/** Two connected Unix sockets. To be closed by the caller. */
export function socketPair(): [number, number] {
  const pair = Buffer.alloc(8);
  checkedCall('socketpair', undefined, () => libc.socketpair(unixFamily, streamType, 0, pair));
  return [pair.readInt32LE(0), pair.readInt32LE(4)];
}

/**
 * The descriptor that somebody has sent over the Unix socket `socket`, already there (SCM_RIGHTS); null when there is none. Throws SystemCallError.
 */
export function receiveDescriptor(socket: number): number | null {
  const data = Buffer.alloc(8);
  const control = Buffer.alloc(64);
  // struct iovec { base, len }; struct msghdr { name, namelen, iov, iovlen, control, controllen, flags } for 64 bit.
  const vector = Buffer.alloc(16);
  vector.writeBigUInt64LE(getRawPointer(data), 0);
  vector.writeBigUInt64LE(BigInt(data.length), 8);
  const message = Buffer.alloc(56);
  message.writeBigUInt64LE(getRawPointer(vector), 16);
  message.writeBigUInt64LE(1n, 24);
  message.writeBigUInt64LE(getRawPointer(control), 32);
  message.writeBigUInt64LE(BigInt(control.length), 40);
  checkedCall('recvmsg', undefined, () => libc.recvmsg(socket, message, receiveFlags));
  const length = Number(message.readBigUInt64LE(40));
  // struct cmsghdr { len u64, level i32, type i32 }, then the descriptors.
  if (length < 20 || control.readInt32LE(8) !== socketLevel || control.readInt32LE(12) !== rights) return null;
  const end = Math.min(length, Number(control.readBigUInt64LE(0)));
  for (let at = 20; at + 4 <= end; at += 4) closeSync(control.readInt32LE(at));
  return control.readInt32LE(16);
}

/** fcntl(2): F_GETFL, F_SETFL, O_NONBLOCK. */
const getFlags = 3;
const setFlags = 4;
const nonBlocking = 0o4000n;

/** Makes reads of `fd` return at once. Throws SystemCallError. */
export function setNonBlocking(fd: number): void {
  const flags = checkedCall('fcntl', undefined, () => libc.fcntl(fd, getFlags, 0n));
  checkedCall('fcntl', undefined, () => libc.fcntl(fd, setFlags, BigInt(flags) | nonBlocking));
}
