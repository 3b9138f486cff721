import { closeSync, constants, readlinkSync } from 'node:fs';
import { errorCode, StoreError } from '../base/errors.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../pxar/entry-metadata.ts';
import { entryPath } from '../sys/descriptor-path.ts';
import { openEntry, statDescriptor, type EntryStat } from '../sys/entry-calls.ts';
import { deviceNumbers } from '../sys/special-file.ts';
import { shownPath } from './shown-path.ts';
import { statMetadata } from './source-metadata.ts';

export type SourceType = 'directory' | 'file' | 'symlink' | 'device' | 'fifo' | 'socket';

/** An entry of the tree that is archived. */
export interface SourceNode {
  name: Buffer;
  /** From the root of the archive, without leading slash. */
  path: Buffer;
  type: SourceType;
  stat: EntryStat;
  metadata: EntryMetadata;
  /** Bytes; of files. */
  size: number;
  /** Names the inode of a file that has more than one name. */
  inode: string | null;
  /** Open for reading, of files and directories; belongs to the node. */
  fd: number | null;
  /** Of symlinks. */
  target: Buffer | null;
  /** Of devices. */
  device: { major: number; minor: number } | null;
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

/** The node of an entry; nothing is opened. StoreError for a type that archives do not know. */
export function sourceNode(name: Buffer, path: Buffer, stat: EntryStat): SourceNode {
  const metadata = statMetadata(stat);
  const type = types[fileTypeOf(metadata.mode)];
  if (type === undefined) throw sourceError(path, new StoreError('store.source', `unknown file type, mode ${metadata.mode.toString(8)}`));
  const isFile = type === 'file';
  return {
    name,
    path,
    type,
    stat,
    metadata,
    size: isFile ? stat.size : 0,
    inode: isFile && stat.nlink > 1 ? `${stat.dev}:${stat.ino}` : null,
    fd: null,
    target: null,
    device: type === 'device' ? deviceNumbers(stat.rdev) : null,
  };
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
 * entry's place meanwhile.
 */
export function openNode(directory: number, node: SourceNode): void {
  if (node.type === 'symlink') node.target = readlinkSync(entryPath(directory, node.name), { encoding: 'buffer' });
  if (node.type !== 'file' && node.type !== 'directory') return;
  const fd = openQuietly(directory, node.name, node.type === 'directory' ? openFlags | constants.O_DIRECTORY : openFlags);
  if (node.type === 'file' && fileTypeOf(statDescriptor(fd).mode) !== fileTypes.file) replaced(fd);
  node.fd = fd;
}

function replaced(fd: number): never {
  closeSync(fd);
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
  closeSync(node.fd);
  node.fd = null;
}
