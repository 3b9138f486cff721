import { createHash } from 'node:crypto';
import { open, rename, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, FarshoreError, StoreError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { clientLogFileName, isArchiveName, manifestFileName, snapshotText, type BackupSnapshot } from '../format/backup-path.ts';
import { encodeManifestBlob, type Manifest } from '../format/manifest.ts';
import type { Datastore } from './datastore.ts';
import { giveToFileOwner } from './file-owner.ts';
import { readFileLimited } from './file-read.ts';
import type { LockFile } from './lock-file.ts';
import { makeDirectory } from './namespaces.ts';
import { syncDirectory, temporaryName, writeFully } from './replace-file.ts';
import { readDirectory, readSnapshotDirectory, removeSnapshotDirectory } from './snapshot-directory.ts';
import { maxManifestFileSize } from './snapshots.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Leaves room for the suffix of a temporary name. */
const maxFileNameLength = 240;

export interface StagedFile {
  filename: string;
  /** Where it is until it is committed. */
  path: string;
  /** Bytes of the file. */
  size: number;
  /** SHA-256 of the file, 64 hex digits. */
  sha256: string;
}

/**
 * Writes one snapshot under its exclusive lock; obtained only from a LockedGroup, so the group is locked, too. Files are staged under a temporary
 * name, checked by the caller, then committed. The snapshot exists for readers only after `publish`.
 *
 * A snapshot that was finished before keeps its files until `publish`: committing one only marks it, so that giving up leaves the old state whole.
 */
export class SnapshotWriter implements AsyncDisposable {
  readonly namespace: string;
  readonly snapshot: BackupSnapshot;
  /** Absolute path of the snapshot's directory, for index writers. */
  readonly path: string;
  /** The snapshot was not there before. */
  readonly isNew: boolean;
  readonly #store: Datastore;
  readonly #lock: LockFile;
  readonly #wasFinished: boolean;
  readonly #staged = new Map<string, StagedFile>();
  /** Committed while the old state is still the valid one. */
  readonly #deferred = new Map<string, StagedFile>();
  #published = false;
  #closed = false;

  constructor(store: Datastore, namespace: string, snapshot: BackupSnapshot, state: { isNew: boolean; wasFinished: boolean }, lock: LockFile) {
    this.namespace = namespace;
    this.snapshot = snapshot;
    this.path = store.snapshotPath(namespace, snapshot);
    this.isNew = state.isNew;
    this.#store = store;
    this.#lock = lock;
    this.#wasFinished = state.wasFinished;
  }

  /** The manifest blob that is there now, null when there is none. */
  async currentManifest(): Promise<Buffer | null> {
    try {
      return await readFileLimited(join(this.path, manifestFileName), maxManifestFileSize);
    } catch (e) {
      if (errorCode(e) === 'store.missing') return null;
      throw e;
    }
  }

  /** Where the content of `filename` is now: committed, not staged. Check it with `checkArchive` before relying on it. */
  filePath(filename: string): string {
    checkFileName(filename);
    return this.#deferred.get(filename)?.path ?? join(this.path, filename);
  }

  /** Index and blob files that are there or committed, sorted. */
  async files(): Promise<string[]> {
    return [...new Set([...((await readSnapshotDirectory(this.path))?.files ?? []), ...this.#deferred.keys()])].toSorted();
  }

  /**
   * Stores `data` under a temporary name, synced to disk. More than `maxSize` bytes is StoreError `store.too-large`; on any error nothing is left. Staging a
   * name again replaces what was staged.
   */
  async stage(filename: string, data: Uint8Array | AsyncIterable<Uint8Array>, maxSize: number): Promise<StagedFile> {
    checkFileName(filename);
    const staged = await this.#writeTemporary(filename, data, maxSize);
    failpoint('snapshot-writer.staged');
    await this.discardStaged(filename);
    this.#staged.set(filename, staged);
    return staged;
  }

  async #writeTemporary(filename: string, data: Uint8Array | AsyncIterable<Uint8Array>, maxSize: number): Promise<StagedFile> {
    const path = temporaryName(join(this.path, filename));
    const hash = createHash('sha256');
    let size = 0;
    try {
      const handle = await open(path, 'wx', 0o644);
      try {
        failpoint('snapshot-writer.staging');
        for await (const piece of data instanceof Uint8Array ? [data] : data) {
          size += piece.byteLength;
          if (size > maxSize) throw new StoreError('store.too-large', `${filename} has more than ${maxSize} bytes`);
          hash.update(piece);
          await writeFully(handle, piece);
        }
        await handle.chmod(0o644);
        if (this.#synced) await handle.sync();
      } finally {
        await handle.close();
      }
      await giveToFileOwner(path);
    } catch (e) {
      await unlink(path).catch(() => {});
      // A failure of the source of `data` is not one of this store.
      throw e instanceof FarshoreError ? e : toStoreError(e, `unable to write ${quotedPath(path)}`);
    }
    return { filename, path, size, sha256: hash.digest('hex') };
  }

  get #synced(): boolean {
    return this.#store.tuning.syncLevel !== 'none';
  }

  async discardStaged(filename: string): Promise<void> {
    const staged = this.#staged.get(filename);
    if (staged === undefined) return;
    this.#staged.delete(filename);
    await unlinkIfThere(staged.path);
  }

  /** Gives a staged file its final name. For an index: only after all its chunks are stored, since readers and backups may then use it. */
  async commit(filename: string): Promise<void> {
    const staged = this.#staged.get(filename);
    if (staged === undefined) throw new StoreError('store.not-staged', `${filename} was not staged`);
    this.#staged.delete(filename);
    // Nothing vouches for the client log: it may come at any time.
    if (this.#wasFinished && filename !== clientLogFileName) {
      const earlier = this.#deferred.get(filename);
      if (earlier !== undefined) await unlinkIfThere(earlier.path);
      this.#deferred.set(filename, staged);
      return;
    }
    failpoint('snapshot-writer.commit');
    await this.#rename(staged);
    failpoint('snapshot-writer.committed');
  }

  async #rename(staged: StagedFile): Promise<void> {
    try {
      await rename(staged.path, join(this.path, staged.filename));
    } catch (e) {
      throw toStoreError(e, `unable to rename ${quotedPath(staged.path)}`);
    }
  }

  /**
   * Makes the snapshot visible; the last step. Before the manifest gets its name everything else is on disk (as far as `sync-level` asks for it), chunks
   * included. `keep`: the files that the manifest lists; all other regular files but the client log and dot-files are removed.
   * Throws StoreError `store.missing` when a file of `keep` is not there: nothing is published then.
   */
  async publish(manifest: Uint8Array | Manifest, keep: readonly string[]): Promise<void> {
    const blob = manifest instanceof Uint8Array ? manifest : encodeManifestBlob(manifest);
    await this.#requireFiles(keep);
    using _manifestLock = await this.#store.locks.manifest(this.namespace, this.snapshot);
    const staged = await this.#writeTemporary(manifestFileName, blob, maxManifestFileSize);
    try {
      await this.#store.flush();
      failpoint('snapshot-writer.flushed');
      await this.#replaceDeferred();
      if (this.#synced) await syncDirectory(this.path);
      failpoint('snapshot-writer.publish');
      await this.#rename(staged);
    } catch (e) {
      await unlinkIfThere(staged.path);
      throw e;
    }
    this.#published = true;
    failpoint('snapshot-writer.published');
    await this.#removeUnlisted(keep);
    if (this.#synced) await syncDirectory(this.path);
  }

  /**
   * Files of a finished snapshot are replaced only now, by renames alone, and without a manifest meanwhile: a crash in between leaves an
   * unfinished snapshot, not one that looks whole and is a mixture.
   */
  async #replaceDeferred(): Promise<void> {
    const there = (await readSnapshotDirectory(this.path))?.files ?? [];
    if (there.some((name) => this.#deferred.has(name))) {
      await unlinkIfThere(join(this.path, manifestFileName));
      if (this.#synced) await syncDirectory(this.path);
    }
    for (const staged of this.#deferred.values()) {
      await this.#rename(staged);
      failpoint('snapshot-writer.replaced');
    }
    this.#deferred.clear();
  }

  async #requireFiles(keep: readonly string[]): Promise<void> {
    const there = new Set(await this.files());
    for (const name of keep) {
      if (name === manifestFileName) continue;
      checkFileName(name);
      if (!there.has(name)) throw new StoreError('store.missing', `${snapshotText(this.snapshot)} cannot be published: ${name} is missing`);
    }
  }

  async #removeUnlisted(keep: readonly string[]): Promise<void> {
    const stay = new Set([...keep, manifestFileName, clientLogFileName]);
    for (const entry of (await readDirectory(this.path)) ?? []) {
      if (!entry.isFile() || entry.name.startsWith('.') || stay.has(entry.name)) continue;
      await unlinkIfThere(join(this.path, entry.name));
    }
  }

  /** Gives up: a snapshot that was not there before is removed, otherwise what was there stays as it was. Also after `publish`. */
  async discard(): Promise<void> {
    if (this.#closed) return;
    this.#closed = true;
    if (this.isNew) {
      using manifestLock = await this.#store.locks.manifest(this.namespace, this.snapshot);
      await removeSnapshotDirectory(this.path);
      await manifestLock.releaseAndRemove();
      await this.#lock.releaseAndRemove();
      return;
    }
    try {
      for (const staged of [...this.#staged.values(), ...this.#deferred.values()]) await unlinkIfThere(staged.path);
    } finally {
      this.#lock.release();
    }
  }

  /** Ends the writing: `discard` unless it was published. Releases the lock. */
  async close(): Promise<void> {
    if (this.#closed) return;
    if (!this.#published) return this.discard();
    this.#closed = true;
    this.#lock.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.close();
  }
}

/**
 * Makes or opens the snapshot's directory and locks it without waiting; only LockedGroup calls it. Throws StoreError `store.locked`,
 * `store.snapshot-exists` (`create` only).
 */
export async function openSnapshotWriter(
  store: Datastore,
  namespace: string,
  snapshot: BackupSnapshot,
  mode: 'create' | 'create-or-open',
): Promise<SnapshotWriter> {
  const path = store.snapshotPath(namespace, snapshot);
  // The lock comes first: a directory that is there without its lock could be taken for a leftover and removed.
  const lock = await store.locks.snapshot(namespace, snapshot, 'exclusive');
  try {
    const before = await readSnapshotDirectory(path);
    if (before !== null && mode === 'create') {
      throw new StoreError('store.snapshot-exists', `backup directory already exists: ${quotedPath(path)}`);
    }
    if (before === null) await makeDirectory(store, path);
    failpoint('snapshot-writer.opened');
    return new SnapshotWriter(store, namespace, snapshot, { isNew: before === null, wasFinished: before?.finished ?? false }, lock);
  } catch (e) {
    lock.release();
    throw toStoreError(e, `unable to create snapshot ${snapshotText(snapshot)}`);
  }
}

function checkFileName(name: string): void {
  if (name.length > maxFileNameLength || !isArchiveName(name)) throw new StoreError('store.name', `'${name}' is not the name of an archive`);
  if (name === manifestFileName) throw new StoreError('store.name', 'the manifest is written by publishing');
}

async function unlinkIfThere(path: string): Promise<void> {
  try {
    await unlink(path);
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw toStoreError(e, `unable to remove ${quotedPath(path)}`);
  }
}
