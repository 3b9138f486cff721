import { setImmediate as nextTurn } from 'node:timers/promises';
import { throwIfAborted } from '../base/async.ts';
import type { ProgressLog } from '../base/log.ts';
import type { InjectedChunk } from '../chunking/payload-chunker.ts';
import type { ArchiveDirectory } from '../pxar/archive-accessor.ts';
import type { EntryPlacement } from './entry-placement.ts';
import type { EntryWriter } from './entry-writer.ts';
import { unchangedRange, unchangedRangeAtHand, type PayloadIndex, type PayloadRange } from './previous-archive.ts';
import { shownPath } from './shown-path.ts';
import { closeNode, longestReopenPath, type SourceNode } from './source-node.ts';

/** Chunks that are injected at a time. */
const injectionLimit = 128;
/** Files with paths that are too long to be opened by them are kept open; not more than so many. */
const mostDescriptors = 256;
/** Others have their turn after so many. */
const entriesPerTurn = 256;
/** Reuse must not bring more than this share of bytes that nothing refers to. */
const maxPaddingShare = 0.1;

type WaitingEntry =
  | { kind: 'file'; node: SourceNode; /** Of its payload in the range. */ offset: number }
  | { kind: 'leaf'; node: SourceNode }
  | { kind: 'open'; node: SourceNode }
  | { kind: 'close' };

/** A chunk of the previous payload archive. */
interface ReusedChunk extends InjectedChunk {
  /** Its end in the previous archive: with the digest it says which entry of the index it is. */
  end: number;
  /** Bytes of it that nothing refers to. */
  padding: number;
}

/** What reuse costs. */
export interface PaddingCounts {
  bytes: number;
  /** Chunks that hold some. */
  chunks: number;
}

function isSame(a: ReusedChunk, b: ReusedChunk): boolean {
  return a.end === b.end && Buffer.compare(a.digest, b.digest) === 0;
}

/**
 * Holds unchanged files back until it is known whether the chunks that hold them are worth to be used again as a whole, and with them whatever
 * comes in between (spec pxar 9.2 to 9.4).
 */
export class LookAhead implements EntryPlacement {
  readonly padding: PaddingCounts = { bytes: 0, chunks: 0 };
  readonly #writer: EntryWriter;
  readonly #index: PayloadIndex;
  readonly #limit: number;
  readonly #reopen: (node: SourceNode) => boolean;
  readonly #fresh: (node: SourceNode) => SourceNode | null;
  readonly #log: ProgressLog;
  readonly #signal: AbortSignal | undefined;
  #waiting: WaitingEntry[] = [];
  /** Descriptors that waiting files hold. */
  #descriptors = 0;
  #isHolding = false;
  /** Of the previous payload archive: what the waiting files refer to. */
  #range: PayloadRange = { start: 0, end: 0 };
  /** Last chunk of the previous flush: the next range may begin in it. */
  #held: ReusedChunk | null = null;
  /** Those that are being written. */
  #draining: WaitingEntry[] = [];
  readonly #seenInodes = new Set<string>();
  #lastOffset = 0;

  /** `limit`: entries that wait at a time. `reopen`: opens a file again that has waited; false when it is to be passed over. `fresh`: a file that was only looked at, as it is now and open; null likewise. */
  constructor(writer: EntryWriter, index: PayloadIndex, options: { limit: number; reopen: (node: SourceNode) => boolean; fresh: (node: SourceNode) => SourceNode | null; log: ProgressLog; signal?: AbortSignal | undefined }) {
    this.#writer = writer;
    this.#index = index;
    this.#limit = options.limit;
    this.#reopen = options.reopen;
    this.#fresh = options.fresh;
    this.#log = options.log;
    this.#signal = options.signal;
  }

  isKnown(inode: string | null): boolean {
    return inode !== null && this.#seenInodes.has(inode);
  }

  file(node: SourceNode, previous: ArchiveDirectory | null): Promise<void> | void {
    return this.#isFull() ? this.#flush(true).then(() => this.#file(node, previous)) : this.#file(node, previous);
  }

  leaf(node: SourceNode): Promise<void> | void {
    return this.#other({ kind: 'leaf', node });
  }

  openDirectory(node: SourceNode): Promise<void> | void {
    return this.#other({ kind: 'open', node });
  }

