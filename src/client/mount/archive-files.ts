import { accessAclName, defaultAclName, encodePosixAcls } from '../../archive/posix-acl.ts';
import { capabilityName } from '../../archive/xattr-names.ts';
import { joinPath, shownPath } from '../../archive/shown-path.ts';
import { FormatError } from '../../base/errors.ts';
import { FuseRefusal, type FuseFileSystem, type NodeXattr } from '../../fuse/file-system.ts';
import type { DirectoryRecord, FileSystemTotals, NodeAttributes } from '../../fuse/reply.ts';
import { rootNode } from '../../fuse/request.ts';
import type { ArchiveChild, ArchiveDirectory, ContentReader } from '../../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { fileTypes, type EntryMetadata } from '../../pxar/entry-metadata.ts';
import type { OpenTree } from '../open-snapshot.ts';
import { RecentlyUsed } from './recently-used.ts';

/** Marks the numbers of what is no directory (spec pxar 10). */
const entryMark = 1n << 63n;
const entryMask = entryMark - 1n;
/** For `..` in listings, where nobody looks at it. */
const unknownNode = 0xffff_ffffn;

/** Linux: FUSE_NAME_MAX. */
const longestName = 1024;

const entriesKept = 8192;
/** Bytes of the tables of directories that are kept. */
const tableBytesKept = 64 * 1024 * 1024;
const bytesPerChild = 28;
/** Children that are read at the same time when a directory is listed: each may need a chunk. */
const childrenAhead = 8;

/** A node that is no directory. */
interface Leaf {
  entry: Exclude<ArchiveEntry, { type: 'directory' | 'hardlink' }>;
  content: ContentReader | null;
}

interface Directory {
  directory: ArchiveDirectory;
  /** Children in the order of the archive. */
  places: Uint32Array;
}

/**
 * A directory tree as a file system (spec pxar 10). Nodes are found again by their place in the archive, so that nothing has to be remembered of them, whatever
 * the kernel keeps: memory is bounded by the caches here. A hard link is the node that it is another name of.
 */
export class ArchiveFiles implements FuseFileSystem {
  readonly #tree: OpenTree;
  readonly #leaves = new RecentlyUsed<number, Promise<Leaf>>(entriesKept);
  readonly #directories = new RecentlyUsed<bigint, Directory>(tableBytesKept);
  readonly #opening = new Map<bigint, Promise<Directory>>();
  /** For log lines. */
  readonly #paths = new RecentlyUsed<bigint, Buffer>(2 * entriesKept);

  constructor(tree: OpenTree) {
    this.#tree = tree;
    this.#paths.set(rootNode, Buffer.alloc(0));
  }

  async lookup(parent: bigint, name: Buffer): Promise<NodeAttributes | null> {
    const { directory } = await this.#directory(parent);
    const child = await directory.lookup(name);
    if (child === null) return null;
    const attributes = await this.#childAttributes(child);
    this.#notePath(parent, attributes.node, name);
    return attributes;
  }

