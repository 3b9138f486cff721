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

function sizeOf(chunks: readonly InjectedChunk[]): number {
  return chunks.reduce((sum, { size }) => sum + size, 0);
}

/**
 * Cuts a payload stream (spec formats 7.3, 7.4): by content, at suggested places where the chunk that ends there has a lawful size, and around
 * injected chunks. Positions count injected sizes. Chunks are views of the pushed bytes, as with `StreamChunker`.
 *
 * A suggestion for exactly the place that the stream has reached cuts there; the reference can do so only while the bytes before it are not yet scanned.
 */
export class PayloadChunker {
  readonly #scanner: BuzhashScanner;
  readonly #queue = new ByteQueue();
  /** Ascending positions, from `#nextSuggestion` on. */
  #suggestions: number[] = [];
  #nextSuggestion = 0;
  readonly #injections: Injection[] = [];
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
    return this.#base + this.#scanned;
  }

  /** A file's payload begins at `position`: a good place to cut. To be told in ascending order. */
  suggest(position: number): void {
    this.#suggestions.push(position);
  }

  /** The stream continues with these chunks at `boundary`, which must not lie behind `position`. Returns what is complete with it. */
  inject(injection: Injection): PayloadPiece[] {
    assert.ok(injection.boundary >= this.position, `injection at ${injection.boundary}, the stream is at ${this.position}`);
    this.#injections.push(injection);
    const pieces: PayloadPiece[] = [];
    this.#applyInjections(pieces);
    return pieces;
  }

  /** Takes the next bytes; what is complete with them. */
  push(bytes: Uint8Array): PayloadPiece[] {
    this.#queue.push(bytes);
    const pieces: PayloadPiece[] = [];
    for (let at = 0; at < bytes.byteLength; ) {
      this.#cutIfSuggestedHere(pieces);
      const [injection] = this.#injections;
      const to = injection === undefined ? bytes.byteLength : Math.min(bytes.byteLength, at + injection.boundary - this.position);
      const count = this.#scan(bytes, at, to);
      const consumed = count === 0 ? to - at : count;
      at += consumed;
      this.#scanned += consumed;
      if (count !== 0) this.#cut(pieces);
      this.#applyInjections(pieces);
    }
    return pieces;
  }

  /** What is left. An injection for a place that the stream never reached is an error of the caller. */
  finish(): PayloadPiece[] {
    assert.equal(this.#injections.length, 0, 'the stream ended before the place of an injection');
    const pieces: PayloadPiece[] = [];
    this.#cut(pieces);
    return pieces;
  }

  #cut(pieces: PayloadPiece[]): void {
    if (this.#scanned > 0) pieces.push({ kind: 'chunk', bytes: this.#queue.take(this.#scanned) });
    this.#base += this.#scanned;
    this.#scanned = 0;
    this.#scanner.reset();
  }

  #applyInjections(pieces: PayloadPiece[]): void {
    for (let injection = this.#injections[0]; injection?.boundary === this.position; injection = this.#injections[0]) {
      this.#injections.shift();
      this.#cut(pieces);
      pieces.push({ kind: 'injected', chunks: injection.chunks });
      this.#base += sizeOf(injection.chunks);
    }
  }

  #suggestion(): number | undefined {
    return this.#suggestions[this.#nextSuggestion];
  }

  #dropSuggestion(): void {
    this.#nextSuggestion += 1;
    if (this.#nextSuggestion < 1024) return;
    this.#suggestions = this.#suggestions.slice(this.#nextSuggestion);
    this.#nextSuggestion = 0;
  }

  #cutIfSuggestedHere(pieces: PayloadPiece[]): void {
    if (this.#scanned < this.#scanner.sizes.min || this.#scanned === 0) return;
    for (let next = this.#suggestion(); next !== undefined && next <= this.position; next = this.#suggestion()) {
      this.#dropSuggestion();
      if (next !== this.position) continue;
      this.#cut(pieces);
      return;
    }
  }

  /** Bytes of `bytes[from..to]` up to a boundary; 0 for none, then all were scanned (spec formats 7.3). */
  #scan(bytes: Uint8Array, from: number, to: number): number {
    const { min, max } = this.#scanner.sizes;
    const total = this.#scanned + to - from;
    for (let next = this.#suggestion(); next !== undefined; next = this.#suggestion()) {
      if (next > this.#base + total) break;
      const size = next - this.#base;
      if (size > max) break;
      this.#dropSuggestion();
      if (size < this.#scanned || size < min) continue;
      if (size === this.#scanned) break;
      return size - this.#scanned;
    }
    return this.#scanner.scan(bytes, from, to);
  }
}
