import { randomUUID } from 'node:crypto';
import { Mutex } from '../base/async.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import { errorChain, HttpError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { IndexKind } from '../format/chunk-index.ts';
import { maxChunkPlainSize } from '../format/data-blob.ts';
import type { BackupStore, EarlierDeliveries, PreviousBackup, PreviousIndex, UploadStatistics } from './backup-store.ts';
import { UploadIntake, type AnnouncedChunk } from './chunk-upload.ts';
import { RawReply, type SessionExchange } from './h2-session-server.ts';
import { IndexUpload, type AnnouncedIndex } from './index-upload.ts';
import { KnownChunks } from './known-chunks.ts';

/** Writer ids are 1 to this (spec backup-protocol 4). */
export const maxWriters = 256;
const extensions = { fixed: '.fidx', dynamic: '.didx' } as const;

/**
 * State of one backup session (spec backup-protocol 4, 5): known chunks, open indexes, counters, phase. Its methods are the session's calls and may
 * overlap; faults are HttpError with the reference's texts.
 */
export class BackupSession {
  readonly #store: BackupStore;
  readonly #log: ProgressLog;
  readonly #debug: boolean;
  readonly #deliveries: EarlierDeliveries | null;
  readonly #known = new KnownChunks();
  readonly #intake = new UploadIntake();
  readonly #writers = new Map<number, IndexUpload>();
  /** What makes or changes files of the snapshot runs alone: `finish` must see all of it or nothing. */
  readonly #fileWork = new Mutex();
  readonly #statistics: UploadStatistics = { count: 0, size: 0, compressedSize: 0, duplicates: 0 };
  #lastWid = 0;
  #fileCount = 0;
  #phase: 'active' | 'finishing' | 'finished' = 'active';

  constructor(store: BackupStore, options: { log: ProgressLog; debug: boolean; deliveries?: EarlierDeliveries | null }) {
    this.#deliveries = options.deliveries ?? null;
    this.#store = store;
    this.#log = options.log;
    this.#debug = options.debug;
  }

  /** The backup survives the end of the connection. */
  get finished(): boolean {
    return this.#phase === 'finished';
  }

  previousTime(): number | null {
    return this.#store.previous?.time ?? null;
  }

