import { join } from 'node:path';
import type { ProgressLog } from '../base/log.ts';
import { groupPath, namespacePath, snapshotPath, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { syncFilesystem } from '../sys/sync-filesystem.ts';
import type { ChunkBackend } from './chunk-backend.ts';
import { checkEmptyBase, checkReusableChunkStore, createChunkStore, processLockName } from './chunk-store-layout.ts';
import { LocalChunkBackend } from './local-chunk-backend.ts';
import { ObjectLocks } from './object-locks.ts';
import { ProcessLock } from './process-lock.ts';
import { toStoreError } from './store-error.ts';
import { defaultTuning, type DatastoreTuning } from './tuning.ts';

export interface DatastoreOptions {
  /** Name under which it is configured; part of the lock paths. */
  name: string;
  /** Absolute path of the base directory. */
  path: string;
  /** Folder of the group, snapshot and manifest locks of all datastores: `/run/proxmox-backup/locks` beside a reference server. */
  locksRoot: string;
  tuning?: Partial<DatastoreTuning> | undefined;
  /** Where findings of the chunk store go that stop nothing. */
  log?: ProgressLog | undefined;
}

/**
 * An open datastore: where it is, its chunks and its locks (spec formats 3, 4). What it holds is read and changed by the functions of this folder that
 * take it: namespaces.ts, groups.ts, snapshots.ts, snapshot-info.ts, removal.ts; content through SnapshotReader and, from a LockedGroup, SnapshotWriter.
 */
export class Datastore implements Disposable {
  readonly name: string;
  readonly path: string;
  readonly tuning: Readonly<DatastoreTuning>;
  readonly chunks: ChunkBackend;
  /** Writers share it while they insert or touch chunks; garbage collection has it alone. */
  readonly processLock: ProcessLock;
  readonly locks: ObjectLocks;
  /** The flush under way; settled, never rejected. */
  #flushing: Promise<void> = Promise.resolve();
  /** The flush that begins after it. */
  #nextFlush: Promise<void> | null = null;

  private constructor(options: DatastoreOptions, chunks: ChunkBackend, processLock: ProcessLock) {
    this.name = options.name;
    this.path = options.path;
    this.tuning = { ...defaultTuning, ...options.tuning };
    this.chunks = chunks;
    this.processLock = processLock;
    this.locks = new ObjectLocks(options.locksRoot, options.name);
  }

  /**
   * Makes a datastore and opens it. The path may hold nothing but dot names and `lost+found`; with `reuse` it must be a whole datastore and everything in it
   * stays (spec retention 9.1). Takes seconds: 65,536 folders. Throws StoreError `store.not-empty`, `store.exists`, `store.layout`.
   */
  static async create(options: DatastoreOptions & { reuse?: boolean; onProgress?: (percent: number) => void }): Promise<Datastore> {
    if (options.reuse === true) await checkReusableChunkStore(options.path);
    else {
      await checkEmptyBase(options.path);
      await createChunkStore(options.path, options.onProgress);
    }
    return Datastore.open(options);
  }

  /** Opens an existing datastore. Throws StoreError `store.missing` when it is not there, e.g. a disk that is not mounted. */
  static async open(options: DatastoreOptions): Promise<Datastore> {
    const syncLevel = options.tuning?.syncLevel ?? defaultTuning.syncLevel;
    const chunks = await LocalChunkBackend.open(options.path, { syncLevel, ...(options.log === undefined ? {} : { log: options.log }) });
    return new Datastore(options, chunks, ProcessLock.open(join(options.path, processLockName)));
  }

  /** Absolute path of a namespace's directory. */
  namespacePath(namespace: string): string {
    return join(this.path, namespacePath(namespace));
  }

  groupPath(namespace: string, group: BackupGroup): string {
    return join(this.path, groupPath(namespace, group));
  }

  snapshotPath(namespace: string, snapshot: BackupSnapshot): string {
    return join(this.path, snapshotPath(namespace, snapshot));
  }

  /** Everything stored before this call survives a power loss after it, as far as `sync-level` promises that. */
  async flush(): Promise<void> {
    if (this.tuning.syncLevel !== 'filesystem') return;
    // One flush serves all who ask before it begins: many snapshots that are published together wait for one disk.
    this.#nextFlush ??= this.#flushing.then(() => {
      this.#nextFlush = null;
      const flush = this.#syncFilesystem();
      this.#flushing = flush.catch(() => {});
      return flush;
    });
    await this.#nextFlush;
  }

  async #syncFilesystem(): Promise<void> {
    try {
      await syncFilesystem(this.path);
    } catch (e) {
      throw toStoreError(e, `unable to sync the file system of datastore '${this.name}'`);
    }
  }

  close(): void {
    this.processLock.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
