import type { Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { FormatError, StoreError, errorChain, errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { checkArchive, checkIndexFile } from '../datastore/archive-check.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { createLockedGroup, groupExists, listGroups, readOwner, type LockedGroup } from '../datastore/groups.ts';
import { readFileLimited } from '../datastore/file-read.ts';
import { openIndexFile } from '../datastore/index-file.ts';
import { createNamespace, listNamespaces, namespaceExists, removeEmptyNamespace } from '../datastore/namespaces.ts';
import { removeGroup, removeSnapshot } from '../datastore/removal.ts';
import { lastFinishedSnapshot, listSnapshots, loadManifest, snapshotEntry } from '../datastore/snapshots.ts';
import type { SnapshotWriter } from '../datastore/snapshot-writer.ts';
import { groupText, manifestFileName, snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { archiveKind } from '../format/chunk-index.ts';
import { maxChunkEncodedSize } from '../format/data-blob.ts';
import { verifyState } from '../format/manifest.ts';
import type { EstimateTarget } from './estimate.ts';
import type {
  ExpectedContent,
  RemovedGroup,
  ReplicationTarget,
  SnapshotSink,
  StagedIndex,
  TargetGroup,
  TargetGroupSession,
  TargetSnapshot,
} from './ports.ts';
import { checkedBlob } from './received-blob.ts';

const largestIndexFile = 8 * 1024 ** 3;

/** A datastore of this server as target. */
export class LocalTarget implements ReplicationTarget, EstimateTarget {
  readonly label: string;
  readonly #store: Datastore;

  constructor(store: Datastore) {
    this.#store = store;
    this.label = store.name;
  }

  begin(): Promise<{ end(): Promise<void> }> {
    const hold = this.#store.processLock.shared();
    return Promise.resolve({
      end: () => {
        hold[Symbol.dispose]();
        return Promise.resolve();
      },
    });
  }

  async namespaceExists(namespace: string): Promise<boolean> {
    return namespaceExists(this.#store, namespace);
  }

  async createNamespace(namespace: string): Promise<void> {
    await createNamespace(this.#store, namespace);
  }

  async namespaces(anchor: string, maxDepth: number): Promise<readonly string[]> {
    return listNamespaces(this.#store, { anchor, maxDepth });
  }

  async removeEmptyNamespace(namespace: string): Promise<boolean> {
    return removeEmptyNamespace(this.#store, namespace);
  }

  async groups(namespace: string, options: { lookForCorrupt: boolean }): Promise<readonly TargetGroup[]> {
    const groups: TargetGroup[] = [];
    for (const group of await listGroups(this.#store, namespace)) {
      // A group without readable owner belongs to nobody: it is shown, and refused when it is to be written.
      const owner = await readOwner(this.#store, namespace, group).catch((e: unknown) => {
        if (errorCode(e) === 'store.owner') return '';
        throw e;
      });
      groups.push({ ...group, owner, snapshots: await this.#snapshots(namespace, group, options) });
    }
    return groups;
  }

  async openGroup(namespace: string, group: BackupGroup, owner: string): Promise<TargetGroupSession> {
    const locked = await createLockedGroup(this.#store, namespace, group, owner);
    if (locked.owner === owner) return new LocalGroupSession(this.#store, locked, (options) => this.#snapshots(namespace, group, options));
    await locked.release();
    throw new StoreError('store.owner', `group ${groupText(group)} belongs to ${locked.owner}, the job's owner is ${owner}`, {
      hint: `give the job the owner ${locked.owner}, or change the owner of the group`,
    });
  }

  async removeGroup(namespace: string, group: BackupGroup): Promise<RemovedGroup> {
    return removeGroup(this.#store, namespace, group);
  }

  async touchChunk(digest: Digest): Promise<boolean> {
    return this.#store.chunks.touch(digest);
  }

  async readChunk(digest: Digest): Promise<Buffer | null> {
    try {
      return await this.#store.chunks.read(digest);
    } catch (e) {
      if (errorCode(e) === 'store.chunk-missing') return null;
      throw e;
    }
  }

  async hasChunk(digest: Digest): Promise<boolean> {
    const size = await this.#store.chunks.size(digest);
    return size !== null && size > 0;
  }

  async heldDigests(namespace: string, group: BackupGroup, also: BackupSnapshot | null, log: ProgressLog): Promise<DigestSet> {
    return heldDigests(this.#store, namespace, group, also, log);
  }

  async manifest(namespace: string, snapshot: BackupSnapshot): Promise<Buffer | null> {
    if ((await snapshotEntry(this.#store, namespace, snapshot))?.finished !== true) return null;
    return readFileLimited(`${this.#store.snapshotPath(namespace, snapshot)}/${manifestFileName}`, maxChunkEncodedSize);
  }

  async storeChunk(digest: Digest, blob: Uint8Array, replace: boolean): Promise<{ duplicate: boolean }> {
    return replace ? this.#store.chunks.replace(digest, blob) : this.#store.chunks.insert(digest, blob);
  }

  async flush(): Promise<void> {
    await this.#store.flush();
  }

  async #snapshots(namespace: string, group: BackupGroup, options: { lookForCorrupt: boolean }): Promise<TargetSnapshot[]> {
    const found: TargetSnapshot[] = [];
    for (const entry of await listSnapshots(this.#store, namespace, group)) {
      const corrupt = options.lookForCorrupt && entry.finished && (await this.#isCorrupt(namespace, entry));
      found.push({ type: group.type, id: group.id, time: entry.time, finished: entry.finished, protected: entry.protected, corrupt });
    }
    return found;
  }

  /** Verification failed, or the manifest cannot be read (spec sync 4.3.6). */
  async #isCorrupt(namespace: string, snapshot: BackupSnapshot): Promise<boolean> {
    try {
      const { manifest } = await loadManifest(this.#store, namespace, snapshot);
      return verifyState(manifest)?.state === 'failed';
    } catch (e) {
      if (errorCode(e) === 'store.manifest') return true;
      throw e;
    }
  }
}

async function heldDigests(store: Datastore, namespace: string, group: BackupGroup, also: BackupSnapshot | null, log: ProgressLog): Promise<DigestSet> {
  const held = new DigestSet();
  const newest = (await groupExists(store, namespace, group)) ? await lastFinishedSnapshot(store, namespace, group) : null;
  for (const snapshot of [newest, also]) {
    if (snapshot === null) continue;
    try {
      await addDigests(store, namespace, held, snapshot, snapshot === also);
    } catch (e) {
      log.warn(`could not read what ${snapshotText(snapshot)} holds, its chunks may be fetched again - ${errorChain(e)}`);
    }
  }
  return held;
}

async function addDigests(store: Datastore, namespace: string, held: DigestSet, snapshot: BackupSnapshot, evenIfFailed: boolean): Promise<void> {
  if (!evenIfFailed) {
    const { manifest } = await loadManifest(store, namespace, snapshot);
    if (verifyState(manifest)?.state === 'failed') return;
  }
  const entry = await snapshotEntry(store, namespace, snapshot);
  for (const file of entry?.files ?? []) {
    if (archiveKind(file) === 'blob') continue;
    await using index = await openIndexFile(`${store.snapshotPath(namespace, snapshot)}/${file}`);
    for await (const { digest } of index.entries()) held.add(digest);
  }
}

class LocalGroupSession implements TargetGroupSession {
  readonly #store: Datastore;
  readonly #locked: LockedGroup;
  readonly #list: (options: { lookForCorrupt: boolean }) => Promise<TargetSnapshot[]>;

  constructor(store: Datastore, locked: LockedGroup, list: (options: { lookForCorrupt: boolean }) => Promise<TargetSnapshot[]>) {
    this.#store = store;
    this.#locked = locked;
    this.#list = list;
  }

  async current(options: { lookForCorrupt: boolean }): Promise<TargetGroup> {
    return { ...this.#locked.group, owner: this.#locked.owner, snapshots: await this.#list(options) };
  }

  async heldDigests(also: BackupSnapshot | null, log: ProgressLog): Promise<DigestSet> {
    return heldDigests(this.#store, this.#locked.namespace, this.#locked.group, also, log);
  }

  async openSnapshot(snapshot: BackupSnapshot): Promise<SnapshotSink> {
    return new LocalSnapshotSink(await this.#locked.openSnapshot(snapshot.time));
  }

  async removeSnapshot(snapshot: BackupSnapshot): Promise<void> {
    await removeSnapshot(this.#store, this.#locked.namespace, snapshot);
  }

  async close(): Promise<void> {
    await this.#locked.release();
  }
}

class LocalSnapshotSink implements SnapshotSink {
  readonly isNew: boolean;
  readonly #writer: SnapshotWriter;

  constructor(writer: SnapshotWriter) {
    this.#writer = writer;
    this.isNew = writer.isNew;
  }

  async currentManifest(): Promise<Buffer | null> {
    return this.#writer.currentManifest();
  }

  async hasFile(filename: string, expected: ExpectedContent | null): Promise<boolean> {
    if (!(await this.#writer.files()).includes(filename)) return false;
    if (expected === null) return true;
    try {
      await checkArchive(this.#writer.filePath(filename), filename, expected);
      return true;
    } catch (e) {
      if (e instanceof FormatError) return false;
      throw e;
    }
  }

  async stageIndex(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<StagedIndex> {
    const staged = await this.#writer.stage(filename, data, largestIndexFile);
    const kind = archiveKind(filename);
    if (kind === 'blob') throw new FormatError('format.archive-kind', `${filename} is not an index`);
    await checkIndexFile(staged.path, kind, expected);
    const index = await openIndexFile(staged.path, kind);
    const { count } = index;
    const chunkSize = index.header.chunkSize ?? null;
    await index.close();
    return {
      count,
      chunkSize,
      async *entries() {
        await using open = await openIndexFile(staged.path, kind);
        for await (const entry of open.entries()) yield { digest: entry.digest, size: entry.end - entry.start };
      },
    };
  }

  async stageBlob(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent | null): Promise<void> {
    const bytes = await checkedBlob(filename, data, expected);
    await this.#writer.stage(filename, bytes, bytes.byteLength);
  }

  async commitFile(filename: string): Promise<void> {
    await this.#writer.commit(filename);
  }

  async publish(manifestBlob: Uint8Array, keep: readonly string[]): Promise<void> {
    await this.#writer.publish(manifestBlob, keep);
  }

  async close(): Promise<void> {
    await this.#writer.close();
  }
}
