import { closeSync, constants, fstatSync, lstatSync, openSync, readlinkSync, type BigIntStats } from 'node:fs';
import { errorCode, StoreError } from '../base/errors.ts';
import { fileTypeOf, fileTypes, type EntryMetadata } from '../pxar/entry-metadata.ts';
import { entryPath } from '../sys/descriptor-path.ts';
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
  stat: BigIntStats;
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

/** The node of `lstat`'s result; nothing is opened. StoreError for a type that archives do not know. */
export function sourceNode(name: Buffer, path: Buffer, stat: BigIntStats): SourceNode {
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
    size: isFile ? Number(stat.size) : 0,
    inode: isFile && stat.nlink > 1n ? `${stat.dev}:${stat.ino}` : null,
    fd: null,
    target: null,
    device: type === 'device' ? deviceNumbers(stat.rdev) : null,
  };
}

export function lstatEntry(directory: number, name: Buffer): BigIntStats {
  return lstatSync(entryPath(directory, name), { bigint: true });
}

/** Without O_NONBLOCK a fifo that took the file's place would hold us up for ever. */
const openFlags = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NOCTTY | constants.O_NONBLOCK;

function openQuietly(path: Buffer, flags: number): number {
  try {
    return openSync(path, flags | constants.O_NOATIME);
  } catch (e) {
    // Only the owner may leave the access time alone.
    if (errorCode(e) !== 'EPERM') throw e;
    return openSync(path, flags);
  }
}

/**
 * Opens a file or directory, and reads the target of a symlink. Throws what the system says; ESTALE when something else has taken the
 * entry's place meanwhile.
 */
export function openNode(directory: number, node: SourceNode): void {
  const path = entryPath(directory, node.name);
  if (node.type === 'symlink') node.target = readlinkSync(path, { encoding: 'buffer' });
  if (node.type !== 'file' && node.type !== 'directory') return;
  const fd = openQuietly(path, node.type === 'directory' ? openFlags | constants.O_DIRECTORY : openFlags);
  if (node.type === 'file' && !fstatSync(fd).isFile()) {
    closeSync(fd);
    throw Object.assign(new Error('something else took the place of the file'), { code: 'ESTALE' });
  }
  node.fd = fd;
}

/** Closes what the node holds open. */
export function closeNode(node: SourceNode): void {
  if (node.fd === null) return;
  closeSync(node.fd);
  node.fd = null;
}
