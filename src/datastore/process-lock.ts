import assert from 'node:assert/strict';
import { closeSync, fstatSync, openSync, realpathSync, statSync } from 'node:fs';
import { nowSeconds, systemClock, type Clock } from '../base/clock.ts';
import { errorCode, StoreError } from '../base/errors.ts';
import { setRecordLock } from '../sys/file-lock.ts';
import { toStoreError } from './store-error.ts';

/** A share of the lock, or the whole of it, until `release`. Releasing twice is harmless. */
export interface ProcessLockHold extends Disposable {
  release(): void;
}

/** State of one `.lock` file in this process, shared by all that opened it. */
interface LockState {
  key: string;
  fd: number;
  openCount: number;
  /** Start time (seconds) of each shared holder. */
  writers: Map<symbol, number>;
  exclusive: boolean;
}

/**
 * Record locks belong to the process and are dropped when *any* descriptor of the file is closed in it (spec formats 4.6): so every file is opened once,
 * whatever path it is reached by, and all share that descriptor. Only the main thread may use this module.
 */
const openFiles = new Map<string, LockState>();

function fileKey(stat: { dev: bigint; ino: bigint }): string {
  return `${stat.dev}:${stat.ino}`;
}

/** For reading and writing; on a read-only file system for reading, which is enough to look at a datastore there. */
function openForLocking(path: string): number {
  try {
    return openSync(path, 'r+');
  } catch (e) {
    if (errorCode(e) === 'EROFS') return openSync(path, 'r');
    throw e;
  }
}

/**
 * The lock of a chunk store: writers share it, garbage collection in another process excludes them. Inside one process exclusive and shared
 * holders may coexist; garbage collection spares what running writers need by `oldestWriter`.
 */
export class ProcessLock implements Disposable {
  readonly path: string;
  readonly #clock: Clock;
  #state: LockState | null;

  private constructor(path: string, state: LockState, clock: Clock) {
    this.path = path;
    this.#state = state;
    this.#clock = clock;
  }

  /** Opens `<base>/.lock`, which must exist. Each opened lock is closed once; the last one closes the file. StoreError `store.missing`... */
  static open(path: string, clock: Clock = systemClock): ProcessLock {
    try {
      const known = openFiles.get(fileKey(statSync(path, { bigint: true })));
      if (known !== undefined) {
        known.openCount += 1;
        return new ProcessLock(path, known, clock);
      }
      const fd = openForLocking(realpathSync(path));
      const key = fileKey(fstatSync(fd, { bigint: true }));
      // All of this is synchronous: nobody can have opened the file in between, unless it was replaced just now.
      assert.ok(!openFiles.has(key), `${path} was replaced while it was being opened`);
      const state: LockState = { key, fd, openCount: 1, writers: new Map(), exclusive: false };
      openFiles.set(key, state);
      return new ProcessLock(path, state, clock);
    } catch (e) {
      if (errorCode(e) === 'ERR_ASSERTION') throw e;
      throw toStoreError(e, `unable to open lock '${path}'`);
    }
  }

  #open(): LockState {
    assert.ok(this.#state !== null, `process lock ${this.path} is closed`);
    return this.#state;
  }

  /**
   * Takes part as a writer, from now on. StoreError `store.locked` while another process holds it alone.
   * Insert and touch nothing without it: garbage collection would not know.
   */
  shared(): ProcessLockHold {
    const state = this.#open();
    if (state.writers.size === 0 && !state.exclusive && !this.#set(state, 'shared')) {
      throw new StoreError('store.locked', 'unable to get shared lock - EAGAIN: Try again', { hint: 'Garbage collection of this datastore runs in another process; try again when it has ended.' });
    }
    const writer = Symbol('writer');
    state.writers.set(writer, nowSeconds(this.#clock));
    return this.#hold(() => {
      state.writers.delete(writer);
      if (state.writers.size === 0 && !state.exclusive) this.#set(state, 'none');
    });
  }

  /**
   * Takes the lock alone against other processes; shared holders of this process stay and may come. StoreError `store.locked` when another process
   * has a writer, `store.gc-running` when this process holds it alone already.
   */
  exclusive(): ProcessLockHold {
    const state = this.#open();
    if (state.exclusive) throw new StoreError('store.gc-running', 'Start GC failed - (already running/locked)');
    if (!this.#set(state, 'exclusive')) {
      throw new StoreError('store.locked', 'unable to get exclusive lock - EAGAIN: Try again', { hint: 'Another process writes to this datastore; try again when its backups have ended.' });
    }
    state.exclusive = true;
    return this.#hold(() => {
      state.exclusive = false;
      this.#set(state, state.writers.size > 0 ? 'shared' : 'none');
    });
  }

  /** Start time (seconds since the epoch) of the writer of this process that runs longest; null without writers. */
  oldestWriter(): number | null {
    const { writers } = this.#open();
    return writers.size === 0 ? null : Math.min(...writers.values());
  }

  /** Whether garbage collection holds it alone in this process. */
  get heldAlone(): boolean {
    return this.#state?.exclusive === true;
  }

  /** Number of writers of this process. */
  get writerCount(): number {
    return this.#state?.writers.size ?? 0;
  }

  /** Gives up this opening of the file; all holds taken by it must have been released when it is the last one. */
  close(): void {
    const state = this.#state;
    if (state === null) return;
    assert.ok(state.openCount > 1 || (state.writers.size === 0 && !state.exclusive), `process lock ${this.path} is closed while it is held`);
    this.#state = null;
    state.openCount -= 1;
    if (state.openCount > 0) return;
    openFiles.delete(state.key);
    closeSync(state.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #set(state: LockState, mode: 'shared' | 'exclusive' | 'none'): boolean {
    try {
      return setRecordLock(state.fd, mode);
    } catch (e) {
      throw toStoreError(e, `unable to lock '${this.path}'`);
    }
  }

  #hold(release: () => void): ProcessLockHold {
    let held = true;
    const once = (): void => {
      if (!held) return;
      held = false;
      release();
    };
    return { release: once, [Symbol.dispose]: once };
  }
}