  async storeBlob(fileName: string, encodedSize: number, exchange: SessionExchange): Promise<void> {
    this.#requireActive();
    if (!fileName.endsWith('.blob')) throw new HttpError(400, `wrong blob file extension: '${fileName}'`);
    await this.#intake.blob(exchange, encodedSize, (raw) =>
      this.#fileWork.run(async () => {
        this.#requireActive();
        await this.#store.storeBlob(fileName, raw);
        this.#fileCount += 1;
        this.#statistics.size += raw.byteLength;
        this.#log.info(`add blob ${JSON.stringify(`${this.#store.folder}/${fileName}`)} (${raw.byteLength} bytes, comp: ${raw.byteLength})`);
      }),
    );
  }

  /** The new writer's id. `reuseCsum`: start with the digests of this archive in the base snapshot. */
  async createIndex(kind: IndexKind, fileName: string, options: { size?: number | undefined; reuseCsum?: string | undefined } = {}): Promise<number> {
    const { size, reuseCsum } = options;
    this.#requireActive();
    if (!fileName.endsWith(extensions[kind])) throw new HttpError(400, `wrong archive extension: '${fileName}'`);
    return this.#fileWork.run(async () => {
      this.#requireActive();
      // Two writers of one name would write into one temporary file.
      if ([...this.#writers.values()].some((writer) => writer.fileName === fileName)) throw new HttpError(400, `${kind} writer '${fileName}' is open already`);
      if (this.#lastWid >= maxWriters) throw new HttpError(400, `more than ${maxWriters} indexes in one backup session`);
      const uuid = Buffer.from(randomUUID().replaceAll('-', ''), 'hex');
      const reuse = reuseCsum === undefined ? undefined : await this.#openReusable(fileName, size, reuseCsum);
      try {
        const sink = await this.#store.createIndex(fileName, kind === 'fixed' ? { kind, uuid, size, ...(reuse === undefined ? {} : { reuse }) } : { kind, uuid });
        this.#lastWid += 1;
        this.#writers.set(this.#lastWid, new IndexUpload({ wid: this.#lastWid, kind, fileName, uuid, sink, size, reusedSize: reuse?.size }));
      } finally {
        await reuse?.close();
      }
      this.#log.info(`created new ${kind} index ${this.#lastWid} (${JSON.stringify(`${this.#store.snapshotPath}/${fileName}`)})`);
      return this.#lastWid;
    });
  }

  async #openReusable(fileName: string, size: number | undefined, csum: string): Promise<PreviousIndex> {
    if (size === undefined) throw new HttpError(400, 'size is required for incremental backups');
    const { previous } = this.#store;
    if (previous === null) throw new HttpError(400, 'cannot reuse index - no valid previous backup exists');
    const index = await previous.openIndex(fileName);
    if (index === null) throw new HttpError(400, 'cannot reuse index - no previous backup exists for archive');
    try {
      const found = toHex(await index.computeCsum());
      if (found !== csum) throw new HttpError(400, `expected csum (${csum}) doesn't match last backup's (${found}), cannot do incremental backup`);
      const count = Math.ceil(size / (4 * 1024 * 1024));
      if (count !== index.count) throw new HttpError(400, `cannot reuse index - index sizes not equal (${count} != ${index.count})`);
      return index;
    } catch (e) {
      await index.close();
      throw e;
    }
  }

  /** Stores the chunk and makes it known. */
  async uploadChunk(kind: IndexKind, wid: number, announced: AnnouncedChunk, exchange: SessionExchange): Promise<void> {
    this.#requireActive();
    const stored = await this.#intake.chunk(exchange, announced, (blob) => this.#store.insertChunk(announced.digest, blob));
    this.#requireActive();
    this.#writer(kind, wid).countUpload(announced.size, stored);
    this.#known.add(announced.digest, announced.size);
    this.#deliveries?.add(announced.digest, announced.size);
    if (this.#debug) this.#log.info(`upload_chunk done: ${announced.size} bytes, ${toHex(announced.digest)}`);
  }

  /**
   * Which of these chunks the client delivered before and are still there, as a string of `0` and `1`; these are known then. Farshore's own: only for a
   * client that asked for it when the session began.
   */
  async delivered(digests: readonly Digest[], sizes: readonly number[]): Promise<string> {
    this.#requireActive();
    if (digests.length !== sizes.length) throw new HttpError(400, `size list has wrong length (${sizes.length} != ${digests.length})`);
    const answer: string[] = [];
    for (const [i, digest] of digests.entries()) {
      const size = sizes[i]!;
      const isThere = this.#deliveries?.has(digest, size) === true && (await this.#store.touchChunk(digest));
      if (isThere) this.#known.add(digest, size);
      answer.push(isThere ? '1' : '0');
    }
    return answer.join('');
  }

  /** Appends chunks in order; on a fault those before it stay appended. */
  async append(kind: IndexKind, wid: number, digests: readonly Digest[], offsets: readonly number[]): Promise<void> {
    this.#requireActive();
    if (digests.length !== offsets.length) throw new HttpError(400, `offset list has wrong length (${offsets.length} != ${digests.length})`);
    if (this.#debug) this.#log.info(`${kind}_append ${digests.length} chunks`);
    const writes: Array<Promise<void>> = [];
    try {
      for (const [i, digest] of digests.entries()) {
        const size = this.#known.size(digest);
        if (size === null) throw new HttpError(400, `no such chunk ${toHex(digest)}`);
        writes.push(this.#writer(kind, wid).append({ digest, offset: offsets[i]!, size }));
        if (this.#debug) this.#log.info(`successfully added chunk ${toHex(digest)} to ${kind} index ${wid} (offset ${offsets[i]}, size ${size})`);
      }
    } finally {
      await settle(writes);
    }
    await Promise.all(writes);
  }

  async closeIndex(kind: IndexKind, wid: number, announced: AnnouncedIndex): Promise<void> {
    this.#requireActive();
    await this.#fileWork.run(async () => {
      this.#requireActive();
      const writer = this.#writer(kind, wid);
      await writer.close(announced);
      this.#writers.delete(wid);
      this.#fileCount += 1;
      for (const name of ['count', 'size', 'compressedSize', 'duplicates'] as const) this.#statistics[name] += writer.uploads[name];
      writer.logStatistics(this.#log, announced);
      this.#log.info(`successfully closed ${kind} index ${wid}`);
    });
  }

  /** A file of the base snapshot; the chunks of an index become known (spec backup-protocol 4.6). */
  async previousFile(fileName: string): Promise<RawReply> {
    const { previous } = this.#store;
    if (previous === null) throw new HttpError(400, 'no valid previous backup');
    const isIndex = /\.[fd]idx$/.test(fileName);
    if (!isIndex && !fileName.endsWith('.blob')) throw new HttpError(400, `unknown archive type: ${JSON.stringify(fileName)}`);
    if (isIndex) await this.#registerChunks(previous, fileName);
    this.#log.info(`download '${fileName}' from previous backup '${previous.snapshot}'.`);
    const file = await previous.openFile(fileName);
    if (file === null) throw new HttpError(404, `open file ${JSON.stringify(`${previous.folder}/${fileName}`)} failed - not found`);
    return new RawReply(file.stream(), () => void file.close().catch((e: unknown) => this.#log.error(`closing ${fileName}: ${errorChain(e)}`)));
  }

  async #registerChunks(previous: PreviousBackup, fileName: string): Promise<void> {
    this.#requireActive();
    const unable = `Unable to open ${fileName.endsWith('.fidx') ? 'fixed' : 'dynamic'} index ${JSON.stringify(`${previous.folder}/${fileName}`)}`;
    let index: PreviousIndex | null;
    try {
      index = await previous.openIndex(fileName);
    } catch (e) {
      throw new HttpError(400, `${unable} - ${errorChain(e)}`, { cause: e });
    }
    if (index === null) throw new HttpError(400, `${unable} - No such file or directory (os error 2)`);
    try {
      this.#log.info(`register chunks in '${fileName}' from previous backup '${previous.snapshot}'.`);
      for await (const batch of index.batches()) {
        for (const { digest, start, end } of batch) {
          if (end - start > maxChunkPlainSize) throw new HttpError(400, `${unable} - it names a chunk of ${end - start} bytes`);
          this.#known.add(digest, end - start);
        }
      }
    } finally {
      await index.close();
    }
  }

  async finish(): Promise<void> {
    this.#requireActive();
    await this.#fileWork.run(async () => {
      this.#requireActive();
      if (this.#writers.size > 0) throw new HttpError(400, 'found open index writer - unable to finish backup');
      if (this.#fileCount === 0) throw new HttpError(400, 'backup does not contain valid files (file count == 0)');
      const { previous } = this.#store;
      if (previous !== null && !(await previous.exists())) {
        throw new HttpError(400, `base snapshot ${previous.snapshot} was removed during backup, cannot finish as chunks might be missing`);
      }
      // Whatever fails from here on, the session cannot be rescued: the client does not know what is stored.
      this.#phase = 'finishing';
      try {
        await this.#store.finish(this.#statistics);
      } catch (e) {
        throw new HttpError(400, `unable to update manifest blob - ${errorChain(e)}`, { cause: e });
      }
      this.#phase = 'finished';
      this.#log.info('successfully finished backup');
    });
  }

  /** Removes the indexes that were not closed. The last call of a session. */
  async end(): Promise<void> {
    for (const writer of this.#writers.values()) await writer.abort();
    this.#writers.clear();
  }

  #requireActive(): void {
    if (this.#phase === 'finished') throw new HttpError(400, 'backup already marked as finished.');
    if (this.#phase === 'finishing') throw new HttpError(400, 'backup is already in the process of finishing.');
  }

  #writer(kind: IndexKind, wid: number): IndexUpload {
    const writer = this.#writers.get(wid);
    if (writer === undefined || writer.kind !== kind) throw new HttpError(400, `${kind} writer '${wid}' not registered`);
    return writer;
  }
}

async function settle(writes: ReadonlyArray<Promise<void>>): Promise<void> {
  await Promise.allSettled(writes);
}
