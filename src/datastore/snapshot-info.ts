import { statfs } from 'node:fs/promises';
import { forEachLimited } from '../base/async.ts';
import { manifestFileName, type BackupGroup, type BackupSnapshot, type BackupType } from '../format/backup-path.ts';
import { manifestNotes, verifyState, type CryptMode, type VerifyState } from '../format/manifest.ts';
import type { Datastore } from './datastore.ts';
import { listGroups, readGroupNotes, readOwner } from './groups.ts';
import { listNamespaces } from './namespaces.ts';
import { listSnapshots, loadManifest, noSuchSnapshot, snapshotEntry, type LoadedManifest, type SnapshotEntry } from './snapshots.ts';
import { toStoreError } from './store-error.ts';

/** Manifests that are read at the same time. */
const infoConcurrency = 16;

/** One file in listings (spec rest-api 10.2, GET files). */
export interface SnapshotFileInfo {
  filename: string;
  'crypt-mode'?: CryptMode;
  /** Index archives: logical bytes; blobs: bytes of the file. */
  size?: number;
}

/** A snapshot as GET snapshots shows it (spec rest-api 10.2). Without `size`: unfinished, or the manifest cannot be read. */
export interface SnapshotInfo {
  'backup-type': BackupType;
  'backup-id': string;
  'backup-time': number;
  /** First line of the notes. */
  comment?: string;
  verification?: VerifyState;
  /** Of the key that signed. */
  fingerprint?: string;
  files: SnapshotFileInfo[];
  size?: number;
  owner: string;
  protected: boolean;
}

/** A group as GET groups shows it (spec rest-api 10.2). */
export interface GroupInfo {
  'backup-type': BackupType;
  'backup-id': string;
  'last-backup': number;
  'backup-count': number;
  files: string[];
  owner: string;
  /** First line of the notes, with its line feed when more follow. */
  comment?: string;
}

