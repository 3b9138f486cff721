import { errorCode, StoreError, toError } from '../base/errors.ts';
import { groupText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { groupExists, listGroups, lockGroup, noSuchGroup } from './groups.ts';
import { listNamespaces, removeEmptyNamespace } from './namespaces.ts';
import { readSnapshotDirectory, removeSnapshotDirectory } from './snapshot-directory.ts';
import { listSnapshots } from './snapshots.ts';
import { quotedPath } from './store-error.ts';

export interface RemovalStatistics {
  removedGroups: number;
  removedSnapshots: number;
  protectedSnapshots: number;
}

/**
 * Removes one snapshot, and the group if it was the last one and nobody holds the group's lock (spec formats 4.7, retention 3.4).
 * Throws StoreError `store.no-such-snapshot`, `store.locked` (it is written, read or verified), `store.protected`.
 */
export async function removeSnapshot(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<void> {
  await removeSnapshotOnly(store, namespace, snapshot);
  let locked;
  try {
    locked = await lockGroup(store, namespace, snapshot);
  } catch {
    // Somebody works in the group, or removed it: it is theirs then.
    return;
  }
  await locked.removeIfEmpty();
}

async function removeSnapshotOnly(store: Datastore, namespace: string, snapshot: BackupSnapshot): Promise<void> {
  const path = store.snapshotPath(namespace, snapshot);
  if ((await readSnapshotDirectory(path)) === null) {
    throw new StoreError('store.no-such-snapshot', `removing backup snapshot ${quotedPath(path)} failed - No such file or directory (os error 2)`);
  }
  try {
    using snapshotLock = await store.locks.snapshot(namespace, snapshot, 'exclusive');
    using manifestLock = await store.locks.manifest(namespace, snapshot);
    if ((await readSnapshotDirectory(path))?.protected === true) throw new StoreError('store.protected', 'cannot remove protected snapshot');
    await removeSnapshotDirectory(path);
    await manifestLock.releaseAndRemove();
    await snapshotLock.releaseAndRemove();
  } catch (e) {
    if (errorCode(e) === 'store.locked') throw new StoreError('store.locked', `while destroying snapshot ${quotedPath(path)}: ${toError(e).message}`, { cause: e });
    throw e;
  }
}

/**
 * Removes every unprotected snapshot of a group under the group lock, and the group if none was protected. The first failure ends it; what is
 * gone is gone. Throws StoreError `store.no-such-group`, `store.locked`.
 */
export async function removeGroup(store: Datastore, namespace: string, group: BackupGroup): Promise<RemovalStatistics> {
  if (!(await groupExists(store, namespace, group))) throw noSuchGroup(store, namespace, group);
  let locked;
  try {
    locked = await lockGroup(store, namespace, group);
  } catch (e) {
    throw new StoreError(errorCode(e), `while destroying group '${groupText(group)}'`, { cause: e });
  }
  await using _locked = locked;
  const statistics = { removedGroups: 0, removedSnapshots: 0, protectedSnapshots: 0 };
  for (const snapshot of await listSnapshots(store, namespace, group)) {
    if (snapshot.protected) {
      statistics.protectedSnapshots += 1;
      continue;
    }
    await removeSnapshotOnly(store, namespace, snapshot);
    statistics.removedSnapshots += 1;
  }
  if (statistics.protectedSnapshots === 0 && (await locked.removeIfEmpty())) statistics.removedGroups = 1;
  return statistics;
}

/**
 * Removes a namespace and what is below it, deepest first (spec retention 4): with `deleteGroups` also groups, otherwise only empty levels.
 * `complete` is false when protected snapshots, or groups without `deleteGroups`, stayed.
 */
export async function removeNamespace(
  store: Datastore,
  namespace: string,
  options: { deleteGroups: boolean },
): Promise<RemovalStatistics & { complete: boolean }> {
  if (namespace === '') throw new StoreError('store.root-namespace', 'Cannot create/delete root namespace!');
  const total = { removedGroups: 0, removedSnapshots: 0, protectedSnapshots: 0, complete: true };
  for (const level of (await listNamespaces(store, { anchor: namespace })).toReversed()) {
    if (options.deleteGroups) {
      for (const group of await listGroups(store, level)) {
        const one = await removeGroup(store, level, group);
        total.removedGroups += one.removedGroups;
        total.removedSnapshots += one.removedSnapshots;
        total.protectedSnapshots += one.protectedSnapshots;
      }
    }
    if (!(await removeEmptyNamespace(store, level))) total.complete = false;
  }
  return total;
}
