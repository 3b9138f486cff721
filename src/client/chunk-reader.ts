import type { ChunkIndex } from '../format/chunk-index.ts';
import type { ResidentBytes } from '../pxar/archive-accessor.ts';
import type { ChunkSource, Piece } from './chunk-source.ts';

/** Chunks that are kept besides those that are read ahead, unless told otherwise. */
const defaultChunksKept = 8;

export interface ChunkReaderOptions {
  /** Chunks that are fetched beyond the one that is read: for reading from start to end. Default 0. */
  ahead?: number;
  /** Fetch ahead only where the chunk before was read lately: for readers who jump as well. Default false. */
  aheadInSequence?: boolean;
  /** Chunks that are kept besides those that are fetched ahead. Default 8. */
  kept?: number;
  /** Told of the plain size of each chunk that is fetched. */
  onChunk?: (bytes: number) => void;
}

interface KeptChunk {
  piece: Promise<Piece>;
  /** Once it has arrived; null for zeros. */
  bytes: Buffer | null;
}

/** An archive of a snapshot that is read at any place. Bytes are checked before they are handed out. */
export class ChunkReader {
  readonly #source: ChunkSource;
  readonly #index: ChunkIndex;
  readonly #ahead: number;
  readonly #aheadInSequence: boolean;
  readonly #kept: number;
  readonly #onChunk: (bytes: number) => void;
  /** By number of the index entry, the one used last at the end. */
  readonly #chunks = new Map<number, KeptChunk>();
  /** What `residentAt` told last. */
  #resident: ResidentBytes | null = null;

  constructor(source: ChunkSource, index: ChunkIndex, options: ChunkReaderOptions = {}) {
    this.#source = source;
    this.#index = index;
    this.#ahead = options.ahead ?? 0;
    this.#aheadInSequence = options.aheadInSequence ?? false;
    this.#kept = options.kept ?? defaultChunksKept;
    this.#onChunk = options.onChunk ?? (() => {});
  }

  /** Bytes of the archive. */
  get length(): number {
    return this.#index.size;
  }

  /** Bytes from `offset`: fewer than `length` at the end of the archive. Not to be changed. Throws HttpError, NetworkError, FormatError. */
  readonly readAt = async (offset: number, length: number): Promise<Buffer> => {
    const end = Math.min(offset + length, this.length);
    const parts: Buffer[] = [];
    for (let at = offset; at < end; ) {
      const number = this.#index.find(at);
      const { start, end: chunkEnd } = this.#index.entry(number);
      const to = Math.min(end, chunkEnd);
      const { bytes } = await this.#chunk(number);
      parts.push(bytes === null ? Buffer.alloc(to - at) : bytes.subarray(at - start, to - start));
      at = to;
    }
    return parts.length === 1 ? parts[0]! : Buffer.concat(parts);
  };

  /** End of the chunk that holds the byte at `offset`, which is below `length`. */
  chunkEnd(offset: number): number {
    return this.#index.entry(this.#index.find(offset)).end;
  }

  /** The whole chunk that holds the byte at `offset`, when it has arrived; that is used then as if it were read. Null for zeros, too. */
  readonly residentAt = (offset: number): ResidentBytes | null => {
    const last = this.#resident;
    if (last !== null && offset >= last.start && offset < last.start + last.bytes.length) return last;
    if (offset >= this.length) return null;
    const number = this.#index.find(offset);
    const bytes = this.#chunks.get(number)?.bytes ?? null;
    if (bytes === null) return null;
    void this.#chunk(number);
    this.#resident = { start: this.#index.entry(number).start, bytes };
    return this.#resident;
  };

  #chunk(number: number): Promise<Piece> {
    const { piece } = this.#fetched(number);
    const ahead = this.#aheadInSequence && !this.#chunks.has(number - 1) ? 0 : this.#ahead;
    const last = Math.min(this.#index.count - 1, number + ahead);
    for (let next = number + 1; next <= last; next += 1) this.#fetched(next);
    for (const oldest of this.#chunks.keys()) {
      if (this.#chunks.size <= this.#ahead + this.#kept) break;
      this.#chunks.delete(oldest);
    }
    return piece;
  }

  #fetched(number: number): KeptChunk {
    const kept = this.#chunks.get(number);
    this.#chunks.delete(number);
    const chunk = kept ?? { piece: this.#source.piece(this.#index.entry(number)), bytes: null };
    this.#chunks.set(number, chunk);
    if (kept === undefined) {
      // An error is met when the chunk is wanted, and not at all when it never is; the next one who wants it asks again.
      chunk.piece.then(
        ({ length, bytes }) => {
          chunk.bytes = bytes;
          this.#onChunk(length);
        },
        () => {
          if (this.#chunks.get(number) === chunk) this.#chunks.delete(number);
        },
      );
    }
    return chunk;
  }
}
