import { Readable } from 'node:stream';
import type { Datastore } from '../datastore/datastore.ts';
import { openRegularFile, streamOpenFile } from '../datastore/file-read.ts';
import { openIndexFile, type IndexFile } from '../datastore/index-file.ts';
import { SnapshotReader } from '../datastore/snapshot-reader.ts';
import { lastFinishedSnapshot, loadManifest, snapshotEntry } from '../datastore/snapshots.ts';
import { snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { verifyState } from '../format/manifest.ts';
import type { PreviousBackup, PreviousFile } from '../protocol/backup-store.ts';
import { ifThere } from './stored-snapshot.ts';

/**
 * The snapshot that the next backup of a group builds upon, null for none (spec backup-protocol 2.4). One that failed its verification is none: all is
 * uploaded anew then, which mends the damaged chunks. StoreError `store.manifest` when it cannot be read.
 */
export async function findBase(store: Datastore, namespace: string, group: BackupGroup): Promise<BackupSnapshot | null> {
  const last = await lastFinishedSnapshot(store, namespace, group);
  if (last === null) return null;
  const { manifest } = await loadManifest(store, namespace, last);
  if (verifyState(manifest)?.state === 'failed') return null;
  return { type: last.type, id: last.id, time: last.time };
}

/** The base snapshot of a backup session under its shared lock: neither it nor its chunks go away meanwhile. */
export class BaseSnapshot implements PreviousBackup, Disposable {
  readonly snapshot: string;
  readonly time: number;
  readonly folder: string;
  readonly #store: Datastore;
  readonly #reader: SnapshotReader;

  private constructor(store: Datastore, reader: SnapshotReader) {
    this.snapshot = snapshotText(reader.snapshot);
    this.time = reader.snapshot.time;
    this.folder = reader.path;
    this.#store = store;
    this.#reader = reader;
  }

  /** Throws StoreError `store.no-such-snapshot`, `store.locked`. */
  static async open(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<BaseSnapshot> {
    return new BaseSnapshot(store, await SnapshotReader.open(store, namespace, snapshot));
  }

  async exists(): Promise<boolean> {
    return (await snapshotEntry(this.#store, this.#reader.namespace, this.#reader.snapshot)) !== null;
  }

  async openIndex(fileName: string): Promise<IndexFile | null> {
    return ifThere(openIndexFile(this.#reader.filePath(fileName)));
  }

  async openFile(fileName: string): Promise<PreviousFile | null> {
    const path = this.#reader.filePath(fileName);
    const file = await ifThere(openRegularFile(path));
    if (file === null) return null;
    return {
      stream: () => Readable.from(streamOpenFile(file.handle, path), { objectMode: false, highWaterMark: 1 }),
      close: () => file.handle.close(),
    };
  }

  [Symbol.dispose](): void {
    this.#reader.close();
  }
}
