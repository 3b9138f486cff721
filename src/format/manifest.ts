import { timingSafeEqual } from 'node:crypto';
import { asBuffer, bytesEqual, toHex } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { formatFingerprint, parseFingerprint, shortFingerprint, type CryptConfig } from '../crypto/crypt-config.ts';
import { isArchiveName, isBackupId, isBackupType, type BackupType } from './backup-path.ts';
import { blobKind, decodeBlob, encodeBlob, isEncryptedKind } from './data-blob.ts';
import { canonicalJson, isJsonObject, parseJson, prettySortedJson, type JsonValue } from '../base/json-text.ts';

export type CryptMode = 'none' | 'encrypt' | 'sign-only';

export interface ManifestFile {
  /** Server name, e.g. `root.pxar.didx`. */
  filename: string;
  cryptMode: CryptMode;
  /** Index archives: logical bytes. Blobs: bytes of the stored file. */
  size: number;
  /** 64 lowercase hex digits. Index archives: index csum. Blobs: SHA-256 of the stored file. */
  csum: string;
}

/** `index.json.blob` (spec formats 5). */
export interface Manifest {
  backupType: BackupType;
  backupId: string;
  /** Seconds since the epoch. */
  backupTime: number;
  /** In upload order. */
  files: ManifestFile[];
  /** 64 hex digits, null when unsigned. */
  signature: string | null;
  /** Not covered by the signature: notes, verify state, statistics, anything else. */
  unprotected: Record<string, unknown>;
}

export interface VerifyState {
  state: 'ok' | 'failed';
  upid: string;
}

/** Bound on a manifest's decoded size: what the upload interface admits (spec formats 1.6). */
export const maxManifestSize = 16 * 1024 * 1024;

function fail(message: string): never {
  throw new FormatError('format.manifest', `unable to parse manifest: ${message}`);
}

function stringMember(object: { [key: string]: JsonValue }, key: string): string {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return typeof value === 'string' ? value : fail(`'${key}' is not a string`);
}

function integerMember(object: { [key: string]: JsonValue }, key: string): number {
  const value = Object.hasOwn(object, key) ? object[key] : undefined;
  return typeof value === 'number' && Number.isSafeInteger(value) ? value : fail(`'${key}' is not a whole number`);
}

function isCryptMode(text: string): text is CryptMode {
  return text === 'none' || text === 'encrypt' || text === 'sign-only';
}

function parseFile(value: JsonValue): ManifestFile {
  if (!isJsonObject(value)) return fail('a file entry is not an object');
  const filename = stringMember(value, 'filename');
  if (!isArchiveName(filename)) fail(`file name '${filename.slice(0, 100)}' is not an archive name`);
  const cryptMode = Object.hasOwn(value, 'crypt-mode') ? stringMember(value, 'crypt-mode') : 'none';
  if (!isCryptMode(cryptMode)) return fail(`crypt mode '${cryptMode.slice(0, 100)}' is unknown`);
  const size = integerMember(value, 'size');
  if (size < 0) fail(`size of '${filename}' is negative`);
  const csum = stringMember(value, 'csum').toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(csum)) fail(`csum of '${filename}' is not a digest`);
  return { filename, cryptMode, size, csum };
}

function parseFiles(value: JsonValue | undefined): ManifestFile[] {
  if (!Array.isArray(value)) return fail(`'files' is not an array`);
  const files = value.map(parseFile);
  const seen = new Set<string>();
  for (const { filename } of files) {
    if (seen.has(filename)) fail(`file '${filename}' is listed twice`);
    seen.add(filename);
  }
  return files;
}

/** Typed manifest from JSON text; order does not matter, unknown members are dropped. FormatError `format.manifest`, `format.json`. */
export function parseManifest(json: Uint8Array): Manifest {
  const value = parseJson(json);
  if (!isJsonObject(value)) return fail('not an object');
  const backupType = stringMember(value, 'backup-type');
  if (!isBackupType(backupType)) return fail(`backup type '${backupType.slice(0, 100)}' is unknown`);
  const backupId = stringMember(value, 'backup-id');
  if (!isBackupId(backupId)) fail(`backup id '${backupId.slice(0, 100)}' is not valid`);
  const signature = value['signature'] ?? null;
  if (signature !== null && (typeof signature !== 'string' || !/^[0-9a-fA-F]{64}$/.test(signature))) return fail(`'signature' is not a digest`);
  const unprotected = value['unprotected'] ?? {};
  if (!isJsonObject(unprotected)) return fail(`'unprotected' is not an object`);
  return { backupType, backupId, backupTime: integerMember(value, 'backup-time'), files: parseFiles(value['files']), signature, unprotected };
}

