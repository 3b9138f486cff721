import { asBuffer, bytesEqual } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { decodeName, NodeAssembly, type ArchiveEntry } from './archive-entry.ts';
import type { EntryMetadata } from './entry-metadata.ts';
import { decodeGoodbyeTail, GoodbyeTable, type DirectoryExtent, type TableChild } from './goodbye-table.ts';
import { decodeItemHeader, goodbyeRecordLength, itemHeaderLength, maxGoodbyeLength, pxarError, readU64, type ItemHeader } from './item.ts';
import { RandomPayload, type ReadAt } from './payload-source.ts';

/** Read at once where the length of what comes is not known: most entries are shorter. */
const readAhead = 512;
/** Contents are yielded in pieces of this size. */
const pieceLength = 1024 * 1024;
/** A chain of hard links is not lawful; one step reaches the file. */
type FileEntry = Extract<ArchiveEntry, { type: 'file' }>;

/** Reads items from a place on, a bit ahead of what is asked for. */
class ItemCursor {
  readonly #readAt: ReadAt;
  readonly #end: number;
  #bytes: Buffer = Buffer.alloc(0);
  #bytesAt: number;
  /** Of the next item. */
  position: number;

  constructor(readAt: ReadAt, position: number, end: number) {
    this.#readAt = readAt;
    this.#end = end;
    this.position = position;
    this.#bytesAt = position;
  }

