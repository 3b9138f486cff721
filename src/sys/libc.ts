import { dlopen, getInt32 } from 'node:ffi';
import { getSystemErrorMessage, getSystemErrorName } from 'node:util';
import { asBuffer } from '../base/bytes.ts';
import { FarshoreError } from '../base/errors.ts';

/** A system call failed: `code` is the errno name (`ENOENT`...), as in Node's own errors. */
export class SystemCallError extends FarshoreError {
  readonly errno: number;
  readonly syscall: string;
  readonly path: string | undefined;

  constructor(syscall: string, errno: number, path?: string) {
    const code = errnoName(errno);
    super(code, `${code}: ${errnoMessage(errno)}, ${syscall}${path === undefined ? '' : ` '${path}'`}`);
    this.errno = errno;
    this.syscall = syscall;
    this.path = path;
  }
}

function errnoName(errno: number): string {
  try {
    return getSystemErrorName(-errno);
  } catch {
    return `ERRNO_${errno}`;
  }
}

function errnoMessage(errno: number): string {
  try {
    return getSystemErrorMessage(-errno);
  } catch {
    return 'unknown system error';
  }
}

/** errno values that decisions depend on; the same on every Linux that Node runs on. */
export const errnos = { EINTR: 4, EBADF: 9, EAGAIN: 11, EACCES: 13, EINVAL: 22, ENOTTY: 25, ERANGE: 34, ENAMETOOLONG: 36, ENOSYS: 38, ENODATA: 61, EOPNOTSUPP: 95 } as const;

/** The only binding to the C library. Signatures hold for 64-bit Linux (x86_64, aarch64), little endian. */
export const { functions: libc } = dlopen(null, {
  __errno_location: { arguments: [], return: 'pointer' },
  flock: { arguments: ['i32', 'i32'], return: 'i32' },
  // Variadic in C; on both architectures the third argument travels like a named one.
  fcntl: { arguments: ['i32', 'i32', 'pointer'], return: 'i32' },
  // Variadic in C, see fcntl; without O_CREAT there is no fourth argument.
  openat: { arguments: ['i32', 'pointer', 'i32'], return: 'i32' },
  close: { arguments: ['i32'], return: 'i32' },
  // Variadic in C, see fcntl. For getdents64, which glibc has by name since 2.30 only.
  syscall: { arguments: ['i64', 'i32', 'pointer', 'u64'], return: 'i64' },
  statx: { arguments: ['i32', 'pointer', 'i32', 'u32', 'pointer'], return: 'i32' },
  utimensat: { arguments: ['i32', 'pointer', 'pointer', 'i32'], return: 'i32' },
  mknod: { arguments: ['pointer', 'u32', 'u64'], return: 'i32' },
  lgetxattr: { arguments: ['pointer', 'pointer', 'pointer', 'u64'], return: 'i64' },
  lsetxattr: { arguments: ['pointer', 'pointer', 'pointer', 'u64', 'i32'], return: 'i32' },
  llistxattr: { arguments: ['pointer', 'pointer', 'u64'], return: 'i64' },
  flistxattr: { arguments: ['i32', 'pointer', 'u64'], return: 'i64' },
  fgetxattr: { arguments: ['i32', 'pointer', 'pointer', 'u64'], return: 'i64' },
  setxattr: { arguments: ['pointer', 'pointer', 'pointer', 'u64', 'i32'], return: 'i32' },
  mount: { arguments: ['pointer', 'pointer', 'pointer', 'u64', 'pointer'], return: 'i32' },
  umount2: { arguments: ['pointer', 'i32'], return: 'i32' },
  eventfd: { arguments: ['u32', 'i32'], return: 'i32' },
  dup2: { arguments: ['i32', 'i32'], return: 'i32' },
  socketpair: { arguments: ['i32', 'i32', 'i32', 'pointer'], return: 'i32' },
  recvmsg: { arguments: ['i32', 'pointer', 'i32'], return: 'i64' },
  // Variadic in C, see fcntl.
  ioctl: { arguments: ['i32', 'u64', 'pointer'], return: 'i32' },
});

/** errno is per thread and so is this module's instance; the address does not change within a thread. */
const errnoAddress = libc.__errno_location();

/**
 * Runs a call that signals failure by a negative result, again when a signal interrupted it.
 * Returns the result, or the errno negated; nothing may run between the call and the look at errno.
 */
export function retryInterrupted(call: () => number | bigint): number {
  for (;;) {
    const result = Number(call());
    if (result >= 0) return result;
    const errno = getInt32(errnoAddress);
    if (errno !== errnos.EINTR) return -errno;
  }
}

/** For calls that are made too often for a function of their own: after a negative result. Returns when the call is to be repeated, throws SystemCallError otherwise. */
export function interruptedOrThrow(syscall: string, path?: string | Uint8Array): void {
  const errno = getInt32(errnoAddress);
  if (errno !== errnos.EINTR) throw new SystemCallError(syscall, errno, path === undefined ? undefined : pathText(path));
}

/** As `retryInterrupted`; failures are thrown as SystemCallError. */
export function checkedCall(syscall: string, path: string | Uint8Array | undefined, call: () => number | bigint): number {
  const result = retryInterrupted(call);
  if (result < 0) throw new SystemCallError(syscall, -result, path === undefined ? undefined : pathText(path));
  return result;
}

/** Path for messages; file names are bytes and need not be UTF-8. */
export function pathText(path: string | Uint8Array): string {
  return typeof path === 'string' ? path : asBuffer(path).toString('utf8');
}

/** NUL-terminated copy. A NUL inside would silently cut the name: refused as EINVAL. */
export function cString(text: string | Uint8Array): Buffer {
  const bytes = typeof text === 'string' ? Buffer.from(text, 'utf8') : asBuffer(text);
  if (bytes.includes(0)) throw new FarshoreError('EINVAL', `EINVAL: name contains a NUL byte: ${JSON.stringify(pathText(text))}`);
  return Buffer.concat([bytes, Buffer.of(0)]);
}
