import assert from 'node:assert/strict';
import { pbkdf2, randomBytes, scrypt } from 'node:crypto';
import { promisify } from 'node:util';
import { bytesEqual } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { isJsonObject, parseJson, type JsonValue } from '../base/json-text.ts';
import { CryptConfig, formatFingerprint, ivLength, keyLength, parseFingerprint, seal, shortFingerprint, tagLength, unseal } from './crypt-config.ts';
import { formatRfc3339, localOffsetMinutes, parseRfc3339 } from './rfc3339.ts';

/** How the passphrase becomes the key that encrypts the key (spec formats 6.1). */
export type KeyDerivation = { type: 'scrypt'; n: number; r: number; p: number; salt: Buffer } | { type: 'pbkdf2'; iter: number; salt: Buffer };

export type KdfName = 'none' | 'scrypt' | 'pbkdf2';

/** Key file (spec formats 6.1). Holds the raw key when `kdf` is null: a secret. */
export interface KeyFile {
  /** Null: `data` is the raw key. */
  kdf: KeyDerivation | null;
  /** RFC 3339 text as in the file; `parseRfc3339` makes seconds of it. */
  created: string;
  modified: string;
  data: Buffer;
  /** 32 bytes, null in old files. */
  fingerprint: Buffer | null;
  hint: string | null;
}

/** Shortest passphrase in UTF-8 bytes. */
export const minPassphraseLength = 5;
export const maxHintLength = 64;
const maxKeyFileSize = 64 * 1024;
const saltLength = 32;
const scryptMemory = 1025 * 1024 * 1024;
/** Bounds on work that an untrusted file may ask for; far above the defaults. */
const maxScryptP = 16;
const maxPbkdf2Iterations = 100_000_000;

const scryptAsync = promisify(scrypt) as (passphrase: string, salt: Buffer, length: number, options: object) => Promise<Buffer>;
const pbkdf2Async = promisify(pbkdf2);

function fail(why: string, cause?: unknown): never {
  throw new FormatError('format.key-file', `unable to parse key file: ${why}`, { cause });
}

function base64(value: JsonValue | undefined, what: string): Buffer {
  if (typeof value !== 'string') return fail(`'${what}' is not a string`);
  const bytes = Buffer.from(value, 'base64');
  return bytes.toString('base64') === value ? bytes : fail(`'${what}' is not base64`);
}

function positive(value: JsonValue | undefined, what: string): number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value > 0 ? value : fail(`'${what}' is not a positive number`);
}

function parseDerivation(value: JsonValue | undefined): KeyDerivation | null {
  if (value === null || value === undefined) return null;
  if (!isJsonObject(value) || Object.keys(value).length !== 1) return fail(`'kdf' is not understood`);
  const { Scrypt: scryptPart, PBKDF2: pbkdf2Part } = value;
  if (isJsonObject(scryptPart)) {
    const [n, r, p] = [positive(scryptPart['n'], 'n'), positive(scryptPart['r'], 'r'), positive(scryptPart['p'], 'p')];
    if (!Number.isInteger(Math.log2(n)) || n < 2 || p > maxScryptP || 128 * r * (n + p) > scryptMemory) fail('scrypt parameters are out of range');
    return { type: 'scrypt', n, r, p, salt: base64(scryptPart['salt'], 'salt') };
  }
  if (!isJsonObject(pbkdf2Part)) return fail(`'kdf' is not understood`);
  const iter = positive(pbkdf2Part['iter'], 'iter');
  if (iter > maxPbkdf2Iterations) fail('too many PBKDF2 iterations');
  return { type: 'pbkdf2', iter, salt: base64(pbkdf2Part['salt'], 'salt') };
}

function timeMember(value: JsonValue | undefined, what: string): string {
  if (typeof value !== 'string') return fail(`'${what}' is not a string`);
  parseRfc3339(value);
  return value;
}

/** FormatError `format.key-file`, `format.json`, `format.time`, `format.fingerprint`. */
export function parseKeyFile(bytes: Uint8Array): KeyFile {
  if (bytes.byteLength > maxKeyFileSize) fail(`it has ${bytes.byteLength} bytes`);
  const value = parseJson(bytes);
  if (!isJsonObject(value)) return fail('not an object');
  const kdf = parseDerivation(value['kdf']);
  const data = base64(value['data'], 'data');
  if (kdf === null ? data.byteLength !== keyLength : data.byteLength !== ivLength + tagLength + keyLength) fail(`'data' has ${data.byteLength} bytes`);
  const fingerprint = value['fingerprint'] ?? null;
  if (fingerprint !== null && typeof fingerprint !== 'string') return fail(`'fingerprint' is not a string`);
  const hint = value['hint'] ?? null;
  if (hint !== null && typeof hint !== 'string') return fail(`'hint' is not a string`);
  return {
    kdf,
    created: timeMember(value['created'], 'created'),
    modified: timeMember(value['modified'], 'modified'),
    data,
    fingerprint: fingerprint === null ? null : parseFingerprint(fingerprint),
    hint,
  };
}

function derivationJson(kdf: KeyDerivation | null): JsonValue {
  if (kdf === null) return null;
  const salt = kdf.salt.toString('base64');
  return kdf.type === 'scrypt' ? { Scrypt: { n: kdf.n, r: kdf.r, p: kdf.p, salt } } : { PBKDF2: { iter: kdf.iter, salt } };
}

