import { join } from 'node:path';
import { StoreError } from '../base/errors.ts';
import { isArchiveName, type BackupSnapshot } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { readFileLimited, streamFile } from './file-read.ts';
import type { LockFile } from './lock-file.ts';
import { readSnapshotDirectory } from './snapshot-directory.ts';
import { loadManifest, noSuchSnapshot, type LoadedManifest } from './snapshots.ts';

/**
 * Reads one snapshot. While it is open the snapshot is neither removed nor replaced nor has its protection changed: it holds the shared
 * snapshot lock until it is closed.
 */
export class SnapshotReader implements Disposable {
  readonly namespace: string;
  readonly snapshot: BackupSnapshot;
  /** Absolute path of the snapshot's directory. */
  readonly path: string;
  readonly #store: Datastore;
  readonly #lock: LockFile;

  private constructor(store: Datastore, namespace: string, snapshot: BackupSnapshot, lock: LockFile) {
    this.#store = store;
    this.namespace = namespace;
    this.snapshot = snapshot;
    this.path = store.snapshotPath(namespace, snapshot);
    this.#lock = lock;
  }

  /** Does not wait. Throws StoreError `store.no-such-snapshot`, `store.locked`. */
  static async open(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<SnapshotReader> {
    // Looked for first, so that asking for what is not there leaves no lock file.
    if ((await readSnapshotDirectory(store.snapshotPath(namespace, snapshot))) === null) throw noSuchSnapshot(snapshot);
    const lock = await store.locks.snapshot(namespace, snapshot, 'shared');
    const reader = new SnapshotReader(store, namespace, snapshot, lock);
    if ((await readSnapshotDirectory(reader.path)) === null) {
      lock.release();
      throw noSuchSnapshot(snapshot);
    }
    return reader;
  }

  /** Index and blob files that are there, manifest and client log included. */
  async files(): Promise<string[]> {
    return (await readSnapshotDirectory(this.path))?.files ?? [];
  }

  /** Whether there is a manifest. */
  async isFinished(): Promise<boolean> {
    return (await readSnapshotDirectory(this.path))?.finished ?? false;
  }

  async manifest(): Promise<LoadedManifest> {
    return loadManifest(this.#store, this.namespace, this.snapshot);
  }

  /** Absolute path of a file; throws StoreError `store.name` for anything that is not an archive name. */
  filePath(name: string): string {
    if (!isArchiveName(name)) throw new StoreError('store.name', `'${name}' is not the name of an archive`);
    return join(this.path, name);
  }

  /** The file as stored. Throws StoreError `store.missing`. */
  stream(name: string): AsyncGenerator<Buffer, void> {
    return streamFile(this.filePath(name));
  }

  /** The whole file as stored; `store.too-large` when it has more than `maxSize` bytes. */
  async read(name: string, maxSize: number): Promise<Buffer> {
    return readFileLimited(this.filePath(name), maxSize);
  }

  close(): void {
    this.#lock.release();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
