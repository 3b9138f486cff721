import { bytesEqual } from '../base/bytes.ts';
import { FarshoreError } from '../base/errors.ts';
import { formatFingerprint, parseFingerprint, type CryptConfig } from '../crypto/crypt-config.ts';
import { clientLogFileName, manifestFileName } from '../format/backup-path.ts';
import { keyFingerprintOf, manifestHmac, sameProtectedContent, signManifest, verifyManifestSignature, type Manifest, type ManifestFile } from '../format/manifest.ts';
import type { SourceSnapshot } from './ports.ts';
import { Decryption, Encryption, type Recoder } from './recoder.ts';

/** What is done with a snapshot on its way. `note` is for the log, a warning where the job's wish is not met. */
export type RecodingPlan =
  | { kind: 'plain'; note?: string; warning?: boolean }
  | { kind: 'recode'; recoder: Recoder; manifest: (files: ManifestFile[]) => Manifest }
  /** The recoded copy is there already. */
  | { kind: 'unchanged'; recoder: Recoder }
  | { kind: 'skip'; note: string };

/**
 * A pull (spec sync 4.6). `current`: the manifest of the copy, null when there is none or it is corrupt. Throws FarshoreError `sync.key` where taking the
 * source's snapshot would replace the copy by something else; FormatError when its signature is not that of the key.
 */
export function planDecryption(source: Manifest, current: Manifest | null, keys: readonly CryptConfig[]): RecodingPlan {
  const theirs = keyFingerprintOf(source);
  const ours = current === null ? null : keyFingerprintOf(current);
  if (theirs === null) {
    if (ours !== null) throw refused(`the copy is encrypted with key ${formatFingerprint(ours)}, the source's snapshot is not encrypted`);
    if (current !== null && sourceSignature(current) !== null && !sameProtectedContent(source, current)) throw refused("the copy was decrypted when it came, the source's snapshot is not encrypted any more");
    return { kind: 'plain' };
  }
  if (ours !== null) {
    if (!bytesEqual(theirs, ours)) throw refused(`the copy is encrypted with key ${formatFingerprint(ours)}, the source's snapshot with key ${formatFingerprint(theirs)}`);
    if (isEncrypted(source) === isEncrypted(current!)) return { kind: 'plain' };
  }
  const crypt = keys.find((key) => bytesEqual(key.fingerprint, theirs));
  if (crypt === undefined) {
    if (current !== null && isEncrypted(source)) {
      throw new FarshoreError('sync.key', `the copy is decrypted, and the job has no key with fingerprint ${formatFingerprint(theirs)}`, { hint: 'give the job that key: farshore sync-job update <id> --associated-key <key>' });
    }
    return keys.length === 0 ? { kind: 'plain' } : { kind: 'plain', note: `the job has no key with fingerprint ${formatFingerprint(theirs)}: the snapshot stays encrypted` };
  }
  if (!isEncrypted(source)) return { kind: 'plain', note: `only a part of the snapshot is encrypted (key ${formatFingerprint(theirs)}): it is copied as it is`, warning: true };
  verifyManifestSignature(source, crypt);
  const recoder = new Decryption(crypt);
  if (current === null) return { kind: 'recode', recoder, manifest: (files) => ({ ...source, files, signature: null, unprotected: decryptedUnprotected(source) }) };
  if (!isCopyOf(source, current, crypt)) throw refused(`the copy is not the decrypted form of the source's snapshot (key ${formatFingerprint(theirs)})`);
  return { kind: 'unchanged', recoder };
}

/**
 * A push with a key (spec sync 6.4): what is plain is encrypted, what is encrypted goes as it is. `current`: the manifest of a snapshot that the target has already;
 * it may have been encrypted with one of the job's former keys.
 */
export function planEncryption(source: Manifest, current: Manifest | null, crypt: CryptConfig, formerKeys: readonly CryptConfig[] = []): RecodingPlan {
  if (current !== null && !sameProtectedContent(source, current) && sourceSignature(current) !== null) {
    const theirs = keyFingerprintOf(current);
    const made = [crypt, ...formerKeys].find((key) => theirs !== null && bytesEqual(key.fingerprint, theirs));
    if (made === undefined) return { kind: 'skip', note: `the copy is encrypted with ${theirs === null ? 'no key' : `key ${formatFingerprint(theirs)}`}, which is none of the job's: it stays as it is` };
    if (verifyManifestSignature(current, made) === 'valid' && isCopyOf(current, source, made)) return { kind: 'unchanged', recoder: new Encryption(made) };
  }
  if (source.files.every((file) => file.cryptMode !== 'encrypt')) {
    const manifest = (files: ManifestFile[]): Manifest => signManifest({ ...source, files, unprotected: encryptedUnprotected(source, crypt) }, crypt);
    return { kind: 'recode', recoder: new Encryption(crypt), manifest };
  }
  if (isEncrypted(source)) return { kind: 'plain', note: 'the snapshot is encrypted already: it is pushed as it is' };
  return { kind: 'skip', note: 'only a part of it is encrypted' };
}

/** On list data: some archives are encrypted, others are not. The manifest is never encrypted, and the log does not count. */
export function isPartlyEncrypted(snapshot: Pick<SourceSnapshot, 'files'>): boolean {
  const archives = snapshot.files.filter(({ filename }) => filename !== manifestFileName && filename !== clientLogFileName);
  const encrypted = archives.filter(({ cryptMode }) => cryptMode === 'encrypt').length;
  return encrypted > 0 && encrypted < archives.length;
}

function isEncrypted(manifest: Manifest): boolean {
  return manifest.files.every((file) => file.cryptMode === 'encrypt');
}

/** Whether one of the two was made of the other with `crypt`: by decrypting while pulling, or by encrypting while pushing. */
function isCopyOf(source: Manifest, current: Manifest, crypt: CryptConfig): boolean {
  const pushedFrom = sourceSignature(source);
  if (pushedFrom !== null && bytesEqual(manifestHmac(current, crypt), pushedFrom)) return true;
  const pulledFrom = sourceSignature(current);
  return pulledFrom !== null && source.signature !== null && bytesEqual(Buffer.from(source.signature, 'hex'), pulledFrom);
}

const sourceSignatureName = 'sync-source-signature';
/** Its name in the first version of the reference that had it. */
const formerName = 'change-detection-fingerprint';

/** Signature of the manifest that this one was made of; null when it was made by a backup. */
function sourceSignature(manifest: Manifest): Buffer | null {
  const text = manifest.unprotected[sourceSignatureName] ?? manifest.unprotected[formerName];
  return typeof text === 'string' ? parseFingerprint(text) : null;
}

/** Of the source's unprotected part what holds for a decrypted copy, too, and where it came from (spec sync 4.6.8). */
function decryptedUnprotected(source: Manifest): Record<string, unknown> {
  const { 'key-fingerprint': _key, verify_state: _verified, [sourceSignatureName]: _former, [formerName]: _older, ...kept } = source.unprotected;
  return source.signature === null ? kept : { ...kept, [sourceSignatureName]: formatFingerprint(Buffer.from(source.signature, 'hex')) };
}

/** Of an encrypted snapshot that a push makes of `source`: everything of it, and the signature of where it came from (spec sync 6.4.7). */
function encryptedUnprotected(source: Manifest, crypt: CryptConfig): Record<string, unknown> {
  return { ...source.unprotected, [sourceSignatureName]: formatFingerprint(manifestHmac(source, crypt)) };
}

function refused(why: string): FarshoreError {
  return new FarshoreError('sync.key', `${why}: the copy stays as it is`, { hint: 'remove the copy, or let the job write into another namespace' });
}
