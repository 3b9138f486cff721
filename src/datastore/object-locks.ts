import { errorCode, StoreError } from '../base/errors.ts';
import { groupText, snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import type { LockMode } from '../sys/file-lock.ts';
import { LockFile } from './lock-file.ts';
import { groupLockPath, manifestLockPath, moveJournalPath, snapshotLockPath } from './lock-path.ts';
import { quotedPath } from './store-error.ts';

/** Longest time that a writer of a manifest waits for another one (spec formats 4.6). */
const manifestWaitMs = 5000;
/** Garbage collection holds the journal while it marks what stands in it. */
const moveJournalWaitMs = 10_000;

/**
 * Locks of the groups, snapshots and manifests of one datastore (spec formats 4.6). They bind other processes and other holders in this
 * one alike. All throw StoreError `store.locked` when somebody else holds the lock.
 */
export class ObjectLocks {
  readonly #root: string;
  readonly #store: string;

  constructor(locksRoot: string, store: string) {
    this.#root = locksRoot;
    this.#store = store;
  }

  /** Exclusive, without waiting. */
  async group(namespace: string, group: BackupGroup): Promise<LockFile> {
    return acquire('backup group lock', groupLockPath(this.#root, this.#store, namespace, groupText(group)), 'exclusive', 0);
  }

  /** Without waiting. */
  async snapshot(namespace: string, snapshot: BackupSnapshot, mode: LockMode): Promise<LockFile> {
    const what = mode === 'shared' ? 'shared snapshot lock' : 'snapshot lock';
    return acquire(what, snapshotLockPath(this.#root, this.#store, namespace, snapshotText(snapshot)), mode, 0);
  }

  /** Exclusive, waits up to 5 seconds: updates of a manifest are short. */
  async manifest(namespace: string, snapshot: BackupSnapshot): Promise<LockFile> {
    return acquire('manifest lock', manifestLockPath(this.#root, this.#store, namespace, snapshotText(snapshot)), 'exclusive', manifestWaitMs);
  }

  /** The journal of moves, which is its own lock; exclusive, waits up to 10 seconds. */
  async moveJournal(): Promise<LockFile> {
    return acquire('move journal', moveJournalPath(this.#root, this.#store), 'exclusive', moveJournalWaitMs);
  }
}

async function acquire(what: string, path: string, mode: LockMode, timeoutMs: number): Promise<LockFile> {
  try {
    return await LockFile.acquire(path, { mode, timeoutMs });
  } catch (e) {
    if (errorCode(e) !== 'store.locked') throw e;
    throw new StoreError('store.locked', `unable to acquire ${what} ${quotedPath(path)}`, {
      cause: e,
      hint: 'a backup, restore, sync, verify or removal is working on it; try again later',
    });
  }
}
