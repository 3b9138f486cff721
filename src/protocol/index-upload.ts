import { toHex, type Digest } from '../base/bytes.ts';
import { errorCode, HttpError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { IndexKind } from '../format/chunk-index.ts';
import type { IndexSink, UploadStatistics } from './backup-store.ts';

/** Chunk size of every fixed index (spec backup-protocol 4.2). */
export const fixedChunkSize = 4 * 1024 * 1024;

export interface IndexUploadOptions {
  /** Writer id. */
  wid: number;
  kind: IndexKind;
  fileName: string;
  uuid: Uint8Array;
  sink: IndexSink;
  /** Fixed, when the client told it: bytes of the image. */
  size?: number | undefined;
  /** Bytes of the archive whose digests it started with. */
  reusedSize?: number | undefined;
}

/** One chunk to append: its place and its plain size. */
export interface AppendedChunk {
  digest: Digest;
  offset: number;
  size: number;
}

/** What a client says when it closes an index. */
export interface AnnouncedIndex {
  chunkCount: number;
  size: number;
  csum: Digest;
}

/** An index writer as a client of a backup session sees it, with its rules and statistics (spec backup-protocol 4.3 to 4.5). All faults are HttpError 400. */
export class IndexUpload {
  readonly fileName: string;
  readonly kind: IndexKind;
  readonly uploads: UploadStatistics = { count: 0, size: 0, compressedSize: 0, duplicates: 0 };
  readonly #options: IndexUploadOptions;
  readonly #sink: IndexSink;
  #appended = 0;
  #smallChunks = 0;
  #closed = false;
  /** The chunk that ends the image was appended, not reused. */
  #endAppended = false;
  /** Fixed: where the image ends, as far as it is known, and whether it may still grow. */
  #size: number;
  #grows: boolean;

  constructor(options: IndexUploadOptions) {
    this.#options = options;
    this.kind = options.kind;
    this.fileName = options.fileName;
    this.#sink = options.sink;
    this.#size = options.size ?? 0;
    this.#grows = options.size === undefined;
  }

  /** Counts a chunk that was uploaded for this writer. */
  countUpload(size: number, stored: { duplicate: boolean; storedSize: number }): void {
    if (this.kind === 'fixed') {
      if (size > fixedChunkSize) throw new HttpError(400, `fixed writer '${this.fileName}' - got large chunk (${size} > ${fixedChunkSize}`);
      if (size < fixedChunkSize) {
        if (this.#smallChunks > 0) throw new HttpError(400, `fixed writer '${this.#options.wid}' - detected multiple end chunks (chunk size too small)`);
        this.#smallChunks += 1;
      }
    }
    this.uploads.count += 1;
    this.uploads.size += size;
    this.uploads.compressedSize += stored.storedSize;
    if (stored.duplicate) this.uploads.duplicates += 1;
  }

  /** Appends a chunk. It is accepted or refused at once; the promise is that of writing it. */
  append(chunk: AppendedChunk): Promise<void> {
    if (this.#closed) throw this.#failure('append chunk', 'already closed');
    if (this.kind === 'dynamic') {
      if (chunk.offset !== this.#sink.size) throw this.#failure('append chunk', `got strange chunk offset (${this.#sink.size} != ${chunk.offset})`);
    } else {
      this.#placeFixed(chunk);
    }
    this.#appended += 1;
    return this.#sink.addChunk(chunk.offset, chunk.size, chunk.digest);
  }

  #placeFixed({ offset, size }: AppendedChunk): void {
    const end = offset + size;
    if (end > this.#size && !this.#grows) throw new HttpError(400, `refusing to resize from ${this.#size} to ${end}`);
    const imageEnd = Math.max(this.#size, end);
    if (size !== fixedChunkSize && end !== imageEnd) throw new HttpError(400, `chunk with unexpected length (${size} != ${fixedChunkSize}`);
    if (offset % fixedChunkSize !== 0) throw new HttpError(400, `got unaligned chunk (pos = ${offset})`);
    this.#size = imageEnd;
    if (size !== fixedChunkSize) this.#grows = false;
    if (end === imageEnd) this.#endAppended = true;
  }

  /** Publishes the index when it is what the client says. Afterwards it is closed, whether that was so or not. */
  async close(announced: AnnouncedIndex): Promise<void> {
    if (this.#closed) throw this.#failure('close', 'already closed');
    if (this.kind === 'dynamic') this.#checkDynamic(announced);
    else this.#checkFixed(announced);
    this.#closed = true;
    try {
      await this.#sink.close(announced.csum);
    } catch (e) {
      if (errorCode(e) !== 'format.index-csum') throw e;
      throw this.#failure('close', 'got unexpected checksum');
    }
  }

  #checkDynamic({ chunkCount, size }: AnnouncedIndex): void {
    if (this.#appended !== chunkCount) throw this.#failure('close', `unexpected chunk count (${this.#appended} != ${chunkCount})`);
    if (this.#sink.size !== size) throw this.#failure('close', `unexpected file size (${this.#sink.size} != ${size})`);
  }

  #checkFixed({ chunkCount, size }: AnnouncedIndex): void {
    if (this.#appended !== chunkCount) throw this.#failure('close', `received wrong number of chunk (${this.#appended} != ${chunkCount})`);
    const { reusedSize } = this.#options;
    if (reusedSize !== undefined) {
      // The reference compares numbers of chunks only, and would store an index whose last chunk has another length than it says.
      if (reusedSize !== this.#size && !this.#endAppended) throw this.#failure('close', `the last chunk was reused from an image of another size (${reusedSize} != ${this.#size})`);
      return;
    }
    const count = Math.ceil(this.#size / fixedChunkSize);
    if (count !== chunkCount) throw this.#failure('close', `unexpected chunk count (${count} != ${chunkCount})`);
    if (this.#size !== size) throw this.#failure('close', `unexpected file size (${this.#size} != ${size})`);
    if (count === 0) throw new HttpError(400, 'fidx file must have at least one chunk');
  }

  #failure(step: string, why: string): HttpError {
    return new HttpError(400, `${this.kind} writer '${this.fileName}' ${step} failed - ${why}`);
  }

  /** What the task log says at close (spec backup-protocol 5). */
  logStatistics(log: ProgressLog, { size, csum }: AnnouncedIndex): void {
    const { uploads } = this;
    log.info(`Upload statistics for '${this.fileName}'`);
    log.info(`UUID: ${toHex(this.#options.uuid)}`);
    log.info(`Checksum: ${toHex(csum)}`);
    log.info(`Size: ${size}`);
    log.info(`Chunk count: ${this.#appended}`);
    if (size === 0 || this.#appended === 0) return;
    log.info(`Upload size: ${uploads.size} (${percent(uploads.size, size)}%)`);
    const fromClient = Math.max(0, this.#appended - uploads.count);
    if (fromClient + uploads.duplicates > 0) log.info(`Duplicates: ${fromClient}+${uploads.duplicates} (${percent(fromClient + uploads.duplicates, this.#appended)}%)`);
    if (uploads.size > 0) log.info(`Compression: ${percent(uploads.compressedSize, uploads.size)}%`);
  }

  async abort(): Promise<void> {
    await this.#sink.abort();
  }
}

function percent(part: number, whole: number): number {
  return Math.floor((part * 100) / whole);
}
