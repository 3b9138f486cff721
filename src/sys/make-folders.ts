import { mkdir, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { errorCode } from '../base/errors.ts';

/**
 * Makes a folder and the levels above it that are missing, each with `mode` (less the umask); true when the folder itself was made.
 * Throws the system's errors. Node's own recursive mkdir never ends where the kernel answers ENOENT below a folder that exists, as in
 * /proc.
 */
export async function makeFolders(path: string, mode: number): Promise<boolean> {
  try {
    return await makeFolder(path, mode);
  } catch (e) {
    if (errorCode(e) !== 'ENOENT' || dirname(path) === path || (await exists(dirname(path)))) throw e;
    await makeFolders(dirname(path), mode);
    return makeFolder(path, mode);
  }
}

async function makeFolder(path: string, mode: number): Promise<boolean> {
  try {
    await mkdir(path, { mode });
    return true;
  } catch (e) {
    if (errorCode(e) === 'EEXIST' && (await stat(path)).isDirectory()) return false;
    throw e;
  }
}

async function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}
