import { createHash } from 'node:crypto';
import type { Digest } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import { decodeBlobAsync, encodeBlobAsync, requireKind } from '../format/data-blob.ts';
import { recoderLength } from './possession-journal.ts';

/** Changes chunks and blobs between source and target: decrypts what is pulled, or encrypts what is pushed (spec sync 4.6, 6.5). */
export interface Recoder {
  /** 16 bytes that name the way of changing: what the journal remembers of a chunk holds only for it. */
  readonly id: Buffer;
  /** Chunks of the source must be of an encrypted kind (true) or of a plain kind (false). */
  readonly sourceEncrypted: boolean;
  /**
   * What the target stores for a chunk of the source that is `digest` and holds `size` plain bytes. Both are checked. The digest follows from the
   * content and the key alone. FormatError.
   */
  chunk(blob: Uint8Array, digest: Digest, size: number): Promise<{ digest: Digest; blob: Buffer }>;
  /** What the target stores for a blob file, whose bytes have been checked against the manifest. */
  blob(blob: Uint8Array): Promise<Buffer>;
}

function recoderId(way: 'decrypt' | 'encrypt', crypt: CryptConfig): Buffer {
  return createHash('sha256').update(way).update(crypt.fingerprint).digest().subarray(0, recoderLength);
}

async function plainChunk(blob: Uint8Array, digest: Digest, size: number, options: { crypt: CryptConfig; encrypted: boolean }): Promise<Buffer> {
  requireKind(blob, options.encrypted);
  const data = await decodeBlobAsync(blob, { crypt: options.crypt, maxSize: size, digest });
  if (data.byteLength !== size) throw new FormatError('format.chunk-size', `chunk holds ${data.byteLength} bytes instead of ${size}`);
  return data;
}

export class Decryption implements Recoder {
  readonly id: Buffer;
  readonly sourceEncrypted = true;
  readonly #crypt: CryptConfig;

  constructor(crypt: CryptConfig) {
    this.id = recoderId('decrypt', crypt);
    this.#crypt = crypt;
  }

  async chunk(blob: Uint8Array, digest: Digest, size: number): Promise<{ digest: Digest; blob: Buffer }> {
    const data = await plainChunk(blob, digest, size, { crypt: this.#crypt, encrypted: true });
    return { digest: createHash('sha256').update(data).digest(), blob: await encodeBlobAsync(data, { compress: true }) };
  }

  async blob(blob: Uint8Array): Promise<Buffer> {
    // The key that a master key wrapped is stored as it is, in encrypted backups, too.
    return encodeBlobAsync(await decodeBlobAsync(blob, { crypt: this.#crypt }), { compress: true });
  }
}

export class Encryption implements Recoder {
  readonly id: Buffer;
  readonly sourceEncrypted = false;
  readonly #crypt: CryptConfig;

  constructor(crypt: CryptConfig) {
    this.id = recoderId('encrypt', crypt);
    this.#crypt = crypt;
  }

  async chunk(blob: Uint8Array, digest: Digest, size: number): Promise<{ digest: Digest; blob: Buffer }> {
    const data = await plainChunk(blob, digest, size, { crypt: this.#crypt, encrypted: false });
    return { digest: this.#crypt.digest(data), blob: await encodeBlobAsync(data, { compress: true, crypt: this.#crypt }) };
  }

  async blob(blob: Uint8Array): Promise<Buffer> {
    return encodeBlobAsync(await decodeBlobAsync(blob), { compress: true, crypt: this.#crypt });
  }
}
