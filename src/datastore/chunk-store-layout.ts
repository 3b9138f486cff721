import assert from 'node:assert/strict';
import { chmod, lstat, mkdir, open, readdir } from 'node:fs/promises';
import { dirname, isAbsolute, join } from 'node:path';
import { forEachLimited } from '../base/async.ts';
import { errorCode, StoreError } from '../base/errors.ts';
import { makeFolders } from '../sys/make-folders.ts';
import { fileOwner, giveToFileOwner } from './file-owner.ts';
import { syncDirectory } from './replace-file.ts';
import { toStoreError } from './store-error.ts';

export const chunksName = '.chunks';
export const processLockName = '.lock';
export const chunkFolderMode = 0o750;
const baseMode = 0o755;
const processLockMode = 0o644;
const chunkFolders = 65_536;
/** Folders made or looked at side by side: more than one thread of the pool, few enough to leave it to others. */
const folderConcurrency = 8;

/** The folder of a chunk file's path. */
export function chunkFolderPath(chunkPath: string): string {
  return dirname(chunkPath);
}

/** `0000` to `ffff`, in order. */
export function* chunkFolderNames(): Generator<string, void> {
  for (let i = 0; i < chunkFolders; i += 1) yield i.toString(16).padStart(4, '0');
}

/** With `isExact` mkdir's mode, from which the umask takes, is known to arrive whole. */
async function makeFolder(path: string, isExact: boolean): Promise<void> {
  await mkdir(path, { mode: chunkFolderMode });
  if (!isExact) await chmod(path, chunkFolderMode);
  await giveToFileOwner(path);
}

/**
 * Makes the layout of spec formats 3.1: base (0755; each missing level, only the last changes its owner), `.chunks` and its folders (0750), `.lock` (0644).
 * StoreError `store.exists` when `.chunks` is there. What was made stays when it fails half-way. `onProgress` hears of each percent from 1 to 99.
 */
export async function createChunkStore(basePath: string, onProgress: (percent: number) => void = () => {}): Promise<void> {
  assert.ok(isAbsolute(basePath), `the path of a datastore is absolute: ${basePath}`);
  const chunks = join(basePath, chunksName);
  try {
    const made = await makeFolders(basePath, baseMode);
    if (made) await chmod(basePath, baseMode);
    await giveToFileOwner(basePath);
    await mkdir(chunks, { mode: chunkFolderMode });
    const isExact = ((await lstat(chunks)).mode & 0o7777) === chunkFolderMode;
    if (!isExact) await chmod(chunks, chunkFolderMode);
    await giveToFileOwner(chunks);
    const lock = await open(join(basePath, processLockName), 'a', processLockMode);
    try {
      await lock.chmod(processLockMode);
      const owner = fileOwner();
      if (owner !== null) await lock.chown(owner.uid, owner.gid);
    } finally {
      await lock.close();
    }
    let [folders, percent] = [0, 0];
    await forEachLimited(chunkFolderNames(), folderConcurrency, async (name) => {
      await makeFolder(join(chunks, name), isExact);
      folders += 1;
      const now = Math.floor((folders * 100) / chunkFolders);
      if (now > percent && now < 100) onProgress(now);
      percent = now;
    });
    await syncDirectory(chunks);
    await syncDirectory(basePath);
  } catch (e) {
    if (errorCode(e) === 'EEXIST') throw new StoreError('store.exists', `unable to create chunk store '${basePath}': '${chunks}' already exists`, { cause: e });
    throw toStoreError(e, `unable to create chunk store '${basePath}'`);
  }
}

async function checkPart(path: string, what: 'folder' | 'file', mode: number): Promise<void> {
  let found;
  try {
    found = await lstat(path);
  } catch (e) {
    throw toStoreError(e, `unable to look at '${path}'`);
  }
  const refuse = (why: string): never => {
    throw new StoreError('store.layout', `'${path}' ${why}`, { hint: 'Give the whole datastore the owner and modes of the one it was copied from.' });
  };
  if (what === 'folder' ? !found.isDirectory() : !found.isFile()) refuse(`is not a ${what}`);
  if ((found.mode & 0o7777) !== mode) refuse(`has mode ${(found.mode & 0o7777).toString(8)}, not ${mode.toString(8)}`);
  const uid = fileOwner()?.uid ?? process.getuid?.();
  const gid = fileOwner()?.gid ?? process.getgid?.();
  if (found.uid !== uid || found.gid !== gid) refuse(`belongs to ${found.uid}:${found.gid}, not ${uid}:${gid}`);
}

/**
 * Checks that an existing folder is a whole chunk store that can be taken over: every part with exactly its mode, owned by the user that datastores
 * belong to here (spec formats 3.1, reuse). StoreError `store.layout`, `store.missing`.
 */
export async function checkReusableChunkStore(basePath: string): Promise<void> {
  const chunks = join(basePath, chunksName);
  await checkPart(basePath, 'folder', baseMode);
  await checkPart(chunks, 'folder', chunkFolderMode);
  await checkPart(join(basePath, processLockName), 'file', processLockMode);
  await forEachLimited(chunkFolderNames(), folderConcurrency, (name) => checkPart(join(chunks, name), 'folder', chunkFolderMode));
}

/** Checks that an existing base may become a datastore: nothing in it but dot names and `lost+found` (spec formats 3.1). StoreError `store.not-empty`. */
export async function checkEmptyBase(basePath: string): Promise<void> {
  let names: string[];
  try {
    names = await readdir(basePath);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return;
    throw toStoreError(e, `unable to read '${basePath}'`);
  }
  if (names.some((name) => !name.startsWith('.') && name !== 'lost+found')) throw new StoreError('store.not-empty', 'datastore path not empty');
}
