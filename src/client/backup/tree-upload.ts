import { createArchive, type ArchiveRequest } from '../../archive/create-archive.ts';
import type { ArchiveSinks } from '../../archive/archive-sinks.ts';
import type { PreviousArchive } from '../../archive/previous-archive.ts';
import { errorChain } from '../../base/errors.ts';
import type { ProgressLog } from '../../base/log.ts';
import { PayloadChunker } from '../../chunking/payload-chunker.ts';
import { BuzhashChunker } from '../../chunking/stream-chunker.ts';
import type { ChunkIndex } from '../../format/chunk-index.ts';
import { manifestFile, type ManifestFile } from '../../format/manifest.ts';
import { IndexUploader, type UploadSummary } from '../../protocol/index-uploader.ts';
import { ArchiveAccessor } from '../../pxar/archive-accessor.ts';
import { ChunkReader } from '../chunk-reader.ts';
import { ChunkSource } from '../chunk-source.ts';
import { downloadIndex } from '../snapshot-contents.ts';
import { SteadyReader } from '../steady-reader.ts';
import type { CatalogUpload } from './catalog-upload.ts';
import { ChunkedSink, PayloadUploadSink } from './chunked-sinks.ts';
import { contentKey, indexEntry, progressOutput, type BackupParts } from './parts.ts';
import { digestsOf, previousIndex } from './previous-backup.ts';
import type { BackupSource } from './source.ts';
import { UploadProgress, uploadReport } from './upload-progress.ts';

/** Chunks of the previous metadata: it is walked from front to back, but the table of a directory lies behind what is in it. */
const referenceAhead = 1;
const referenceKept = 3;

/** Lines of the archiver on stderr, out of the way of a live line. */
function archiverLog({ context }: BackupParts, progress: UploadProgress): ProgressLog {
  const say = (message: string): void => {
    progress.clear();
    context.stderr.write(`${message}\n`);
  };
  return { debug: () => {}, info: say, warn: say, error: say };
}

function archiveRequest(parts: BackupParts, source: BackupSource, sinks: ArchiveSinks, progress: UploadProgress): ArchiveRequest {
  const { tree } = parts.request;
  return {
    source: source.path,
    sinks,
    patterns: tree.patterns,
    devices: tree.devices,
    skipLostAndFound: tree.skipLostAndFound,
    skipTooLargeXattrs: tree.skipTooLargeXattrs,
    entriesMax: tree.entriesMax,
    log: archiverLog(parts, progress),
    signal: parts.signal,
  };
}

async function openUpload(parts: BackupParts, archiveName: string, previous: ChunkIndex | null): Promise<IndexUploader> {
  return IndexUploader.open(parts.client, { kind: 'dynamic', archiveName, known: digestsOf(previous), crypt: contentKey(parts.request.protection) });
}

function report({ context }: BackupParts, name: string, summary: UploadSummary, startMs: number): void {
  context.stderr.write(uploadReport(name, summary, (performance.now() - startMs) / 1000));
}

/** A directory tree in one archive, listed in the catalog (spec client-cli 4.3, 4.4). */
export async function uploadUnified(parts: BackupParts, source: BackupSource, catalog: CatalogUpload): Promise<ManifestFile[]> {
  const name = `${source.name}.pxar`;
  const fileName = `${name}.didx`;
  const upload = await openUpload(parts, fileName, await previousIndex(parts.client, parts.previous, fileName, parts.context));
  const startMs = performance.now();
  const progress = new UploadProgress(name, 0, progressOutput(parts.context));
  const sink = new ChunkedSink(upload, new BuzhashChunker(parts.request.chunkSize), () => {
    progress.update(upload.counts);
    return catalog.drain();
  });
  let summary: UploadSummary;
  try {
    catalog.encoder.startDirectory(Buffer.from(fileName));
    await createArchive({ ...archiveRequest(parts, source, { archive: sink }, progress), catalog: catalog.encoder });
    catalog.encoder.endDirectory();
    await catalog.drain();
    summary = await sink.finish();
  } finally {
    progress.clear();
  }
  report(parts, name, summary, startMs);
  return [indexEntry(fileName, summary, parts.request)];
}

