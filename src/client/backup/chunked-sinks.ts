import type { ByteSink, PayloadSink } from '../../archive/archive-sinks.ts';
import type { Injection, PayloadChunker, PayloadPiece } from '../../chunking/payload-chunker.ts';
import type { StreamChunker } from '../../chunking/stream-chunker.ts';
import type { IndexUploader, UploadSummary } from '../../protocol/index-uploader.ts';

/** An archive stream on its way into chunks and onto the server. */
export class ChunkedSink implements ByteSink {
  readonly #upload: IndexUploader;
  readonly #chunker: StreamChunker;
  readonly #onChunk: () => Promise<void> | void;

  /** `onChunk`: called after each chunk. */
  constructor(upload: IndexUploader, chunker: StreamChunker, onChunk: () => Promise<void> | void = () => {}) {
    this.#upload = upload;
    this.#chunker = chunker;
    this.#onChunk = onChunk;
  }

  async write(bytes: Buffer): Promise<void> {
    for (const chunk of this.#chunker.push(bytes)) {
      await this.#upload.add(chunk);
      await this.#onChunk();
    }
  }

  async finish(): Promise<UploadSummary> {
    const rest = this.#chunker.finish();
    if (rest !== null) await this.#upload.add(rest);
    return this.#upload.finish();
  }
}

/** A payload stream on its way into chunks, its own and reused ones. */
export class PayloadUploadSink implements PayloadSink {
  readonly #upload: IndexUploader;
  readonly #chunker: PayloadChunker;
  readonly #onChunk: () => void;

  constructor(upload: IndexUploader, chunker: PayloadChunker, onChunk: () => void) {
    this.#upload = upload;
    this.#chunker = chunker;
    this.#onChunk = onChunk;
  }

  async write(bytes: Buffer): Promise<void> {
    await this.#take(this.#chunker.push(bytes));
  }

  suggest(position: number): void {
    this.#chunker.suggest(position);
  }

  async inject(injection: Injection): Promise<void> {
    await this.#take(this.#chunker.inject(injection));
  }

  async finish(): Promise<UploadSummary> {
    await this.#take(this.#chunker.finish());
    return this.#upload.finish();
  }

  async #take(pieces: readonly PayloadPiece[]): Promise<void> {
    for (const piece of pieces) {
      if (piece.kind === 'chunk') await this.#upload.add(piece.bytes);
      else await this.#upload.inject(piece.chunks);
      this.#onChunk();
    }
  }
}
