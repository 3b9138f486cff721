import { buffersPassed } from '../base/buffer-garbage.ts';
import { toHex } from '../base/bytes.ts';
import { FormatError, toError } from '../base/errors.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import type { ChunkIndex, IndexEntry } from '../format/chunk-index.ts';
import { blobKind, decodeBlobAsync, isEncryptedKind, maxChunkEncodedSize, maxChunkPlainSize } from '../format/data-blob.ts';
import type { CryptMode } from '../format/manifest.ts';
import type { ReaderClient } from '../protocol/reader-client.ts';

/** Fetches and decodes of chunks at the same time, and so the bound of memory: twice as many chunks, encoded and decoded. */
const chunksAhead = 8;

/** What is said about a chunk that cannot be what its index names. */
function damaged(digest: string, cause: unknown): FormatError {
  return new FormatError('format.chunk', `chunk ${digest} is not what the index names`, { cause, hint: 'verify the snapshot on the server: proxmox-backup-manager verify <datastore>' });
}

const zeros = Buffer.alloc(maxChunkPlainSize);

export interface ChunkSourceParts {
  reader: Pick<ReaderClient, 'chunk'>;
  crypt: CryptConfig | undefined;
  /** Of the archive, by the manifest. */
  cryptMode: CryptMode;
}

/** A piece of an archive: its bytes, or null for zeros. */
export interface Piece {
  length: number;
  bytes: Buffer | null;
}

/** The chunks of one archive from a reader session. Nothing leaves here whose digest and tag were not checked. */
export class ChunkSource {
  readonly #parts: ChunkSourceParts;
  /** Chunks of zeros by digest: an image may hold very many of one and none is fetched twice. */
  readonly #zeros = new Map<string, Piece>();
  /** Chunks that were asked for last, so that a digest that comes again soon is fetched once. */
  readonly #recent = new Map<string, Promise<Piece>>();

  constructor(parts: ChunkSourceParts) {
    this.#parts = parts;
  }

  /** The pieces of `index` in order; several chunks are on their way while the caller works on one. Throws HttpError, NetworkError, FormatError. */
  async *pieces(index: ChunkIndex, onLost: (entry: { start: number; end: number }, e: unknown) => boolean = () => false): AsyncGenerator<Piece, void, undefined> {
    const ahead: Array<Promise<Piece>> = [];
    for (const { digest, start, end } of index.entries()) {
      const piece = this.piece({ digest, start, end }).catch((e: unknown) => (onLost({ start, end }, e) ? { length: end - start, bytes: null } : Promise.reject(toError(e))));
      // An error is met when its turn comes, or not at all after an earlier one.
      piece.catch(() => {});
      ahead.push(piece);
      if (ahead.length >= chunksAhead) yield await ahead.shift()!;
    }
    while (ahead.length > 0) yield await ahead.shift()!;
  }

  /** The chunk of one entry. Throws HttpError, NetworkError, FormatError. */
  async piece({ digest, start, end }: IndexEntry): Promise<Piece> {
    const length = end - start;
    const hex = toHex(digest);
    const { bytes, length: actual } = this.#zeros.get(hex) ?? (await this.#shared(Buffer.from(digest), hex, length));
    if (actual !== length) throw damaged(hex, new FormatError('format.chunk-size', `chunk holds ${actual} bytes instead of ${length}`));
    return { length, bytes };
  }

  async #shared(digest: Buffer, hex: string, length: number): Promise<Piece> {
    const known = this.#recent.get(hex);
    if (known !== undefined) return known;
    const fetched = this.#fetch(digest, hex, length);
    this.#recent.set(hex, fetched);
    // What could not be had is asked for again by the next one who wants it.
    fetched.catch(() => {
      if (this.#recent.get(hex) === fetched) this.#recent.delete(hex);
    });
    if (this.#recent.size > chunksAhead) this.#recent.delete(this.#recent.keys().next().value!);
    return fetched;
  }

  async #fetch(digest: Buffer, hex: string, expected: number): Promise<Piece> {
    const { reader, crypt, cryptMode } = this.#parts;
    const raw = await reader.chunk(digest, { maxBytes: maxChunkEncodedSize });
    let bytes: Buffer;
    try {
      if (isEncryptedKind(blobKind(raw)) !== (cryptMode === 'encrypt')) throw new FormatError('format.crypt-mode', "Index and chunk CryptMode don't match.");
      bytes = await decodeBlobAsync(raw, { crypt, digest, maxSize: Math.min(expected, maxChunkPlainSize) });
    } catch (e) {
      throw e instanceof FormatError && e.code !== 'format.key-missing' ? damaged(hex, e) : e;
    }
    const length = bytes.byteLength;
    buffersPassed(length);
    if (!bytes.equals(zeros.subarray(0, length))) return { length, bytes };
    const piece = { length, bytes: null };
    this.#zeros.set(hex, piece);
    return piece;
  }
}
