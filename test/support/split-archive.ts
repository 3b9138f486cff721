import { createHash } from 'node:crypto';
import type { ArchiveSinks, PayloadSink } from '../../src/archive/archive-sinks.ts';
import { createArchive, type ArchiveRequest, type ArchiveSummary } from '../../src/archive/create-archive.ts';
import type { PayloadIndex, PreviousArchive } from '../../src/archive/previous-archive.ts';
import { silentLog } from '../../src/base/log.ts';
import { PayloadChunker, type PayloadPiece } from '../../src/chunking/payload-chunker.ts';
import { ArchiveAccessor, type ResidentBytes } from '../../src/pxar/archive-accessor.ts';
import { readerOf } from './archive-events.ts';

const residentPiece = 2000;

/** Chunks by hex digest, shared by several archives. */
export type ChunkStore = Map<string, Buffer>;

interface StoredEntry {
  digest: Buffer;
  start: number;
  end: number;
}

/** A split archive in memory, its payload in chunks as a datastore would have it. */
export class SplitArchive implements PayloadSink, PayloadIndex {
  archive: Buffer = Buffer.alloc(0);
  readonly entries: StoredEntry[] = [];
  /** Chunks that were uploaded, in contrast to reused ones. */
  uploaded = 0;
  readonly #store: ChunkStore;
  readonly #chunker: PayloadChunker;
  readonly #parts: Buffer[] = [];

  constructor(store: ChunkStore, averageChunk: number) {
    this.#store = store;
    this.#chunker = new PayloadChunker(averageChunk);
  }

  get sinks(): ArchiveSinks {
    return { archive: { write: (bytes) => void this.#parts.push(bytes) }, payload: this };
  }

  get count(): number {
    return this.entries.length;
  }

  get size(): number {
    return this.entries.at(-1)?.end ?? 0;
  }

  /** The whole payload archive, from its chunks. */
  get payload(): Buffer {
    return Buffer.concat(this.entries.map(({ digest }) => this.#store.get(digest.toString('hex'))!));
  }

  /** For the next archive. Of three pieces of the metadata two are in memory, as a client has the chunks that it read last. */
  get previous(): PreviousArchive {
    const residentAt = (position: number): ResidentBytes | null => {
      const piece = Math.floor(position / residentPiece);
      const start = piece * residentPiece;
      return piece % 3 === 1 ? null : { start, bytes: this.archive.subarray(start, start + residentPiece) };
    };
    return { accessor: new ArchiveAccessor(readerOf(this.archive), this.archive.length, null, residentAt), payloadIndex: this };
  }

  /** The same, but every look at it is waited for. */
  get distantPrevious(): PreviousArchive {
    return { accessor: new ArchiveAccessor(readerOf(this.archive), this.archive.length), payloadIndex: this };
  }

  entry(i: number): StoredEntry {
    return this.entries[i]!;
  }

  find(offset: number): number {
    return this.entries.findIndex(({ end }) => end > offset);
  }

  write(bytes: Buffer): void {
    this.#take(this.#chunker.push(bytes));
  }

  suggest(position: number): void {
    if (position !== this.#chunker.position) throw new Error(`suggestion for ${position}, the stream is at ${this.#chunker.position}`);
    this.#chunker.suggest(position);
  }

  inject(injection: Parameters<PayloadSink['inject']>[0]): void {
    this.#take(this.#chunker.inject(injection));
  }

  finish(): void {
    this.#take(this.#chunker.finish());
    this.archive = Buffer.concat(this.#parts);
  }

  #take(pieces: readonly PayloadPiece[]): void {
    for (const piece of pieces) {
      if (piece.kind === 'injected') {
        for (const { digest, size } of piece.chunks) this.#append(Buffer.from(digest), size);
        continue;
      }
      const digest = createHash('sha256').update(piece.bytes).digest();
      this.#store.set(digest.toString('hex'), Buffer.from(piece.bytes));
      this.uploaded += 1;
      this.#append(digest, piece.bytes.length);
    }
  }

  #append(digest: Buffer, size: number): void {
    this.entries.push({ digest, start: this.size, end: this.size + size });
  }
}

/** Archives `source` as a split archive whose chunks go to `store`. */
export async function createSplitArchive(source: string, store: ChunkStore, options: Partial<ArchiveRequest> & { averageChunk?: number } = {}): Promise<{ split: SplitArchive; summary: ArchiveSummary }> {
  const { averageChunk = 64 * 1024, ...request } = options;
  const split = new SplitArchive(store, averageChunk);
  const summary = await createArchive({ log: silentLog, ...request, source, sinks: split.sinks });
  split.finish();
  return { split, summary };
}

/** Archives `source` as a unified archive. */
export async function createUnifiedArchive(source: string, options: Partial<ArchiveRequest> = {}): Promise<Buffer> {
  const parts: Buffer[] = [];
  await createArchive({ log: silentLog, ...options, source, sinks: { archive: { write: (bytes) => void parts.push(bytes) } } });
  return Buffer.concat(parts);
}

/** The bytes as they would come from a datastore. */
export async function* inPieces(bytes: Buffer, length = 70_001): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}
