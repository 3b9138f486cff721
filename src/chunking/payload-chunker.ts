import assert from 'node:assert/strict';
import { ByteQueue } from '../base/byte-queue.ts';
import type { Digest } from '../base/bytes.ts';
import { BuzhashScanner } from './buzhash-scanner.ts';
import { archiveChunkSize } from './stream-chunker.ts';

/** A chunk of the previous payload stream that is used again as a whole. */
export interface InjectedChunk {
  digest: Digest;
  /** Bytes. */
  size: number;
}

/** Chunks of a previous archive that take their place in the stream at `boundary`, without their bytes (spec pxar 9.4). */
export interface Injection {
  /** Position in the stream, sizes of earlier injections counted. */
  boundary: number;
  chunks: readonly InjectedChunk[];
}

/** What becomes of a payload stream, in the order of its index. */
export type PayloadPiece = { kind: 'chunk'; bytes: Buffer } | { kind: 'injected'; chunks: readonly InjectedChunk[] };

/**
 * Bytes that are looked at together. A suggestion among them wins over a boundary by content before it, so that cuts depend on this number. The
 * reference's depend on its timing as well; with this one nearly all of them are the same.
 */
const lookAhead = 4 * 1024 * 1024;

/**
 * Cuts a payload stream (spec formats 7.3, 7.4): by content, at suggested places where the chunk that ends there has a lawful size, and around
 * injected chunks. Positions count injected sizes. Where chunks end does not depend on how the stream is pushed, if suggestions come before the bytes
 * that they are about.
 */
export class PayloadChunker {
  readonly #scanner: BuzhashScanner;
  /** Bytes that are not looked at yet. */
  readonly #arrived = new ByteQueue();
  /** Bytes of the current chunk. */
  readonly #queue = new ByteQueue();
  /** Ascending positions, from `#nextSuggestion` on. */
  #suggestions: number[] = [];
  #nextSuggestion = 0;
  /** Position where the current chunk starts. */
  #base = 0;
  /** Bytes of the current chunk that were scanned. */
  #scanned = 0;

  /** `average`: bytes, a power of two. */
  constructor(average: number = archiveChunkSize) {
    this.#scanner = new BuzhashScanner(average);
  }

  /** Position in the stream that the pushes have reached. */
  get position(): number {
    return this.#base + this.#scanned + this.#arrived.length;
  }

  /** A file's payload begins at `position`: a good place to cut. To be told in ascending order. */
  suggest(position: number): void {
    this.#suggestions.push(position);
  }

  /** The stream continues with these chunks; the boundary is where the pushes have come to. Returns what is complete with it. */
  inject({ boundary, chunks }: Injection): PayloadPiece[] {
    assert.equal(boundary, this.position, 'injection for another place than where the stream is');
    const pieces: PayloadPiece[] = [];
    this.#scanArrived(this.#arrived.length, pieces);
    this.#cut(pieces);
    pieces.push({ kind: 'injected', chunks });
    this.#base += chunks.reduce((sum, { size }) => sum + size, 0);
    return pieces;
  }

  /** Takes the next bytes, which must not be changed afterwards; what is complete with them. */
  push(bytes: Uint8Array): PayloadPiece[] {
    this.#arrived.push(bytes);
    const pieces: PayloadPiece[] = [];
    while (this.#arrived.length >= lookAhead) this.#scanArrived(lookAhead, pieces);
    return pieces;
  }

  /** What is left. */
  finish(): PayloadPiece[] {
    const pieces: PayloadPiece[] = [];
    this.#scanArrived(this.#arrived.length, pieces);
    this.#cut(pieces);
    return pieces;
  }

  /** Looks at the next `count` bytes that arrived. */
  #scanArrived(count: number, pieces: PayloadPiece[]): void {
    const bytes = this.#arrived.take(count);
    this.#queue.push(bytes);
    for (let at = 0; at < bytes.byteLength; ) {
      const found = this.#scan(bytes, at);
      const consumed = found === 0 ? bytes.byteLength - at : found;
      at += consumed;
      this.#scanned += consumed;
      if (found !== 0) this.#cut(pieces);
    }
  }

  #cut(pieces: PayloadPiece[]): void {
    if (this.#scanned > 0) pieces.push({ kind: 'chunk', bytes: this.#queue.take(this.#scanned) });
    this.#base += this.#scanned;
    this.#scanned = 0;
    this.#scanner.reset();
  }

  #suggestion(): number | undefined {
    return this.#suggestions[this.#nextSuggestion];
  }

  #dropSuggestion(): void {
    this.#nextSuggestion += 1;
    if (this.#nextSuggestion < 1024 || this.#nextSuggestion * 2 < this.#suggestions.length) return;
    this.#suggestions = this.#suggestions.slice(this.#nextSuggestion);
    this.#nextSuggestion = 0;
  }

  /** Bytes from `from` on up to a boundary; 0 for none, then all were scanned (spec formats 7.3). */
  #scan(bytes: Uint8Array, from: number): number {
    const { min, max } = this.#scanner.sizes;
    const total = this.#scanned + bytes.byteLength - from;
    for (let next = this.#suggestion(); next !== undefined; next = this.#suggestion()) {
      if (next > this.#base + total) break;
      const size = next - this.#base;
      if (size > max) break;
      this.#dropSuggestion();
      if (size < this.#scanned || size < min) continue;
      if (size === this.#scanned) break;
      return size - this.#scanned;
    }
    return this.#scanner.scan(bytes, from);
  }
}