/** JSON in the reference's member order: compact, as stored, or pretty, as on paper. No final newline. A secret when `kdf` is null. */
export function serializeKeyFile(file: KeyFile, style: 'compact' | 'pretty' = 'compact'): string {
  const value = {
    kdf: derivationJson(file.kdf),
    created: file.created,
    modified: file.modified,
    data: file.data.toString('base64'),
    ...(file.fingerprint === null ? {} : { fingerprint: formatFingerprint(file.fingerprint) }),
    ...(file.hint === null ? {} : { hint: file.hint }),
  };
  return style === 'compact' ? JSON.stringify(value) : JSON.stringify(value, null, 2);
}

function checkPassphrase(passphrase: string): void {
  if (Buffer.byteLength(passphrase) < minPassphraseLength) {
    throw new FormatError('format.passphrase', `passphrase is too short, it needs at least ${minPassphraseLength} characters`);
  }
}

async function derive(kdf: KeyDerivation, passphrase: string): Promise<Buffer> {
  checkPassphrase(passphrase);
  if (kdf.type === 'pbkdf2') return pbkdf2Async(passphrase, kdf.salt, kdf.iter, keyLength, 'sha256');
  return scryptAsync(passphrase, kdf.salt, keyLength, { N: kdf.n, r: kdf.r, p: kdf.p, maxmem: scryptMemory });
}

export interface NewKeyOptions {
  kdf: KdfName;
  /** Needed unless `kdf` is `none`. */
  passphrase?: string | undefined;
  /** Up to 64 characters; not with kdf `none`. */
  hint?: string | null | undefined;
  /** Seconds since the epoch. */
  now: number;
  /** Minutes east of UTC of the times in the file; the host's time zone by default. */
  offsetMinutes?: number | undefined;
  /** `created` of an earlier file, to be kept. */
  created?: string | undefined;
  /** Only for tests with known answers. */
  salt?: Buffer | undefined;
  iv?: Buffer | undefined;
}

function newDerivation(kdf: KdfName, salt: Buffer): KeyDerivation | null {
  if (kdf === 'none') return null;
  return kdf === 'scrypt' ? { type: 'scrypt', n: 65_536, r: 8, p: 1, salt } : { type: 'pbkdf2', iter: 65_535, salt };
}

/** Key file for the raw key `key` (32 bytes). FormatError `format.passphrase`, `format.hint`. */
export async function createKeyFile(key: Uint8Array, options: NewKeyOptions): Promise<KeyFile> {
  assert.equal(key.byteLength, keyLength);
  const hint = options.hint ?? null;
  if (hint !== null && options.kdf === 'none') throw new FormatError('format.hint', 'password hint not allowed for Kdf::None');
  if (hint !== null && (hint.length < 1 || hint.length > maxHintLength)) throw new FormatError('format.hint', `hint must have 1 to ${maxHintLength} characters`);
  const kdf = newDerivation(options.kdf, options.salt ?? randomBytes(saltLength));
  let data = Buffer.from(key);
  if (kdf !== null) {
    const { iv, tag, ciphertext } = seal(await derive(kdf, options.passphrase ?? ''), key, options.iv);
    data = Buffer.concat([iv, tag, ciphertext]);
  }
  const modified = formatRfc3339(options.now, options.offsetMinutes ?? localOffsetMinutes(options.now));
  return { kdf, created: options.created ?? modified, modified, data, fingerprint: new CryptConfig(key).fingerprint, hint };
}

/** Fresh random key. */
export function generateKey(): Buffer {
  return randomBytes(keyLength);
}

/**
 * Raw key (32 bytes) of a key file. `passphrase` is asked only when the file is protected. FormatError `format.auth-tag` for a wrong
 * passphrase, `format.passphrase` for a short one, `format.wrong-key` when the stored fingerprint is another key's.
 */
export async function loadKey(file: KeyFile, passphrase: () => string | Promise<string>): Promise<Buffer> {
  const key = file.kdf === null ? Buffer.from(file.data) : openKey(file.data, await derive(file.kdf, await passphrase()));
  const fingerprint = new CryptConfig(key).fingerprint;
  if (file.fingerprint !== null && !bytesEqual(file.fingerprint, fingerprint)) {
    throw new FormatError('format.wrong-key', `key file contains wrong fingerprint ${shortFingerprint(file.fingerprint)}, the key has ${shortFingerprint(fingerprint)}`);
  }
  return key;
}

function openKey(data: Buffer, derived: Buffer): Buffer {
  const tagEnd = ivLength + tagLength;
  try {
    return unseal(derived, data.subarray(0, ivLength), data.subarray(ivLength, tagEnd), data.subarray(tagEnd));
  } catch (e) {
    throw new FormatError('format.auth-tag', 'unable to decrypt the key: wrong passphrase', { cause: e });
  }
}

/** The same key under another passphrase or none: `created` stays, `modified` is new, a missing fingerprint is added. */
export async function changePassphrase(file: KeyFile, oldPassphrase: () => string | Promise<string>, options: NewKeyOptions): Promise<KeyFile> {
  return createKeyFile(await loadKey(file, oldPassphrase), { ...options, created: file.created });
}