/** A directory tree in two archives, of metadata and of contents; unchanged files are not read again when there is a reference (spec client-cli 4.6). */
export async function uploadSplit(parts: BackupParts, source: BackupSource): Promise<ManifestFile[]> {
  const { client, context, previous, request } = parts;
  const names = { metadata: `${source.name}.mpxar`, payload: `${source.name}.ppxar` };
  const fileNames = { metadata: `${names.metadata}.didx`, payload: `${names.payload}.didx` };
  const metadataIndex = await previousIndex(client, previous, fileNames.metadata, context);
  const payloadIndex = await previousIndex(client, previous, fileNames.payload, context);
  const uploads = { metadata: await openUpload(parts, fileNames.metadata, metadataIndex), payload: await openUpload(parts, fileNames.payload, payloadIndex) };
  const startMs = performance.now();
  const progress = new UploadProgress(names.payload, 0, progressOutput(context));
  const metadataSink = new ChunkedSink(uploads.metadata, new BuzhashChunker(request.chunkSize));
  const payloadSink = new PayloadUploadSink(uploads.payload, new PayloadChunker(request.chunkSize), () => progress.update(uploads.payload.counts));
  let summaries: { metadata: UploadSummary; payload: UploadSummary };
  try {
    await using reference = request.tree.mode === 'metadata' && payloadIndex !== null ? await openReference(parts, fileNames, payloadIndex) : null;
    await createArchive({ ...archiveRequest(parts, source, { archive: metadataSink, payload: payloadSink }, progress), previous: reference?.archive ?? null });
    summaries = { metadata: await metadataSink.finish(), payload: await payloadSink.finish() };
  } finally {
    progress.clear();
  }
  report(parts, names.metadata, summaries.metadata, startMs);
  report(parts, names.payload, summaries.payload, startMs);
  return [indexEntry(fileNames.payload, summaries.payload, request), indexEntry(fileNames.metadata, summaries.metadata, request)];
}

interface Reference extends AsyncDisposable {
  archive: PreviousArchive;
}

/** The previous metadata archive, to look unchanged files up in; null, with the reason on stderr, when it cannot be used. */
async function openReference(parts: BackupParts, fileNames: { metadata: string; payload: string }, payloadIndex: ChunkIndex): Promise<Reference | null> {
  const { connection, context, previous, request } = parts;
  if (previous === null || previous.time === null) return null;
  const [metadataFile, payloadFile] = [manifestFile(previous.manifest, fileNames.metadata), manifestFile(previous.manifest, fileNames.payload)];
  if (metadataFile === undefined || payloadFile === undefined) return null;
  const { protection, ns, snapshot } = request;
  if (payloadFile.cryptMode !== protection.mode) {
    context.stderr.write('Crypt mode mismatch, continue without reference\n');
    return null;
  }
  const { time } = previous;
  const reader = await SteadyReader.open({ open: async () => connection.openReader(ns, { ...snapshot, time }), stderr: context.stderr, pause: context.pause });
  try {
    const index = await downloadIndex(reader, 'dynamic', metadataFile);
    const chunks = new ChunkReader(new ChunkSource({ reader, crypt: contentKey(protection), cryptMode: metadataFile.cryptMode }), index, { ahead: referenceAhead, kept: referenceKept });
    context.stderr.write(`Using previous index as metadata reference for '${fileNames.metadata}'\n`);
    return {
      archive: { accessor: new ArchiveAccessor(chunks.readAt, chunks.length, null, chunks.residentAt), payloadIndex },
      [Symbol.asyncDispose]: async () => reader.close(),
    };
  } catch (e) {
    reader.close();
    if (parts.signal.aborted) throw e;
    context.stderr.write(`failed to use the previous metadata archive, continue without reference - ${errorChain(e)}\n`);
    return null;
  }
}
