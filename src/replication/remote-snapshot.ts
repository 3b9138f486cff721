import assert from 'node:assert/strict';
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { forEachLimited } from '../base/async.ts';
import { parseDigest, toHex, type Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { errorChain, FormatError, HttpError, StoreError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import type { ProgressLog } from '../base/log.ts';
import { checkIndexFile } from '../datastore/archive-check.ts';
import { openIndexFile } from '../datastore/index-file.ts';
import { archiveKind, manifestFileName } from '../format/backup-path.ts';
import { ChunkIndex, type IndexKind } from '../format/chunk-index.ts';
import { maxChunkEncodedSize } from '../format/data-blob.ts';
import { decodeManifestBlob, type Manifest } from '../format/manifest.ts';
import type { BackupClient, OpenIndex } from '../protocol/backup-client.ts';
import { IndexAppend } from './index-append.ts';
import type { LineRetry } from './line-retry.ts';
import type { ChunkTarget, ExpectedContent, SnapshotSink, StagedIndex } from './ports.ts';
import { checkedBlob } from './received-blob.ts';
import type { ListedTarget } from './target-listing.ts';

/** The previous index is read into memory. */
const largestPreviousIndex = 1024 ** 3;
/** Chunks that one question about earlier deliveries names, and questions under way. */
const askedAtOnce = 4000;
const questionsAtOnce = 4;

export interface RemoteSnapshotOptions {
  client: BackupClient;
  /** What the remote builds this backup upon. */
  base: ListedTarget | null;
  /** The remote says what we delivered before. */
  deliveries: boolean;
  line: LineRetry;
  log: ProgressLog;
  spoolFolder: string;
}

interface SpooledIndex {
  kind: IndexKind;
  path: string;
}

interface IndexUpload extends SpooledIndex {
  open: OpenIndex;
  expected: ExpectedContent;
  /** Null until the digests are known under which the chunks go. */
  append: IndexAppend | null;
}

/**
 * One snapshot on its way into a remote datastore, as one backup session (spec sync 6.4, 6.5). Chunks and blobs go as they are stored here; the
 * indexes are made again by the remote, and must get the checksum that the manifest names; the manifest comes last, byte for byte.
 */
export class RemoteSnapshotSink implements SnapshotSink {
  readonly isNew = true;
  readonly #options: RemoteSnapshotOptions;
  readonly #client: BackupClient;
  /** Chunks that the remote has registered for this session. */
  readonly #known = new DigestSet();
  readonly #indexes = new Map<string, IndexUpload>();
  #spool: Promise<string> | null = null;
  #spooledFiles = 0;
  #baseManifest: Promise<Manifest | null> | null = null;

  constructor(options: RemoteSnapshotOptions) {
    this.#options = options;
    this.#client = options.client;
  }

  currentManifest(): Promise<null> {
    return Promise.resolve(null);
  }

  hasFile(): Promise<boolean> {
    return Promise.resolve(false);
  }

  async stageIndex(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<StagedIndex> {
    const spooled = await this.#spooled(filename, data, expected);
    const begun = this.#indexes.get(filename);
    if (begun !== undefined) {
      // Its chunks have been sent under the digests that it names now.
      this.#indexes.set(filename, { ...begun, ...spooled, expected, append: this.#appendOf(begun.open, spooled) });
      return stagedIndex(spooled);
    }
    const open = await this.#begin(filename, spooled, expected);
    if (this.#options.deliveries) await this.#learnDelivered(entriesOf(spooled));
    const append = this.#appendOf(open, spooled);
    this.#indexes.set(filename, { ...spooled, open, expected, append });
    append.advance();
    return stagedIndex(spooled);
  }

  /** The remote is told neither what the source's index names nor asked for it: the chunks get other digests. */
  async stageSourceIndex(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<StagedIndex> {
    const spooled = await this.#spooled(filename, data, expected);
    await this.#begin(filename, spooled, expected);
    return stagedIndex(spooled);
  }

  async #spooled(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<SpooledIndex> {
    const kind = archiveKind(filename);
    if (kind === 'blob') throw new FormatError('format.archive-kind', `${filename} is not an index`);
    this.#spool ??= mkdtemp(join(this.#options.spoolFolder, 'push-'));
    this.#spooledFiles += 1;
    const name = String(this.#spooledFiles);
    const path = join(await this.#spool, name);
    await pipeline(Readable.from(data), createWriteStream(path, { mode: 0o600 }));
    await checkIndexFile(path, kind, expected);
    return { kind, path };
  }

  async #begin(filename: string, spooled: SpooledIndex, expected: ExpectedContent): Promise<OpenIndex> {
    const { kind } = spooled;
    const [open] = await Promise.all([this.#told(this.#client.createIndex(kind, filename, kind === 'fixed' ? expected.size : undefined)), this.#learnFromBase(filename, kind)]);
    failpoint('push.begun');
    this.#indexes.set(filename, { ...spooled, open, expected, append: null });
    return open;
  }

  #appendOf(open: OpenIndex, spooled: SpooledIndex): IndexAppend {
    return new IndexAppend({ entries: entriesOf(spooled), known: this.#known, append: (places) => this.#told(this.#client.appendChunks(open, places)) });
  }

  /** What the group's newest snapshot names may be named again, once the remote was asked for that index. */
  async #learnFromBase(filename: string, kind: IndexKind): Promise<void> {
    const { base, log } = this.#options;
    if (base === null || !base.files.includes(filename)) return;
    try {
      this.#baseManifest ??= this.#client.previous(manifestFileName, { maxBytes: maxChunkEncodedSize }).then((blob) => decodeManifestBlob(blob));
      const [manifest, bytes] = await Promise.all([this.#baseManifest, this.#client.previous(filename, { maxBytes: largestPreviousIndex })]);
      const entry = manifest?.files.find((file) => file.filename === filename);
      const index = ChunkIndex.parse(kind, bytes);
      if (entry === undefined || entry.size !== index.size || entry.csum !== toHex(index.computeCsum())) throw new FormatError('format.index-csum', 'it is not what its manifest says');
      for (let i = 0; i < index.count; i += 1) this.#known.add(index.digest(i));
    } catch (e) {
      if (!(e instanceof HttpError || e instanceof FormatError)) throw e;
      log.info(`${filename} of the previous backup cannot be used, more is sent - ${errorChain(e)}`);
    }
  }

  /** What we delivered to this datastore before, also in a session that was cut, and that is still there. */
  async #learnDelivered(entries: AsyncIterable<{ digest: Digest; size: number }>): Promise<void> {
    await forEachLimited(this.#questions(entries), questionsAtOnce, async (chunks) => {
      const answer = await this.#told(this.#client.delivered(chunks));
      chunks.forEach(({ digest }, i) => {
        if (answer[i] === true) this.#known.add(digest);
      });
    });
  }

  async *#questions(entries: AsyncIterable<{ digest: Digest; size: number }>): AsyncGenerator<Array<{ digest: Digest; size: number }>> {
    const asked = new DigestSet();
    let batch: Array<{ digest: Digest; size: number }> = [];
    for await (const { digest, size } of entries) {
      if (this.#known.has(digest) || !asked.add(digest)) continue;
      batch.push({ digest: Buffer.from(digest), size });
      if (batch.length < askedAtOnce) continue;
      yield batch;
      batch = [];
    }
    if (batch.length > 0) yield batch;
  }

  chunksOf(filename: string): ChunkTarget {
    const { open, append } = this.#index(filename);
    return {
      touchChunk: (digest) => Promise.resolve(this.#known.has(digest)),
      readChunk: () => Promise.resolve(null),
      ...(this.#options.deliveries ? { learn: (chunks) => this.#learnDelivered(chunks) } : {}),
      storeChunk: async (digest, encoded, _replace, size) => {
        // Which digest a chunk gets is not always known before it is made.
        if (this.#known.has(digest)) return { duplicate: false };
        await this.#told(this.#client.putChunk(open, { digest, size, encoded }));
        failpoint('push.sent');
        this.#known.add(digest);
        append?.advance();
        // A session that is cut costs what it brought, unless the remote remembers.
        if (this.#options.deliveries) this.#options.line.progress();
        return { duplicate: false };
      },
    };
  }

  async stageBlob(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent | null): Promise<void> {
    await this.#told(this.#client.putBlob(filename, await checkedBlob(filename, data, expected)));
  }

  /** An index: names the rest of its chunks to the remote, and closes it. The remote compares the checksum. */
  async commitFile(filename: string): Promise<void> {
    if (archiveKind(filename) === 'blob') return;
    const { open, append, expected } = this.#index(filename);
    assert.ok(append !== null, filename);
    await this.#told(this.#client.closeIndex(open, { ...(await append.finish()), csum: checksum(expected) }));
    failpoint('push.closed');
  }

  async publish(manifestBlob: Uint8Array): Promise<void> {
    await this.#told(this.#client.putBlob(manifestFileName, manifestBlob));
    failpoint('push.described');
    await this.#told(this.#client.finish());
    failpoint('push.finished');
  }

  async close(): Promise<void> {
    this.#client.close();
    for (const { append } of this.#indexes.values()) await append?.close();
    if (this.#spool !== null) await rm(await this.#spool, { recursive: true, force: true });
  }

  #index(filename: string): IndexUpload {
    const upload = this.#indexes.get(filename);
    assert.ok(upload !== undefined, filename);
    return upload;
  }

  /** A full target fails the job, not this snapshot only: everything else would be sent for nothing. */
  async #told<T>(answer: Promise<T>): Promise<T> {
    try {
      return await answer;
    } catch (e) {
      if (e instanceof HttpError && /no space left|os error 28|ENOSPC|disk quota/i.test(e.message)) throw new StoreError('store.full', `the remote has no space left: ${e.message}`, { cause: e });
      throw e;
    }
  }
}

async function stagedIndex(spooled: SpooledIndex): Promise<StagedIndex> {
  await using index = await openIndexFile(spooled.path, spooled.kind);
  return { count: index.count, chunkSize: index.header.chunkSize ?? null, entries: () => entriesOf(spooled) };
}

async function* entriesOf({ path, kind }: SpooledIndex): AsyncGenerator<{ digest: Digest; size: number }> {
  await using index = await openIndexFile(path, kind);
  for await (const { digest, start, end } of index.entries()) yield { digest, size: end - start };
}

function checksum({ csum }: ExpectedContent): Digest {
  const digest = parseDigest(csum);
  if (digest === null) throw new FormatError('format.manifest', `'${csum}' is no checksum`);
  return digest;
}
