import { fstatSync } from 'node:fs';
import { link, mkdir, open, rm, stat, unlink, constants, type FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode, StoreError } from '../base/errors.ts';
import { unlockFlock, waitFlock, type LockMode } from '../sys/file-lock.ts';
import { fileOwner, giveToFileOwner } from './file-owner.ts';
import { temporaryName } from './replace-file.ts';
import { toStoreError } from './store-error.ts';

export type { LockMode } from '../sys/file-lock.ts';

export interface LockOptions {
  mode: LockMode;
  /** Longest wait in milliseconds; 0 (default): do not wait. */
  timeoutMs?: number;
  signal?: AbortSignal;
}

const lockFileMode = 0o660;
const lockFolderMode = 0o755;
const openFlags = constants.O_RDWR | constants.O_APPEND;

/** Creates parent folders, each new one for the datastore's owner. */
async function makeParents(path: string): Promise<void> {
  const parent = dirname(path);
  const firstMade = await mkdir(parent, { recursive: true, mode: lockFolderMode });
  if (firstMade === undefined || fileOwner() === null) return;
  for (let made = parent; made.length >= firstMade.length; made = dirname(made)) await giveToFileOwner(made);
}

/**
 * Creates an empty lock file with its final owner and mode at once: another process, running as the datastore's owner, may open it at any time.
 * `link` does not replace, so that whoever comes second uses the first one's file.
 */
async function createLockFile(path: string): Promise<void> {
  await makeParents(path);
  const temporary = temporaryName(path);
  const handle = await open(temporary, 'wx', lockFileMode);
  try {
    const owner = fileOwner();
    await handle.chmod(lockFileMode);
    if (owner !== null) await handle.chown(owner.uid, owner.gid);
    await link(temporary, path);
  } catch (e) {
    if (errorCode(e) !== 'EEXIST') throw e;
  } finally {
    await handle.close();
    await rm(temporary, { force: true });
  }
}

async function openLockFile(path: string): Promise<FileHandle> {
  for (let attempt = 0; ; attempt += 1) {
    try {
      return await open(path, openFlags);
    } catch (e) {
      // A remover may be between our creating and opening: seen again and again only when something is wrong.
      if (errorCode(e) !== 'ENOENT' || attempt >= 10) throw e;
    }
    await createLockFile(path);
  }
}

/** Whether the open file is still the one at `path`: a lock on a removed file protects nothing. */
async function isStillThere(handle: FileHandle, path: string): Promise<boolean> {
  const own = fstatSync(handle.fd, { bigint: true });
  try {
    const there = await stat(path, { bigint: true });
    return there.ino === own.ino && there.dev === own.dev;
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return false;
    throw e;
  }
}

/**
 * Every lock that is held. A lock that nobody refers to any more must not end: Node closes a collected file handle, and with it
 * the lock would go at a moment that nobody chose.
 */
const heldLocks = new Set<LockFile>();

/**
 * A held `flock(2)` on a lock file (spec formats 4.6), seen by every process of the host and by other holders in this one.
 * Ends with `release`, with the `using` block, or with the process.
 */
export class LockFile implements Disposable {
  readonly path: string;
  readonly mode: LockMode;
  #handle: FileHandle | null;

  private constructor(path: string, mode: LockMode, handle: FileHandle) {
    this.path = path;
    this.mode = mode;
    this.#handle = handle;
    heldLocks.add(this);
  }

  /**
   * Takes the lock, making the file and its folders when they are missing. StoreError `store.locked` when somebody else holds it until the
   * time is over (or the file was removed and made anew meanwhile); AbortedError.
   */
  static async acquire(path: string, options: LockOptions): Promise<LockFile> {
    const deadline = performance.now() + (options.timeoutMs ?? 0);
    try {
      for (;;) {
        const handle = await openLockFile(path);
        let kept = false;
        try {
          const left = Math.max(0, deadline - performance.now());
          const locked = await waitFlock(handle.fd, options.mode, left, options.signal);
          if (locked && (await isStillThere(handle, path))) {
            kept = true;
            return new LockFile(path, options.mode, handle);
          }
        } finally {
          if (!kept) await handle.close();
        }
        if (performance.now() >= deadline) throw new StoreError('store.locked', `unable to acquire lock '${path}' - EAGAIN: Try again`);
      }
    } catch (e) {
      throw toStoreError(e, `unable to acquire lock '${path}'`);
    }
  }

  get held(): boolean {
    return this.#handle !== null;
  }

  /** Ends the lock at once; the file stays for the next one. Releasing twice is harmless. */
  release(): void {
    const handle = this.#handle;
    if (handle === null) return;
    this.#handle = null;
    heldLocks.delete(this);
    unlockFlock(handle.fd);
    // The lock has ended; a failing close of a file that was not written loses nothing.
    void handle.close().catch(() => {});
  }

  /** Removes the lock file of an object that is gone, then ends the lock: who waits for it notices the removal. */
  async releaseAndRemove(): Promise<void> {
    if (this.#handle === null) return;
    try {
      await unlink(this.path);
    } catch (e) {
      if (errorCode(e) !== 'ENOENT') throw toStoreError(e, `unable to remove lock '${this.path}'`);
    } finally {
      this.release();
    }
  }

  [Symbol.dispose](): void {
    this.release();
  }
}
