import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { NetworkError, StoreError } from '../../base/errors.ts';
import { shortFingerprint } from '../../crypto/crypt-config.ts';
import { encryptedKeyFileName, manifestFileName, snapshotText } from '../../format/backup-path.ts';
import { encodeBlobAsync } from '../../format/data-blob.ts';
import { encodeManifestBlob, signManifest, type Manifest, type ManifestFile } from '../../format/manifest.ts';
import { IndexUploader, type UploadSummary } from '../../protocol/index-uploader.ts';
import { renderTime } from '../../terminal/renderers.ts';
import type { ClientContext } from '../client-context.ts';
import { repositoryText } from '../repository.ts';
import type { ServerConnection } from '../server-connection.ts';
import { systemErrorText } from '../system-error-text.ts';
import { CatalogUpload } from './catalog-upload.ts';
import { ChunkBuffers, imageChunks, withDigests } from './image-chunks.ts';
import { contentKey, indexEntry, progressOutput, type BackupParts, type BackupRequest } from './parts.ts';
import { digestsOf, previousBackup, previousIndex } from './previous-backup.ts';
import { repeatedly, SnapshotCheck, type AttemptProgress } from './repeat.ts';
import { serverName, type BackupSource } from './source.ts';
import { uploadSplit, uploadUnified } from './tree-upload.ts';
import { UploadProgress, uploadReport } from './upload-progress.ts';

const sourceKinds = { pxar: 'directory', img: 'image', conf: 'config file', log: 'log file' } as const;

/**
 * Makes a snapshot of the sources (spec client-cli 4.3), or says what it would do. It is there with everything in it, or not at all. A session ends with its
 * connection; when that is lost the backup starts again, unless a source can be read only once. Throws what the session throws, and StoreError for a source.
 */
export async function runBackup(context: ClientContext, connection: ServerConnection, request: BackupRequest, signal: AbortSignal): Promise<void> {
  const { stderr, output, clock } = context;
  const startMs = clock.now();
  const { ns, snapshot, protection } = request;
  const timeText = (): string => renderTime(Math.floor(clock.now() / 1000), output.timeZone);
  stderr.write(`Starting backup: ${ns === '' ? '' : `[${ns}]:`}${snapshotText(snapshot)}\nClient name: ${context.hostName}\nStarting backup protocol: ${timeText()}\n`);
  if (protection.key !== null) stderr.write(`${protection.key.source.text}\nEncryption key fingerprint: ${shortFingerprint(protection.key.crypt.fingerprint)}\n`);
  if (protection.text !== null) stderr.write(`${protection.text}\n`);
  const isRepeatable = request.sources.every((source) => source.type !== 'img' || source.size !== null);
  await repeatedly({ ...context, isRepeatable, signal }, new SnapshotCheck(connection, ns, snapshot), (progress) => backUpOnce(context, connection, request, { signal, progress }));
  if (request.isDryRun) return;
  stderr.write(`Duration: ${((clock.now() - startMs) / 1000).toFixed(2)}s\nEnd Time: ${timeText()}\n`);
}

/** One session. Throws its NetworkError when it has ended. */
async function backUpOnce(context: ClientContext, connection: ServerConnection, request: BackupRequest, { signal, progress }: { signal: AbortSignal; progress: AttemptProgress }): Promise<void> {
  const { stderr } = context;
  const { ns, snapshot, protection } = request;
  const client = await connection.openBackup(ns, snapshot, { debug: true, noCache: request.noCache });
  progress.hasBegun = true;
  try {
    const previous = await previousBackup(client, protection.key?.crypt ?? null, context);
    const parts: BackupParts = { context, connection, client, request, previous, signal };
    const repository = repositoryText(connection.repository);
    const files: ManifestFile[] = [];
    let catalog: CatalogUpload | null = null;
    for (const source of request.sources) {
      stderr.write(`${request.isDryRun ? 'Would upload' : 'Upload'} ${sourceKinds[source.type]} '${source.path}' to '${repository}' as ${shownName(source, request)}\n`);
      if (request.isDryRun) continue;
      if (source.type === 'pxar' && request.tree.mode === 'legacy') {
        catalog ??= await CatalogUpload.open(parts);
        files.push(...(await uploadUnified(parts, source, catalog)));
      } else {
        files.push(...(await uploadSource(parts, source)));
      }
    }
    if (request.isDryRun) {
      stderr.write('dry-run: no upload happened\n');
      return;
    }
    if (catalog !== null) files.push(await catalog.finish());
    if (protection.encryptedKey !== null) {
      stderr.write(`Upload RSA encoded key to '${repository}' as ${encryptedKeyFileName}\n`);
      files.push(await putBlob(parts, encryptedKeyFileName, await encodeBlobAsync(protection.encryptedKey, { compress: false })));
    }
    const manifest = manifestOf(request, files);
    await client.putBlob(manifestFileName, encodeManifestBlob(manifest));
    progress.finishing = manifest;
    await client.finish();
  } catch (e) {
    throw client.failure instanceof NetworkError ? client.failure : e;
  } finally {
    client.close();
  }
}

/** A split archive is named by its metadata; a dry run does not know of it, as in the reference. */
function shownName(source: BackupSource, { tree, isDryRun }: BackupRequest): string {
  return source.type === 'pxar' && tree.mode !== 'legacy' && !isDryRun ? `${source.name}.mpxar.didx` : serverName(source);
}

function manifestOf({ snapshot, protection }: BackupRequest, files: ManifestFile[]): Manifest {
  const manifest: Manifest = { backupType: snapshot.type, backupId: snapshot.id, backupTime: snapshot.time, files, signature: null, unprotected: {} };
  return protection.key === null ? manifest : signManifest(manifest, protection.key.crypt);
}

async function uploadSource(parts: BackupParts, source: BackupSource): Promise<ManifestFile[]> {
  if (source.type === 'img') return [await uploadImage(parts, source)];
  return source.type === 'pxar' ? uploadSplit(parts, source) : [await uploadFile(parts, source)];
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
  const buffers = new ChunkBuffers(request.chunkSize);
  const upload = await IndexUploader.open(client, { kind: 'fixed', archiveName: fileName, size: source.size ?? undefined, known, crypt: contentKey(request.protection), release: (bytes) => buffers.give(bytes) });
  const name = fileName.replace(/\.fidx$/, '');
  const progress = new UploadProgress(name, source.size ?? 0, progressOutput(context));
  let summary: UploadSummary;
  try {
    for await (const { bytes, digest } of withDigests(imageChunks(source, buffers), (chunk) => upload.digestOf(chunk))) {
      await upload.add(bytes, digest);
      progress.update(upload.counts);
    }
    summary = await upload.finish();
  } finally {
    progress.clear();
  }
  context.stderr.write(uploadReport(name, summary, (performance.now() - startMs) / 1000));
  return indexEntry(fileName, summary, request);
}
