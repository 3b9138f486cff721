import { createHash } from 'node:crypto';
import { toHex } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import { shortFingerprint, type CryptConfig } from '../crypto/crypt-config.ts';
import { manifestFileName, snapshotText, type BackupSnapshot } from '../format/backup-path.ts';
import { ChunkIndex, type IndexKind } from '../format/chunk-index.ts';
import { decodeBlob, maxBlobPlainSize } from '../format/data-blob.ts';
import { keyFingerprintOf, manifestFile, maxManifestSize, parseManifest, verifyManifestSignature, type Manifest, type ManifestFile } from '../format/manifest.ts';
import type { ReaderClient } from '../protocol/reader-client.ts';

/** Room for header and tag of a blob. */
const blobOverhead = 64;
/** Of a manifest as stored. */
export const maxManifestBytes = maxManifestSize + blobOverhead;
/** An index is held in memory: enough for 120 TiB in chunks of 4 MiB. */
export const maxIndexBytes = 1024 * 1024 * 1024;

/** A manifest as it came, and read. */
export interface SnapshotManifest {
  json: Buffer;
  manifest: Manifest;
}

type Downloads = Pick<ReaderClient, 'download'>;

async function downloadWhole(reader: Downloads, fileName: string, maxBytes: number): Promise<Buffer> {
  const pieces: Buffer[] = [];
  for await (const piece of await reader.download(fileName, { maxBytes })) pieces.push(piece);
  return Buffer.concat(pieces);
}

/**
 * The manifest of the session's snapshot, its signature checked when there is a key (spec client-cli 5, step 1). Throws
 * HttpError, NetworkError, FormatError with the reference's text for a wrong key.
 */
export async function downloadManifest(reader: Downloads, crypt: CryptConfig | null): Promise<SnapshotManifest> {
  return readManifest(await downloadWhole(reader, manifestFileName, maxManifestBytes), crypt);
}

/** The manifest in its blob, its signature checked when there is a key. FormatError with the reference's text for a wrong key. */
export function readManifest(raw: Uint8Array, crypt: CryptConfig | null): SnapshotManifest {
  const json = decodeBlob(raw, { maxSize: maxManifestSize });
  const manifest = parseManifest(json);
  if (crypt !== null) {
    const named = keyFingerprintOf(manifest);
    if (manifest.signature !== null && named !== null && !named.equals(crypt.fingerprint)) {
      throw wrongKey('unable to verify signature since manifest', named, crypt);
    }
    verifyManifestSignature(manifest, crypt);
  }
  return { json, manifest };
}

function wrongKey(what: string, named: Buffer, crypt: CryptConfig): FormatError {
  return new FormatError('format.wrong-key', `wrong key - ${what}'s key ${shortFingerprint(named)} does not match provided key ${shortFingerprint(crypt.fingerprint)}`);
}

/** Refuses to go on without the key that the manifest names (spec client-cli 5, step 2). FormatError `format.key-missing`, `format.wrong-key`. */
export function requireManifestKey(manifest: Manifest, crypt: CryptConfig | null): void {
  const named = keyFingerprintOf(manifest);
  if (named === null) return;
  if (crypt === null) {
    throw new FormatError('format.key-missing', `missing key - manifest was created with key ${shortFingerprint(named)}`, { hint: 'give the key with --keyfile' });
  }
  if (!named.equals(crypt.fingerprint)) throw wrongKey('manifest', named, crypt);
}

/** What is odd about a manifest that says it is of another snapshot: a folder that was renamed, or a server that hands out another backup. Null: nothing. */
export function identityWarning(manifest: Manifest, snapshot: BackupSnapshot): string | null {
  const said = snapshotText({ type: manifest.backupType, id: manifest.backupId, time: manifest.backupTime });
  return said === snapshotText(snapshot) ? null : `WARNING: the manifest of ${snapshotText(snapshot)} says that it is of ${said}`;
}

/** Entry of a file; FormatError `format.manifest` when it is not listed. */
export function listedFile(manifest: Manifest, fileName: string): ManifestFile {
  const file = manifestFile(manifest, fileName);
  if (file === undefined) {
    throw new FormatError('format.manifest', `manifest does not contain file '${fileName}'`, { hint: `the snapshot holds: ${manifest.files.map((one) => one.filename).join(', ')}` });
  }
  return file;
}

/** Index of an archive, equal to what the manifest says. Entitles the session to its chunks. Throws HttpError, NetworkError, FormatError. */
export async function downloadIndex(reader: Downloads, kind: IndexKind, file: ManifestFile): Promise<ChunkIndex> {
  return readIndex(kind, file, await downloadWhole(reader, file.filename, maxIndexBytes));
}

/** The index in `bytes`, equal to what the manifest says of `file`. FormatError. */
export function readIndex(kind: IndexKind, file: ManifestFile, bytes: Uint8Array): ChunkIndex {
  const index = ChunkIndex.parse(kind, bytes);
  const csum = toHex(index.computeCsum());
  if (csum !== file.csum) throw new FormatError('format.index-csum', `wrong checksum for file '${file.filename}': ${csum} instead of ${file.csum}`);
  if (index.size !== file.size) throw new FormatError('format.index-size', `wrong size for file '${file.filename}': ${index.size} instead of ${file.size}`);
  return index;
}

/** Decoded content of a blob that is what the manifest says. Throws HttpError, NetworkError, FormatError. */
export async function downloadBlob(reader: Downloads, file: ManifestFile, crypt: CryptConfig | null): Promise<Buffer> {
  const raw = await downloadWhole(reader, file.filename, maxBlobPlainSize + blobOverhead);
  if (raw.length !== file.size) throw new FormatError('format.blob-size', `wrong size for file '${file.filename}': ${raw.length} instead of ${file.size}`);
  const csum = createHash('sha256').update(raw).digest('hex');
  if (csum !== file.csum) throw new FormatError('format.blob-csum', `wrong checksum for file '${file.filename}': ${csum} instead of ${file.csum}`);
  return decodeBlob(raw, { crypt: crypt ?? undefined });
}

