import { throwIfAborted } from '../base/async.ts';
import { toHex } from '../base/bytes.ts';
import { nowSeconds, systemClock, type Clock } from '../base/clock.ts';
import { AbortedError, errorChain, errorCode, FormatError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { archiveKind, clientLogFileName, compareGroups, groupText, snapshotPath, snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { ChunkIndex } from '../format/chunk-index.ts';
import { blobKind, checkBlobCrc, decodeBlobAsync, isEncryptedKind, maxBlobPlainSize } from '../format/data-blob.ts';
import { verifyState, type Manifest, type ManifestFile } from '../format/manifest.ts';
import { parseUpid } from '../format/upid.ts';
import { archiveContent, compareArchiveContent } from './archive-check.ts';
import type { Datastore } from './datastore.ts';
import { readFileLimited } from './file-read.ts';
import { storeAndNamespaceText, walkGroups, type WalkOptions } from './group-walk.ts';
import { groupExists, noSuchGroup } from './groups.ts';
import { markHarmedSnapshots } from './harmed-snapshots.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import { listSnapshots, setVerifyState, type LoadedManifest } from './snapshots.ts';
import { ChunkVerifier } from './verify-chunks.ts';

const MiB = 1024 * 1024;
const secondsPerDay = 86_400;
/** 128 MiB of plain data that does not compress, and its header. */
const maxBlobFileSize = maxBlobPlainSize + 4096;
/** An index of 256 TiB in chunks of 4 MiB; larger ones are refused rather than read into memory. */
const maxIndexFileSize = 2 ** 31;

export interface VerifyOptions {
  /** The task that verifies: stored in each manifest. */
  upid: string;
  log: ProgressLog;
  /** Looked at between chunks; the snapshot at hand keeps its old state. */
  signal?: AbortSignal | undefined;
  clock?: Clock;
  /** Leave out what has a verify state, ok or failed, that is not outdated. Default true. */
  ignoreVerified?: boolean | undefined;
  /** Days after which a state no longer counts; absent = never. */
  outdatedAfter?: number | undefined;
  /** Chunks read at the same time; default: the datastore's tuning. */
  readThreads?: number | undefined;
  /** Chunks checked at the same time; default: the datastore's tuning. */
  verifyThreads?: number | undefined;
  /** Whose groups the walk's `access` limits the run to; only for its log. */
  limitedTo?: string | undefined;
  /**
   * True for a verify state that came with a copy: it speaks of the source's chunks, not of the ones here, and counts as none. `upid` is
   * the task that the state names.
   */
  isForeign?: ((namespace: string, snapshot: BackupSnapshot, upid: string) => boolean) | undefined;
  /** Told of the snapshots and groups that failed, before that is thrown. */
  onFailed?: ((failures: readonly string[]) => void) | undefined;
}

export interface VerifySummary {
  verifiedSnapshots: number;
  /** Recently verified, unfinished, in use or gone. */
  skippedSnapshots: number;
}

type Outcome = 'ok' | 'failed' | 'skipped';

/** Verifies one snapshot (task `verify_snapshot`). Throws StoreError `store.verify-failed`, AbortedError. */
export async function verifySnapshot(store: Datastore, namespace: string, snapshot: BackupSnapshot, options: VerifyOptions): Promise<VerifySummary> {
  const run = new VerifyRun(store, options);
  await run.snapshot(namespace, snapshot);
  return run.end('all');
}

/**
 * Verifies the snapshots of a group, newest first (task `verify_group`). A group that is not there is a failure, unlike with the
 * reference (spec retention 12.5). Throws StoreError `store.verify-failed`, AbortedError.
 */
export async function verifyGroup(store: Datastore, namespace: string, group: BackupGroup, options: VerifyOptions): Promise<VerifySummary> {
  const run = new VerifyRun(store, options);
  await run.group(namespace, group, { done: 0, count: 1 });
  return run.end('all');
}

/**
 * Verifies what a walk over the datastore reaches (tasks `verify`, `verificationjob`), sorted by group over all namespaces, newest snapshot
 * first. `access` limits it to what the caller may touch. Throws StoreError `store.verify-failed` after all is done; AbortedError.
 */
export async function verifyNamespaces(store: Datastore, walk: WalkOptions, options: VerifyOptions): Promise<VerifySummary> {
  const run = new VerifyRun(store, options);
  const { log } = options;
  log.info(`verify datastore ${store.name}`);
  if (options.limitedTo !== undefined) log.info(`limiting to backups owned by ${options.limitedTo}`);
  const groups: Array<{ namespace: string; group: BackupGroup }> = [];
  for await (const item of walkGroups(store, walk)) {
    if ('error' in item) {
      const text = `error on iterating groups in ns '${item.namespace}' - ${errorChain(item.error)}`;
      log.error(text);
      run.failures.push(text);
    } else if (groupText(item.group) !== 'host/benchmark') groups.push(item);
  }
  log.info(`found ${groups.length} groups`);
  run.logThreads();
  // Stable: namespaces stay in the order of the walk.
  groups.sort((a, b) => compareGroups(a.group, b.group));
  for (const [done, { namespace, group }] of groups.entries()) await run.group(namespace, group, { done, count: groups.length });
  return run.end(walk.access === undefined ? 'all' : 'own');
}

/** What one task has verified so far (spec retention 6). */
class VerifyRun {
  /** Snapshots, and errors of the walk, that make the task fail. */
  readonly failures: string[] = [];
  readonly #store: Datastore;
  readonly #options: VerifyOptions;
  readonly #clock: Clock;
  readonly #chunks: ChunkVerifier;
  readonly #readThreads: number;
  readonly #verifyThreads: number;
  /** Snapshots whose state this run has written or tried to, by relative path. */
  readonly #visited = new Set<string>();
  readonly #summary: VerifySummary = { verifiedSnapshots: 0, skippedSnapshots: 0 };

  constructor(store: Datastore, options: VerifyOptions) {
    this.#store = store;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#readThreads = options.readThreads ?? store.tuning.verificationReaders;
    this.#verifyThreads = options.verifyThreads ?? store.tuning.verificationWorkers;
    const { log, signal } = options;
    this.#chunks = new ChunkVerifier(store, { readThreads: this.#readThreads, verifyThreads: this.#verifyThreads, log, signal, clock: this.#clock });
  }

  logThreads(): void {
    this.#options.log.info(`using ${this.#readThreads} read and ${this.#verifyThreads} verify thread(s)`);
  }

  /** `progress`: groups done before this one, and groups in all. */
  async group(namespace: string, group: BackupGroup, progress: { done: number; count: number }): Promise<void> {
    const { log } = this.#options;
    let snapshots;
    try {
      snapshots = (await listSnapshots(this.#store, namespace, group)).toReversed();
      if (snapshots.length === 0 && !(await groupExists(this.#store, namespace, group))) throw noSuchGroup(this.#store, namespace, group);
    } catch (e) {
      log.error(`verify ${storeAndNamespaceText(this.#store, namespace)}, group ${groupText(group)} - unable to list backups: ${errorChain(e)}`);
      this.failures.push(namespace === '' ? groupText(group) : `${namespace}/${groupText(group)}`);
      return;
    }
    log.info(`verify group ${this.#store.name}:${groupText(group)} (${snapshots.length} snapshots)`);
    if (namespace !== '') log.info(`  in namespace '${namespace}'`);
    for (const [i, snapshot] of snapshots.entries()) {
      await this.snapshot(namespace, snapshot);
      log.info(`percentage done: ${percentageText(progress, i + 1, snapshots.length)}`);
    }
  }

  /** Holds the shared lock throughout, so that nobody removes or replaces what is being verified. */
  async snapshot(namespace: string, snapshot: BackupSnapshot): Promise<void> {
    throwIfAborted(this.#options.signal);
    const outcome = await this.#snapshotOutcome(namespace, snapshot);
    if (outcome === 'skipped') this.#summary.skippedSnapshots += 1;
    else this.#summary.verifiedSnapshots += 1;
    if (outcome === 'failed') this.failures.push(snapshotPath(namespace, snapshot));
  }

  async #snapshotOutcome(namespace: string, snapshot: BackupSnapshot): Promise<Outcome> {
    const { log } = this.#options;
    const name = `${this.#store.name}:${snapshotText(snapshot)}`;
    const skipped = (why: string): Outcome => {
      log.info(`SKIPPED: verify ${name}${why}`);
      return 'skipped';
    };
    let reader;
    try {
      reader = await SnapshotReader.open(this.#store, namespace, snapshot);
    } catch (e) {
      if (errorCode(e) === 'store.no-such-snapshot') return skipped(' - snapshot does not exist (anymore).');
      if (errorCode(e) === 'store.locked') return skipped(` - could not acquire snapshot lock: ${errorChain(e)}`);
      throw e;
    }
    using _reader = reader;
    let loaded: LoadedManifest;
    try {
      if (!(await reader.isFinished())) return skipped(' - it has no manifest: unfinished backup');
      loaded = await reader.manifest();
      requireOwnManifest(loaded.manifest, snapshot);
    } catch (e) {
      log.error(`verify ${name} - manifest load error: ${errorChain(e)}`);
      return 'failed';
    }
    if (this.#isRecentlyVerified(namespace, snapshot, loaded.manifest)) return skipped(' (recently verified)');
    this.#visited.add(snapshotPath(namespace, snapshot));
    log.info(`verify ${name}`);
    const good = await this.#checkFiles(reader, loaded.manifest, name);
    try {
      await setVerifyState(this.#store, namespace, snapshot, good ? 'ok' : 'failed', this.#options.upid);
    } catch (e) {
      log.error(`verify ${name} - manifest update error: ${errorChain(e)}`);
      return 'failed';
    }
    return good ? 'ok' : 'failed';
  }

  #isRecentlyVerified(namespace: string, snapshot: BackupSnapshot, manifest: Manifest): boolean {
    if (this.#options.ignoreVerified === false || manifest.unprotected['verify_state'] === undefined) return false;
    try {
      const state = verifyState(manifest);
      if (state === null) throw new FormatError('format.verify-state', 'the verify state is not readable');
      if (this.#options.isForeign?.(namespace, snapshot, state.upid) === true) return false;
      const days = Math.floor((nowSeconds(this.#clock) - parseUpid(state.upid).starttime) / secondsPerDay);
      return this.#options.outdatedAfter === undefined || days <= this.#options.outdatedAfter;
    } catch (e) {
      this.#options.log.warn(`error reading manifest: ${errorChain(e)}`);
      return false;
    }
  }

  async #checkFiles(reader: SnapshotReader, manifest: Manifest, name: string): Promise<boolean> {
    const { log, signal } = this.#options;
    let good = true;
    const complain = (filename: string, e: unknown): void => {
      if (e instanceof AbortedError) throw e;
      good = false;
      log.error(`verify ${name}/${filename} failed: ${errorChain(e)}`);
    };
    for (const file of manifest.files) {
      throwIfAborted(signal);
      log.info(`  check ${file.filename}`);
      try {
        if (archiveKind(file.filename) === 'blob') await checkBlobFile(reader, file);
        else await this.#checkIndexFile(reader, file);
      } catch (e) {
        complain(file.filename, e);
      }
    }
    // The manifest does not list it, so only its own checksum can tell.
    if ((await reader.files()).includes(clientLogFileName)) {
      try {
        checkBlobCrc(await reader.read(clientLogFileName, maxBlobFileSize));
      } catch (e) {
        complain(clientLogFileName, e);
      }
    }
    return good;
  }

  async #checkIndexFile(reader: SnapshotReader, file: ManifestFile): Promise<void> {
    const kind = archiveKind(file.filename);
    if (kind === 'blob') throw new FormatError('format.archive-name', `${file.filename} is no index`);
    const index = ChunkIndex.parse(kind, await reader.read(file.filename, maxIndexFileSize));
    const csum = toHex(index.computeCsum());
    compareArchiveContent(file, { size: index.size, csum });
    // Nobody relies on the stored copy, but a difference says that the file is not as it was written.
    if (toHex(index.csum) !== csum) throw new FormatError('format.archive-csum', 'wrong index checksum in its header');
    const started = this.#clock.now();
    const { readBytes, decodedBytes, errors } = await this.#chunks.verifyIndex(index, file.cryptMode === 'encrypt');
    const seconds = (this.#clock.now() - started) / 1000;
    const read = readBytes / MiB;
    const decoded = decodedBytes / MiB;
    const speed = (amount: number): string => (amount === 0 ? 0 : amount / Math.max(seconds, 0.001)).toFixed(2);
    this.#options.log.info(
      `  verified ${read.toFixed(2)}/${decoded.toFixed(2)} MiB in ${seconds.toFixed(2)} seconds, speed ${speed(read)}/${speed(decoded)} MiB/s (${errors} errors)`,
    );
    if (errors > 0) throw new FormatError('format.chunks', 'chunks could not be verified');
  }

  /**
   * Ends the task. Snapshots outside of it that need a chunk which was found corrupt are marked as failed, too: nobody would know otherwise
   * until they are restored. `show`: whether the log may name snapshots of others.
   */
  async end(show: 'all' | 'own'): Promise<VerifySummary> {
    const { log, signal, upid } = this.#options;
    if (this.#chunks.corrupt.size > 0) {
      await markHarmedSnapshots(this.#store, this.#chunks.corrupt, { visited: this.#visited, upid, log, signal, showNames: show === 'all' });
    }
    if (this.failures.length === 0) return this.#summary;
    log.error('Failed to verify the following snapshots/groups:');
    for (const failure of this.failures) log.error(`\t${failure}`);
    this.#options.onFailed?.(this.failures);
    throw new StoreError('store.verify-failed', 'verification failed - please check the log for details');
  }
}

/** A manifest in the wrong place would vouch for another snapshot's files. */
function requireOwnManifest(manifest: Manifest, snapshot: BackupSnapshot): void {
  const own = { type: manifest.backupType, id: manifest.backupId, time: manifest.backupTime };
  if (own.type === snapshot.type && own.id === snapshot.id && own.time === snapshot.time) return;
  throw new FormatError('format.manifest', `it is the manifest of another snapshot: ${own.type}/${own.id}, time ${own.time}`);
}

async function checkBlobFile(reader: SnapshotReader, file: ManifestFile): Promise<void> {
  const path = reader.filePath(file.filename);
  compareArchiveContent(file, await archiveContent(path, file.filename));
  const raw = await readFileLimited(path, maxBlobFileSize);
  // Encrypted ones cannot be decoded without the key: their CRC must do.
  if (isEncryptedKind(blobKind(raw))) checkBlobCrc(raw);
  else await decodeBlobAsync(raw);
}

/** The text after `percentage done: ` (spec retention 6.5): the `i`-th of `n` snapshots of the group after `done` of `count` is finished. */
export function percentageText(progress: { done: number; count: number }, i: number, n: number): string {
  const { done, count } = progress;
  const percent = ((100 * (done + i / n)) / count).toFixed(2);
  if (count === 1) return `${percent}% (${i}/${n} snapshots)`;
  if (i === n) return `${percent}% (${done + 1}/${count} groups)`;
  return `${percent}% (${done}/${count} groups, ${i}/${n} snapshots in group #${done + 1})`;
}
