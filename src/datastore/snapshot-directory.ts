import type { Dirent } from 'node:fs';
import { readdir, rm, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode } from '../base/errors.ts';
import { isArchiveName, manifestFileName } from '../format/backup-path.ts';
import { quotedPath, toStoreError } from './store-error.ts';

export const protectedName = '.protected';

/** What is in a snapshot's directory (spec formats 4.1, 4.5). */
export interface SnapshotDirectory {
  /** There is a manifest; nothing else decides. */
  finished: boolean;
  protected: boolean;
  /** Regular files `*.fidx`, `*.didx`, `*.blob`, sorted; temporary files, the marker and everything else are left out. */
  files: string[];
}

/** Null when there is no such directory. Throws StoreError when it cannot be read. */
export async function readSnapshotDirectory(path: string): Promise<SnapshotDirectory | null> {
  const entries = await readDirectory(path);
  if (entries === null) return null;
  const files = entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
  return {
    finished: files.includes(manifestFileName),
    protected: files.includes(protectedName),
    files: files.filter(isArchiveName).toSorted(),
  };
}

/** Entries of a directory, null when there is none. */
export async function readDirectory(path: string): Promise<Dirent[] | null> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (e) {
    if (errorCode(e) === 'ENOENT' || errorCode(e) === 'ENOTDIR') return null;
    throw toStoreError(e, `read dir "${path}"`);
  }
}

/**
 * The manifest goes first: what an interrupted removal leaves is an unfinished snapshot, never one that looks whole.
 * The caller holds the exclusive snapshot lock.
 */
export async function removeSnapshotDirectory(path: string): Promise<void> {
  try {
    await unlink(join(path, manifestFileName)).catch((e: unknown) => {
      if (errorCode(e) !== 'ENOENT') throw e;
    });
    await rm(path, { recursive: true, force: true });
  } catch (e) {
    throw toStoreError(e, `removing backup snapshot ${quotedPath(path)} failed`);
  }
}
