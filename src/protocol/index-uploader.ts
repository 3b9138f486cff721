import assert from 'node:assert/strict';
import { createHash, webcrypto } from 'node:crypto';
import { Semaphore } from '../base/async.ts';
import { buffersPassed } from '../base/buffer-garbage.ts';
import type { Digest } from '../base/bytes.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { FarshoreError, toError } from '../base/errors.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import type { IndexKind } from '../format/chunk-index.ts';
import { encodeBlobAsync, maxChunkPlainSize } from '../format/data-blob.ts';
import type { BackupClient, IndexPlace, OpenIndex } from './backup-client.ts';

/** An append request waits for so many chunks (spec backup-protocol 8.2) ... */
const mergedAtLeast = 64;
/** ... and takes what is ready besides: half a megabyte of JSON is the limit, a chunk takes some 80 bytes. */
const mergedAtMost = 2000;
/** Chunks between the source and the append request. */
const placesAhead = 4096;
/** A chunk counts as this much at least, which bounds the requests under way. */
const leastCharge = 1024 * 1024;

const zeros = Buffer.alloc(maxChunkPlainSize);

export interface IndexUploadOptions {
  kind: IndexKind;
  archiveName: string;
  /** Of an image, when known. */
  size?: number | undefined;
  /** Chunks that the remote has registered for this session; grows. */
  known: DigestSet;
  /** Encrypts, and keys the digests. */
  crypt?: CryptConfig | undefined;
  /** Told of each chunk's bytes once they are not needed any more; not after a failure. */
  release?: ((bytes: Buffer) => void) | undefined;
}

/** What became of an archive's bytes. */
export interface UploadCounts {
  chunks: number;
  /** Plain bytes. */
  size: number;
  /** Chunks that were not sent because the remote has them. */
  reusedChunks: number;
  reusedSize: number;
  /** Those of them whose content was not even read. */
  injectedChunks: number;
  injectedSize: number;
  /** Plain bytes that the remote has acknowledged, and what they took on the line. */
  uploadedSize: number;
  encodedSize: number;
}

export interface UploadSummary extends UploadCounts {
  csum: Buffer;
}

interface Place extends IndexPlace {
  /** Null: the remote has the chunk. */
  sent: Promise<void> | null;
  isSent: boolean;
}

/**
 * One archive on its way to the remote (spec client-cli 4.4, backup-protocol 8.2): chunks are encoded and sent several at a time, and
 * appended to the index in order, each after the remote has it. Memory is bounded by the session's `uploads`.
 */
export class IndexUploader {
  readonly #client: BackupClient;
  readonly #index: OpenIndex;
  readonly #options: IndexUploadOptions;
  readonly #csum = createHash('sha256');
  readonly #slots = new Semaphore(placesAhead);
  readonly #counts: UploadCounts = { chunks: 0, size: 0, reusedChunks: 0, reusedSize: 0, injectedChunks: 0, injectedSize: 0, uploadedSize: 0, encodedSize: 0 };
  readonly #appending: Promise<void>;
  #queue: Place[] = [];
  #isComplete = false;
  #wake: () => void = () => {};
  #failure: Error | null = null;
  /** Digest of the last chunk that was all zeros: an empty disk has very many. */
  #zero: { length: number; digest: Buffer } | null = null;

  private constructor(client: BackupClient, index: OpenIndex, options: IndexUploadOptions) {
    this.#client = client;
    this.#index = index;
    this.#options = options;
    this.#appending = this.#append();
    this.#appending.catch(() => {});
  }

  static async open(client: BackupClient, options: IndexUploadOptions): Promise<IndexUploader> {
    return new IndexUploader(client, await client.createIndex(options.kind, options.archiveName, options.size), options);
  }

  get counts(): Readonly<UploadCounts> {
    return this.#counts;
  }

  /** Digest of a chunk for `add`, off the event loop and so on several processors: the hash takes longer than all the rest that is done for a chunk the remote has. */
  async digestOf(bytes: Buffer): Promise<Buffer> {
    const { crypt } = this.#options;
    if (bytes[0] === 0 || crypt !== undefined) return this.#digest(bytes);
    return Buffer.from(await webcrypto.subtle.digest('SHA-256', bytes as Buffer<ArrayBuffer>));
  }

