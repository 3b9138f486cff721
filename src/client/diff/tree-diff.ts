import { bytesEqual } from '../../base/bytes.ts';
import { walkArchive } from '../../archive/archive-listing.ts';
import { joinPath } from '../../archive/shown-path.ts';
import { throwIfAborted } from '../../base/async.ts';
import type { ChunkIndex } from '../../format/chunk-index.ts';
import type { ArchiveAccessor, ArchiveChild, ArchiveDirectory } from '../../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../../pxar/archive-entry.ts';
import { changedFields, type ChangedField } from './entry-fields.ts';
import { isSameSpan, type Span } from './same-span.ts';

/** A directory tree of a snapshot, with the indexes of its archives. */
export interface DiffTree {
  archive: ArchiveAccessor;
  index: ChunkIndex;
  /** Of a split one. */
  payloadIndex: ChunkIndex | null;
}

/** What is different at a path. */
export type TreeChange =
  | { change: 'added' | 'removed'; path: Buffer; entry: ArchiveEntry }
  /** `content`: `unknown` where size is the same, chunks differ, and nobody looked into them. */
  | { change: 'changed'; path: Buffer; before: ArchiveEntry; after: ArchiveEntry; fields: ChangedField[]; content: 'same' | 'changed' | 'unknown' };

export interface TreeDiffOptions {
  /** Read files whose size and time are the same and whose chunks differ. */
  compareContent: boolean;
  /** False: digests of both say nothing of each other. */
  isComparable: boolean;
  signal?: AbortSignal;
}

type FileChild = ArchiveChild & { entry: Extract<ArchiveEntry, { type: 'file' }> };

const payloadHeaderLength = 16;

function contentSpan(tree: DiffTree, child: FileChild): Span {
  const { payload } = child.entry;
  return payload === null ? { index: tree.index, start: child.contentAt } : { index: tree.payloadIndex!, start: payload + payloadHeaderLength };
}

async function byName(directory: ArchiveDirectory): Promise<ArchiveChild[]> {
  return (await Array.fromAsync(directory.children())).toSorted((a, b) => Buffer.compare(a.entry.name, b.entry.name));
}

function isFile(child: ArchiveChild): child is FileChild {
  return child.entry.type === 'file';
}

/**
 * Differences between two trees in the order of their paths, a directory before what is in it (spec client-cli 12 as a guide). Contents whose chunks are the same are not looked at, nor are directories of
 * unified archives whose bytes are. FormatError, and what reading throws.
 */
export class TreeDiff {
  readonly #a: DiffTree;
  readonly #b: DiffTree;
  readonly #options: TreeDiffOptions;

  constructor(a: DiffTree, b: DiffTree, options: TreeDiffOptions) {
    this.#a = a;
    this.#b = b;
    this.#options = options;
  }

  async *changes(): AsyncGenerator<TreeChange, void, undefined> {
    const [a, b] = [await this.#a.archive.root(), await this.#b.archive.root()];
    const fields = changedFields(a.entry, b.entry);
    if (fields.length > 0) yield { change: 'changed', path: Buffer.alloc(0), before: a.entry, after: b.entry, fields, content: 'same' };
    yield* this.#directories(a, b, Buffer.alloc(0));
  }

  async *#directories(a: ArchiveDirectory, b: ArchiveDirectory, path: Buffer): AsyncGenerator<TreeChange, void, undefined> {
    const [left, right] = await Promise.all([byName(a), byName(b)]);
    for (let i = 0, j = 0; i < left.length || j < right.length; ) {
      throwIfAborted(this.#options.signal);
      const [one, other] = [left[i], right[j]];
      const order = one === undefined ? 1 : other === undefined ? -1 : Buffer.compare(one.entry.name, other.entry.name);
      if (order <= 0) i += 1;
      if (order >= 0) j += 1;
      if (order < 0) yield* this.#whole('removed', this.#a, one!, path);
      else if (order > 0) yield* this.#whole('added', this.#b, other!, path);
      else yield* this.#pair(one!, other!, joinPath(path, one!.entry.name));
    }
  }

  /** An entry that is on one side only, with what is in it. */
  async *#whole(change: 'added' | 'removed', tree: DiffTree, child: ArchiveChild, folder: Buffer): AsyncGenerator<TreeChange, void, undefined> {
    const path = joinPath(folder, child.entry.name);
    yield { change, path, entry: child.entry };
    if (child.entry.type !== 'directory') return;
    for await (const found of walkArchive(tree.archive, await tree.archive.open(child), path)) yield { change, path: found.path, entry: found.child.entry };
  }

  async *#pair(a: ArchiveChild, b: ArchiveChild, path: Buffer): AsyncGenerator<TreeChange, void, undefined> {
    if (a.entry.type !== b.entry.type) {
      const folder = path.subarray(0, Math.max(0, path.lastIndexOf(0x2f)));
      yield* this.#whole('removed', this.#a, a, folder);
      yield* this.#whole('added', this.#b, b, folder);
      return;
    }
    const fields = changedFields(a.entry, b.entry);
    const content = isFile(a) && isFile(b) ? await this.#content(a, b, fields) : 'same';
    if (content === 'changed') fields.push('content');
    if (fields.length > 0) yield { change: 'changed', path, before: a.entry, after: b.entry, fields, content };
    if (a.entry.type === 'directory' && !this.#isSameDirectory(a, b)) yield* this.#directories(await this.#a.archive.open(a), await this.#b.archive.open(b), path);
  }

  /** A directory of unified archives with the same bytes on both sides. A split one says nothing of contents. */
  #isSameDirectory(a: ArchiveChild, b: ArchiveChild): boolean {
    if (!this.#options.isComparable || this.#a.payloadIndex !== null || this.#b.payloadIndex !== null) return false;
    const [start, other] = [a.entry.position, b.entry.position];
    const length = a.end - start;
    return length === b.end - other && isSameSpan({ index: this.#a.index, start }, { index: this.#b.index, start: other }, length);
  }

  async #content(a: FileChild, b: FileChild, fields: readonly ChangedField[]): Promise<'same' | 'changed' | 'unknown'> {
    if (a.entry.size !== b.entry.size) return 'changed';
    if (this.#options.isComparable && isSameSpan(contentSpan(this.#a, a), contentSpan(this.#b, b), a.entry.size)) return 'same';
    if (!this.#options.compareContent) return fields.includes('mtime') ? 'unknown' : 'same';
    return (await this.#readsSame(a, b)) ? 'same' : 'changed';
  }

  async #readsSame(a: FileChild, b: FileChild): Promise<boolean> {
    const other = this.#b.archive.content(b)[Symbol.asyncIterator]();
    // Both come in pieces of the same length.
    for await (const bytes of this.#a.archive.content(a)) {
      throwIfAborted(this.#options.signal);
      const next = await other.next();
      if (next.done === true || !bytesEqual(bytes, next.value)) return false;
    }
    return true;
  }
}
