import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { toHex } from '../../base/bytes.ts';
import { StoreError } from '../../base/errors.ts';
import { shortFingerprint, type CryptConfig } from '../../crypto/crypt-config.ts';
import { encryptedKeyFileName, manifestFileName, snapshotText, type BackupSnapshot } from '../../format/backup-path.ts';
import { encodeBlobAsync } from '../../format/data-blob.ts';
import { encodeManifestBlob, signManifest, type Manifest, type ManifestFile } from '../../format/manifest.ts';
import type { BackupClient } from '../../protocol/backup-client.ts';
import { IndexUploader, type UploadSummary } from '../../protocol/index-uploader.ts';
import { renderTime } from '../../terminal/renderers.ts';
import type { ClientContext } from '../client-context.ts';
import { repositoryText } from '../repository.ts';
import type { ServerConnection } from '../server-connection.ts';
import { systemErrorText } from '../system-error-text.ts';
import type { Protection } from './backup-key.ts';
import { imageChunks } from './image-chunks.ts';
import { digestsOf, previousBackup, previousIndex, type PreviousBackup } from './previous-backup.ts';
import { serverName, type BackupSource } from './source.ts';
import { UploadProgress, uploadReport, type ProgressOutput } from './upload-progress.ts';

export interface BackupRequest {
  ns: string;
  snapshot: BackupSnapshot;
  sources: readonly BackupSource[];
  protection: Protection;
  /** Bytes: exact for images, average for directory trees. */
  chunkSize: number;
  isDryRun: boolean;
  noCache: boolean;
}

/** What uploading an archive needs. */
export interface BackupParts {
  context: ClientContext;
  client: BackupClient;
  request: BackupRequest;
  previous: PreviousBackup | null;
}

const sourceKinds = { pxar: 'directory', img: 'image', conf: 'config file', log: 'log file' } as const;

/** The key under which content is encrypted; none when it is only signed. */
export function contentKey({ mode, key }: Protection): CryptConfig | undefined {
  return mode === 'encrypt' ? key?.crypt : undefined;
}

/** Where progress is said. */
export function progressOutput({ stderr, drawsProgress, output, clock }: ClientContext): ProgressOutput {
  return { stderr, drawsProgress, width: output.width, clock };
}

/** Entry of an archive that is uploaded. */
export function indexEntry(filename: string, { size, csum }: UploadSummary, { protection }: BackupRequest): ManifestFile {
  return { filename, cryptMode: protection.mode, size, csum: toHex(csum) };
}

/**
 * Makes a snapshot of the sources (spec client-cli 4.3), or says what it would do. It is there with everything in it, or not at all.
 * Throws what the session throws, and StoreError for a source.
 */
export async function runBackup(context: ClientContext, connection: ServerConnection, request: BackupRequest): Promise<void> {
  const { stderr, output, clock } = context;
  const startMs = clock.now();
  const { ns, snapshot, protection } = request;
  const timeText = (): string => renderTime(Math.floor(clock.now() / 1000), output.timeZone);
  stderr.write(`Starting backup: ${ns === '' ? '' : `[${ns}]:`}${snapshotText(snapshot)}\nClient name: ${context.hostName}\nStarting backup protocol: ${timeText()}\n`);
  if (protection.key !== null) stderr.write(`${protection.key.source.text}\nEncryption key fingerprint: ${shortFingerprint(protection.key.crypt.fingerprint)}\n`);
  if (protection.text !== null) stderr.write(`${protection.text}\n`);
  const client = await connection.openBackup(ns, snapshot, { debug: true, noCache: request.noCache });
  try {
    const previous = await previousBackup(client, protection.key?.crypt ?? null, context);
    const parts: BackupParts = { context, client, request, previous };
    const repository = repositoryText(connection.repository);
    const files: ManifestFile[] = [];
    for (const source of request.sources) {
      stderr.write(`${request.isDryRun ? 'Would upload' : 'Upload'} ${sourceKinds[source.type]} '${source.path}' to '${repository}' as ${serverName(source)}\n`);
      if (!request.isDryRun) files.push(...(await uploadSource(parts, source)));
    }
    if (request.isDryRun) {
      stderr.write('dry-run: no upload happened\n');
      return;
    }
    if (protection.encryptedKey !== null) {
      stderr.write(`Upload RSA encoded key to '${repository}' as ${encryptedKeyFileName}\n`);
      files.push(await putBlob(parts, encryptedKeyFileName, await encodeBlobAsync(protection.encryptedKey, { compress: false })));
    }
    await client.putBlob(manifestFileName, encodeManifestBlob(manifestOf(request, files)));
    await client.finish();
  } finally {
    client.close();
  }
  stderr.write(`Duration: ${((clock.now() - startMs) / 1000).toFixed(2)}s\nEnd Time: ${timeText()}\n`);
}

function manifestOf({ snapshot, protection }: BackupRequest, files: ManifestFile[]): Manifest {
  const manifest: Manifest = { backupType: snapshot.type, backupId: snapshot.id, backupTime: snapshot.time, files, signature: null, unprotected: {} };
  return protection.key === null ? manifest : signManifest(manifest, protection.key.crypt);
}

async function uploadSource(parts: BackupParts, source: BackupSource): Promise<ManifestFile[]> {
  if (source.type === 'img') return [await uploadImage(parts, source)];
  return [await uploadFile(parts, source)];
}

async function putBlob({ client, request }: BackupParts, filename: string, encoded: Buffer): Promise<ManifestFile> {
  await client.putBlob(filename, encoded);
  return { filename, cryptMode: request.protection.mode, size: encoded.byteLength, csum: createHash('sha256').update(encoded).digest('hex') };
}

async function uploadFile(parts: BackupParts, source: BackupSource): Promise<ManifestFile> {
  const content = await readFile(source.path).catch((e: unknown) => Promise.reject(new StoreError('store.source', `unable to read '${source.path}' - ${systemErrorText(e)}`)));
  return putBlob(parts, serverName(source), await encodeBlobAsync(content, { compress: true, crypt: contentKey(parts.request.protection) }));
}

async function uploadImage(parts: BackupParts, source: BackupSource): Promise<ManifestFile> {
  const { context, client, request, previous } = parts;
  const fileName = serverName(source);
  const known = digestsOf(await previousIndex(client, previous, fileName, context));
  const startMs = performance.now();
  const upload = await IndexUploader.open(client, { kind: 'fixed', archiveName: fileName, size: source.size ?? undefined, known, crypt: contentKey(request.protection) });
  const name = fileName.replace(/\.fidx$/, '');
  const progress = new UploadProgress(name, source.size ?? 0, progressOutput(context));
  let summary: UploadSummary;
  try {
    for await (const chunk of imageChunks(source, request.chunkSize)) {
      await upload.add(chunk);
      progress.update(upload.counts);
    }
    summary = await upload.finish();
  } finally {
    progress.clear();
  }
  context.stderr.write(uploadReport(name, summary, (performance.now() - startMs) / 1000));
  return indexEntry(fileName, summary, request);
}
