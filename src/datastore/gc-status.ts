import { join } from 'node:path';
import { errorCode, FormatError } from '../base/errors.ts';
import { readFileLimited } from './file-read.ts';
import { replaceFile } from './replace-file.ts';

/** Result of the last garbage collection that reached its end (spec formats 4.4, retention 5.4). Bytes and counts. */
export interface GarbageCollectionStatus {
  /** UPID of that run's task; null before the first. */
  upid: string | null;
  indexFileCount: number;
  /** Sum of the logical sizes of all marked indexes. */
  indexDataBytes: number;
  diskBytes: number;
  diskChunks: number;
  removedBytes: number;
  removedChunks: number;
  pendingBytes: number;
  pendingChunks: number;
  removedBad: number;
  stillBad: number;
  /** Null: no cache was used, or written by a release that had none. */
  cacheStats: { hits: number; misses: number } | null;
}

const statusName = '.gc-status';
const maxStatusSize = 64 * 1024;

/** Names in the file, in its order. */
const numberKeys = [
  ['index-file-count', 'indexFileCount'],
  ['index-data-bytes', 'indexDataBytes'],
  ['disk-bytes', 'diskBytes'],
  ['disk-chunks', 'diskChunks'],
  ['removed-bytes', 'removedBytes'],
  ['removed-chunks', 'removedChunks'],
  ['pending-bytes', 'pendingBytes'],
  ['pending-chunks', 'pendingChunks'],
  ['removed-bad', 'removedBad'],
  ['still-bad', 'stillBad'],
] as const;

/** A status without any run. */
export function emptyGcStatus(): GarbageCollectionStatus {
  const zeros = Object.fromEntries(numberKeys.map(([, name]) => [name, 0])) as Record<(typeof numberKeys)[number][1], number>;
  return { upid: null, ...zeros, cacheStats: null };
}

/** The JSON object in the reference's names and order; also the API's form. */
export function gcStatusJson(status: GarbageCollectionStatus): Record<string, unknown> {
  return {
    upid: status.upid,
    ...Object.fromEntries(numberKeys.map(([key, name]) => [key, status[name]])),
    ...(status.cacheStats === null ? {} : { 'cache-stats': { hits: status.cacheStats.hits, misses: status.cacheStats.misses } }),
  };
}

/** Content of the file: compact, no newline. */
export function encodeGcStatus(status: GarbageCollectionStatus): string {
  return JSON.stringify(gcStatusJson(status));
}

/** Strict: every number is mandatory. FormatError `format.gc-status`. */
export function parseGcStatus(text: string): GarbageCollectionStatus {
  const fail = (why: string): never => {
    throw new FormatError('format.gc-status', `garbage collection status: ${why}`);
  };
  const count = (value: unknown, key: string): number =>
    typeof value === 'number' && Number.isSafeInteger(value) && value >= 0 ? value : fail(`'${key}' is not a number`);
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return fail('not JSON');
  }
  if (typeof parsed !== 'object' || parsed === null) return fail('not an object');
  const object = parsed as Record<string, unknown>;
  const status = emptyGcStatus();
  const { upid } = object;
  if (upid !== undefined && upid !== null && typeof upid !== 'string') return fail("'upid' is not a text");
  status.upid = upid ?? null;
  for (const [key, name] of numberKeys) status[name] = count(object[key], key);
  const cache = object['cache-stats'];
  if (cache !== undefined && cache !== null) {
    if (typeof cache !== 'object') return fail("'cache-stats' is not an object");
    const { hits, misses } = cache as Record<string, unknown>;
    status.cacheStats = { hits: count(hits, 'hits'), misses: count(misses, 'misses') };
  }
  return status;
}

/** Status of the datastore at `basePath`; zeros when there was no run. FormatError when the file is damaged: the caller logs it and goes on with zeros. */
export async function readGcStatus(basePath: string): Promise<GarbageCollectionStatus> {
  let bytes: Buffer;
  try {
    bytes = await readFileLimited(join(basePath, statusName), maxStatusSize);
  } catch (e) {
    if (errorCode(e) === 'store.missing') return emptyGcStatus();
    throw e;
  }
  return parseGcStatus(bytes.toString('utf8'));
}

/** Replaces the status file. StoreError. */
export async function writeGcStatus(basePath: string, status: GarbageCollectionStatus): Promise<void> {
  await replaceFile(join(basePath, statusName), encodeGcStatus(status));
}
