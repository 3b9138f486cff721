import { rmdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, StoreError } from '../base/errors.ts';
import { isAuthId } from '../format/auth-id.ts';
import { backupTypes, compareGroups, groupText, isBackupId, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { readFileLimited } from './file-read.ts';
import { makeDirectory, namespaceMissing, requireNamespace } from './namespaces.ts';
import type { LockFile } from './lock-file.ts';
import { replaceFile } from './replace-file.ts';
import { readDirectory } from './snapshot-directory.ts';
import { openSnapshotWriter, type SnapshotWriter } from './snapshot-writer.ts';
import { listSnapshots } from './snapshots.ts';
import { quotedPath, toStoreError } from './store-error.ts';

const maxOwnerSize = 4096;
const maxNotesSize = 1024 * 1024;

/**
 * Groups of a namespace in display order; names that are no group are skipped. Throws StoreError `store.namespace-missing`.
 */
export async function listGroups(store: Datastore, namespace: string): Promise<BackupGroup[]> {
  await requireNamespace(store, namespace);
  const groups: BackupGroup[] = [];
  for (const type of backupTypes) {
    for (const entry of (await readDirectory(join(store.namespacePath(namespace), type))) ?? []) {
      if (entry.isDirectory() && isBackupId(entry.name)) groups.push({ type, id: entry.name });
    }
  }
  return groups.toSorted(compareGroups);
}

export async function groupExists(store: Datastore, namespace: string, group: BackupGroup): Promise<boolean> {
  return (await readDirectory(store.groupPath(namespace, group))) !== null;
}

/** Owner of a group (spec formats 4.3). Throws StoreError `store.owner` when there is none that can be read. */
export async function readOwner(store: Datastore, namespace: string, group: BackupGroup): Promise<string> {
  const path = join(store.groupPath(namespace, group), 'owner');
  try {
    const [line = ''] = (await readFileLimited(path, maxOwnerSize)).toString('utf8').split('\n');
    const owner = line.trimEnd();
    if (isAuthId(owner)) return owner;
    throw new StoreError('store.owner', `owner file ${quotedPath(path)} holds no authentication id`);
  } catch (e) {
    throw ownerUnreadable(group, e);
  }
}

function ownerUnreadable(group: BackupGroup, cause?: unknown): StoreError {
  return new StoreError('store.owner', `unable to read owner of group ${groupText(group)}`, { cause, hint: 'set it with change-owner' });
}

/** Notes of a group; `''` when there are none. */
export async function readGroupNotes(store: Datastore, namespace: string, group: BackupGroup): Promise<string> {
  try {
    return (await readFileLimited(join(store.groupPath(namespace, group), 'notes'), maxNotesSize)).toString('utf8');
  } catch (e) {
    if (errorCode(e) === 'store.missing') return '';
    throw e;
  }
}

/** Replaces the notes under the group lock. Throws StoreError `store.locked` while a backup or sync runs. */
export async function setGroupNotes(store: Datastore, namespace: string, group: BackupGroup, notes: string): Promise<void> {
  await using locked = await lockGroup(store, namespace, group);
  await replaceFile(join(locked.path, 'notes'), Buffer.from(notes, 'utf8'), { sync: true });
}

/**
 * A group under its exclusive lock: the guard without which nothing is written into it (spec formats 4.6).
 * A group that was created by `createLockedGroup` and has no snapshot when it is released is removed again.
 */
export class LockedGroup implements AsyncDisposable {
  readonly store: Datastore;
  readonly namespace: string;
  readonly group: BackupGroup;
  readonly path: string;
  /** The group was created by this call. */
  readonly isNew: boolean;
  #owner: string | null;
  readonly #lock: LockFile;

  constructor(store: Datastore, namespace: string, group: BackupGroup, owner: string | null, isNew: boolean, lock: LockFile) {
    this.store = store;
    this.namespace = namespace;
    this.group = group;
    this.path = store.groupPath(namespace, group);
    this.isNew = isNew;
    this.#owner = owner;
    this.#lock = lock;
  }

  /** Throws StoreError `store.owner` when the group has none that can be read; `setOwner` mends that. */
  get owner(): string {
    if (this.#owner === null) throw ownerUnreadable(this.group);
    return this.#owner;
  }

  /** Another owner, from now on. */
  async setOwner(owner: string): Promise<void> {
    await writeOwner(this.path, owner);
    this.#owner = owner;
  }

  /** A snapshot that must not be there yet, for a backup. Throws StoreError `store.snapshot-exists`, `store.locked`. */
  async createSnapshot(time: number): Promise<SnapshotWriter> {
    return openSnapshotWriter(this.store, this.namespace, this.#snapshot(time), 'create');
  }

  /** The snapshot as it is or a new one, for a sync. Throws StoreError `store.locked`. */
  async openSnapshot(time: number): Promise<SnapshotWriter> {
    return openSnapshotWriter(this.store, this.namespace, this.#snapshot(time), 'create-or-open');
  }

  #snapshot(time: number): BackupSnapshot {
    return { type: this.group.type, id: this.group.id, time };
  }

  /** Removes notes, owner, directory and lock file if no snapshot is left; false otherwise. The lock is released in either case. */
  async removeIfEmpty(): Promise<boolean> {
    try {
      if ((await listSnapshots(this.store, this.namespace, this.group)).length > 0) return false;
      await removeGroupFiles(this.path);
      await this.#lock.releaseAndRemove();
      return true;
    } finally {
      this.#lock.release();
    }
  }

  async release(): Promise<void> {
    if (this.isNew) await this.removeIfEmpty();
    else this.#lock.release();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.release();
  }
}

/**
 * Gives a group to `newOwner` under its lock, if it still belongs to `expectedOwner`, which the caller was allowed to judge by
 * (spec retention 10; null = whatever it says, to mend an owner that cannot be read). Throws StoreError `store.owner`, `store.locked`.
 */
export async function changeOwner(store: Datastore, namespace: string, group: BackupGroup, expectedOwner: string | null, newOwner: string): Promise<void> {
  await using locked = await lockGroup(store, namespace, group);
  if (expectedOwner !== null && locked.owner !== expectedOwner) throw new StoreError('store.owner', `${expectedOwner} does not own this group anymore`);
  await locked.setOwner(newOwner);
}

/** Locks a group that exists. Throws StoreError `store.no-such-group`, `store.locked`. */
export async function lockGroup(store: Datastore, namespace: string, group: BackupGroup): Promise<LockedGroup> {
  if (!(await groupExists(store, namespace, group))) throw noSuchGroup(store, namespace, group);
  const lock = await store.locks.group(namespace, group);
  const owner = await readOwner(store, namespace, group).catch(() => null);
  return new LockedGroup(store, namespace, group, owner, false, lock);
}

/**
 * Locks a group without waiting, creating it with `owner` if it is not there (spec formats 4.5 step 1). An existing owner stays: compare
 * `LockedGroup.owner`. Throws StoreError `store.namespace-missing`, `store.locked`.
 *
 * The lock is taken before the directory is made, not after it as by the reference: so nobody meets a directory without owner,
 * and one that a crash left behind is mended.
 */
export async function createLockedGroup(store: Datastore, namespace: string, group: BackupGroup, owner: string): Promise<LockedGroup> {
  await requireNamespace(store, namespace);
  const path = store.groupPath(namespace, group);
  const lock = await store.locks.group(namespace, group);
  try {
    const made = await makeGroupDirectory(store, namespace, group);
    const entries = made ? [] : ((await readDirectory(path)) ?? []);
    const ownerless = !entries.some((entry) => entry.name === 'owner');
    if (!ownerless) return new LockedGroup(store, namespace, group, await readOwner(store, namespace, group), false, lock);
    if (entries.some((entry) => entry.isDirectory())) {
      throw new StoreError('store.owner', `group ${groupText(group)} has snapshots but no owner`, { hint: 'set it with change-owner' });
    }
    await writeOwner(path, owner);
    return new LockedGroup(store, namespace, group, owner, true, lock);
  } catch (e) {
    lock.release();
    throw e;
  }
}

/** False when it was there already. */
async function makeGroupDirectory(store: Datastore, namespace: string, group: BackupGroup): Promise<boolean> {
  const typePath = join(store.namespacePath(namespace), group.type);
  try {
    await makeDirectory(store, typePath);
    return await makeDirectory(store, join(typePath, group.id));
  } catch (e) {
    if (errorCode(e) === 'ENOENT') throw namespaceMissing(store, namespace);
    throw toStoreError(e, `unable to create group ${groupText(group)}`);
  }
}

async function writeOwner(groupPath: string, owner: string): Promise<void> {
  if (!isAuthId(owner)) throw new StoreError('store.owner', `'${owner}' is no authentication id`);
  await replaceFile(join(groupPath, 'owner'), Buffer.from(`${owner}\n`, 'utf8'), { sync: true });
}

async function removeGroupFiles(path: string): Promise<void> {
  try {
    for (const name of ['notes', 'owner']) {
      await unlink(join(path, name)).catch((e: unknown) => {
        if (errorCode(e) !== 'ENOENT') throw e;
      });
    }
    await rmdir(path);
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw toStoreError(e, `unable to remove group directory "${path}"`);
  }
}

export function noSuchGroup(store: Datastore, namespace: string, group: BackupGroup): StoreError {
  return new StoreError('store.no-such-group', `read dir ${quotedPath(store.groupPath(namespace, group))} - ENOENT: No such file or directory`);
}
