import { closeSync, constants, fstatSync, ftruncateSync, linkSync, mkdirSync, openSync, symlinkSync, unlinkSync } from 'node:fs';
import { errorCode, FormatError, StoreError } from '../base/errors.ts';
import { fileTypeOf, type EntryMetadata } from '../pxar/entry-metadata.ts';
import { entryPath } from '../sys/descriptor-path.ts';
import { deviceNumber, makeSpecialFile } from '../sys/special-file.ts';

/** Existing entries that may be replaced. */
export interface Overwrite {
  files: boolean;
  symlinks: boolean;
  hardLinks: boolean;
}

/** open(2)'s O_PATH, which Node does not name. */
const pathOnly = 0o10000000;
const directoryFlags = constants.O_RDONLY | constants.O_DIRECTORY | constants.O_NOFOLLOW;
const ownOnly = 0o700;

/**
 * Makes entries in an open directory of a restore's target. Names are one component; links that are there already are never followed
 * (spec pxar, Traps 10). All functions throw what the system says.
 */
export function makeDirectory(parent: number, name: Buffer, mode: number, options: { allowExisting: boolean }): number {
  const path = entryPath(parent, name);
  try {
    mkdirSync(path, mode);
  } catch (e) {
    if (errorCode(e) !== 'EEXIST' || !options.allowExisting) throw e;
  }
  return openSync(path, directoryFlags);
}

/** Mode for a new directory or special file that gets its permissions at the end: nobody else may come in before. */
export function initialMode(mode: number, permissionsFollow: boolean): number {
  return permissionsFollow ? fileTypeOf(mode) | ownOnly : mode;
}

/** An open, empty regular file. */
export function makeFile(parent: number, name: Buffer, options: { overwrite: boolean }): number {
  const path = entryPath(parent, name);
  const newFlags = constants.O_WRONLY | constants.O_CREAT | constants.O_EXCL | constants.O_NOFOLLOW;
  try {
    return openSync(path, newFlags, 0o600);
  } catch (e) {
    if (errorCode(e) !== 'EEXIST' || !options.overwrite) throw e;
  }
  return emptyExisting(path) ?? openSync(path, newFlags, 0o600);
}

/** Empties the file in place, as other names of it are to see; null: a symlink was in its place and is gone. */
function emptyExisting(path: Buffer): number | null {
  let fd: number;
  try {
    fd = openSync(path, constants.O_WRONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch (e) {
    if (errorCode(e) !== 'ELOOP') throw e;
    unlinkSync(path);
    return null;
  }
  try {
    if (!fstatSync(fd).isFile()) throw new StoreError('store.target', 'what exists is not a regular file');
    ftruncateSync(fd, 0);
    return fd;
  } catch (e) {
    closeSync(fd);
    throw e;
  }
}

function replacing(path: Buffer, overwrite: boolean, make: () => void): void {
  try {
    make();
  } catch (e) {
    if (errorCode(e) !== 'EEXIST' || !overwrite) throw e;
    // Fails for a directory.
    unlinkSync(path);
    make();
  }
}

export function makeSymlink(parent: number, name: Buffer, target: Buffer, options: { overwrite: boolean }): void {
  const path = entryPath(parent, name);
  replacing(path, options.overwrite, () => symlinkSync(target, path));
}

/** Makes `name` another name of the file with the path `targetPath` below `root`. FormatError for paths that lead out. */
export function makeHardLink(root: number, targetPath: Buffer, parent: number, name: Buffer, options: { overwrite: boolean }): void {
  const components = targetPath.toString('latin1').split('/');
  if (targetPath.includes(0) || components.some((component) => component === '' || component === '.' || component === '..')) {
    throw new FormatError('format.pxar', `archive: hard link to ${JSON.stringify(targetPath.toString())}`);
  }
  const last = Buffer.from(components.pop()!, 'latin1');
  const folder = openBelow(root, components);
  try {
    const path = entryPath(parent, name);
    replacing(path, options.overwrite, () => linkSync(entryPath(folder ?? root, last), path));
  } finally {
    if (folder !== null) closeSync(folder);
  }
}

/** Null: `root` itself. */
function openBelow(root: number, components: readonly string[]): number | null {
  let at: number | null = null;
  for (const component of components) {
    const parent: number | null = at;
    try {
      at = openSync(entryPath(parent ?? root, Buffer.from(component, 'latin1')), pathOnly | constants.O_DIRECTORY | constants.O_NOFOLLOW);
    } finally {
      if (parent !== null) closeSync(parent);
    }
  }
  return at;
}

/** Fifo, socket or device. */
export function makeSpecial(parent: number, name: Buffer, mode: number, device: { major: number; minor: number } | null): void {
  makeSpecialFile(entryPath(parent, name), mode, device === null ? 0n : deviceNumber(device.major, device.minor));
}

/**
 * A descriptor that stands for a new entry of any type, to give it its metadata. StoreError when something of another type has taken its place
 * meanwhile, which others who may write there could have put there.
 */
export function openMade(parent: number, name: Buffer, metadata: EntryMetadata): number {
  const fd = openSync(entryPath(parent, name), pathOnly | constants.O_NOFOLLOW);
  const stat = fstatSync(fd);
  if (fileTypeOf(stat.mode) === fileTypeOf(metadata.mode) && stat.nlink === 1) return fd;
  closeSync(fd);
  throw new StoreError('store.target', 'something else took the place of the new entry');
}
