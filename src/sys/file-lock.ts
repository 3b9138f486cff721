import { pause } from '../base/async.ts';
import { errnos, libc, retryInterrupted, SystemCallError } from './libc.ts';

export type LockMode = 'shared' | 'exclusive';

const flockOperation = { shared: 1, exclusive: 2 } as const;
const flockNonBlocking = 4;
const flockUnlock = 8;

const setLock = 6;
const recordLockType = { shared: 0, exclusive: 1, none: 2 } as const;

/** Polling interval of a lock that is waited for. */
const pollMs = 25;

/**
 * `flock(2)` without waiting on the open file description of `fd`; false when somebody else holds it. Taking it again with
 * another mode converts it (not atomically: on failure the old lock may be gone). Closing the descriptor releases it.
 */
export function tryFlock(fd: number, mode: LockMode): boolean {
  const result = retryInterrupted(() => libc.flock(fd, flockOperation[mode] | flockNonBlocking));
  if (result === 0) return true;
  if (-result === errnos.EAGAIN) return false;
  throw new SystemCallError('flock', -result);
}

/**
 * As `tryFlock`, tried again for up to `timeoutMs` milliseconds (monotonic); false when the time is over. Polls, since a blocking call
 * would stop the event loop. An abort ends it with AbortedError.
 */
export async function waitFlock(fd: number, mode: LockMode, timeoutMs: number, signal?: AbortSignal): Promise<boolean> {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    if (tryFlock(fd, mode)) return true;
    const left = deadline - performance.now();
    if (left <= 0) return false;
    await pause(Math.min(pollMs, left), signal);
  }
}

/** Releases the flock of `fd`'s open file description. */
export function unlockFlock(fd: number): void {
  const result = retryInterrupted(() => libc.flock(fd, flockUnlock));
  if (result < 0) throw new SystemCallError('flock', -result);
}

/**
 * POSIX record lock `fcntl(F_SETLK)` over the whole file, without waiting; false when another *process* holds a conflicting one. It belongs
 * to the process: closing any descriptor of that file in this process drops it (spec formats 4.6).
 * `shared` needs a descriptor open for reading, `exclusive` one open for writing.
 */
export function setRecordLock(fd: number, mode: LockMode | 'none'): boolean {
  // struct flock: l_type i16 @0, l_whence i16 @2 (SEEK_SET), l_start i64 @8, l_len i64 @16 (0 = to the end), l_pid i32 @24.
  const lock = Buffer.alloc(32);
  lock.writeInt16LE(recordLockType[mode], 0);
  const result = retryInterrupted(() => libc.fcntl(fd, setLock, lock));
  if (result === 0) return true;
  if (-result === errnos.EAGAIN || -result === errnos.EACCES) return false;
  throw new SystemCallError('fcntl', -result);
}
