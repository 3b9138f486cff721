import { ByteQueue } from '../base/byte-queue.ts';
import { decodeName, NodeAssembly, type ArchiveEntry } from './archive-entry.ts';
import { decodeItemHeader, goodbyeRecordLength, itemHeaderLength, pxarError, readU64, type ItemHeader } from './item.ts';

/** What an archive says, in its order. */
export type ArchiveEvent =
  | { kind: 'prelude'; content: Buffer }
  /** Entries of a directory follow it, up to its `directory-end`; the content of a file with `payload: null` up to its `file-end`. */
  | { kind: 'entry'; entry: ArchiveEntry }
  | { kind: 'data'; bytes: Buffer }
  | { kind: 'file-end' }
  | { kind: 'directory-end' };

type State = 'start' | 'version-seen' | 'prelude-seen' | 'directory' | 'node' | 'content' | 'table' | 'end';

/**
 * Reads an archive of either version front to back (spec pxar 2): bytes in, events out. Bytes of `data` events are views of what was
 * pushed. Holds one item and a number per open directory. All methods throw FormatError `format.pxar` and nothing else.
 */
export class ArchiveDecoder {
  readonly #queue = new ByteQueue();
  #state: State = 'start';
  #header: ItemHeader | null = null;
  #node: NodeAssembly | null = null;
  /** Bytes of content or table that are still to come. */
  #left = 0;
  /** Open directories. */
  #depth = 0;
  /** Position in the archive of the next byte of the queue. */
  #position = 0;
  #events: ArchiveEvent[] = [];

  /** Takes the next bytes; what they complete. */
  push(bytes: Uint8Array): ArchiveEvent[] {
    this.#queue.push(bytes);
    while (this.#advance());
    const events = this.#events;
    this.#events = [];
    return events;
  }

  /**
   * Passes over the content or table that comes next; as many bytes are to be left out of the input (0: none). Their end is told by the next push, which may be
   * an empty one. For who can seek and needs no contents.
   */
  passOver(): number {
    if ((this.#state !== 'content' && this.#state !== 'table') || this.#queue.length > 0) return 0;
    const length = this.#left;
    this.#position += length;
    this.#left = 0;
    return length;
  }

  /** The input has ended: is the archive whole? */
  finish(): void {
    if (this.#state !== 'end') throw pxarError('unexpected end of the archive');
  }

  /** True when the archive is complete; anything behind its end is refused. */
  get isComplete(): boolean {
    return this.#state === 'end';
  }

  /** One step; false when more bytes are needed. */
  #advance(): boolean {
    if (this.#state === 'content' || this.#state === 'table') return this.#pass();
    if (this.#state === 'end') {
      if (this.#queue.length > 0) throw pxarError('bytes behind the end of the archive');
      return false;
    }
    if (this.#header === null) {
      if (this.#queue.length < itemHeaderLength) return false;
      this.#header = decodeItemHeader(this.#queue.take(itemHeaderLength), 0);
    }
    const { kind, length } = this.#header;
    if (kind === 'payload') return this.#item(Buffer.alloc(0));
    // A table may be large and nothing in it is needed: its end comes when all of it was passed.
    if (kind === 'goodbye') return this.#item(Buffer.alloc(0));
    if (this.#queue.length < length) return false;
    return this.#item(this.#queue.take(length));
  }

  /** Moves past the item whose header was read. Its content is `content`, or follows (PAYLOAD, GOODBYE). */
  #item(content: Buffer): true {
    const header = this.#header!;
    this.#header = null;
    if (this.#node !== null) {
      const progress = this.#node.take(header.kind, header.length, content);
      if (progress.done) this.#entry(progress.entry);
      if (!progress.done || progress.consumed) {
        this.#position += itemHeaderLength + (header.kind === 'payload' ? 0 : header.length);
        return true;
      }
    }
    this.#structure(header, content);
    this.#position += itemHeaderLength + content.length;
    return true;
  }

  #entry(entry: ArchiveEntry): void {
    this.#node = null;
    this.#events.push({ kind: 'entry', entry });
    this.#state = 'directory';
    if (entry.type === 'directory') this.#depth += 1;
    if (entry.type !== 'file' || entry.payload !== null) return;
    this.#state = 'content';
    this.#left = entry.size;
  }

  #structure({ kind, length }: ItemHeader, content: Buffer): void {
    if (this.#state === 'directory') {
      if (kind === 'filename') {
        this.#node = new NodeAssembly({ name: decodeName(content), position: this.#position }, false);
        this.#state = 'node';
        return;
      }
      if (kind !== 'goodbye' || length % goodbyeRecordLength !== 0) throw pxarError(`${kind} item of ${length} bytes in a directory`);
      this.#state = 'table';
      this.#left = length;
      return;
    }
    if (kind === 'formatVersion' && this.#state === 'start') {
      const version = readU64(content, 0);
      if (version !== 1 && version !== 2) throw pxarError(`format version ${version} is not known`);
      this.#state = version === 2 ? 'version-seen' : 'prelude-seen';
      return;
    }
    if (kind === 'prelude' && this.#state === 'version-seen') {
      this.#events.push({ kind: 'prelude', content });
      this.#state = 'prelude-seen';
      return;
    }
    this.#root(kind, length, content);
  }

  #root(kind: ItemHeader['kind'], length: number, content: Buffer): void {
    if (kind !== 'entry' && kind !== 'entryV1') throw pxarError(`${kind} item where the root begins`);
    this.#node = new NodeAssembly({ name: Buffer.alloc(0), position: 0 }, true);
    this.#node.take(kind, length, content);
    this.#state = 'node';
  }

  /** Content or table: as much as is there. */
  #pass(): boolean {
    while (this.#left > 0) {
      if (this.#queue.length === 0) return false;
      const bytes = this.#queue.takeSome(this.#left);
      this.#left -= bytes.length;
      this.#position += bytes.length;
      if (this.#state === 'content') this.#events.push({ kind: 'data', bytes });
    }
    if (this.#state === 'content') {
      this.#events.push({ kind: 'file-end' });
      this.#state = 'directory';
      return true;
    }
    this.#events.push({ kind: 'directory-end' });
    this.#depth -= 1;
    this.#state = this.#depth === 0 ? 'end' : 'directory';
    return true;
  }
}
