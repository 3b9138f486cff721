import { fileTypeOf, fileTypes, type EntryMetadata } from './entry-metadata.ts';
import { maxNameLength, pxarError, readU64, type ItemKind } from './item.ts';
import { addAttribute, decodeStat } from './metadata-items.ts';

interface Located {
  /** Bytes; empty for the root. */
  name: Buffer;
  /** Where the entry begins in the (metadata) archive: its FILENAME item, the start of the archive for the root. */
  position: number;
}

/** One node of an archive (spec pxar 2). */
export type ArchiveEntry = Located &
  (
    | { type: 'directory'; metadata: EntryMetadata }
    | {
        type: 'file';
        metadata: EntryMetadata;
        size: number;
        /** Position of the PAYLOAD item in the payload archive; null: the content follows in this archive. */
        payload: number | null;
      }
    | { type: 'symlink'; metadata: EntryMetadata; target: Buffer }
    | { type: 'device'; metadata: EntryMetadata; major: number; minor: number }
    | { type: 'fifo' | 'socket'; metadata: EntryMetadata }
    | {
        type: 'hardlink';
        /** Position of the file that it is another name of. */
        target: number;
        /** Path of that file in the archive, without leading slash. */
        targetPath: Buffer;
      }
  );

/** Name of a FILENAME item (spec pxar 2, rule 8). */
export function decodeName(content: Buffer): Buffer {
  if (content.at(-1) !== 0) throw pxarError('name does not end in NUL');
  const name = Buffer.from(content.subarray(0, -1));
  checkName(name);
  return name;
}

/** FormatError `format.pxar` for what cannot be a name in an archive. */
export function checkName(name: Buffer): void {
  if (name.length === 0 || name.length > maxNameLength) throw pxarError(`name of ${name.length} bytes`);
  const isDots = name.length <= 2 && name[0] === 0x2e && name.at(-1) === 0x2e;
  if (name.includes(0x2f) || isDots) throw pxarError(`name ${JSON.stringify(name.toString())} is not lawful`);
}

function withoutNul(content: Buffer): Buffer {
  if (content.at(-1) !== 0) throw pxarError('path does not end in NUL');
  return Buffer.from(content.subarray(0, -1));
}

/** What an item meant for the node that is being read: `more` items are needed, or the `entry` is complete. */
export type Progress = { done: false } | { done: true; entry: ArchiveEntry; /** False: the item belongs to what comes after the entry. */ consumed: boolean };

const more: Progress = { done: false };

/** Puts one node together from its items, the first one after FILENAME first. */
export class NodeAssembly {
  readonly #located: Located;
  readonly #isRoot: boolean;
  #metadata: EntryMetadata | null = null;

  constructor(located: Located, isRoot: boolean) {
    this.#located = located;
    this.#isRoot = isRoot;
  }

  /**
   * Takes the next item. Of PAYLOAD only the length is looked at, FILENAME and GOODBYE are not looked into: `content` may be empty for these.
   * FormatError `format.pxar`.
   */
  take(kind: ItemKind, length: number, content: Buffer): Progress {
    const metadata = this.#metadata;
    if (metadata === null) return this.#first(kind, content);
    if (kind === 'filename' || kind === 'goodbye') return { done: true, entry: this.#withoutBody(metadata), consumed: false };
    if (addAttribute(metadata, kind, content)) return more;
    return { done: true, entry: this.#withBody(metadata, kind, length, content), consumed: true };
  }

  #first(kind: ItemKind, content: Buffer): Progress {
    if (kind === 'entry' || kind === 'entryV1') {
      this.#metadata = decodeStat(kind, content);
      if (this.#isRoot && fileTypeOf(this.#metadata.mode) !== fileTypes.directory) throw pxarError('the root is not a directory');
      return more;
    }
    if (kind !== 'hardlink' || this.#isRoot) throw pxarError(`${kind} item where an entry begins`);
    const target = this.#located.position - readU64(content, 0);
    const targetPath = withoutNul(content.subarray(8));
    if (target < 0 || target >= this.#located.position || targetPath.length === 0) throw pxarError('hard link to nothing before it');
    return { done: true, entry: { ...this.#located, type: 'hardlink', target, targetPath }, consumed: true };
  }

  #withoutBody(metadata: EntryMetadata): ArchiveEntry {
    const type = fileTypeOf(metadata.mode);
    if (type === fileTypes.directory) return { ...this.#located, type: 'directory', metadata };
    if (type === fileTypes.fifo) return { ...this.#located, type: 'fifo', metadata };
    if (type === fileTypes.socket) return { ...this.#located, type: 'socket', metadata };
    throw pxarError(`entry with mode ${metadata.mode.toString(8)} has no content`);
  }

  #withBody(metadata: EntryMetadata, kind: ItemKind, length: number, content: Buffer): ArchiveEntry {
    const type = fileTypeOf(metadata.mode);
    if (kind === 'payload' && type === fileTypes.file) return { ...this.#located, type: 'file', metadata, size: length, payload: null };
    if (kind === 'payloadReference' && type === fileTypes.file) {
      return { ...this.#located, type: 'file', metadata, size: readU64(content, 8), payload: readU64(content, 0) };
    }
    if (kind === 'symlink' && type === fileTypes.symlink) return { ...this.#located, type: 'symlink', metadata, target: withoutNul(content) };
    if (kind === 'device' && (type === fileTypes.block || type === fileTypes.character)) {
      return { ...this.#located, type: 'device', metadata, major: readU64(content, 0), minor: readU64(content, 8) };
    }
    throw pxarError(`${kind} item in an entry with mode ${metadata.mode.toString(8)}`);
  }
}
