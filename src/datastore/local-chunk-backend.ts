import assert from 'node:assert/strict';
import type { BigIntStats } from 'node:fs';
import { lstat, mkdir, open, rename, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { toHex, type Digest } from '../base/bytes.ts';
import { errorCode, StoreError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { maxChunkEncodedSize } from '../format/data-blob.ts';
import { touchAtime } from '../sys/file-times.ts';
import { checkAccessTimes } from './access-time-check.ts';
import type { ChunkBackend, InsertResult, SweepOptions, SweepStatistics } from './chunk-backend.ts';
import { checkChunkBlob, chunkPrecedence } from './chunk-precedence.ts';
import { chunkFolderMode, chunkFolderPath, chunksName, createChunkStore, processLockName } from './chunk-store-layout.ts';
import { sweepChunkFolders } from './chunk-sweep.ts';
import { giveToFileOwner } from './file-owner.ts';
import { readFileLimited } from './file-read.ts';
import { KeyedMutex } from './keyed-mutex.ts';
import { nodeFileCalls, replaceFile, type FileCalls } from './replace-file.ts';
import { toStoreError } from './store-error.ts';
import type { DatastoreTuning } from './tuning.ts';

export interface LocalChunkOptions {
  /** `file`: every chunk is on disk when `insert` returns; otherwise see `Datastore.flush`. Default `filesystem`. */
  syncLevel?: DatastoreTuning['syncLevel'];
  /** Where findings go that do not stop the work, e.g. an empty chunk file that is replaced. */
  log?: ProgressLog;
  files?: FileCalls;
}

/** `.0.bad` to `.9.bad` (spec formats 3.6). */
const badCopies = 10;

/** Chunks in `<base>/.chunks/<hhhh>/<64 hex>` (spec formats 3). */
export class LocalChunkBackend implements ChunkBackend {
  readonly basePath: string;
  readonly #chunks: string;
  readonly #syncFiles: boolean;
  readonly #log: ProgressLog;
  readonly #files: FileCalls;
  /** By digest: what looks at a chunk and then changes it must not be interrupted by another that does. */
  readonly #busy = new KeyedMutex();

  private constructor(basePath: string, options: LocalChunkOptions) {
    this.basePath = basePath;
    this.#chunks = join(basePath, chunksName);
    this.#syncFiles = options.syncLevel === 'file';
    this.#log = options.log ?? silentLog;
    this.#files = options.files ?? nodeFileCalls;
  }

  /** Makes a chunk store with its 65,536 folders in `basePath` (absolute; made when missing). StoreError `store.exists` when there is one. */
  static async create(basePath: string, options: LocalChunkOptions = {}): Promise<LocalChunkBackend> {
    await createChunkStore(basePath);
    return new LocalChunkBackend(basePath, options);
  }

  /** Opens an existing one: folder `.chunks` and file `.lock` must be there, else StoreError `store.missing` (e.g. a disk that is not mounted). */
  static async open(basePath: string, options: LocalChunkOptions = {}): Promise<LocalChunkBackend> {
    assert.ok(basePath.startsWith('/'), `the path of a datastore is absolute: ${basePath}`);
    for (const name of [chunksName, processLockName]) {
      const path = join(basePath, name);
      try {
        const found = await stat(path);
        if (name === chunksName ? found.isDirectory() : found.isFile()) continue;
      } catch (e) {
        throw toStoreError(e, `unable to open chunk store at '${basePath}'`);
      }
      throw new StoreError('store.layout', `unable to open chunk store at '${basePath}': '${path}' is not a ${name === chunksName ? 'folder' : 'file'}`);
    }
    return new LocalChunkBackend(basePath, options);
  }

  /** Path of a chunk's file, whether it exists or not. */
  chunkPath(digest: Digest): string {
    const hex = toHex(digest);
    return `${this.#chunks}/${hex.slice(0, 4)}/${hex}`;
  }

  async read(digest: Digest): Promise<Buffer> {
    try {
      return await readFileLimited(this.chunkPath(digest), maxChunkEncodedSize);
    } catch (e) {
      if (errorCode(e) === 'store.missing') throw new StoreError('store.chunk-missing', `chunk ${toHex(digest)} does not exist`, { cause: e });
      throw e;
    }
  }

  async size(digest: Digest): Promise<number | null> {
    const found = await this.#stat(this.chunkPath(digest));
    return found === null ? null : Number(found.size);
  }

  async insert(digest: Digest, blob: Uint8Array): Promise<InsertResult> {
    checkChunkBlob(blob);
    const path = this.chunkPath(digest);
    return this.#busy.run(toHex(digest), async () => {
      const existing = await this.#stat(path);
      if (existing !== null && (await this.#keeps(path, existing, blob)) && (await this.#touch(path))) {
        return { duplicate: true, storedSize: Number(existing.size) };
      }
      await this.#write(path, blob);
      return { duplicate: false, storedSize: blob.byteLength };
    });
  }

  async replace(digest: Digest, blob: Uint8Array): Promise<InsertResult> {
    checkChunkBlob(blob);
    const path = this.chunkPath(digest);
    return this.#busy.run(toHex(digest), async () => {
      await this.#stat(path);
      await this.#write(path, blob);
      return { duplicate: false, storedSize: blob.byteLength };
    });
  }

  async touch(digest: Digest): Promise<boolean> {
    return this.#busy.run(toHex(digest), () => this.#touch(this.chunkPath(digest)));
  }

  async touchBad(digest: Digest): Promise<void> {
    const path = this.chunkPath(digest);
    await this.#busy.run(toHex(digest), async () => {
      for (let n = 0; n < badCopies; n += 1) await this.#touch(`${path}.${n}.bad`);
    });
  }

  async markCorrupt(digest: Digest): Promise<string | null> {
    const hex = toHex(digest);
    const path = this.chunkPath(digest);
    return this.#busy.run(hex, async () => {
      try {
        let n = 0;
        while (n < badCopies - 1 && (await this.#stat(`${path}.${n}.bad`)) !== null) n += 1;
        await rename(path, `${path}.${n}.bad`);
        return `${hex}.${n}.bad`;
      } catch (e) {
        if (errorCode(e) === 'ENOENT') return null;
        throw toStoreError(e, `unable to set corrupt chunk ${hex} aside`);
      }
    });
  }

  async readingOrder(digest: Digest): Promise<bigint | null> {
    return (await this.#stat(this.chunkPath(digest)))?.ino ?? null;
  }

  async checkAccessTimes(options: { log?: ProgressLog; signal?: AbortSignal }): Promise<number> {
    return checkAccessTimes(this, (digest) => this.chunkPath(digest), options);
  }

  async sweep(minAtime: number, oldestWriter: number, options: SweepOptions = {}): Promise<SweepStatistics> {
    return sweepChunkFolders(this.#chunks, this.#busy, { minAtime, oldestWriter }, options);
  }

  /** Null when there is nothing. Only regular files are chunks. */
  async #stat(path: string): Promise<BigIntStats | null> {
    let found: BigIntStats;
    try {
      found = await lstat(path, { bigint: true });
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return null;
      throw toStoreError(e, `unable to look at chunk '${path}'`);
    }
    if (!found.isFile()) throw new StoreError('store.layout', `chunk '${path}' is not a regular file`);
    return found;
  }

  async #touch(path: string): Promise<boolean> {
    try {
      return await touchAtime(path);
    } catch (e) {
      throw toStoreError(e, `unable to update access time of chunk '${path}'`);
    }
  }

  async #keeps(path: string, existing: BigIntStats, blob: Uint8Array): Promise<boolean> {
    const found = { name: path, size: Number(existing.size), head: () => this.#head(path), whole: () => readFileLimited(path, maxChunkEncodedSize) };
    const precedence = await chunkPrecedence(found, blob);
    if (precedence.verdict === 'damaged') this.#log.warn(`chunk '${path}' ${precedence.why}, replacing it`);
    return precedence.verdict === 'keep';
  }

  /** Enough of the file for its kind to be told. */
  async #head(path: string): Promise<Buffer> {
    const handle = await open(path, 'r').catch((e: unknown) => {
      throw toStoreError(e, `unable to open chunk '${path}'`);
    });
    try {
      const { buffer, bytesRead } = await handle.read(Buffer.alloc(64), 0, 64, 0);
      return buffer.subarray(0, bytesRead);
    } catch (e) {
      throw toStoreError(e, `unable to read chunk '${path}'`);
    } finally {
      await handle.close();
    }
  }

  async #write(path: string, blob: Uint8Array): Promise<void> {
    const options = { mode: 0o644, sync: this.#syncFiles, files: this.#files };
    failpoint('chunk.insert');
    try {
      await replaceFile(path, blob, options);
    } catch (e) {
      if (errorCode(e) !== 'store.missing') throw e;
      await this.#makeFolder(path);
      await replaceFile(path, blob, options);
    }
    failpoint('chunk.inserted');
  }

  /** A chunk folder that is missing (a copy made without empty folders) is made; `.chunks` itself is not: then the disk is not there. */
  async #makeFolder(path: string): Promise<void> {
    const folder = chunkFolderPath(path);
    try {
      await mkdir(folder, { mode: chunkFolderMode });
      await giveToFileOwner(folder);
    } catch (e) {
      if (errorCode(e) !== 'EEXIST') throw toStoreError(e, `unable to make chunk folder '${folder}'`);
    }
  }
}
