import assert from 'node:assert/strict';
import { createCipheriv, createDecipheriv, createHash, createHmac, pbkdf2Sync, randomBytes } from 'node:crypto';
import { secretsEqual, toHex } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';

export const keyLength = 32;
export const ivLength = 16;
export const tagLength = 16;

const fingerprintInput = createHash('sha256').update('Proxmox Backup Encryption Key Fingerprint').digest();

/** What one AES-256-GCM encryption yields (spec formats 1.3): 16-byte IV, 16-byte tag, ciphertext as long as the input. */
export interface Sealed {
  iv: Buffer;
  tag: Buffer;
  ciphertext: Buffer;
}

/** AES-256-GCM, 16-byte IV, no additional data (spec formats 1.3, 6.1). `iv` only in tests: never use one twice with a key. */
export function seal(key: Uint8Array, data: Uint8Array, iv: Buffer = randomBytes(ivLength)): Sealed {
  assert.equal(iv.byteLength, ivLength);
  const cipher = createCipheriv('aes-256-gcm', key, iv, { authTagLength: tagLength });
  const ciphertext = cipher.update(data);
  const rest = cipher.final();
  assert.equal(rest.byteLength, 0);
  return { iv, tag: cipher.getAuthTag(), ciphertext };
}

/** Opposite of `seal`. Nothing is returned before the tag has verified; FormatError `format.auth-tag` when it does not. */
export function unseal(key: Uint8Array, iv: Uint8Array, tag: Uint8Array, ciphertext: Uint8Array): Buffer {
  assert.equal(iv.byteLength, ivLength);
  assert.equal(tag.byteLength, tagLength);
  const decipher = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagLength });
  decipher.setAuthTag(tag);
  const data = decipher.update(ciphertext);
  try {
    decipher.final();
  } catch (e) {
    throw new FormatError('format.auth-tag', 'decryption failed: wrong key or damaged data', { cause: e });
  }
  return data;
}

/** 32 bytes as lowercase hex pairs joined by `:`, 95 characters (spec formats 1.5). */
export function formatFingerprint(bytes: Uint8Array): string {
  return toHex(bytes).replaceAll(/..(?!$)/g, '$&:');
}

/** Key ID for logs: the first 8 bytes, 23 characters (spec formats 1.5). */
export function shortFingerprint(bytes: Uint8Array): string {
  return formatFingerprint(bytes.subarray(0, 8));
}

/** 32 bytes from fingerprint text: all `:` are dropped, then exactly 64 hex digits. FormatError `format.fingerprint` otherwise. */
export function parseFingerprint(text: string): Buffer {
  const hex = text.replaceAll(':', '');
  if (!/^[0-9a-fA-F]{64}$/.test(hex)) throw new FormatError('format.fingerprint', `'${text.slice(0, 100)}' is not a fingerprint of 32 bytes`);
  return Buffer.from(hex, 'hex');
}

/** An encryption key with everything derived from it (spec formats 1.5). Neither key is readable from outside. */
export class CryptConfig {
  readonly #key: Buffer;
  readonly #idKey: Buffer;
  /** 32 bytes; text by `formatFingerprint`, `shortFingerprint`. */
  readonly fingerprint: Buffer;

  /** `key`: the raw 32-byte key; copied. */
  constructor(key: Uint8Array) {
    assert.equal(key.byteLength, keyLength, 'an encryption key has 32 bytes');
    this.#key = Buffer.from(key);
    this.#idKey = pbkdf2Sync(this.#key, '_id_key', 10, keyLength, 'sha256');
    this.fingerprint = createHash('sha256').update(fingerprintInput).update(this.#idKey).digest();
  }

  /** Keyed digest of a chunk's plain bytes: SHA-256(data, id_key). */
  digest(data: Uint8Array): Buffer {
    return createHash('sha256').update(data).update(this.#idKey).digest();
  }

  /** HMAC-SHA256 under the id key: manifest signatures (spec formats 5.3). */
  sign(bytes: Uint8Array): Buffer {
    return createHmac('sha256', this.#idKey).update(bytes).digest();
  }

  /** Encrypts under a fresh random IV. `iv` only in tests. */
  encrypt(data: Uint8Array, iv?: Buffer): Sealed {
    return seal(this.#key, data, iv);
  }

  /** Plain bytes, only after the tag has verified; FormatError `format.auth-tag`. */
  decrypt(iv: Uint8Array, tag: Uint8Array, ciphertext: Uint8Array): Buffer {
    return unseal(this.#key, iv, tag, ciphertext);
  }

  /** True when both hold the same key (compared in constant time). */
  sameKey(other: CryptConfig): boolean {
    return secretsEqual(this.#key, other.#key);
  }

  toJSON(): string {
    return `CryptConfig(${shortFingerprint(this.fingerprint)})`;
  }
}
