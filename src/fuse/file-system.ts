import type { DirectoryRecord, FileSystemTotals, NodeAttributes } from './reply.ts';

/** An attribute of a node. */
export interface NodeXattr {
  name: Buffer;
  value: Buffer;
}

/** errno values of what a file system refuses. */
export const fuseErrors = { ENOENT: 2, EINTR: 4, EIO: 5, EACCES: 13, ENOTDIR: 20, EISDIR: 21, EINVAL: 22, EROFS: 30, ERANGE: 34, ENOSYS: 38, ENODATA: 61 } as const;

/** A request is refused with this errno; nothing is wrong. */
export class FuseRefusal extends Error {
  readonly errno: number;

  constructor(name: keyof typeof fuseErrors) {
    super(name);
    this.name = 'FuseRefusal';
    this.errno = fuseErrors[name];
  }
}

/**
 * A read-only file system whose contents never change. Nodes are numbers that it gives: it is asked about those only, but it may be long after, so it
 * finds each again by its number alone. Everything may throw FuseRefusal; any other error is EIO for whoever asked, and is logged.
 */
export interface FuseFileSystem {
  /** Null: no such name. */
  lookup(parent: bigint, name: Buffer): Promise<NodeAttributes | null>;
  attributes(node: bigint): Promise<NodeAttributes>;
  readlink(node: bigint): Promise<Buffer>;
  /** Fewer bytes than `length` at the end of the file only. */
  read(node: bigint, offset: number, length: number): Promise<readonly Buffer[]>;
  /** The names of a folder from `offset` on: 0, or a record's `next`. */
  list(node: bigint, offset: number): AsyncIterable<DirectoryRecord>;
  xattrs(node: bigint): Promise<readonly NodeXattr[]>;
  totals(): FileSystemTotals;
  /** A node, as log lines name it. */
  shown(node: bigint): string;
}
