import { open, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { forEachLimited } from '../base/async.ts';
import { errorCode, StoreError } from '../base/errors.ts';
import { manifestFileName, parseBackupTime, snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { decodeManifestBlob, encodeManifestBlob, manifestNotes, maxManifestSize, type Manifest } from '../format/manifest.ts';
import type { Datastore } from './datastore.ts';
import { readFileLimited } from './file-read.ts';
import { replaceFile } from './replace-file.ts';
import { protectedName, readDirectory, readSnapshotDirectory, type SnapshotDirectory } from './snapshot-directory.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Snapshot directories that are read at the same time. */
const listConcurrency = 16;
/** Stored length above which a manifest is not even read: the bound on its decoded size, and incompressible. */
export const maxManifestFileSize = maxManifestSize + 4096;

export interface SnapshotEntry extends BackupSnapshot, SnapshotDirectory {}

/**
 * Snapshots of a group, oldest first; other names in its directory are ignored, a group that is not there has none.
 * One directory is read per snapshot, no file. Throws StoreError when one cannot be read; one that vanishes meanwhile is left out.
 */
export async function listSnapshots(store: Datastore, namespace: string, group: BackupGroup): Promise<SnapshotEntry[]> {
  const path = store.groupPath(namespace, group);
  const names = ((await readDirectory(path)) ?? []).filter((entry) => entry.isDirectory()).map((entry) => entry.name);
  const found: SnapshotEntry[] = [];
  await forEachLimited(names, listConcurrency, async (name) => {
    const time = snapshotTime(name);
    if (time === null) return;
    const directory = await readSnapshotDirectory(join(path, name));
    if (directory !== null) found.push({ type: group.type, id: group.id, time, ...directory });
  });
  return found.toSorted((a, b) => a.time - b.time);
}

/** Time of a snapshot's directory name; null for other names. */
export function snapshotTime(name: string): number | null {
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/.test(name)) return null;
  try {
    return parseBackupTime(name);
  } catch {
    // Digits in the right places that are no time: not a snapshot.
    return null;
  }
}

/** State of one snapshot; null when it is not there. */
export async function snapshotEntry(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<SnapshotEntry | null> {
  const directory = await readSnapshotDirectory(store.snapshotPath(namespace, snapshot));
  return directory === null ? null : { type: snapshot.type, id: snapshot.id, time: snapshot.time, ...directory };
}

/** Newest snapshot that has a manifest, null when there is none ("last successful backup", spec formats 4.5). */
export async function lastFinishedSnapshot(store: Datastore, namespace: string, group: BackupGroup): Promise<SnapshotEntry | null> {
  return (await listSnapshots(store, namespace, group)).findLast((snapshot) => snapshot.finished) ?? null;
}

export interface LoadedManifest {
  manifest: Manifest;
  /** The blob as stored. */
  raw: Buffer;
}

/**
 * Manifest of a snapshot, CRC and grammar checked. Throws StoreError `store.manifest`, with a FormatError or a
 * StoreError `store.missing` (unfinished snapshot) as its cause.
 */
export async function loadManifest(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<LoadedManifest> {
  const path = join(store.snapshotPath(namespace, snapshot), manifestFileName);
  try {
    const raw = await readFileLimited(path, maxManifestFileSize);
    return { manifest: decodeManifestBlob(raw), raw };
  } catch (e) {
    throw new StoreError('store.manifest', `unable to load blob '${quotedPath(path)}'`, { cause: e });
  }
}

/**
 * Changes the `unprotected` part of a manifest under its lock (spec formats 5.4); everything else, and so the signature, stays.
 * Throws StoreError `store.locked` after 5 seconds, `store.manifest` when the manifest cannot be read (also of an unfinished snapshot).
 */
export async function updateUnprotected(
  store: Datastore,
  namespace: string,
  snapshot: BackupSnapshot,
  change: (unprotected: Record<string, unknown>) => void,
): Promise<void> {
  using _lock = await store.locks.manifest(namespace, snapshot);
  const { manifest } = await loadManifest(store, namespace, snapshot);
  change(manifest.unprotected);
  const path = join(store.snapshotPath(namespace, snapshot), manifestFileName);
  await replaceFile(path, encodeManifestBlob(manifest), { sync: true });
}

/** Notes of a snapshot, several lines; `''` when there are none. Throws as `loadManifest`. */
export async function readSnapshotNotes(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<string> {
  return manifestNotes((await loadManifest(store, namespace, snapshot)).manifest);
}

export async function setSnapshotNotes(store: Datastore, namespace: string, snapshot: BackupSnapshot, notes: string): Promise<void> {
  try {
    await updateUnprotected(store, namespace, snapshot, (unprotected) => {
      unprotected['notes'] = notes;
    });
  } catch (e) {
    throw new StoreError(errorCode(e), 'unable to update manifest blob', { cause: e });
  }
}

/** Records the outcome of a verification by the task `upid`; the previous one is replaced. */
export async function setVerifyState(store: Datastore, namespace: string, snapshot: BackupSnapshot, state: 'ok' | 'failed', upid: string): Promise<void> {
  await updateUnprotected(store, namespace, snapshot, (unprotected) => {
    unprotected['verify_state'] = { state, upid };
  });
}

/** False also when there is no such snapshot. */
export async function isProtected(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<boolean> {
  return (await snapshotEntry(store, namespace, snapshot))?.protected ?? false;
}

/**
 * Sets or clears the protection under the exclusive snapshot lock, so not while the snapshot is read or verified
 * (StoreError `store.locked`). Throws StoreError `store.no-such-snapshot`.
 */
export async function setProtected(store: Datastore, namespace: string, snapshot: BackupSnapshot, on: boolean): Promise<void> {
  if ((await snapshotEntry(store, namespace, snapshot)) === null) throw noSuchSnapshot(snapshot);
  using _lock = await store.locks.snapshot(namespace, snapshot, 'exclusive');
  const path = join(store.snapshotPath(namespace, snapshot), protectedName);
  try {
    if (on) await (await open(path, 'a', 0o644)).close();
    else await unlink(path);
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw toStoreError(e, `unable to ${on ? 'set' : 'clear'} protection of ${snapshotText(snapshot)}`);
    if (on) throw noSuchSnapshot(snapshot);
  }
}

export function noSuchSnapshot(snapshot: BackupSnapshot): StoreError {
  return new StoreError('store.no-such-snapshot', `snapshot ${snapshotText(snapshot)} does not exist!`);
}
