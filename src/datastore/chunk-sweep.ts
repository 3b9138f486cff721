import assert from 'node:assert/strict';
import type { BigIntStats } from 'node:fs';
import { lstat, readdir, unlink } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfAborted } from '../base/async.ts';
import { errorCode, toError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { silentLog } from '../base/log.ts';
import type { SweepOptions, SweepStatistics } from './chunk-backend.ts';
import type { KeyedMutex } from './keyed-mutex.ts';
import { isTemporaryName, removeIfStale } from './replace-file.ts';
import { toStoreError } from './store-error.ts';

/** Files of one folder that are looked at side by side. */
const statBatch = 16;
const entryPattern = /^([0-9a-fA-F]{64})(\.[0-9]\.bad|\.using)?$/;
const folderPattern = /^[0-9a-f]{4}$/;
const chunkFolderCount = 65_536;

export interface SweepLimits {
  /** Seconds since the epoch; both whole. */
  minAtime: number;
  oldestWriter: number;
}

interface SweepEntry {
  path: string;
  name: string;
  digestHex: string;
  kind: 'chunk' | 'bad' | 'using';
}

export function emptySweepStatistics(): SweepStatistics {
  return { removedChunks: 0, removedBytes: 0, pendingChunks: 0, pendingBytes: 0, diskChunks: 0, diskBytes: 0, removedBad: 0, stillBad: 0 };
}

/** Phase 2 of garbage collection on a folder of chunk folders (spec formats 8.3, retention 5.3). `busy` is held, per digest, around each removal. */
export async function sweepChunkFolders(chunks: string, busy: KeyedMutex, limits: SweepLimits, options: SweepOptions): Promise<SweepStatistics> {
  assert.ok(limits.minAtime <= limits.oldestWriter, 'the limit for removal is not later than the oldest writer');
  const statistics = emptySweepStatistics();
  let handled = 0;
  let leftovers = 0;
  let percentShown = 0;
  // Folders that are missing, or are made later, hold nothing old.
  for (const folderName of (await readChunksFolder(chunks)).filter((name) => folderPattern.test(name)).toSorted()) {
    throwIfAborted(options.signal);
    const folder = join(chunks, folderName);
    const names = await readFolder(folder);
    const entries = names.map((name) => sweepEntry(folder, name)).filter((entry) => entry !== null);
    const percent = Math.floor((100 * Number.parseInt(folderName, 16)) / chunkFolderCount);
    if (entries.length > 0 && percent > percentShown) {
      percentShown = percent;
      options.onProgress?.(percent, handled);
    }
    for (let at = 0; at < entries.length; at += statBatch) {
      throwIfAborted(options.signal);
      handled += await sweepBatch(entries.slice(at, at + statBatch), busy, limits, statistics, options);
    }
    for (const name of options.dryRun === true ? [] : names.filter(isTemporaryName)) {
      if (await removeIfStale(join(folder, name), limits.minAtime * 1000)) leftovers += 1;
    }
  }
  if (leftovers > 0) (options.log ?? silentLog).info(`Removed ${leftovers} leftover temporary files`);
  return statistics;
}

async function readChunksFolder(chunks: string): Promise<string[]> {
  try {
    return await readdir(chunks);
  } catch (e) {
    throw toStoreError(e, `unable to read '${chunks}'`);
  }
}

async function readFolder(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return [];
    throw toStoreError(e, `unable to read chunk folder '${folder}'`);
  }
}

function sweepEntry(folder: string, name: string): SweepEntry | null {
  const match = entryPattern.exec(name);
  if (match === null) return null;
  const kind = match[2] === undefined ? 'chunk' : match[2] === '.using' ? 'using' : 'bad';
  return { path: `${folder}/${name}`, name, digestHex: match[1]!.toLowerCase(), kind };
}

async function statEntry(entry: SweepEntry): Promise<BigIntStats | null> {
  try {
    const found = await lstat(entry.path, { bigint: true });
    return found.isFile() ? found : null;
  } catch (e) {
    // Set aside or removed meanwhile.
    if (errorCode(e) === 'ENOENT') return null;
    throw toStoreError(e, `unable to look at chunk '${entry.path}'`);
  }
}

/** Whole seconds, cut down: the comparison of the reference. */
function atimeSeconds(found: BigIntStats): number {
  return Number(found.atimeNs / 1_000_000_000n);
}

/** Returns the number of chunks and bad chunks handled. */
async function sweepBatch(entries: readonly SweepEntry[], busy: KeyedMutex, limits: SweepLimits, statistics: SweepStatistics, { signal, dryRun = false }: SweepOptions): Promise<number> {
  const found = await Promise.all(entries.map(statEntry));
  let handled = 0;
  for (const [i, entry] of entries.entries()) {
    let file = found[i]!;
    if (file === null) continue;
    if (entry.kind === 'using' || atimeSeconds(file) < limits.minAtime) {
      throwIfAborted(signal);
      // Looked at again under the mutex: a writer of this process may have touched or replaced it since.
      const outcome = await busy.run(entry.digestHex, () => removeOld(entry, limits.minAtime, statistics, dryRun));
      if (outcome === 'removed') {
        if (entry.kind !== 'using') handled += 1;
        continue;
      }
      if (outcome === null) continue;
      file = outcome;
    }
    handled += 1;
    count(entry, file, limits, statistics);
  }
  return handled;
}

/** Removes it (a dry run only counts it) if it is still old; otherwise what is there now, or null when it vanished. */
async function removeOld(entry: SweepEntry, minAtime: number, statistics: SweepStatistics, dryRun: boolean): Promise<BigIntStats | 'removed' | null> {
  const file = await statEntry(entry);
  if (file === null) return null;
  if (entry.kind !== 'using' && atimeSeconds(file) >= minAtime) return file;
  failpoint('sweep.unlink');
  try {
    if (!dryRun) await unlink(entry.path);
  } catch (e) {
    if (entry.kind === 'bad') statistics.stillBad += 1;
    throw toStoreError(e, `unlinking chunk "${entry.name}" failed - ${toError(e).message}`);
  }
  if (entry.kind === 'using') return 'removed';
  if (entry.kind === 'bad') statistics.removedBad += 1;
  else statistics.removedChunks += 1;
  statistics.removedBytes += Number(file.size);
  return 'removed';
}

function count(entry: SweepEntry, file: BigIntStats, limits: SweepLimits, statistics: SweepStatistics): void {
  const size = Number(file.size);
  const pending = atimeSeconds(file) < limits.oldestWriter;
  if (pending) statistics.pendingBytes += size;
  else statistics.diskBytes += size;
  if (entry.kind === 'chunk' && pending) statistics.pendingChunks += 1;
  else if (entry.kind === 'chunk') statistics.diskChunks += 1;
  else if (pending) statistics.stillBad += 1;
}
