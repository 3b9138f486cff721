import assert from 'node:assert/strict';
import { join } from 'node:path';
import { toHex, type Digest } from '../base/bytes.ts';
import { errorCode, FormatError, HttpError, StoreError, toError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { compareArchiveContent, type ArchiveContent } from '../datastore/archive-check.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { createLockedGroup, groupExists, type LockedGroup } from '../datastore/groups.ts';
import { IndexFile } from '../datastore/index-file.ts';
import { DynamicIndexWriter, FixedIndexWriter } from '../datastore/index-writer.ts';
import type { ProcessLockHold } from '../datastore/process-lock.ts';
import type { SnapshotWriter } from '../datastore/snapshot-writer.ts';
import { quotedPath } from '../datastore/store-error.ts';
import { isOwner } from '../format/auth-id.ts';
import { manifestFileName, snapshotPath, snapshotText, type BackupSnapshot } from '../format/backup-path.ts';
import { decodeManifestBlob, type Manifest } from '../format/manifest.ts';
import type { BackupStore, DynamicIndexOptions, FixedIndexOptions, IndexSink, UploadStatistics } from '../protocol/backup-store.ts';
import { BaseSnapshot, findBase } from './backup-base.ts';

export interface BackupTargetOptions {
  /** Who makes the backup; a new group is theirs. */
  authId: string;
  /** Without a look at the owner, and never kept. */
  benchmark: boolean;
}

/**
 * The new snapshot of a backup session: group, snapshot and base are locked from `open` to `finish` or `close` (spec backup-protocol 2.3, 5). The manifest is held back
 * until `finish`, so that no moment exists in which half a backup looks whole.
 */
export class BackupTarget implements BackupStore, AsyncDisposable {
  readonly snapshotPath: string;
  readonly folder: string;
  readonly previous: BaseSnapshot | null;
  readonly #store: Datastore;
  readonly #group: LockedGroup;
  readonly #writer: SnapshotWriter;
  readonly #benchmark: boolean;
  /** What was stored, by file name, as it is on disk. */
  readonly #content = new Map<string, ArchiveContent>();
  #manifest: Uint8Array | null = null;
  #writing: ProcessLockHold | null = null;
  #published = false;
  #closed = false;

  private constructor(store: Datastore, parts: { group: LockedGroup; writer: SnapshotWriter; previous: BaseSnapshot | null }, benchmark: boolean) {
    this.#store = store;
    this.#group = parts.group;
    this.#writer = parts.writer;
    this.#benchmark = benchmark;
    this.previous = parts.previous;
    this.folder = parts.writer.path;
    this.snapshotPath = snapshotPath(parts.writer.namespace, parts.writer.snapshot);
  }

  /** Steps 10 to 14 of spec backup-protocol 2.3, with their HttpErrors. Nothing is left when it rejects. */
  static async open(store: Datastore, namespace: string, snapshot: BackupSnapshot, { authId, benchmark }: BackupTargetOptions): Promise<BackupTarget> {
    await using held = new AsyncDisposableStack();
    const group = held.use(await lockGroup(store, namespace, snapshot, authId));
    if (!benchmark && !isOwner(group.owner, authId)) throw new HttpError(400, `backup owner check failed (${authId} != ${group.owner})`);
    const base = await findBase(store, namespace, snapshot);
    if (base !== null && snapshot.time <= base.time) throw new HttpError(400, 'backup timestamp is older than last backup.');
    const previous = base === null ? null : held.use(await lockBase(store, namespace, base));
    const writer = held.use(await createSnapshot(group, snapshot));
    held.move();
    return new BackupTarget(store, { group, writer, previous }, benchmark);
  }

  /** The backup is whole and visible. */
  get finished(): boolean {
    return this.#published;
  }

  /** Tells garbage collection that a writer is there. StoreError `store.locked` while it runs in another process. */
  begin(): void {
    assert.equal(this.#writing, null);
    this.#writing = this.#store.processLock.shared();
  }

  async createIndex(fileName: string, options: FixedIndexOptions | DynamicIndexOptions): Promise<IndexSink> {
    const path = join(this.folder, fileName);
    // Nobody reads it before `finish`, which brings everything to the disk at once where chunks are not synced one by one either.
    const sync = this.#store.tuning.syncLevel === 'file';
    const { uuid } = options;
    if (options.kind === 'dynamic') return this.#recorded(fileName, await DynamicIndexWriter.create(path, { uuid, sync }));
    const writer = await FixedIndexWriter.create(path, { uuid, sync, size: options.size });
    if (options.reuse !== undefined) {
      assert.ok(options.reuse instanceof IndexFile);
      try {
        await writer.copyDigests(options.reuse);
      } catch (e) {
        await writer.abort();
        throw e;
      }
    }
    return this.#recorded(fileName, writer);
  }

  #recorded(fileName: string, writer: FixedIndexWriter | DynamicIndexWriter): IndexSink {
    return {
      get size() {
        return writer.size;
      },
      get count() {
        return writer.count;
      },
      addChunk: (start, length, digest) => writer.addChunk(start, length, digest),
      close: async (expectedCsum) => {
        const { size, csum } = await writer.close(expectedCsum);
        this.#content.set(fileName, { size, csum: toHex(csum) });
      },
      abort: () => writer.abort(),
    };
  }

  async insertChunk(digest: Digest, blob: Uint8Array): Promise<{ duplicate: boolean; storedSize: number }> {
    return this.#store.chunks.insert(digest, blob);
  }

  async touchChunk(digest: Digest): Promise<boolean> {
    return this.#store.chunks.touch(digest);
  }

  async storeBlob(fileName: string, blob: Uint8Array): Promise<void> {
    if (fileName === manifestFileName) {
      this.#manifest = blob;
      return;
    }
    const { size, sha256 } = await this.#writer.stage(fileName, blob, blob.byteLength);
    await this.#writer.commit(fileName);
    this.#content.set(fileName, { size, csum: sha256 });
  }

  async finish(statistics: UploadStatistics): Promise<void> {
    const manifest = this.#checkedManifest();
    manifest.unprotected['chunk_upload_stats'] = {
      compressed_size: statistics.compressedSize,
      count: statistics.count,
      duplicates: statistics.duplicates,
      size: statistics.size,
    };
    await this.#writer.publish(manifest, [...this.#content.keys()]);
    this.#published = true;
    if (!this.#benchmark) await this.#release();
  }

  /** The reference takes any manifest here. One that its own files do not bear out would be a backup that cannot be restored. */
  #checkedManifest(): Manifest {
    if (this.#manifest === null) throw new StoreError('store.missing', `unable to load blob '${quotedPath(join(this.folder, manifestFileName))}' - No such file or directory (os error 2)`);
    const manifest = decodeManifestBlob(this.#manifest);
    for (const file of manifest.files) {
      const stored = this.#content.get(file.filename);
      if (stored === undefined) throw new StoreError('store.missing', `the manifest lists '${file.filename}', which was not uploaded`);
      try {
        compareArchiveContent(file, stored);
      } catch (e) {
        throw new FormatError(errorCode(e), `the manifest says something else of '${file.filename}' than was uploaded: ${toError(e).message}`);
      }
    }
    return manifest;
  }

  /** Ends the session: removes the snapshot unless it is finished, and a group that is empty then, under the locks; then lets them go. Once. */
  async close(log: ProgressLog): Promise<void> {
    if (!this.#closed && (!this.#published || this.#benchmark)) log.info(`removing backup snapshot ${quotedPath(this.folder)}`);
    await this.#release();
  }

  async #release(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    await using held = new AsyncDisposableStack();
    // In reverse order: the locks go last.
    held.defer(() => this.#writing?.release());
    held.defer(() => this.previous?.[Symbol.dispose]());
    const kept = this.#published && !this.#benchmark;
    held.defer(async () => {
      if (kept) await this.#group.release();
      else await this.#group.removeIfEmpty();
    });
    held.defer(() => (kept ? this.#writer.close() : this.#writer.discard()));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#release();
  }
}

async function lockGroup(store: Datastore, namespace: string, snapshot: BackupSnapshot, authId: string): Promise<LockedGroup> {
  const isThere = await groupExists(store, namespace, snapshot);
  try {
    return await createLockedGroup(store, namespace, snapshot, authId);
  } catch (e) {
    if (errorCode(e) === 'store.namespace-missing') throw new HttpError(404, 'namespace not found', { cause: e });
    if (errorCode(e) !== 'store.locked') throw e;
    const what = `${isThere ? 'creating' : 'creating new'} locked backup group ${quotedPath(store.groupPath(namespace, snapshot))}`;
    throw new HttpError(400, `${toError(e).message} while ${what}`, { cause: e, hint: 'another backup, sync or removal works on this group; try again later' });
  }
}

async function lockBase(store: Datastore, namespace: string, base: BackupSnapshot): Promise<BaseSnapshot> {
  try {
    return await BaseSnapshot.open(store, namespace, base);
  } catch (e) {
    throw new HttpError(400, `while locking last snapshot during backup '${snapshotText(base)}'`, { cause: e });
  }
}

async function createSnapshot(group: LockedGroup, snapshot: BackupSnapshot): Promise<SnapshotWriter> {
  try {
    return await group.createSnapshot(snapshot.time);
  } catch (e) {
    if (errorCode(e) === 'store.snapshot-exists') throw new HttpError(400, 'backup directory already exists.', { cause: e });
    if (errorCode(e) === 'store.locked') throw new HttpError(400, `while creating new locked snapshot '${snapshotText(snapshot)}'`, { cause: e });
    throw e;
  }
}