  /**
   * The archive's next chunk, whose bytes must not be changed until `release` is told of them. Fulfilled when there is room for another one. Throws what made the upload fail.
   * `known`: what `digestOf` told of it.
   */
  async add(bytes: Buffer, known?: Buffer): Promise<void> {
    assert.ok(bytes.byteLength > 0 && bytes.byteLength <= maxChunkPlainSize);
    await this.#room();
    const digest = known ?? this.#digest(bytes);
    if (!this.#options.known.add(digest)) {
      this.#reuse(digest, bytes.byteLength);
      this.#options.release?.(bytes);
      return;
    }
    const { promise: started, resolve } = Promise.withResolvers<void>();
    const sent = this.#client.uploads.run(Math.max(leastCharge, bytes.byteLength), async () => {
      resolve();
      await this.#send(digest, bytes);
    });
    this.#place(digest, bytes.byteLength, sent);
    await started;
  }

  /** Chunks that the remote has registered, without their bytes. */
  async inject(chunks: ReadonlyArray<{ digest: Digest; size: number }>): Promise<void> {
    for (const { digest, size } of chunks) {
      await this.#room();
      this.#counts.injectedChunks += 1;
      this.#counts.injectedSize += size;
      this.#reuse(digest, size);
    }
  }

  /** Waits until the remote has everything, and closes the index. */
  async finish(): Promise<UploadSummary> {
    this.#isComplete = true;
    this.#wake();
    await this.#appending;
    const csum = this.#csum.digest();
    const { chunks, size } = this.#counts;
    await this.#client.closeIndex(this.#index, { chunkCount: chunks, size, csum });
    return { ...this.#counts, csum };
  }

  async #room(): Promise<void> {
    await this.#slots.acquire();
    if (this.#failure !== null) throw this.#failure;
  }

  #digest(bytes: Buffer): Buffer {
    const { crypt } = this.#options;
    const { byteLength: length } = bytes;
    const isZero = bytes[0] === 0 && bytes.equals(zeros.subarray(0, length));
    if (isZero && this.#zero?.length === length) return this.#zero.digest;
    const digest = crypt === undefined ? createHash('sha256').update(bytes).digest() : crypt.digest(bytes);
    if (isZero) this.#zero = { length, digest };
    return digest;
  }

  #reuse(digest: Digest, size: number): void {
    this.#counts.reusedChunks += 1;
    this.#counts.reusedSize += size;
    this.#place(digest, size, null);
  }

  async #send(digest: Buffer, bytes: Buffer): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    const size = bytes.byteLength;
    const encoded = await encodeBlobAsync(bytes, { compress: true, crypt: this.#options.crypt });
    // A blob is a copy, also where it is not compressed.
    this.#options.release?.(bytes);
    await this.#client.putChunk(this.#index, { digest, size, encoded });
    this.#counts.uploadedSize += size;
    this.#counts.encodedSize += encoded.byteLength;
    buffersPassed(size);
  }

  #place(digest: Digest, size: number, sent: Promise<void> | null): void {
    const start = this.#counts.size;
    this.#counts.size += size;
    this.#counts.chunks += 1;
    if (this.#options.kind === 'dynamic') {
      const end = Buffer.alloc(8);
      end.writeBigUInt64LE(BigInt(this.#counts.size));
      this.#csum.update(end);
    }
    this.#csum.update(digest);
    const place: Place = { digest, start, sent, isSent: sent === null };
    sent?.then(
      () => (place.isSent = true),
      () => {},
    );
    this.#queue.push(place);
    this.#wake();
  }

  async #append(): Promise<void> {
    try {
      let batch: Place[] = [];
      for (let place = await this.#next(); place !== null; place = await this.#next()) {
        if (place.sent !== null) await place.sent;
        batch.push(place);
        const more = batch.length < mergedAtMost && this.#queue[0]?.isSent === true;
        if (batch.length < mergedAtLeast || more) continue;
        await this.#flush(batch);
        batch = [];
      }
      if (batch.length > 0) await this.#flush(batch);
    } catch (e) {
      // Whoever waits for room, or comes for it, hears of it.
      this.#failure = e instanceof FarshoreError ? e : toError(e);
      for (let left = placesAhead; left > 0; left -= 1) this.#slots.release();
      throw this.#failure;
    }
  }

  async #flush(batch: readonly Place[]): Promise<void> {
    await this.#client.appendChunks(this.#index, batch);
    for (let left = batch.length; left > 0; left -= 1) this.#slots.release();
  }

  /** The next place in order; null at the end. */
  async #next(): Promise<Place | null> {
    while (this.#queue.length === 0) {
      if (this.#isComplete) return null;
      await new Promise<void>((resolve) => (this.#wake = resolve));
    }
    return this.#queue.shift()!;
  }
}
