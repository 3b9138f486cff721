import { randomBytes } from 'node:crypto';
import { link, open, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { ConfigError, errorCode } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';

export interface FileRights {
  mode: number;
  /** Set when given; otherwise the file belongs to the running user. */
  owner: { uid: number; gid: number } | null;
}

/** The reference's form of a temporary name beside `path`. */
function temporaryName(path: string): string {
  return `${path}.tmp_${randomBytes(8).toString('base64url').slice(0, 6)}`;
}

/** Writes a new file, mode and owner set before the first byte, and brings it to the disk. */
async function writeNew(path: string, bytes: Uint8Array, rights: FileRights): Promise<void> {
  const file = await open(path, 'wx', 0o600);
  try {
    if (rights.owner !== null) await file.chown(rights.owner.uid, rights.owner.gid);
    // Not left to open(): the umask would take bits away.
    await file.chmod(rights.mode);
    await file.writeFile(bytes);
    await file.sync();
  } finally {
    await file.close();
  }
}

/** Makes names created, renamed or removed in a folder survive a power loss. */
export async function syncFolder(path: string): Promise<void> {
  const folder = await open(path, 'r');
  try {
    await folder.sync();
  } finally {
    await folder.close();
  }
}

/**
 * Replaces `path` so that a reader, also one after a crash, finds the old or the new content whole.
 * ConfigError `config.write`, in the reference's words, when it cannot be written.
 */
export async function replaceFile(path: string, bytes: Uint8Array, rights: FileRights): Promise<void> {
  const temporary = temporaryName(path);
  try {
    await writeNew(temporary, bytes, rights);
    failpoint('config.before-rename');
    await rename(temporary, path);
    failpoint('config.after-rename');
    await syncFolder(dirname(path));
  } catch (e) {
    await rm(temporary, { force: true });
    throw new ConfigError('config.write', `writing "${path}" failed`, { cause: e });
  }
}

/**
 * Makes a file that must not exist yet, whole or not at all; false when it exists already. For keys that two processes
 * may want to make at the same time: both then use the one that won.
 */
export async function createFileOnce(path: string, bytes: Uint8Array, rights: FileRights): Promise<boolean> {
  const temporary = temporaryName(path);
  try {
    await writeNew(temporary, bytes, rights);
    const isFirst = await linkUnlessThere(temporary, path);
    await syncFolder(dirname(path));
    return isFirst;
  } catch (e) {
    throw new ConfigError('config.write', `writing "${path}" failed`, { cause: e });
  } finally {
    await rm(temporary, { force: true });
  }
}

/** A second name for a file; false when that name is taken. */
async function linkUnlessThere(from: string, to: string): Promise<boolean> {
  try {
    await link(from, to);
    return true;
  } catch (e) {
    if (errorCode(e) === 'EEXIST') return false;
    throw e;
  }
}
