import { Semaphore } from '../base/async.ts';
import { ByteBudget } from '../base/byte-budget.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import { errorCode, HttpError } from '../base/errors.ts';
import { blobKind, checkBlobCrc, decodeBlobAsync, isEncryptedKind, maxChunkPlainSize, withFreshCrc, type BlobKind } from '../format/data-blob.ts';
import { readAnnouncedBody, type SessionExchange } from './h2-session-server.ts';

/**
 * Bytes of uploaded bodies that one session reads at a time. The rest waits in its streams, whose windows bound it. A client has up to 64 chunks under
 * way, more when it is hostile; without this their sum would be this process's memory.
 */
const bodyBudget = 64 * 1024 * 1024;
/** Chunks of one session that are decoded at a time: up to 16 MiB each, out of a few bytes when somebody means harm. zlib has four threads. */
const decodersPerSession = 4;

/** Kind of an uploaded blob. HttpError 400 in the reference's words. */
function parseUpload(raw: Uint8Array): BlobKind {
  try {
    return blobKind(raw);
  } catch (e) {
    if (errorCode(e) === 'format.blob-magic') throw new HttpError(400, 'unable to parse raw blob - wrong magic');
    if (errorCode(e) === 'format.blob-short') throw new HttpError(400, `${raw.byteLength < 12 ? '' : 'encrypted '}blob too small (${raw.byteLength} bytes).`);
    throw e;
  }
}

/** HttpError 400 unless it is a whole data blob: magic, length and CRC (spec backup-protocol 4.1). It is not decoded. */
export function checkUploadedBlob(raw: Uint8Array): void {
  parseUpload(raw);
  try {
    checkBlobCrc(raw);
  } catch (e) {
    throw new HttpError(400, 'Data blob has wrong CRC checksum.', { cause: e });
  }
}

/** What the body of an upload announced. */
export interface AnnouncedChunk {
  digest: Digest;
  /** Plain bytes. */
  size: number;
  encodedSize: number;
}

/** Takes the bodies of one session in, with bounded memory. */
export class UploadIntake {
  readonly #bodies = new ByteBudget(bodyBudget);
  readonly #decoders = new Semaphore(decodersPerSession);

  /** Reads a blob of the announced length and gives it to `store`, checked (spec backup-protocol 4.1). */
  async blob(exchange: SessionExchange, encodedSize: number, store: (raw: Buffer) => Promise<void>): Promise<void> {
    await this.#body(exchange, encodedSize, (received) => `got blob with unexpected length (${encodedSize} != ${received})`, async (raw) => {
      checkUploadedBlob(raw);
      await store(raw);
    });
  }

  /** Reads a chunk and gives it to `store`, checked as far as that is possible and with the right CRC (spec backup-protocol 4.3, steps 1 to 4). */
  async chunk<T>(exchange: SessionExchange, announced: AnnouncedChunk, store: (blob: Uint8Array) => Promise<T>): Promise<T> {
    const fault = (received: number): string => (received < announced.encodedSize ? 'uploaded chunk has unexpected size.' : 'uploaded chunk is larger than announced.');
    return this.#body(exchange, announced.encodedSize, fault, async (raw) => store(await this.#decoders.run(() => checkedChunk(raw, announced))));
  }

  async #body<T>(exchange: SessionExchange, encodedSize: number, fault: (received: number) => string, work: (raw: Buffer) => Promise<T>): Promise<T> {
    return this.#bodies.run(encodedSize, async () => {
      // A stream that was reset while it waited has nothing to read.
      exchange.signal.throwIfAborted();
      return work(await readAnnouncedBody(exchange.body, encodedSize, fault));
    });
  }
}

/**
 * The blob to store. Plain kinds: digest and length are checked; encrypted kinds: nothing can be, the digest is keyed (spec backup-protocol 4.3).
 * A wrong CRC is mended: it says nothing that the digest does not say.
 */
async function checkedChunk(raw: Buffer, { digest, size }: AnnouncedChunk): Promise<Uint8Array> {
  if (isEncryptedKind(parseUpload(raw))) return hasRightCrc(raw) ? raw : withFreshCrc(raw);
  try {
    return await checkedPlainChunk(raw, digest, size);
  } catch (e) {
    if (errorCode(e) !== 'format.blob-crc') throw e;
    return checkedPlainChunk(withFreshCrc(raw), digest, size);
  }
}

function hasRightCrc(raw: Uint8Array): boolean {
  try {
    checkBlobCrc(raw);
    return true;
  } catch (e) {
    if (errorCode(e) === 'format.blob-crc') return false;
    throw e;
  }
}

async function checkedPlainChunk(blob: Buffer, digest: Digest, size: number): Promise<Buffer> {
  let data: Buffer;
  try {
    data = await decodeBlobAsync(blob, { maxSize: maxChunkPlainSize, digest });
  } catch (e) {
    if (errorCode(e) === 'format.digest') throw new HttpError(400, 'detected chunk with wrong digest.', { cause: e });
    if (errorCode(e) === 'format.too-large') throw new HttpError(400, `chunk ${toHex(digest)} holds more than ${maxChunkPlainSize} bytes`, { cause: e });
    throw e;
  }
  if (data.byteLength !== size) throw new HttpError(400, `detected chunk with wrong length (${size} != ${data.byteLength})`);
  return blob;
}