  /** Header of the next item; `position` stays. */
  async peek(): Promise<ItemHeader> {
    return decodeItemHeader(await this.#at(this.position, itemHeaderLength), 0);
  }

  /** Content of the item whose header `peek` returned; moves behind it. */
  async content({ length }: ItemHeader): Promise<Buffer> {
    const content = await this.#at(this.position + itemHeaderLength, length);
    this.position += itemHeaderLength + length;
    return content;
  }

  async #at(position: number, length: number): Promise<Buffer> {
    if (position + length > this.#end) throw pxarError('unexpected end of the archive');
    const from = position - this.#bytesAt;
    if (from + length <= this.#bytes.length) return this.#bytes.subarray(from, from + length);
    this.#bytes = asBuffer(await this.#readAt(position, Math.min(Math.max(length, readAhead), this.#end - position)));
    this.#bytesAt = position;
    if (this.#bytes.length < length) throw pxarError('the archive is truncated');
    return this.#bytes.subarray(0, length);
  }
}

/** A directory of an archive: its entry, and its children by name. */
export class ArchiveDirectory {
  readonly entry: Extract<ArchiveEntry, { type: 'directory' }>;
  readonly #archive: ArchiveAccessor;
  /** Position behind it, which `ArchiveAccessor.directoryAt` finds it by. */
  readonly end: number;
  readonly #table: GoodbyeTable;
  readonly #goodbye: number;
  /** Behind the child that `payloadOfSame` found last; 0 before. */
  #expected = 0;

  constructor(archive: ArchiveAccessor, entry: Extract<ArchiveEntry, { type: 'directory' }>, table: GoodbyeTable, extent: { goodbye: number; end: number }) {
    const { goodbye, end } = extent;
    this.#archive = archive;
    this.entry = entry;
    this.end = end;
    this.#table = table;
    this.#goodbye = goodbye;
  }

  /** The child of that name; null when there is none. FormatError. */
  async lookup(name: Uint8Array): Promise<ArchiveChild | null> {
    for (const place of this.#table.find(name)) {
      const child = await this.#child(place);
      if (bytesEqual(child.entry.name, name)) return child;
    }
    return null;
  }

  /**
   * Where the payload of an unchanged file lies, told without waiting and without decoding: of the child `name` whose items are `items`, FILENAME and ENTRY item and the
   * header of a PAYLOAD_REF, with `size` behind. Fast where it is asked in the order of the archive. Null: it is not there, has changed, or takes `lookup` to be told.
   * FormatError.
   */
  payloadOfSame(name: Uint8Array, items: Buffer, size: number): number | null {
    // Behind one child begins the next one.
    const payload = this.#expected === 0 ? null : this.#payloadAt(this.#expected, items, size);
    if (payload !== null) return payload;
    const place = this.#table.first(name);
    return place === null ? null : this.#payloadAt(this.#table.child(place).position, items, size);
  }

  #payloadAt(position: number, items: Buffer, size: number): number | null {
    const end = position + items.length + 16;
    if (end > this.#goodbye) return null;
    const resident = this.#archive.residentAt(position);
    if (resident === null) return null;
    const { bytes, start } = resident;
    const at = position - start;
    const contentAt = at + items.length;
    if (contentAt + 16 > bytes.length || bytes.compare(items, 0, items.length, at, contentAt) !== 0) return null;
    if (readU64(bytes, contentAt + 8) !== size) return null;
    this.#expected = end;
    return readU64(bytes, contentAt);
  }

  /** The directory of that name; null when there is none. FormatError. */
  async subdirectory(name: Uint8Array): Promise<ArchiveDirectory | null> {
    const child = await this.lookup(name);
    return child?.entry.type === 'directory' ? this.#archive.open(child) : null;
  }

  /** All children in the order of the table, which is none; sort for people. FormatError. */
  async *children(): AsyncGenerator<ArchiveChild, void, undefined> {
    for (let place = 0; place < this.#table.count; place += 1) yield await this.#child(place);
  }

  /** Number of children. */
  get count(): number {
    return this.#table.count;
  }

  /** Places of the children in the order in which they lie in the archive, to be read one after another. FormatError. */
  placesInOrder(): Uint32Array {
    const positions = Float64Array.from({ length: this.count }, (_, place) => this.#table.child(place).position);
    return Uint32Array.from(positions.keys()).sort((a, b) => positions[a]! - positions[b]!);
  }

  /** All children, in the order in which they lie. FormatError, also for children that lie in one another: a walk over such could not end. */
  async *childrenInOrder(): AsyncGenerator<ArchiveChild, void, undefined> {
    let end = 0;
    for (const place of this.placesInOrder()) {
      const child = await this.#child(place);
      if (child.entry.position < end) throw pxarError('entries of a directory lie in one another');
      end = child.end;
      yield child;
    }
  }

  /** The child at a place of `placesInOrder`. FormatError. */
  async childAt(place: number): Promise<ArchiveChild> {
    return this.#child(place);
  }

  async #child(place: number): Promise<ArchiveChild> {
    const record = this.#table.child(place);
    return this.#archive.child(record, this.#goodbye);
  }
}

/** An entry, and how to go on from it. */
export interface ArchiveChild {
  entry: ArchiveEntry;
  /** Behind its last item, for directories behind the table. */
  end: number;
  /** Where the content of a file in a unified archive begins. */
  contentAt: number;
}

/** The content of one file at any place. */
export class ContentReader {
  readonly size: number;
  readonly #entry: FileEntry;
  readonly #contentAt: number;
  readonly #readAt: ReadAt;
  readonly #payload: RandomPayload | null;
  #isChecked = false;

  constructor(entry: FileEntry, contentAt: number, readAt: ReadAt, payload: RandomPayload | null) {
    this.size = entry.size;
    this.#entry = entry;
    this.#contentAt = contentAt;
    this.#readAt = readAt;
    this.#payload = payload;
  }

  /** Bytes from `offset`: fewer than `length` at the end of the file. FormatError, and what reading throws. */
  async read(offset: number, length: number): Promise<Buffer> {
    const wanted = Math.min(length, this.size - offset);
    if (wanted <= 0) return Buffer.alloc(0);
    const { payload } = this.#entry;
    if (payload !== null) {
      if (this.#payload === null) throw pxarError('the contents are in a payload archive that is not at hand');
      if (!this.#isChecked) await this.#payload.check(payload, this.size);
      this.#isChecked = true;
      return this.#payload.part(payload, offset, wanted);
    }
    const bytes = asBuffer(await this.#readAt(this.#contentAt + offset, wanted));
    if (bytes.length !== wanted) throw pxarError('the archive is truncated');
    return bytes;
  }
}

/** Bytes of an archive that are in memory. */
export interface ResidentBytes {
  /** Where they begin. */
  start: number;
  bytes: Buffer;
}

/**
 * Reads any place of an archive through its goodbye tables (spec pxar 4.4). Holds one directory's table at a time for each `ArchiveDirectory`. Everything
 * throws FormatError `format.pxar` for damaged archives, and what the read functions throw.
 */
export class ArchiveAccessor {
  readonly #readAt: ReadAt;
  readonly #length: number;
  readonly #payload: RandomPayload | null;
  /** Bytes that begin at or before a position and end behind it, if they can be had without waiting. */
  readonly residentAt: (position: number) => ResidentBytes | null;

  /**
   * `length`: bytes of the archive. `payload`: the payload archive of a split one; without it contents cannot be read. `residentAt`: bytes with that position
   * among them, if they can be had without waiting.
   */
  constructor(readAt: ReadAt, length: number, payload: { readAt: ReadAt; length: number } | null = null, residentAt: (position: number) => ResidentBytes | null = () => null) {
    this.#readAt = readAt;
    this.residentAt = residentAt;
    this.#length = length;
    this.#payload = payload === null ? null : new RandomPayload(payload.readAt, payload.length);
  }

  /** The root directory. */
  async root(): Promise<ArchiveDirectory> {
    return this.#directory(this.#length, null);
  }

  /** The root directory with `metadata` instead of its own, when that cannot be read. */
  async rootWithout(metadata: EntryMetadata): Promise<ArchiveDirectory> {
    const extent = await this.#extent(this.#length);
    const entry = { type: 'directory', name: Buffer.alloc(0), position: 0, metadata } as const;
    return new ArchiveDirectory(this, entry, await this.#table(extent), { goodbye: extent.goodbye, end: this.#length });
  }

  /** PRELUDE of a split archive; null without one. */
  async prelude(): Promise<Buffer | null> {
    const { prelude } = await this.#head();
    return prelude;
  }

  /** The directory that `child` is. */
  async open(child: ArchiveChild): Promise<ArchiveDirectory> {
    if (child.entry.type !== 'directory') throw pxarError('not a directory');
    return this.#directory(child.end, child.entry.name);
  }

  /**
   * What is at `path`: components joined by `/`, empty and `.` ones stand for where they are (spec pxar 4.4); the root itself is
   * its directory. Null when there is nothing. Links are not followed. FormatError `format.pxar-path` for `..`.
   */
  async lookup(path: Uint8Array): Promise<ArchiveChild | ArchiveDirectory | null> {
    let at: ArchiveDirectory = await this.root();
    let found: ArchiveChild | null = null;
    for (const text of asBuffer(path).toString('latin1').split('/')) {
      if (text === '' || text === '.') continue;
      if (text === '..') throw new FormatError('format.pxar-path', "'..' is not allowed in a path in an archive");
      if (found !== null) {
        if (found.entry.type !== 'directory') return null;
        at = await this.open(found);
      }
      found = await at.lookup(Buffer.from(text, 'latin1'));
      if (found === null) return null;
    }
    return found ?? at;
  }

  /** The file that a hard link is another name of. */
  async follow(link: ArchiveEntry): Promise<ArchiveChild> {
    if (link.type !== 'hardlink') throw pxarError('not a hard link');
    const target = await this.child({ position: link.target, size: 0 }, link.position);
    if (target.entry.type !== 'file') throw pxarError('hard link to something that is not a file');
    return target;
  }

  /** The directory that ends at `end`, an `end` that an `ArchiveDirectory` or a child of this archive had. */
  async directoryAt(end: number): Promise<ArchiveDirectory> {
    return this.#directory(end, end === this.#length ? null : Buffer.alloc(0));
  }

  /** What begins at `position`, the position of an entry of this archive, and is no directory. */
  async entryAt(position: number): Promise<ArchiveChild> {
    return this.child({ position, size: 0 }, this.#length);
  }

  /** Reads any part of a file's content. */
  contentReader(child: ArchiveChild): ContentReader {
    if (child.entry.type !== 'file') throw pxarError('not a file');
    return new ContentReader(child.entry, child.contentAt, this.#readAt, this.#payload);
  }

  /** Content of a file, in pieces. */
  content(child: ArchiveChild): AsyncIterable<Buffer> {
    const { entry } = child;
    if (entry.type !== 'file') throw pxarError('not a file');
    return entry.payload === null ? this.#inline(child.contentAt, entry) : this.#split(entry, entry.payload);
  }

  /** The entry of a record in a directory whose table is at `goodbye`. */
  async child({ position, size }: TableChild, goodbye: number): Promise<ArchiveChild> {
    // What comes behind the last child tells where that one ends: the table itself.
    const cursor = new ItemCursor(this.#readAt, position, this.#length);
    const header = await cursor.peek();
    if (header.kind !== 'filename') throw pxarError('directory entry has no name');
    const name = decodeName(await cursor.content(header));
    const { entry, after } = await this.#node(cursor, new NodeAssembly({ name, position }, false));
    const contentLength = entry.type === 'file' && entry.payload === null ? entry.size : 0;
    if (after + contentLength > goodbye) throw pxarError('directory entry is out of range');
    if (entry.type !== 'directory') return { entry, end: after + contentLength, contentAt: after };
    const end = position + size;
    if (end <= after || end > goodbye) throw pxarError('directory is out of range');
    return { entry, end, contentAt: after };
  }

  async *#inline(start: number, { size }: FileEntry): AsyncGenerator<Buffer, void, undefined> {
    for (let at = 0; at < size; at += pieceLength) {
      const length = Math.min(pieceLength, size - at);
      if (start + at + length > this.#length) throw pxarError('unexpected end of the archive');
      const bytes = await this.#readAt(start + at, length);
      if (bytes.byteLength !== length) throw pxarError('the archive is truncated');
      yield asBuffer(bytes);
    }
  }

  #split(entry: FileEntry, position: number): AsyncIterable<Buffer> {
    if (this.#payload === null) throw pxarError('the contents are in a payload archive that is not at hand');
    return this.#payload.content(position, entry.size);
  }

  async #node(cursor: ItemCursor, assembly: NodeAssembly): Promise<{ entry: ArchiveEntry; after: number }> {
    for (;;) {
      const header = await cursor.peek();
      const { position } = cursor;
      const isPassedOver = header.kind === 'payload' || header.kind === 'filename' || header.kind === 'goodbye';
      const content = isPassedOver ? Buffer.alloc(0) : await cursor.content(header);
      const progress = assembly.take(header.kind, header.length, content);
      if (!progress.done) continue;
      if (!progress.consumed) return { entry: progress.entry, after: position };
      return { entry: progress.entry, after: isPassedOver ? position + itemHeaderLength : cursor.position };
    }
  }

  async #directory(end: number, name: Buffer | null): Promise<ArchiveDirectory> {
    const extent = await this.#extent(end);
    const start = name === null ? (await this.#head()).root : extent.entry;
    if (name === null && extent.entry !== 0) throw pxarError('the root does not begin at the start of the archive');
    const cursor = new ItemCursor(this.#readAt, start, end);
    const located = { name: name ?? Buffer.alloc(0), position: extent.entry };
    const { entry } = await this.#node(cursor, new NodeAssembly(located, name === null));
    if (entry.type !== 'directory') throw pxarError('not a directory');
    return new ArchiveDirectory(this, entry, await this.#table(extent), { goodbye: extent.goodbye, end });
  }

  async #table({ goodbye, length }: DirectoryExtent): Promise<GoodbyeTable> {
    const table = asBuffer(await this.#readAt(goodbye, length));
    if (table.length !== length) throw pxarError('the archive is truncated');
    const header = decodeItemHeader(table, 0);
    if (header.kind !== 'goodbye' || header.length !== length - itemHeaderLength) throw pxarError('table of a directory is damaged');
    return new GoodbyeTable(table, goodbye);
  }

  async #extent(end: number): Promise<DirectoryExtent> {
    const at = end - goodbyeRecordLength;
    if (at < 0) throw pxarError('unexpected end of the archive');
    const record = asBuffer(await this.#readAt(at, goodbyeRecordLength));
    if (record.length !== goodbyeRecordLength) throw pxarError('the archive is truncated');
    const extent = decodeGoodbyeTail(record, end);
    if (extent.length > maxGoodbyeLength) throw pxarError(`directory with a table of ${extent.length} bytes`);
    return extent;
  }

  /** What stands before the root's ENTRY item, and where that is. */
  async #head(): Promise<{ root: number; prelude: Buffer | null }> {
    const cursor = new ItemCursor(this.#readAt, 0, this.#length);
    let header = await cursor.peek();
    if (header.kind !== 'formatVersion') return { root: 0, prelude: null };
    const version = readU64(await cursor.content(header), 0);
    if (version !== 1 && version !== 2) throw pxarError(`format version ${version} is not known`);
    header = await cursor.peek();
    if (header.kind !== 'prelude' || version !== 2) return { root: cursor.position, prelude: null };
    const prelude = Buffer.from(await cursor.content(header));
    return { root: cursor.position, prelude };
  }
}
