import { randomBytes } from 'node:crypto';
import { lstat, open, readdir, rename, unlink, type FileHandle } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { asBuffer } from '../base/bytes.ts';
import { errorCode } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import type { SystemUser } from '../sys/user.ts';
import { fileOwner } from './file-owner.ts';
import { toStoreError } from './store-error.ts';

/** The file calls that writing needs: injected so that a test can make the n-th of them fail. */
export interface FileCalls {
  open(path: string, flags: string, mode?: number): Promise<FileHandle>;
  rename(from: string, to: string): Promise<void>;
  unlink(path: string): Promise<void>;
}

export const nodeFileCalls: FileCalls = { open, rename, unlink };

export interface ReplaceFileOptions {
  /** Permission bits whatever the umask is; 0644 by default. */
  mode?: number;
  /** Default: user `backup` when running as root on a host that has it; null leaves it. */
  owner?: SystemUser | null;
  /** fsync the file before the rename. Default true. */
  sync?: boolean;
  /** fsync the folder after the rename. Default: as `sync`. */
  directorySync?: boolean;
  files?: FileCalls;
}

const suffixCharacters = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789';
const suffixLength = 6;
/** Both forms that crashes of any release leave behind: suffix appended, or put in place of the last extension (spec formats 3.2). */
const temporaryPattern = /\.tmp_[A-Za-z0-9_-]{6}$/;

/** Whether a name is that of a file that was being written (spec formats 3.2). */
export function isTemporaryName(name: string): boolean {
  return temporaryPattern.test(name);
}

/** A new name for the temporary file of `path`: `<path>.tmp_XXXXXX`. */
export function temporaryName(path: string): string {
  // 62 does not divide 256: the slight preference for the first characters is of no matter here.
  return `${path}.tmp_${Array.from(randomBytes(suffixLength), (byte) => suffixCharacters[byte % suffixCharacters.length]!).join('')}`;
}

/** Writes all of `data`, at `position` or at the handle's own. */
export async function writeFully(handle: FileHandle, data: Uint8Array, position: number | null = null): Promise<void> {
  for (let done = 0; done < data.byteLength; ) {
    const { bytesWritten } = await handle.write(data, done, data.byteLength - done, position === null ? null : position + done);
    done += bytesWritten;
  }
}

/** Makes names created, renamed or removed in a folder survive a power loss. */
export async function syncDirectory(path: string, files: FileCalls = nodeFileCalls): Promise<void> {
  const handle = await files.open(path, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function openTemporary(path: string, files: FileCalls): Promise<{ temporary: string; handle: FileHandle }> {
  for (let attempt = 0; ; attempt += 1) {
    const temporary = temporaryName(path);
    try {
      return { temporary, handle: await files.open(temporary, 'wx', 0o600) };
    } catch (e) {
      if (errorCode(e) !== 'EEXIST' || attempt >= 100) throw e;
    }
  }
}

/**
 * Puts `data` at `path` whole or not at all, over whatever is there (spec formats 3.2): temporary file beside it, write, fsync, rename,
 * fsync of the folder. On any error the temporary file is removed and `path` is as before (or, when only the last
 * fsync failed, holds the new content). StoreError `store.full`, `store.read-only`, `store.io`...
 */
export async function replaceFile(path: string, data: Uint8Array | string, options: ReplaceFileOptions = {}): Promise<void> {
  const files = options.files ?? nodeFileCalls;
  const sync = options.sync ?? true;
  const owner = options.owner === undefined ? fileOwner() : options.owner;
  const bytes = typeof data === 'string' ? Buffer.from(data, 'utf8') : asBuffer(data);
  try {
    const { temporary, handle } = await openTemporary(path, files);
    try {
      try {
        failpoint('replace-file.created');
        await handle.chmod(options.mode ?? 0o644);
        if (owner !== null) await handle.chown(owner.uid, owner.gid);
        await writeFully(handle, bytes);
        failpoint('replace-file.written');
        if (sync) await handle.sync();
      } finally {
        await handle.close();
      }
      failpoint('replace-file.closed');
      await files.rename(temporary, path);
    } catch (e) {
      // The first error is the one to report; what cannot be removed now is found by removeStaleTempFiles.
      await files.unlink(temporary).catch(() => {});
      throw e;
    }
    failpoint('replace-file.renamed');
    if (options.directorySync ?? sync) await syncDirectory(dirname(path), files);
  } catch (e) {
    throw toStoreError(e, `unable to write '${path}'`);
  }
}

/**
 * Removes files in `directory` (not below it) that were being written when a process ended, last changed before `olderThanMs`
 * (milliseconds since the epoch). Returns their number. Only plain files with the temporary form of a name go.
 */
export async function removeStaleTempFiles(directory: string, olderThanMs: number): Promise<number> {
  let removed = 0;
  try {
    for (const entry of await readdir(directory, { withFileTypes: true })) {
      if (!entry.isFile() || !isTemporaryName(entry.name)) continue;
      if (await removeIfStale(join(directory, entry.name), olderThanMs)) removed += 1;
    }
  } catch (e) {
    throw toStoreError(e, `unable to remove leftovers in '${basename(directory)}'`);
  }
  return removed;
}

/** Removes one such file when it is old enough; a vanished one is no error. */
export async function removeIfStale(path: string, olderThanMs: number): Promise<boolean> {
  try {
    const stat = await lstat(path);
    // ctime too: a file moved here from elsewhere brings its old mtime along.
    if (Math.max(stat.mtimeMs, stat.ctimeMs) >= olderThanMs) return false;
    await unlink(path);
    return true;
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return false;
    throw e;
  }
}
