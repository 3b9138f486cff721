import { open, type FileHandle } from 'node:fs/promises';
import { ConfigError, errorCode } from '../base/errors.ts';
import { waitFlock } from '../sys/file-lock.ts';
import type { FileRights } from './atomic-file.ts';

async function openLockFile(path: string, rights: FileRights): Promise<FileHandle> {
  try {
    return await open(path, 'r+');
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw e;
  }
  // Two processes may both get here: opening with 'a' makes or opens, the rights are the same.
  const file = await open(path, 'a', rights.mode);
  try {
    if (rights.owner !== null) await file.chown(rights.owner.uid, rights.owner.gid);
    await file.chmod(rights.mode);
  } catch (e) {
    await file.close();
    throw e;
  }
  return file;
}

export interface LockWait {
  timeoutMs: number;
  rights: FileRights;
}

/**
 * Runs `work` while an exclusive flock on `path` is held: against other processes, the reference's too, and against other
 * work of this process. The file is made when missing and never removed. ConfigError `config.lock` when it is not had in time.
 */
export async function withFileLock<R>(path: string, wait: LockWait, work: () => Promise<R>): Promise<R> {
  let file: FileHandle;
  try {
    file = await openLockFile(path, wait.rights);
  } catch (e) {
    throw new ConfigError('config.lock', `Unable to acquire lock "${path}"`, { cause: e });
  }
  try {
    if (!(await waitFlock(file.fd, 'exclusive', wait.timeoutMs))) {
      throw new ConfigError('config.lock', `Unable to acquire lock "${path}" - got timeout`, { hint: 'another process is changing this file; try again when it is done' });
    }
    return await work();
  } finally {
    // Closing releases the lock.
    await file.close();
  }
}