  async attributes(node: bigint): Promise<NodeAttributes> {
    if (isLeaf(node)) return leafAttributes((await this.#leaf(node)).entry);
    return directoryAttributes(node, (await this.#directory(node)).directory.entry.metadata);
  }

  async readlink(node: bigint): Promise<Buffer> {
    const { entry } = await this.#leaf(node);
    if (entry.type !== 'symlink') throw new FuseRefusal('EINVAL');
    return entry.target;
  }

  async read(node: bigint, offset: number, length: number): Promise<readonly Buffer[]> {
    const leaf = await this.#leaf(node);
    if (leaf.content === null) throw new FuseRefusal('EINVAL');
    return [await leaf.content.read(offset, length)];
  }

  /** In the order of the archive, not of the table as the reference: each chunk is needed once. */
  async *list(node: bigint, offset: number): AsyncGenerator<DirectoryRecord, void, undefined> {
    const { directory, places } = await this.#directory(node);
    const ahead: Array<Promise<ArchiveChild>> = [];
    let at = offset;
    let end = 0;
    for (let next = offset; at < places.length; at += 1) {
      for (; next < Math.min(places.length, at + childrenAhead); next += 1) {
        const child = directory.childAt(places[next]!);
        // An error is met when its turn comes, or not at all.
        child.catch(() => {});
        ahead.push(child);
      }
      const child = await ahead.shift()!;
      checkListed(child, end);
      end = child.end;
      yield { ...this.#record(node, child), next: at + 1 };
    }
    const dots = [
      { name: '.', node },
      { name: '..', node: unknownNode },
    ];
    for (const [i, dot] of dots.entries()) {
      if (offset <= places.length + i) yield { name: Buffer.from(dot.name), node: dot.node, mode: fileTypes.directory, attributes: null, next: places.length + i + 1 };
    }
  }

  async xattrs(node: bigint): Promise<readonly NodeXattr[]> {
    const metadata = isLeaf(node) ? (await this.#leaf(node)).entry.metadata : (await this.#directory(node)).directory.entry.metadata;
    return archivedXattrs(metadata);
  }

  totals(): FileSystemTotals {
    return { bytes: this.#tree.length };
  }

  shown(node: bigint): string {
    const path = this.#paths.get(node);
    return path === undefined ? `entry ${node & entryMask} of the archive` : shownPath(Buffer.concat([Buffer.from('/'), path]));
  }

  #record(parent: bigint, child: ArchiveChild): Omit<DirectoryRecord, 'next'> {
    const { entry } = child;
    if (entry.type === 'hardlink') return { name: entry.name, node: leafNode(entry.target), mode: fileTypes.file, attributes: null };
    const attributes = entry.type === 'directory' ? directoryAttributes(BigInt(child.end), entry.metadata) : leafAttributes(entry);
    this.#notePath(parent, attributes.node, entry.name);
    if (entry.type !== 'directory') this.#keep(child, entry);
    return { name: entry.name, node: attributes.node, mode: attributes.mode, attributes };
  }

  async #childAttributes(child: ArchiveChild): Promise<NodeAttributes> {
    const { entry } = child;
    if (entry.type === 'directory') return directoryAttributes(BigInt(child.end), entry.metadata);
    if (entry.type === 'hardlink') return leafAttributes((await this.#leaf(leafNode(entry.target))).entry);
    this.#keep(child, entry);
    return leafAttributes(entry);
  }

  #keep(child: ArchiveChild, entry: Leaf['entry']): void {
    if (this.#leaves.get(entry.position) === undefined) this.#leaves.set(entry.position, Promise.resolve(this.#leafOf(child, entry)));
  }

  #leafOf(child: ArchiveChild, entry: Leaf['entry']): Leaf {
    return { entry, content: entry.type === 'file' ? this.#tree.archive.contentReader(child) : null };
  }

  async #leaf(node: bigint): Promise<Leaf> {
    if (!isLeaf(node)) throw new FuseRefusal('EISDIR');
    const position = Number(node & entryMask);
    const kept = this.#leaves.get(position);
    if (kept !== undefined) return kept;
    const leaf = this.#readLeaf(position);
    this.#leaves.set(position, leaf);
    leaf.catch(() => this.#leaves.delete(position));
    return leaf;
  }

  async #readLeaf(position: number): Promise<Leaf> {
    const child = await this.#tree.archive.entryAt(position);
    if (child.entry.type === 'directory') throw new FuseRefusal('EISDIR');
    // The archive says what a link leads to; a link to a link is none.
    if (child.entry.type === 'hardlink') throw new FuseRefusal('EIO');
    return this.#leafOf(child, child.entry);
  }

  async #directory(node: bigint): Promise<Directory> {
    if (isLeaf(node)) throw new FuseRefusal('ENOTDIR');
    const kept = this.#directories.get(node);
    if (kept !== undefined) return kept;
    const opening = this.#opening.get(node) ?? this.#open(node).finally(() => this.#opening.delete(node));
    this.#opening.set(node, opening);
    return opening;
  }

  async #open(node: bigint): Promise<Directory> {
    const { archive } = this.#tree;
    const directory = node === rootNode ? await archive.root() : await archive.directoryAt(Number(node));
    const opened = { directory, places: directory.placesInOrder() };
    this.#directories.set(node, opened, bytesPerChild * (directory.count + 1));
    return opened;
  }

  #notePath(parent: bigint, node: bigint, name: Buffer): void {
    const folder = this.#paths.get(parent);
    if (folder !== undefined) this.#paths.set(node, joinPath(folder, name));
  }
}

/** FormatError for a name that the kernel would not take, and for an entry within the one before it: a walk over such could not end. */
function checkListed({ entry: { name, position } }: ArchiveChild, end: number): void {
  if (name.length > longestName || name.includes(0)) throw new FormatError('format.pxar', `archive: ${shownPath(name.subarray(0, longestName))} cannot be the name of a file`);
  if (position < end) throw new FormatError('format.pxar', 'archive: entries of a directory lie in one another');
}

function isLeaf(node: bigint): boolean {
  return (node & entryMark) !== 0n;
}

function leafNode(position: number): bigint {
  return BigInt(position) | entryMark;
}

function baseAttributes(node: bigint, { mode, uid, gid, mtimeNs }: EntryMetadata): NodeAttributes {
  return { node, mode, uid, gid, mtimeNs, nlink: 1, size: 0, device: null };
}

function directoryAttributes(node: bigint, metadata: EntryMetadata): NodeAttributes {
  return { ...baseAttributes(node, metadata), nlink: 2 };
}

function leafAttributes(entry: Leaf['entry']): NodeAttributes {
  const attributes = baseAttributes(leafNode(entry.position), entry.metadata);
  if (entry.type === 'file') attributes.size = entry.size;
  else if (entry.type === 'symlink') attributes.size = entry.target.length;
  else if (entry.type === 'device') attributes.device = { major: entry.major, minor: entry.minor };
  return attributes;
}

/** Attributes as an own file system would have them: also capabilities, and ACLs. */
export function archivedXattrs({ xattrs, fileCapabilities, acl, mode }: EntryMetadata): NodeXattr[] {
  const all: NodeXattr[] = [...xattrs];
  if (fileCapabilities !== null) all.push({ name: Buffer.from(capabilityName), value: fileCapabilities });
  if (acl === null) return all;
  const { access, byDefault } = encodePosixAcls(acl, mode);
  if (acl.users.length + acl.groups.length > 0 || acl.groupObject !== null) all.push({ name: Buffer.from(accessAclName), value: access });
  if (byDefault !== null) all.push({ name: Buffer.from(defaultAclName), value: byDefault });
  return all;
}