  closeDirectory(): Promise<void> | void {
    if (!this.#isHolding) return this.#writer.closeDirectory();
    this.#waiting.push({ kind: 'close' });
  }

  async finish(): Promise<void> {
    await this.#flush(false);
  }

  dispose(): void {
    for (const entry of [...this.#waiting, ...this.#draining]) if (entry.kind !== 'close') closeNode(entry.node);
  }

  #hold(entry: WaitingEntry): void {
    if (entry.kind === 'file' && entry.node.fd !== null) {
      if (entry.node.folder.length + 1 + entry.node.name.length > longestReopenPath) this.#descriptors += 1;
      else closeNode(entry.node);
    }
    this.#waiting.push(entry);
    this.#isHolding = true;
  }

  #isFull(): boolean {
    return this.#waiting.length >= this.#limit || this.#descriptors >= mostDescriptors;
  }

  async #other(entry: Exclude<WaitingEntry, { kind: 'file' | 'close' }>): Promise<void> {
    if (this.#isFull()) await this.#flush(true);
    if (this.#isHolding) {
      this.#hold(entry);
      return;
    }
    await this.#drain(null);
    await (entry.kind === 'leaf' ? this.#writer.leaf(entry.node) : this.#writer.openDirectory(entry.node));
  }

  #file(node: SourceNode, previous: ArchiveDirectory | null): Promise<void> | void {
    if (this.isKnown(node.inode)) {
      this.#hold({ kind: 'file', node, offset: 0 });
      return;
    }
    if (node.inode !== null) this.#seenInodes.add(node.inode);
    const range = unchangedRangeAtHand(node, previous, this.#index.size);
    return range === null ? this.#fileByLookup(node, previous) : this.#place(node, range);
  }

  async #fileByLookup(node: SourceNode, previous: ArchiveDirectory | null): Promise<void> {
    const range = await unchangedRange(node, previous, this.#index.size);
    await (range === null ? this.#encode(node) : this.#place(node, range));
  }

  async #encode(node: SourceNode): Promise<void> {
    await this.#flush(false);
    const found = node.fd === null ? this.#fresh(node) : node;
    if (found !== null) await this.#writer.file(found);
  }

  #place(node: SourceNode, range: PayloadRange): Promise<void> | void {
    if (range.start <= this.#lastOffset) {
      this.#log.warn(`unexpected order of payloads in the previous archive: ${shownPath(node.path)} is encoded again`);
      return this.#encode(node);
    }
    this.#lastOffset = range.start;
    if (this.#range.end === 0) this.#range = { start: range.start, end: range.start };
    if (this.#range.end !== range.start) return this.#placeApart(node, range);
    this.#range.end = range.end;
    this.#hold({ kind: 'file', node, offset: range.start - this.#range.start });
  }

  /** The bytes do not continue what waits: a new range begins. */
  async #placeApart(node: SourceNode, range: PayloadRange): Promise<void> {
    await this.#flush(true);
    this.#range = { ...range };
    this.#hold({ kind: 'file', node, offset: 0 });
  }

  /** Decides about the range (spec pxar 9.3). */
  async #flush(keepLast: boolean): Promise<void> {
    const { start, end } = this.#range;
    if (start === end) {
      await this.#drain(null);
      return;
    }
    const held = this.#held;
    const { chunks, startPadding, padding: rangePadding } = this.#chunksOf(start, end);
    const first = chunks[0]!;
    const continues = held !== null && isSame(held, first);
    // What of the held chunk is referred to already is no padding of this range.
    const padding = continues ? rangePadding - (held.size - held.padding) : rangePadding;
    if (padding / (end - start + rangePadding) > maxPaddingShare) {
      await this.#drain(null);
      return;
    }
    this.#held = null;
    if (continues) first.padding -= held.size - held.padding;
    else if (held !== null) await this.#inject([held]);
    await this.#drain(this.#writer.payloadPosition + startPadding);
    if (keepLast) this.#held = chunks.pop()!;
    await this.#inject(chunks);
  }

  /** Chunks that hold the bytes, and how many other bytes. One that begins right behind them is one of them. */
  #chunksOf(start: number, end: number): { chunks: ReusedChunk[]; startPadding: number; padding: number } {
    const chunks: ReusedChunk[] = [];
    const first = this.#index.find(start);
    let endPadding = 0;
    for (let i = first; i < this.#index.count; i += 1) {
      const entry = this.#index.entry(i);
      chunks.push({ digest: Buffer.from(entry.digest), size: entry.end - entry.start, end: entry.end, padding: 0 });
      if (entry.end <= end) continue;
      endPadding = entry.end - end;
      break;
    }
    const startPadding = start - this.#index.entry(first).start;
    chunks[0]!.padding += startPadding;
    chunks.at(-1)!.padding += endPadding;
    return { chunks, startPadding, padding: startPadding + endPadding };
  }

  /** Writes what waits; files with their payload from position `base` on, or encoded again when that is null. */
  async #drain(base: number | null): Promise<void> {
    if (this.#held !== null) {
      const held = this.#held;
      this.#held = null;
      await this.#inject([held]);
    }
    const waiting = this.#waiting;
    this.#waiting = [];
    this.#descriptors = 0;
    this.#draining = waiting;
    this.#isHolding = false;
    this.#range = { start: this.#range.end, end: this.#range.end };
    for (const [at, entry] of waiting.entries()) {
      if (at % entriesPerTurn === entriesPerTurn - 1) await nextTurn();
      throwIfAborted(this.#signal);
      const pending = this.#write(entry, base);
      if (pending !== undefined) await pending;
    }
    this.#draining = [];
  }

  #write(entry: WaitingEntry, base: number | null): Promise<void> | void {
    const writer = this.#writer;
    if (entry.kind === 'open') return writer.openDirectory(entry.node);
    if (entry.kind === 'close') return writer.closeDirectory();
    if (entry.kind === 'leaf') return writer.leaf(entry.node);
    if (base !== null) return writer.reusedFile(entry.node, base + entry.offset);
    if (entry.node.fd !== null || writer.hasInode(entry.node.inode) || this.#reopen(entry.node)) return writer.file(entry.node);
  }

  async #inject(chunks: readonly ReusedChunk[]): Promise<void> {
    for (const { padding } of chunks) {
      this.padding.bytes += padding;
      if (padding > 0) this.padding.chunks += 1;
    }
    for (let at = 0; at < chunks.length; at += injectionLimit) await this.#writer.inject(chunks.slice(at, at + injectionLimit));
  }
}
