import { appendFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, StoreError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import type { ProgressLog } from '../base/log.ts';
import { formatBackupTime, groupText, type BackupGroup } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { createLockedGroup, lockGroup, type LockedGroup } from './groups.ts';
import type { LockFile } from './lock-file.ts';
import { syncDirectory } from './replace-file.ts';
import { readDirectory } from './snapshot-directory.ts';
import { listSnapshots, type SnapshotEntry } from './snapshots.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Snapshots that are locked at a time. */
const batchLength = 512;

export interface GroupMove {
  /** Namespace of the group. */
  namespace: string;
  group: BackupGroup;
  /** Another namespace, which exists. */
  target: string;
  /** Put the snapshots into a group of the same name and owner that is there. */
  merge: boolean;
  /** Who has to own the group still; null: whoever does. */
  expectedOwner?: string | null;
}

/**
 * Moves a group to another namespace (spec formats 4.8): snapshots one by one, oldest first, each by one rename, so that at any moment every snapshot is
 * whole in one of the two groups, and a run that was cut is finished by the next one. Chunks stay. Nothing is moved while a backup, sync or removal works on the group or while one of the first
 * 512 snapshots is read. StoreError `store.no-such-group`, `store.namespace-missing`, `store.locked`, `store.merge`, `store.owner`.
 */
export async function moveGroup(store: Datastore, move: GroupMove, log: ProgressLog): Promise<void> {
  const { namespace, group, target } = move;
  await using source = await lockGroup(store, namespace, group);
  if (typeof move.expectedOwner === 'string' && source.owner !== move.expectedOwner) throw new StoreError('store.owner', `${move.expectedOwner} does not own this group anymore`);
  await using into = await createLockedGroup(store, target, group, source.owner);
  log.info(`${into.isNew ? 'moving' : 'merging'} group '${groupText(group)}' from '${namespace}' to '${target}'`);
  const snapshots = await listSnapshots(store, namespace, group);
  if (!into.isNew) await checkMerge(store, move, source, into, snapshots, log);
  for (let at = 0; at < snapshots.length; at += batchLength) await moveSnapshots(store, move, snapshots.slice(at, at + batchLength));
  await moveNotes(source, into, log);
  if (store.tuning.syncLevel !== 'none') {
    // The new names are on disk before the old group's files go.
    await syncDirectory(into.path);
    await syncDirectory(source.path);
  }
  failpoint('move.source');
  log.info(`removing backup group ${quotedPath(source.path)}`);
  await source.removeIfEmpty();
}

async function checkMerge(store: Datastore, move: GroupMove, source: LockedGroup, into: LockedGroup, snapshots: readonly SnapshotEntry[], log: ProgressLog): Promise<void> {
  const { namespace, group, target } = move;
  const text = groupText(group);
  if (!move.merge) throw new StoreError('store.merge', `group '${text}' already exists in target namespace '${target}' and merge-group is disabled`);
  const refuse = (why: string): never => {
    throw new StoreError('store.merge', `cannot merge group '${text}' from '${namespace}' into '${target}': ${why}`);
  };
  if (source.owner !== into.owner) refuse(`owner mismatch (source: ${source.owner}, target: ${into.owner})`);
  const [oldest] = snapshots;
  const newest = (await listSnapshots(store, target, group)).at(-1);
  if (oldest === undefined || newest === undefined || newest.time < oldest.time) return;
  log.info(`oldest source snapshot: ${formatBackupTime(oldest.time)}`);
  log.info(`conflicting target snapshot: ${formatBackupTime(newest.time)}`);
  refuse('snapshot time mismatch');
}

/** All of them are locked before the first one is moved: one that is in use leaves the others where they are. */
async function moveSnapshots(store: Datastore, move: GroupMove, snapshots: readonly SnapshotEntry[]): Promise<void> {
  const { namespace, target } = move;
  using held = new DisposableStack();
  const locks: LockFile[] = [];
  for (const snapshot of snapshots) locks.push(held.use(await store.locks.snapshot(namespace, snapshot, 'exclusive')));
  await noteInJournal(store, snapshots.flatMap((snapshot) => snapshot.files.filter((name) => /\.[fd]idx$/.test(name)).map((name) => join(store.snapshotPath(target, snapshot), name))));
  failpoint('move.journal');
  for (const [i, snapshot] of snapshots.entries()) {
    using manifestLock = await store.locks.manifest(namespace, snapshot);
    const from = store.snapshotPath(namespace, snapshot);
    try {
      await rename(from, store.snapshotPath(target, snapshot));
    } catch (e) {
      throw toStoreError(e, `unable to move snapshot ${quotedPath(from)}`);
    }
    failpoint('move.snapshot');
    await manifestLock.releaseAndRemove();
    await locks[i]!.releaseAndRemove();
  }
}

/**
 * Where indexes will be, before they are there: a garbage collection that has passed the new place and not come to the old one finds them by this (spec formats 8.4).
 */
async function noteInJournal(store: Datastore, paths: readonly string[]): Promise<void> {
  if (paths.length === 0) return;
  using journal = await store.locks.moveJournal();
  try {
    await appendFile(journal.path, paths.map((path) => `${path}\n`).join(''));
  } catch (e) {
    throw toStoreError(e, `unable to write ${quotedPath(journal.path)}`);
  }
}

/** Notes of the target stay; those of the source are taken where there are none. */
async function moveNotes(source: LockedGroup, into: LockedGroup, log: ProgressLog): Promise<void> {
  const has = async (group: LockedGroup): Promise<boolean> => ((await readDirectory(group.path)) ?? []).some(({ name }) => name === 'notes');
  if (!(await has(source))) return;
  if (await has(into)) {
    log.info(`the notes of group '${groupText(source.group)}' in '${into.namespace}' stay, those in '${source.namespace}' go`);
    return;
  }
  try {
    await rename(join(source.path, 'notes'), join(into.path, 'notes'));
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw toStoreError(e, `unable to move the notes of ${quotedPath(source.path)}`);
  }
}
