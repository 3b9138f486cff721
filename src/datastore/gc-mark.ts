import type { Dirent } from 'node:fs';
import { readdir, realpath, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { throwIfAborted } from '../base/async.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import { errorChain, errorCode, FormatError, StoreError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import type { ProgressLog } from '../base/log.ts';
import { backupTypes, isBackupId, joinNamespace, namespacePath, parseBackupTime, type BackupGroup } from '../format/backup-path.ts';
import type { ChunkBackend } from './chunk-backend.ts';
import { DigestLru } from './digest-lru.ts';
import { readFileLimited } from './file-read.ts';
import { indexKindOf, openIndexFile, type IndexFile } from './index-file.ts';
import { LockFile } from './lock-file.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Chunks touched side by side. */
const touchBatch = 32;
/** Restarts of a group whose newest snapshot loses an index meanwhile; after these the group is locked (spec formats 8.2). */
const unlockedRetries = 10;
const journalWaitMs = 10_000;
const maxJournalSize = 64 * 1024 * 1024;
const indexName = /\.[fd]idx$/;

export interface MarkSource {
  /** Base directory of the datastore. */
  path: string;
  chunks: ChunkBackend;
  /** Exclusive lock of a group, without waiting. */
  lockGroup(namespace: string, group: BackupGroup): Promise<Disposable>;
  /** Capacity of the digest cache; 0 = none. */
  cacheCapacity: number;
  /** Text file with the paths of indexes that were being moved, itself its lock (spec formats 4.8). */
  moveJournal: string | null;
}

export interface MarkOptions {
  log: ProgressLog;
  signal?: AbortSignal | undefined;
  /** After each index. */
  onIndex?: (marked: number, total: number) => void;
}

export interface MarkStatistics {
  indexFileCount: number;
  indexDataBytes: number;
  cacheStats: { hits: number; misses: number } | null;
}

/** An index vanished between listing and opening. */
class VanishedIndex extends Error {}

/**
 * Phase 1 of garbage collection: marks every chunk that any index below the base names as used now (spec formats 8.2, retention 5.2).
 * Anything that it cannot read makes it fail: a chunk that is not marked will be removed.
 */
export class Mark {
  readonly #source: MarkSource;
  readonly #options: MarkOptions;
  readonly #cache: DigestLru | null;
  /** Indexes found on disk that were not marked yet. */
  readonly #unmarked: Set<string>;
  #total: number;
  #marked = 0;
  #percentShown = 0;
  #dataBytes = 0;

  private constructor(source: MarkSource, options: MarkOptions, found: readonly string[]) {
    this.#source = source;
    this.#options = options;
    this.#cache = source.cacheCapacity > 0 ? new DigestLru(source.cacheCapacity) : null;
    this.#unmarked = new Set(found);
    this.#total = this.#unmarked.size;
  }

  static async run(source: MarkSource, options: MarkOptions): Promise<MarkStatistics> {
    const mark = new Mark(source, options, await findIndexFiles(source.path, options));
    await mark.#namespace('');
    await mark.#leftovers();
    await mark.#moveJournal();
    const cache = mark.#cache;
    return {
      indexFileCount: mark.#marked,
      indexDataBytes: mark.#dataBytes,
      cacheStats: cache === null ? null : { hits: cache.hits, misses: cache.misses },
    };
  }

  async #namespace(namespace: string): Promise<void> {
    throwIfAborted(this.#options.signal);
    const base = join(this.#source.path, namespacePath(namespace));
    for (const type of backupTypes) {
      for (const entry of await listDirectory(join(base, type))) {
        if (isDirectory(entry) && isBackupId(entry.name)) await this.#group(namespace, { type, id: entry.name });
      }
    }
    for (const entry of await listDirectory(join(base, 'ns'))) {
      // An impossible name is an error: what is below it would not be marked in its turn.
      if (isDirectory(entry)) await this.#namespace(joinNamespace(namespace, entry.name));
    }
  }

  async #group(namespace: string, group: BackupGroup): Promise<void> {
    const path = join(this.#source.path, namespacePath(namespace), group.type, group.id);
    for (let attempt = 0; ; attempt += 1) {
      try {
        if (attempt < unlockedRetries) return await this.#snapshots(path);
        using _ = await this.#lockGroup(namespace, group);
        return await this.#snapshots(path);
      } catch (e) {
        if (!(e instanceof VanishedIndex)) throw e;
        if (attempt >= unlockedRetries) throw new StoreError('store.gc-mark', `index of the newest snapshot of group ${quotedPath(path)} vanished although the group is locked`, { cause: e });
      }
    }
  }

  async #lockGroup(namespace: string, group: BackupGroup): Promise<Disposable> {
    try {
      return await this.#source.lockGroup(namespace, group);
    } catch (e) {
      throw new StoreError('store.locked', 'exhausted retries and failed to lock group', { cause: e });
    }
  }

  /**
   * Newest first: a backup that starts meanwhile reuses the chunks of the newest snapshot, and prune removes older ones first. So a vanished
   * older index cost nothing, a vanished newest one means that another has become the newest.
   */
  async #snapshots(groupPath: string): Promise<void> {
    const names = (await listDirectory(groupPath)).filter((entry) => isDirectory(entry) && isSnapshotName(entry.name)).map((entry) => entry.name);
    for (const [i, name] of names.toSorted().toReversed().entries()) {
      const path = join(groupPath, name);
      for (const entry of await listDirectory(path)) {
        if (!indexName.test(entry.name)) continue;
        const marked = await this.#index(join(path, entry.name));
        if (!marked && i === 0) throw new VanishedIndex(join(path, entry.name));
      }
    }
  }

  async #leftovers(): Promise<void> {
    let count = 0;
    for (const path of this.#unmarked) {
      if (!(await this.#index(path))) continue;
      count += 1;
      this.#options.log.warn(`Marked chunks for unexpected index file at '${quotedPath(path)}'`);
    }
    if (count > 0) this.#options.log.warn(`Found ${count} index files outside of expected directory scheme`);
  }

  async #moveJournal(): Promise<void> {
    const journal = this.#source.moveJournal;
    if (journal === null) return;
    using _ = await LockFile.acquire(journal, { mode: 'exclusive', timeoutMs: journalWaitMs, ...(this.#options.signal === undefined ? {} : { signal: this.#options.signal }) });
    const text = (await readFileLimited(journal, maxJournalSize)).toString('utf8');
    for (const path of text.split('\n')) {
      if (path !== '') await this.#index(path);
    }
    // Only now: after a failure the next run finds them again.
    if (text !== '') await truncate(journal, 0);
  }

  /** False when the file is not there any more. */
  async #index(path: string): Promise<boolean> {
    throwIfAborted(this.#options.signal);
    failpoint('gc.index');
    const index = await this.#open(path);
    if (index === null) {
      this.#unmarked.delete(path);
      return false;
    }
    await using _ = index;
    if (!this.#unmarked.delete(path)) {
      this.#options.log.info(`Encountered new index file '${quotedPath(path)}', increment total index file count`);
      this.#total += 1;
    }
    await this.#chunks(index);
    this.#marked += 1;
    this.#dataBytes += index.size;
    const percent = Math.floor((100 * this.#marked) / this.#total);
    if (percent > this.#percentShown) {
      this.#percentShown = percent;
      this.#options.log.info(`marked ${percent}% (${this.#marked} of ${this.#total} index files)`);
    }
    this.#options.onIndex?.(this.#marked, this.#total);
    return true;
  }

  async #open(path: string): Promise<IndexFile | null> {
    const kind = indexKindOf(path);
    try {
      try {
        return await openIndexFile(path, kind);
      } catch (e) {
        // Links are not followed by opening; an index that somebody put elsewhere counts all the same.
        if (!(e instanceof StoreError) || errorCode(e.cause) !== 'ELOOP') throw e;
        return await openIndexFile(await realpath(path), kind);
      }
    } catch (e) {
      if (errorCode(e) === 'store.missing' || errorCode(e) === 'ENOENT') return null;
      throw new StoreError('store.gc-mark', `can't open ${kind} index '${quotedPath(path)}': ${errorChain(e)}`, { cause: e });
    }
  }

  async #chunks(index: IndexFile): Promise<void> {
    try {
      for await (const batch of index.batches()) {
        const todo = this.#cache === null ? batch : batch.filter((entry) => !this.#cache!.remember(entry.digest));
        for (let at = 0; at < todo.length; at += touchBatch) {
          throwIfAborted(this.#options.signal);
          const part = todo.slice(at, at + touchBatch);
          const present = await Promise.all(part.map((entry) => this.#touch(entry.digest)));
          for (const [i, entry] of part.entries()) {
            if (!present[i]!) this.#options.log.warn(`warning: unable to access non-existent chunk ${toHex(entry.digest)}, required by ${quotedPath(index.path)}`);
          }
        }
      }
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      throw new StoreError('store.gc-mark', `can't read ${index.kind} index '${quotedPath(index.path)}': ${e.message}`, { cause: e });
    }
  }

  async #touch(digest: Digest): Promise<boolean> {
    if (await this.#source.chunks.touch(digest)) return true;
    await this.#source.chunks.touchBad(digest);
    // Healed by a running backup in between: it is there, and used now.
    return this.#source.chunks.touch(digest);
  }
}

function isDirectory(entry: Dirent): boolean {
  return entry.isDirectory();
}

function isSnapshotName(name: string): boolean {
  try {
    parseBackupTime(name);
    return true;
  } catch {
    return false;
  }
}

/** Empty when there is no such directory (any more); every other failure is one. */
async function listDirectory(path: string): Promise<Dirent[]> {
  try {
    return await readdir(path, { withFileTypes: true });
  } catch (e) {
    if (errorCode(e) === 'ENOENT' || errorCode(e) === 'ENOTDIR') return [];
    throw toStoreError(e, `unable to read ${quotedPath(path)}`);
  }
}

/**
 * Paths of everything below `base` that ends in `.fidx` or `.didx`, whatever it is. Links are not entered, nor any name that starts with `.`. What cannot be
 * read makes it fail, except a `lost+found` directly in `base`; a link to a folder, too.
 */
export async function findIndexFiles(base: string, options: Pick<MarkOptions, 'log' | 'signal'>): Promise<string[]> {
  const found: string[] = [];
  const folders = [base];
  for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
    throwIfAborted(options.signal);
    let entries: Dirent[];
    try {
      entries = await readdir(folder, { withFileTypes: true });
    } catch (e) {
      const denied = errorCode(e) === 'EACCES' || errorCode(e) === 'EPERM';
      if (denied && folder === join(base, 'lost+found')) continue;
      if (denied) {
        throw new StoreError('store.permission', `cannot continue garbage-collection safely, permission denied on: ${quotedPath(folder)}`, {
          cause: e,
          hint: 'Give the folder to the user that the server runs as, or move it out of the datastore.',
        });
      }
      if (errorCode(e) !== 'ENOENT' || folder === base) throw toStoreError(e, `unable to read ${quotedPath(folder)}`);
      options.log.info(`ignoring vanished file: ${quotedPath(folder)}`);
      continue;
    }
    for (const entry of entries) {
      if (entry.name.startsWith('.')) continue;
      const path = join(folder, entry.name);
      if (indexName.test(entry.name)) found.push(path);
      if (entry.isDirectory()) folders.push(path);
      else if (entry.isSymbolicLink()) await refuseLinkedFolder(path);
    }
  }
  return found;
}

/** Backups behind a link are not walked, so their chunks would be taken for garbage: beyond the reference, which ignores them, this fails. */
async function refuseLinkedFolder(path: string): Promise<void> {
  let isFolder: boolean;
  try {
    isFolder = (await stat(path)).isDirectory();
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return;
    throw toStoreError(e, `unable to look at ${quotedPath(path)}`);
  }
  if (!isFolder) return;
  throw new StoreError('store.gc-link', `cannot continue garbage-collection safely, symbolic link to a folder: ${quotedPath(path)}`, {
    hint: 'Remove the link, or mount the folder there (bind mount).',
  });
}