/** Files of a snapshot: those of the manifest, the manifest, then others by name only. */
export async function snapshotFiles(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<SnapshotFileInfo[]> {
  const entry = await snapshotEntry(store, namespace, snapshot);
  if (entry === null) throw noSuchSnapshot(snapshot);
  return filesOf(entry, await loadManifest(store, namespace, snapshot));
}

function filesOf(entry: SnapshotEntry, loaded: LoadedManifest): SnapshotFileInfo[] {
  const { manifest, raw } = loaded;
  const files: SnapshotFileInfo[] = manifest.files.map((file) => ({ filename: file.filename, 'crypt-mode': file.cryptMode, size: file.size }));
  files.push({ filename: manifestFileName, 'crypt-mode': manifest.signature === null ? 'none' : 'sign-only', size: raw.byteLength });
  const listed = new Set(files.map((file) => file.filename));
  for (const filename of entry.files) if (!listed.has(filename)) files.push({ filename });
  return files;
}

/**
 * One snapshot as listed. A manifest that cannot be read is no error: its files are shown by name. The group's owner is read when it
 * is not given; throws StoreError `store.owner` when it cannot be.
 */
export async function snapshotInfo(store: Datastore, namespace: string, entry: SnapshotEntry, groupOwner?: string): Promise<SnapshotInfo> {
  const owner = groupOwner ?? (await readOwner(store, namespace, entry));
  const common = { 'backup-type': entry.type, 'backup-id': entry.id, 'backup-time': entry.time } as const;
  let loaded;
  try {
    if (entry.finished) loaded = await loadManifest(store, namespace, entry);
  } catch {
    // What is wrong with it is found, and said, by verify.
  }
  if (loaded === undefined) {
    return { ...common, files: entry.files.map((filename) => ({ filename })), owner, protected: entry.protected };
  }
  const { manifest } = loaded;
  const [comment] = manifestNotes(manifest).split('\n');
  const verification = verifyState(manifest);
  const fingerprint = manifest.unprotected['key-fingerprint'];
  const files = filesOf(entry, loaded);
  return {
    ...common,
    ...(comment === undefined || comment === '' ? {} : { comment }),
    ...(verification === null ? {} : { verification }),
    ...(typeof fingerprint === 'string' ? { fingerprint } : {}),
    files,
    size: files.reduce((sum, file) => sum + (file.size ?? 0), 0),
    owner,
    protected: entry.protected,
  };
}

export interface ListingFilter {
  type?: BackupType | undefined;
  id?: string | undefined;
  /** Which owners' groups are shown; absent = all. */
  owned?: ((owner: string) => boolean) | undefined;
}

/**
 * Groups of a namespace that the filter lets through, with their owners; groups whose owner cannot be read are hidden (spec formats 4.3).
 */
export async function listOwnedGroups(store: Datastore, namespace: string, filter: ListingFilter = {}): Promise<Array<BackupGroup & { owner: string }>> {
  const found: Array<BackupGroup & { owner: string }> = [];
  for (const group of await listGroups(store, namespace)) {
    if (filter.type !== undefined && group.type !== filter.type) continue;
    if (filter.id !== undefined && group.id !== filter.id) continue;
    let owner;
    try {
      owner = await readOwner(store, namespace, group);
    } catch {
      continue;
    }
    if (filter.owned?.(owner) ?? true) found.push({ type: group.type, id: group.id, owner });
  }
  return found;
}

/** Snapshots of a namespace (GET snapshots), by group, oldest first. Reads one directory and one manifest each, no chunk. */
export async function listSnapshotInfos(store: Datastore, namespace: string, filter: ListingFilter = {}): Promise<SnapshotInfo[]> {
  const all: SnapshotInfo[] = [];
  for (const group of await listOwnedGroups(store, namespace, filter)) {
    const entries = await listSnapshots(store, namespace, group);
    const infos: SnapshotInfo[] = [];
    await forEachLimited(entries.entries(), infoConcurrency, async ([i, entry]) => {
      infos[i] = await snapshotInfo(store, namespace, entry, group.owner);
    });
    all.push(...infos);
  }
  return all;
}

/** Groups of a namespace (GET groups). */
export async function listGroupInfos(store: Datastore, namespace: string, filter: ListingFilter = {}): Promise<GroupInfo[]> {
  const all: GroupInfo[] = [];
  for (const group of await listOwnedGroups(store, namespace, filter)) {
    const entries = await listSnapshots(store, namespace, group);
    // A snapshot that is alone is shown even while it is being made.
    const last = entries.length === 1 ? entries[0] : entries.findLast((entry) => entry.finished);
    const notes = await readGroupNotes(store, namespace, group).catch(() => '');
    const comment = notes.slice(0, notes.includes('\n') ? notes.indexOf('\n') + 1 : notes.length);
    all.push({
      'backup-type': group.type,
      'backup-id': group.id,
      'last-backup': last?.time ?? 0,
      'backup-count': entries.length,
      files: last?.files ?? [],
      owner: group.owner,
      ...(comment === '' ? {} : { comment }),
    });
  }
  return all;
}

export interface TypeCount {
  groups: number;
  snapshots: number;
}

export type DatastoreCounts = Record<BackupType, TypeCount | null> & { other: null };

/**
 * Groups and snapshots in all namespaces (spec retention 9.5): groups without snapshots are left out, unfinished
 * snapshots count, a type without groups is null. `shown` says whose groups of a namespace count; what cannot be read does not.
 */
export async function countContent(store: Datastore, shown: (namespace: string) => ListingFilter | null = () => ({})): Promise<DatastoreCounts> {
  const counts: DatastoreCounts = { ct: null, host: null, vm: null, other: null };
  for (const namespace of await listNamespaces(store)) {
    const filter = shown(namespace);
    if (filter === null) continue;
    const groups = filter.owned === undefined ? await listGroups(store, namespace) : await listOwnedGroups(store, namespace, filter);
    for (const group of groups) {
      const snapshots = (await listSnapshots(store, namespace, group).catch(() => [])).length;
      if (snapshots === 0) continue;
      const count = (counts[group.type] ??= { groups: 0, snapshots: 0 });
      count.groups += 1;
      count.snapshots += snapshots;
    }
  }
  return counts;
}

export interface DatastoreUsage {
  /** Bytes of the file system that holds the datastore. */
  total: number;
  used: number;
  /** What may still be written without special rights. */
  avail: number;
}

export async function datastoreUsage(store: Datastore): Promise<DatastoreUsage> {
  try {
    const { bsize, blocks, bfree, bavail } = await statfs(store.path);
    return { total: blocks * bsize, used: (blocks - bfree) * bsize, avail: bavail * bsize };
  } catch (e) {
    throw toStoreError(e, `unable to get the usage of datastore '${store.name}'`);
  }
}
