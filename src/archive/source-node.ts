import { constants, readlinkSync } from 'node:fs';
import { errorCode, StoreError } from '../base/errors.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../pxar/entry-metadata.ts';
import { entryPath } from '../sys/descriptor-path.ts';
import { closeEntry, modeOfDescriptor, openEntry, statDescriptor, type EntryStat } from '../sys/entry-calls.ts';
import { deviceNumbers } from '../sys/special-file.ts';
import { joinPath, shownPath } from './shown-path.ts';
import { statMetadata } from './source-metadata.ts';

export type SourceType = 'directory' | 'file' | 'symlink' | 'device' | 'fifo' | 'socket';

/** An entry of the tree that is archived. Many of them wait at a time, so they hold little. */
export class SourceNode {
  readonly name: Buffer;
  /** Path of the directory that it is in, from the root of the archive, without leading slash. */
  readonly folder: Buffer;
  readonly type: SourceType;
  readonly stat: EntryStat;
  readonly metadata: EntryMetadata;
  /** Open for reading, of files and directories; belongs to the node. */
  fd: number | null = null;
  /** Of symlinks. */
  target: Buffer | null = null;
  /** Of devices. */
  readonly device: { major: number; minor: number } | null;
  /** Names the inode of a file that has more than one name. */
  readonly inode: string | null;

  /** Nothing is opened. StoreError for a type that archives do not know. */
  constructor(name: Buffer, folder: Buffer, stat: EntryStat) {
    this.name = name;
    this.folder = folder;
    this.stat = stat;
    this.metadata = statMetadata(stat);
    const type = types[fileTypeOf(stat.mode)];
    if (type === undefined) throw sourceError(this.path, new StoreError('store.source', `unknown file type, mode ${stat.mode.toString(8)}`));
    this.type = type;
    this.inode = type === 'file' && stat.nlink > 1 ? `${stat.dev}:${stat.ino}` : null;
    this.device = type === 'device' ? deviceNumbers(stat.rdev) : null;
  }

  /** From the root of the archive, without leading slash. */
  get path(): Buffer {
    return joinPath(this.folder, this.name);
  }

  /** Bytes; of files. */
  get size(): number {
    return this.type === 'file' ? this.stat.size : 0;
  }
}

const types: Record<number, SourceType> = {
  [fileTypes.directory]: 'directory',
  [fileTypes.file]: 'file',
  [fileTypes.symlink]: 'symlink',
  [fileTypes.block]: 'device',
  [fileTypes.character]: 'device',
  [fileTypes.fifo]: 'fifo',
  [fileTypes.socket]: 'socket',
};

/** What may happen to any entry of a tree in use, by the system's code: it is passed over, and said why. */
const passedOver: Record<string, string> = { ENOENT: 'vanished', EACCES: 'access denied', ESTALE: 'stale file handle' };

/** Why an entry is passed over after this error; null for all others. */
export function reasonToPassOver(e: unknown): string | null {
  return passedOver[errorCode(e)] ?? null;
}

/** The error of one entry, said once with its path (spec pxar 5.7). */
export function sourceError(path: Uint8Array, cause: unknown): StoreError {
  return new StoreError('store.source', `error at ${shownPath(path)}`, { cause });
}

/** Without O_NONBLOCK a fifo that took the file's place would hold us up for ever. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NOCTTY | constants.O_NONBLOCK;

function openQuietly(directory: number, path: Buffer, flags: number): number {
  try {
    return openEntry(directory, path, flags | constants.O_NOATIME);
  } catch (e) {
    // Only the owner may leave the access time alone.
    if (errorCode(e) !== 'EPERM') throw e;
    return openEntry(directory, path, flags);
  }
}

/**
 * Opens a file or directory, and reads the target of a symlink. Throws what the system says; ESTALE when something else has taken the
 * entry's place meanwhile. `path`: where it is, below the open directory.
 */
export function openNode(directory: number, node: SourceNode, path: Buffer = node.name): void {
  if (node.type === 'symlink') node.target = readlinkSync(entryPath(directory, path), { encoding: 'buffer' });
  if (node.type !== 'file' && node.type !== 'directory') return;
  const fd = openQuietly(directory, path, node.type === 'directory' ? openFlags | constants.O_DIRECTORY : openFlags);
  if (node.type === 'file' && fileTypeOf(modeOfDescriptor(fd)) !== fileTypes.file) replaced(fd);
  node.fd = fd;
}

function replaced(fd: number): never {
  closeEntry(fd);
  throw Object.assign(new Error('something else took the place of the file'), { code: 'ESTALE' });
}

/** Longest path by which `reopenNode` finds a file. */
export const longestReopenPath = 4000;

/** Opens a file again that was closed meanwhile, by its path below the open directory `root`. Throws as `openNode`: also for another file of the same name. */
export function reopenNode(root: number, node: SourceNode): void {
  const fd = openQuietly(root, node.path, openFlags);
  const { dev, ino, mode } = statDescriptor(fd);
  if (dev !== node.stat.dev || ino !== node.stat.ino || fileTypeOf(mode) !== fileTypes.file) replaced(fd);
  node.fd = fd;
}

/** Closes what the node holds open. */
export function closeNode(node: SourceNode): void {
  if (node.fd === null) return;
  closeEntry(node.fd);
  node.fd = null;
}
