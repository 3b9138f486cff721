import { join, sep } from 'node:path';
import { throwIfAborted } from '../base/async.ts';
import { nowSeconds, systemClock, type Clock } from '../base/clock.ts';
import { AbortedError, errorChain, StoreError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { humanSize } from '../base/human-size.ts';
import type { ProgressLog } from '../base/log.ts';
import { formatTimeSpan } from '../base/time-span.ts';
import type { BackupGroup } from '../format/backup-path.ts';
import type { ChunkBackend } from './chunk-backend.ts';
import { Mark, type MarkStatistics } from './gc-mark.ts';
import { writeGcStatus, type GarbageCollectionStatus } from './gc-status.ts';
import type { ProcessLock } from './process-lock.ts';
import { defaultTuning, type DatastoreTuning } from './tuning.ts';

/** What garbage collection needs of a datastore; `Datastore` has it. */
export interface CollectableStore {
  readonly name: string;
  /** Base directory. */
  readonly path: string;
  readonly chunks: ChunkBackend;
  readonly processLock: ProcessLock;
  readonly locks: { group(namespace: string, group: BackupGroup): Promise<Disposable> };
  readonly tuning: Pick<DatastoreTuning, 'gcAtimeSafetyCheck' | 'gcAtimeCutoff' | 'gcCacheCapacity'>;
}

export interface GarbageCollectionProgress {
  phase: 'mark' | 'sweep';
  /** Of the phase, 0 to 100. */
  percent: number;
  /** Of the phase, by its speed so far; null while nothing can be said. */
  secondsLeft: number | null;
}

export interface GarbageCollectionOptions {
  /** Of the task that runs it. */
  upid: string | null;
  log: ProgressLog;
  signal?: AbortSignal;
  clock?: Clock;
  /** All other configured datastores with their base directories: none may be inside or around this one. */
  otherStores?: ReadonlyArray<{ name: string; path: string }>;
  /** Calendar event that started it, for the log. */
  scheduledBy?: string;
  /** See `moveJournalPath` of lock-path.ts. */
  moveJournal?: string;
  onProgress?: (progress: GarbageCollectionProgress) => void;
  /** Marks as always, which is harmless, then only says what would be removed; the stored status stays. */
  dryRun?: boolean;
}

/** One day and five minutes (spec formats 8.1). */
const defaultCutoff = 86_700;
/** Kept before the oldest writer when that one is older than the cutoff. */
const writerGap = 300;
/** How far the clock may be set back while chunks are marked. The smallest cutoff is one minute. */
const toleratedSetBackMs = 30_000;

/**
 * Removes the chunks that no index refers to (spec formats 8, retention 5). Returns and stores the status; a failed or aborted run leaves the old one, and
 * what it removed was garbage. StoreError `store.gc-running`, `store.locked`, `store.access-time`, `store.gc-*`; AbortedError.
 */
export async function collectGarbage(store: CollectableStore, options: GarbageCollectionOptions): Promise<GarbageCollectionStatus> {
  const { log, signal } = options;
  log.info(`starting garbage collection on store ${store.name}`);
  if (options.scheduledBy !== undefined) log.info(`task triggered by schedule '${options.scheduledBy}'`);
  using _ = store.processLock.exclusive();
  checkNesting(store, options);
  const clock = new SteadyClock(options.clock ?? systemClock);
  // Before the check of access times, which takes a second: what is touched afterwards counts as used in this run.
  const start = clock.startSeconds;
  const oldestWriter = store.processLock.oldestWriter() ?? start;
  const minAtime = await oldestKept(store, options, start, oldestWriter);

  log.info('Start GC phase1 (mark used chunks)');
  const marked = await markPhase(store, options, clock);
  throwIfAborted(signal);
  clock.check();
  failpoint('gc.marked');

  log.info('Start GC phase2 (sweep unused chunks)');
  const sweepStarted = performance.now();
  const swept = await store.chunks.sweep(minAtime, oldestWriter, {
    log,
    ...(signal === undefined ? {} : { signal }),
    dryRun: options.dryRun === true,
    onProgress(percent, handled) {
      log.info(`processed ${percent}% (${handled} chunks)`);
      options.onProgress?.({ phase: 'sweep', percent, secondsLeft: secondsLeft(sweepStarted, percent) });
    },
  });
  failpoint('gc.swept');
  const status: GarbageCollectionStatus = { upid: options.upid, ...marked, ...swept };
  if (options.dryRun === true) log.info('(dry test run: nothing was removed)');
  logSummary(status, log);
  if (options.dryRun === true) return status;
  try {
    await writeGcStatus(store.path, status);
  } catch (e) {
    log.warn(`unable to write the status of garbage collection: ${errorChain(e)}`);
  }
  return status;
}

function secondsLeft(startedMs: number, percent: number): number | null {
  return percent <= 0 ? null : Math.ceil((((performance.now() - startedMs) / percent) * (100 - percent)) / 1000);
}

function isInside(inner: string, outer: string): boolean {
  return inner === outer || inner.startsWith(outer.endsWith(sep) ? outer : outer + sep);
}

function checkNesting(store: CollectableStore, options: GarbageCollectionOptions): void {
  const own = join(store.path, '.');
  for (const other of options.otherStores ?? []) {
    const path = join(other.path, '.');
    if (!isInside(own, path) && !isInside(path, own)) continue;
    options.log.info(`Current datastore path: ${store.path}`);
    throw new StoreError('store.nested', `Aborting GC for safety reasons: nested datastores not allowed: '${other.name}' already in "${other.path}"`);
  }
}

/** The access time check, and the time before which nothing may have been used last to be removed. */
async function oldestKept(store: CollectableStore, options: GarbageCollectionOptions, start: number, oldestWriter: number): Promise<number> {
  const { log, signal } = options;
  const { gcAtimeCutoff, gcAtimeSafetyCheck, gcCacheCapacity } = store.tuning;
  let storeTime: number | null = null;
  if (gcAtimeSafetyCheck) {
    try {
      storeTime = await store.chunks.checkAccessTimes({ log, ...(signal === undefined ? {} : { signal }) });
    } catch (e) {
      if (e instanceof AbortedError) throw e;
      throw new StoreError('store.access-time', `atime safety check failed: ${errorChain(e)}`, { cause: e });
    }
    log.info('Access time update check successful, proceeding with GC.');
  } else {
    log.info('Access time update check disabled by datastore tuning options.');
  }
  const cutoff = gcAtimeCutoff === undefined ? defaultCutoff : gcAtimeCutoff * 60;
  let minAtime = start - cutoff;
  log.info(`Using access time cutoff ${formatTimeSpan(cutoff)}, minimum access time is ${rfc3339(minAtime)}`);
  if (oldestWriter < minAtime) {
    minAtime = oldestWriter - writerGap;
    log.info(`Oldest backup writer started at ${rfc3339(oldestWriter)}, extending minimum access time to ${rfc3339(minAtime)}`);
  }
  // A file server with a clock of its own: marks older than the limit would all be swept.
  if (storeTime !== null && storeTime <= minAtime) {
    throw new StoreError('store.gc-clock', `Aborting GC for safety reasons: the clock of the file system says ${rfc3339(storeTime)}, ours ${rfc3339(start)}`, {
      hint: 'Set both clocks right (NTP).',
    });
  }
  if (gcCacheCapacity !== defaultTuning.gcCacheCapacity) log.info(`Using chunk digest cache capacity of ${gcCacheCapacity}.`);
  return minAtime;
}

async function markPhase(store: CollectableStore, options: GarbageCollectionOptions, clock: SteadyClock): Promise<MarkStatistics> {
  const started = performance.now();
  try {
    return await Mark.run(
      {
        path: store.path,
        chunks: store.chunks,
        lockGroup: (namespace, group) => store.locks.group(namespace, group),
        cacheCapacity: store.tuning.gcCacheCapacity,
        moveJournal: options.moveJournal ?? null,
      },
      {
        log: options.log,
        signal: options.signal,
        onIndex(marked, total) {
          clock.check();
          const percent = Math.floor((100 * marked) / total);
          options.onProgress?.({ phase: 'mark', percent, secondsLeft: secondsLeft(started, percent) });
        },
      },
    );
  } catch (e) {
    if (e instanceof AbortedError) throw e;
    throw new StoreError(e instanceof StoreError ? e.code : 'store.gc-mark', `marking used chunks failed: ${errorChain(e)}`, { cause: e });
  }
}

/**
 * Notices when the clock is set back during the run: marks made after that would look older than they are, and used chunks as garbage.
 * Compared with the monotonic clock, at the start and after each index.
 */
class SteadyClock {
  readonly startSeconds: number;
  readonly #clock: Clock;
  readonly #startMs: number;
  readonly #steadyStartMs = performance.now();

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#startMs = clock.now();
    this.startSeconds = nowSeconds({ now: () => this.#startMs });
  }

  check(): void {
    const expected = this.#startMs + (performance.now() - this.#steadyStartMs);
    const setBack = expected - this.#clock.now();
    if (setBack <= toleratedSetBackMs) return;
    throw new StoreError('store.gc-clock', `Aborting GC for safety reasons: the system clock was set back by ${Math.round(setBack / 1000)} seconds while chunks were being marked`, {
      hint: 'Start garbage collection again when the clock is steady.',
    });
  }
}

function rfc3339(seconds: number): string {
  return new Date(seconds * 1000).toISOString().replace('.000Z', 'Z');
}

function logSummary(status: GarbageCollectionStatus, log: ProgressLog): void {
  const cache = status.cacheStats;
  if (cache !== null && cache.hits + cache.misses > 0) {
    const ratio = ((100 * cache.hits) / (cache.hits + cache.misses)).toFixed(2);
    log.info(`Chunk cache: hits ${cache.hits}, misses ${cache.misses} (hit ratio ${ratio}%)`);
  }
  log.info(`Removed garbage: ${humanSize(status.removedBytes)}`);
  log.info(`Removed chunks: ${status.removedChunks}`);
  if (status.pendingBytes > 0) log.info(`Pending removals: ${humanSize(status.pendingBytes)} (in ${status.pendingChunks} chunks)`);
  if (status.removedBad > 0) log.info(`Removed bad chunks: ${status.removedBad}`);
  if (status.stillBad > 0) log.info(`Leftover bad chunks: ${status.stillBad}`);
  log.info(`Original data usage: ${humanSize(status.indexDataBytes)}`);
  if (status.indexDataBytes > 0) log.info(`On-Disk usage: ${humanSize(status.diskBytes)} (${((100 * status.diskBytes) / status.indexDataBytes).toFixed(2)}%)`);
  log.info(`On-Disk chunks: ${status.diskChunks}`);
  log.info(`Deduplication factor: ${(status.diskBytes > 0 ? status.indexDataBytes / status.diskBytes : 1).toFixed(2)}`);
  if (status.diskChunks > 0) log.info(`Average chunk size: ${humanSize(Math.floor(status.diskBytes / status.diskChunks))}`);
}