/** Manifest from the stored blob. A manifest is never encrypted. FormatError as `parseManifest`, `decodeBlob`. */
export function decodeManifestBlob(raw: Uint8Array): Manifest {
  if (isEncryptedKind(blobKind(raw))) fail('it is encrypted');
  return parseManifest(decodeBlob(raw, { maxSize: maxManifestSize }));
}

/** The members that the signature covers. */
function protectedMembers(manifest: Manifest): { [key: string]: JsonValue } {
  return {
    'backup-id': manifest.backupId,
    'backup-time': manifest.backupTime,
    'backup-type': manifest.backupType,
    files: manifest.files.map((file) => ({ 'crypt-mode': file.cryptMode, csum: file.csum, filename: file.filename, size: file.size })),
  };
}

/** JSON text as the reference writes it (spec formats 5.1): pretty, sorted. `unprotected` must be JSON. */
export function serializeManifest(manifest: Manifest): Buffer {
  const value = { ...protectedMembers(manifest), signature: manifest.signature, unprotected: manifest.unprotected as { [key: string]: JsonValue } };
  return Buffer.from(prettySortedJson(value), 'utf8');
}

/** The blob to store. */
export function encodeManifestBlob(manifest: Manifest): Buffer {
  return encodeBlob(serializeManifest(manifest), { compress: true });
}

/** Bytes that the signature covers (spec formats 5.3). */
export function canonicalManifest(manifest: Manifest): Buffer {
  return Buffer.from(canonicalJson(protectedMembers(manifest)), 'utf8');
}

/** HMAC of the protected members under `crypt`: the signature, or the identity of a source manifest (spec formats 5.5). */
export function manifestHmac(manifest: Manifest, crypt: CryptConfig): Buffer {
  return crypt.sign(canonicalManifest(manifest));
}

/** Copy with signature and `key-fingerprint` of `crypt`. */
export function signManifest(manifest: Manifest, crypt: CryptConfig): Manifest {
  return {
    ...manifest,
    signature: toHex(manifestHmac(manifest, crypt)),
    unprotected: { ...manifest.unprotected, 'key-fingerprint': formatFingerprint(crypt.fingerprint) },
  };
}

/** Fingerprint (32 bytes) of the key that signed, null when there is none. FormatError `format.fingerprint`. */
export function keyFingerprintOf(manifest: Manifest): Buffer | null {
  const text = manifest.unprotected['key-fingerprint'];
  if (text === undefined || text === null) return null;
  if (typeof text !== 'string') return fail(`'key-fingerprint' is not a string`);
  return parseFingerprint(text);
}

/**
 * Whether the signature is `valid` under `crypt`, or there is none (accepted, spec formats 5.3). FormatError `format.wrong-key`, `format.signature`.
 * Stricter than the reference: every writer that names its key also signs, so a key without a signature means that the signature was taken out.
 */
export function verifyManifestSignature(manifest: Manifest, crypt: CryptConfig): 'valid' | 'unsigned' {
  const fingerprint = keyFingerprintOf(manifest);
  if (manifest.signature === null) {
    if (fingerprint !== null) throw new FormatError('format.signature', `manifest names key ${shortFingerprint(fingerprint)} but has no signature`);
    return 'unsigned';
  }
  if (fingerprint !== null && !bytesEqual(fingerprint, crypt.fingerprint)) {
    throw new FormatError('format.wrong-key', `wrong key - manifest's key ${shortFingerprint(fingerprint)} does not match provided key ${shortFingerprint(crypt.fingerprint)}`);
  }
  if (!timingSafeEqual(Buffer.from(manifest.signature, 'hex'), manifestHmac(manifest, crypt))) {
    throw new FormatError('format.signature', 'wrong signature in manifest');
  }
  return 'valid';
}

/** The entry of `filename`, undefined when it is not listed. */
export function manifestFile(manifest: Manifest, filename: string): ManifestFile | undefined {
  return manifest.files.find((file) => file.filename === filename);
}

/** Result of the last verification; null when never verified or not readable. */
export function verifyState(manifest: Manifest): VerifyState | null {
  const value = manifest.unprotected['verify_state'] as JsonValue | undefined;
  if (!isJsonObject(value)) return null;
  const { state, upid } = value;
  return (state === 'ok' || state === 'failed') && typeof upid === 'string' ? { state, upid } : null;
}

/** Notes, empty when there are none; the list comment is their first line. */
export function manifestNotes(manifest: Manifest): string {
  const notes = manifest.unprotected['notes'];
  return typeof notes === 'string' ? notes : '';
}

/** Equal up to the unprotected part and the signature: the same archives under the same snapshot name. */
export function sameProtectedContent(a: Manifest, b: Manifest): boolean {
  return asBuffer(canonicalManifest(a)).equals(canonicalManifest(b));
}
