import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfAborted } from '../base/async.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { errorChain, errorCode, FormatError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { archiveKind, snapshotText } from '../format/backup-path.ts';
import { blobKind, checkBlobCrc, decodeBlobAsync, isEncryptedKind, maxChunkPlainSize, verifyChunk } from '../format/data-blob.ts';
import { checkArchive } from './archive-check.ts';
import { chunkFolderNames, chunksName } from './chunk-store-layout.ts';
import type { Datastore } from './datastore.ts';
import { walkGroups } from './group-walk.ts';
import { openIndexFile } from './index-file.ts';
import { listSnapshots, loadManifest } from './snapshots.ts';

/** Chunks that are read and checked, evenly spread over the store; verify reads all. */
const sampleSize = 256;

/** What was found in a datastore that came from elsewhere. */
export interface FoundDatastore {
  groups: number;
  snapshots: number;
  /** Every chunk that is there, by the names of files. */
  chunks: DigestSet;
  sampledChunks: number;
  badChunks: number;
  /** Named by some index and not there. */
  missingChunks: number;
  /** Snapshots whose manifest, an index or a blob is damaged, or which miss chunks. */
  badSnapshots: number;
}

/**
 * Looks through a datastore that is taken over: lists its chunks, reads a sample of them, and checks every manifest, index and blob, and that all chunks that
 * indexes name are there. Changes nothing. What is damaged is a warning each; what cannot be read at all is thrown.
 */
export async function inspectDatastore(store: Datastore, options: { log: ProgressLog; signal: AbortSignal }): Promise<FoundDatastore> {
  const { log, signal } = options;
  const chunks = await listChunks(store, options);
  const found: FoundDatastore = { groups: 0, snapshots: 0, chunks, sampledChunks: 0, badChunks: 0, missingChunks: 0, badSnapshots: 0 };
  await checkSample(store, found, options);
  const missing = new DigestSet();
  for await (const item of walkGroups(store, {})) {
    if ('error' in item) throw item.error;
    found.groups += 1;
    for (const snapshot of await listSnapshots(store, item.namespace, item.group)) {
      throwIfAborted(signal);
      if (!snapshot.finished) continue;
      found.snapshots += 1;
      const name = `${item.namespace === '' ? '' : `${item.namespace}:`}${snapshotText(snapshot)}`;
      try {
        const { manifest } = await loadManifest(store, item.namespace, snapshot);
        let lost = 0;
        for (const file of manifest.files) {
          const path = join(store.snapshotPath(item.namespace, snapshot), file.filename);
          await checkArchive(path, file.filename, file);
          if (archiveKind(file.filename) !== 'blob') lost += await countMissing(path, chunks, missing);
        }
        if (lost > 0) throw new StoreError('store.chunk-missing', `${lost} of its chunks are not there`);
      } catch (e) {
        if (!(e instanceof FormatError || e instanceof StoreError)) throw e;
        found.badSnapshots += 1;
        log.warn(`${name}: ${errorChain(e)}`);
      }
    }
  }
  found.missingChunks = missing.size;
  log.info(`found ${found.groups} groups, ${found.snapshots} snapshots, ${chunks.size} chunks; ${found.sampledChunks} chunks were read, ${found.badChunks} of them are bad; ${found.badSnapshots} snapshots are damaged, ${found.missingChunks} chunks are missing`);
  if (found.badChunks + found.badSnapshots > 0) log.warn(`the copy is not whole: \`farshore verify ${store.name}\` says what is affected, and a sync job with --backfill true fetches it again`);
  return found;
}

async function listChunks(store: Datastore, { log, signal }: { log: ProgressLog; signal: AbortSignal }): Promise<DigestSet> {
  const chunks = new DigestSet();
  let percent = 0;
  let folders = 0;
  for (const folder of chunkFolderNames()) {
    throwIfAborted(signal);
    for (const name of await namesIn(join(store.path, chunksName, folder))) if (/^[0-9a-f]{64}$/.test(name) && name.startsWith(folder)) chunks.add(Buffer.from(name, 'hex'));
    folders += 1;
    const now = Math.floor((folders * 10) / 65_536) * 10;
    if (now > percent && now < 100) log.info(`listed ${now}% of the chunks (${chunks.size})`);
    percent = now;
  }
  return chunks;
}

/** A store that was not made by createChunkStore may lack folders that hold nothing. */
async function namesIn(path: string): Promise<string[]> {
  try {
    return await readdir(path);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return [];
    throw e;
  }
}

async function checkSample(store: Datastore, found: FoundDatastore, { log, signal }: { log: ProgressLog; signal: AbortSignal }): Promise<void> {
  const step = Math.max(1, Math.floor(found.chunks.size / sampleSize));
  let position = 0;
  for (const digest of found.chunks.values()) {
    position += 1;
    if (position % step !== 0) continue;
    throwIfAborted(signal);
    found.sampledChunks += 1;
    try {
      await checkChunk(await store.chunks.read(digest), digest);
    } catch (e) {
      if (!(e instanceof FormatError || e instanceof StoreError)) throw e;
      found.badChunks += 1;
      log.warn(`chunk ${toHex(digest)} is bad: ${errorChain(e)}`);
    }
  }
}

/** CRC, and of what can be read the digest; the size is not known here. */
async function checkChunk(blob: Buffer, digest: Digest): Promise<void> {
  if (isEncryptedKind(blobKind(blob))) checkBlobCrc(blob);
  else {
    const plain = await decodeBlobAsync(blob, { maxSize: maxChunkPlainSize });
    await verifyChunk(blob, digest, plain.byteLength);
  }
}

async function countMissing(path: string, chunks: DigestSet, missing: DigestSet): Promise<number> {
  let lost = 0;
  await using index = await openIndexFile(path);
  for await (const { digest } of index.entries()) {
    if (chunks.has(digest)) continue;
    lost += 1;
    missing.add(digest);
  }
  return lost;
}
