import type { Digest } from '../base/bytes.ts';
import { HttpError } from '../base/errors.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { storedChunkSizes } from '../datastore/chunk-sizes.ts';
import { listGroups } from '../datastore/groups.ts';
import { listNamespaces } from '../datastore/namespaces.ts';
import { listOwnedGroups, listSnapshotInfos } from '../datastore/snapshot-info.ts';
import { SnapshotReader } from '../datastore/snapshot-reader.ts';
import { groupText, type BackupSnapshot } from '../format/backup-path.ts';
import { parseListedSnapshot } from './listing.ts';
import type { NamespaceListing, ReplicationSource, SnapshotSource, SourceNamespace } from './ports.ts';

/** What the job's owner may read in the source datastore (spec sync 2.4, local source groups). */
export interface LocalSourcePermissions {
  /** Default: every namespace. */
  mayList?(namespace: string): boolean;
  mayRead(namespace: string, owner: string): boolean;
}

/** A datastore of this server as source (spec sync 5). */
export class LocalSource implements ReplicationSource {
  readonly label: string;
  readonly #store: Datastore;
  readonly #namespace: string;
  readonly #permissions: LocalSourcePermissions;

  constructor(store: Datastore, namespace: string, permissions: LocalSourcePermissions) {
    this.#store = store;
    this.#namespace = namespace;
    this.#permissions = permissions;
    this.label = store.name;
  }

  async namespaces(maxDepth: number | undefined): Promise<NamespaceListing> {
    const all = await listNamespaces(this.#store, { anchor: this.#namespace, maxDepth });
    const { visible = [], hidden = [] } = Object.groupBy(all, (namespace) => (this.#permissions.mayList?.(namespace) === false ? 'hidden' : 'visible'));
    return { namespaces: visible, withoutNamespaces: false, hidden };
  }

  async list(namespace: string): Promise<SourceNamespace> {
    const owned = (owner: string): boolean => this.#permissions.mayRead(namespace, owner);
    const groups = await listOwnedGroups(this.#store, namespace, { owned });
    const shown = new Set(groups.map((group) => groupText(group)));
    const hidden = (await listGroups(this.#store, namespace)).filter((group) => !shown.has(groupText(group)));
    const snapshots = await listSnapshotInfos(this.#store, namespace, { owned });
    return { groups: groups.map(({ type, id }) => ({ type, id })), snapshots: snapshots.map((info) => parseListedSnapshot(info)), hidden: hidden.map(({ type, id }) => ({ type, id })) };
  }

  async open(namespace: string, snapshot: BackupSnapshot): Promise<SnapshotSource> {
    return new LocalSnapshot(this.#store, await SnapshotReader.open(this.#store, namespace, snapshot));
  }

  /** Source and target are on the same host: having the chunk is the proof. */
  async holds(digest: Digest): Promise<boolean> {
    const size = await this.#store.chunks.size(digest);
    return size !== null && size > 0;
  }

  /** As stored; a `ChunkSizes` of estimate.ts. */
  async chunkSizes(namespace: string, snapshot: BackupSnapshot, archive: string, entries: readonly number[]): Promise<number[]> {
    using reader = await SnapshotReader.open(this.#store, namespace, snapshot);
    return await storedChunkSizes(this.#store, reader.filePath(archive), entries);
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

class LocalSnapshot implements SnapshotSource {
  readonly #store: Datastore;
  readonly #reader: SnapshotReader;

  constructor(store: Datastore, reader: SnapshotReader) {
    this.#store = store;
    this.#reader = reader;
  }

  async file(filename: string, maxBytes: number): Promise<AsyncIterable<Buffer>> {
    if (!(await this.#reader.files()).includes(filename)) throw new HttpError(404, `open file "${this.#reader.filePath(filename)}" failed - not found`);
    return limited(this.#reader.stream(filename), filename, maxBytes);
  }

  async chunk(digest: Digest): Promise<Buffer> {
    return this.#store.chunks.read(digest);
  }

  close(): Promise<void> {
    this.#reader.close();
    return Promise.resolve();
  }
}

async function* limited(data: AsyncIterable<Buffer>, filename: string, maxBytes: number): AsyncGenerator<Buffer, void> {
  let size = 0;
  for await (const part of data) {
    size += part.byteLength;
    if (size > maxBytes) throw new HttpError(400, `${filename} has more than ${maxBytes} bytes`);
    yield part;
  }
}
