import { randomUUID } from 'node:crypto';
import { asBuffer, digestLength, toHex, type Digest } from '../base/bytes.ts';
import { Semaphore, throwIfAborted } from '../base/async.ts';
import { nowSeconds, systemClock } from '../base/clock.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { FormatError } from '../base/errors.ts';
import { IndexCsum, encodeDynamicEntry, encodeDynamicIndexHeader, encodeFixedIndexHeader } from '../format/chunk-index.ts';
import { maxChunkEncodedSize, maxChunkPlainSize } from '../format/data-blob.ts';
import { isSound, storeOverExisting, storingSlots, storingSlotsOverLine, type ArchiveResult } from './chunk-transfer.ts';
import type { FlightControl, Permit } from './flight-control.ts';
import type { LineRetry } from './line-retry.ts';
import type { ChunkTarget, ExpectedContent, SnapshotSource, StagedIndex } from './ports.ts';
import type { PossessionJournal } from './possession-journal.ts';
import type { Recoder } from './recoder.ts';
import type { ReplicationReport } from './report.ts';
import { SettledDigests } from './settled-digests.ts';

/** Chunks of one archive whose new digests are kept in memory at 32 bytes each: 256 TiB in chunks of 4 MiB. */
const maxIndexEntries = 2 ** 26;
/** Chunks being recoded at a time; each may hold its encoded, its plain and its new content. */
const recodingSlots = 4;
const entriesPerPiece = 4096;

export interface RecodingTransferParts {
  target: ChunkTarget;
  journal: PossessionJournal;
  flight: FlightControl;
  retry: LineRetry;
  report: ReplicationReport;
  signal: AbortSignal;
  /** Chunks of an adopted copy that this source made: taken from there, and checked as those that arrive. */
  adopted?: DigestSet | null | undefined;
}

export interface RecodingOptions {
  archive: string;
  recoder: Recoder;
  /** Copies in the target are read and checked before they are used. */
  repair: boolean;
  /** Called with the plain size of each entry as it is settled. */
  onSettled: (plainBytes: number) => void;
}

/** What the archive's index became; its chunks are all in the target. */
export interface RecodedIndex {
  result: ArchiveResult;
  content: ExpectedContent;
  /** The new index file. `source` is read again while it is written. */
  file(): AsyncIterable<Buffer>;
}

/**
 * Brings the chunks that an index names into the target in another form, under other digests: many at a time, in whatever order they come; the new
 * index has the order of the old one. What the journal knows of an earlier run is not fetched again.
 */
export class RecodingTransfer {
  readonly #parts: RecodingTransferParts;
  readonly #target: ChunkTarget;
  readonly #journal: PossessionJournal;
  readonly #flight: FlightControl;
  readonly #retry: LineRetry;
  readonly #report: ReplicationReport;
  readonly #signal: AbortSignal;
  readonly #recoding: Semaphore;
  readonly #storing: Semaphore;
  readonly #inFlight = new Map<string, Promise<Digest>>();
  /** By their new digests. */
  readonly #settled = new SettledDigests();

  constructor(parts: RecodingTransferParts, recoding = new Semaphore(recodingSlots), slots = storingSlots) {
    this.#parts = parts;
    this.#target = parts.target;
    this.#journal = parts.journal;
    this.#flight = parts.flight;
    this.#retry = parts.retry;
    this.#report = parts.report;
    this.#signal = parts.signal;
    this.#recoding = recoding;
    this.#storing = new Semaphore(slots);
  }

  /** The same job, into the session of a remote that takes one snapshot: what it has not been given or told of, it does not have. */
  into(target: ChunkTarget): RecodingTransfer {
    return new RecodingTransfer({ ...this.#parts, target }, this.#recoding, storingSlotsOverLine);
  }

  /** Resolves when every chunk is stored in its new form. The first failure stops asking for more and is thrown once all that is on its way has ended. */
  async transfer(session: SnapshotSource, source: StagedIndex, options: RecodingOptions): Promise<RecodedIndex> {
    if (source.count > maxIndexEntries) throw new FormatError('format.index', `${options.archive} has ${source.count} chunks, more than ${maxIndexEntries}`);
    await this.#target.learn?.(this.#remembered(source, options.recoder));
    const run = new ArchiveRun(source.count);
    try {
      for await (const { digest, size } of source.entries()) {
        throwIfAborted(this.#signal);
        if (run.failures.length > 0) break;
        if (size < 1 || size > maxChunkPlainSize) throw new FormatError('format.index', `${options.archive}: chunk ${toHex(digest)} with a size of ${size} bytes`);
        await this.#entry(session, Buffer.from(digest), size, options, run);
      }
    } finally {
      await Promise.all(run.pending);
    }
    if (run.failures.length > 0) throw run.failures[0];
    return { result: run.result, ...(await newIndex(source, run.digests)) };
  }

  /** What the archive's chunks became in earlier runs. */
  async *#remembered(source: StagedIndex, recoder: Recoder): AsyncGenerator<{ digest: Digest; size: number }, void> {
    for await (const { digest, size } of source.entries()) {
      const target = this.#journal.recoded(recoder.id, digest);
      if (target !== null) yield { digest: target, size };
    }
  }

  /** Settles one entry, or sees to it that it will be; waits as long as too much is on its way. */
  async #entry(session: SnapshotSource, digest: Digest, size: number, options: RecodingOptions, run: ArchiveRun): Promise<void> {
    const at = run.next();
    const settled = (target: Digest): void => {
      run.digests.set(target, at);
      options.onSettled(size);
    };
    const fetch = (permit: Permit): Promise<Digest> => this.#fetch(session, digest, size, options, run.result, permit);
    // If the archive that asked first fails, this one asks for itself.
    const join = (running: Promise<Digest>): void => run.add(running.catch(async () => fetch(await this.#flight.acquire(size, this.#signal))), settled);
    const key = `${toHex(options.recoder.id)}${toHex(digest)}`;
    // Without an entry of the journal nothing may come between the looks into the journal and the list: who fetches leaves the one for the other.
    const known = this.#journal.recoded(options.recoder.id, digest);
    if (known !== null && (await this.#isUsable(known, size, options.repair))) return settled(known);
    const running = this.#inFlight.get(key);
    if (running !== undefined) return join(running);
    const permit = await this.#flight.acquire(size, this.#signal);
    // Another archive may have asked for it, or even have finished, while this one waited.
    const now = this.#journal.recoded(options.recoder.id, digest);
    const usable = now !== null && (await this.#isUsable(now, size, options.repair));
    const meanwhile = this.#inFlight.get(key);
    if (usable || meanwhile !== undefined) permit.release(0);
    if (usable) return settled(now);
    if (meanwhile !== undefined) return join(meanwhile);
    const work = fetch(permit);
    this.#inFlight.set(key, work);
    const forget = (): void => void this.#inFlight.delete(key);
    work.then(forget, forget);
    run.add(work, settled);
  }

  /** Whether the target still has what a chunk became in an earlier run. */
  async #isUsable(target: Digest, size: number, repair: boolean): Promise<boolean> {
    if (this.#settled.has(target, { repair })) return true;
    if (repair) {
      const blob = await this.#target.readChunk(target);
      if (blob === null || !(await isSound(blob, target, size))) return false;
    }
    if (!(await this.#target.touchChunk(target))) return false;
    this.#settled.add(target, repair);
    this.#report.reusedChunks += 1;
    this.#report.reusedBytes += size;
    return true;
  }

  /** Fetches, checks, recodes and stores one chunk; its new digest. */
  async #fetch(session: SnapshotSource, digest: Digest, size: number, options: RecodingOptions, result: ArchiveResult, permit: Permit): Promise<Digest> {
    let received = 0;
    try {
      const carried = await this.#carried(digest, size, options);
      if (carried !== null) return carried;
      const blob = await this.#retry.run(`chunk ${toHex(digest)}`, () => session.chunk(digest, options.archive, maxChunkEncodedSize));
      received = blob.byteLength;
      this.#report.fetchedChunks += 1;
      this.#report.fetchedBytes += received;
      result.fetchedChunks += 1;
      result.fetchedBytes += received;
      // The permit is held until a slot is free, so that a slow disk or processor slows the line down instead of filling memory.
      const changed = await this.#recoding.run(() => this.#recode(blob, digest, size, options));
      const target = changed.digest;
      await this.#storing.run(() => this.#store(changed, size));
      this.#journal.addRecoded(options.recoder.id, digest, target, received);
      this.#settled.add(target, true);
      return target;
    } finally {
      permit.release(received);
    }
  }

  /** From the adopted copy, if it is there and sound: the new digest; null otherwise. */
  async #carried(digest: Digest, size: number, { recoder }: RecodingOptions): Promise<Digest | null> {
    if (this.#parts.adopted?.has(digest) !== true) return null;
    const changed = await this.#recoding.run(async () => {
      const blob = await this.#target.readChunk(digest);
      return blob === null ? null : recoder.chunk(blob, digest, size).catch(nullIfDamaged);
    });
    if (changed === null) return null;
    await this.#storing.run(() => this.#store(changed, size));
    this.#journal.addRecoded(recoder.id, digest, changed.digest, 0);
    this.#settled.add(changed.digest, true);
    this.#report.reusedChunks += 1;
    this.#report.reusedBytes += size;
    return changed.digest;
  }

  async #recode(blob: Buffer, digest: Digest, size: number, { archive, recoder }: RecodingOptions): Promise<{ digest: Digest; blob: Buffer }> {
    throwIfAborted(this.#signal);
    try {
      return await recoder.chunk(blob, digest, size);
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      throw new FormatError('format.chunk-received', `chunk ${toHex(digest)} of ${archive} arrived damaged: the source's copy is bad`, { cause: e });
    }
  }

  async #store({ digest, blob }: { digest: Digest; blob: Buffer }, size: number): Promise<void> {
    throwIfAborted(this.#signal);
    if (await storeOverExisting(this.#target, digest, blob, size)) this.#report.repairedChunks += 1;
  }
}

function nullIfDamaged(e: unknown): null {
  if (e instanceof FormatError) return null;
  throw e;
}

/** What one archive has reached. */
class ArchiveRun {
  readonly digests: Buffer;
  readonly result: ArchiveResult = { fetchedChunks: 0, fetchedBytes: 0 };
  readonly pending = new Set<Promise<void>>();
  readonly failures: unknown[] = [];
  #entries = 0;

  constructor(count: number) {
    this.digests = Buffer.allocUnsafeSlow(count * digestLength);
  }

  /** Where the digest of the next entry goes. */
  next(): number {
    this.#entries += 1;
    return (this.#entries - 1) * digestLength;
  }

  add(work: Promise<Digest>, settled: (target: Digest) => void): void {
    const one = work
      .then(settled)
      .catch((e: unknown) => void this.failures.push(e))
      .finally(() => this.pending.delete(one));
    this.pending.add(one);
  }
}

/** The index with the places of `source` and other digests. */
async function newIndex(source: StagedIndex, digests: Buffer): Promise<Pick<RecodedIndex, 'content' | 'file'>> {
  const csum = new IndexCsum(source.chunkSize === null ? 'dynamic' : 'fixed');
  let size = 0;
  for await (const { end, digest } of entriesWith(source, digests)) {
    csum.add(end, digest);
    size = end;
  }
  const fields = { uuid: Buffer.from(randomUUID().replaceAll('-', ''), 'hex'), ctime: nowSeconds(systemClock), csum: csum.digest() };
  const header = source.chunkSize === null ? encodeDynamicIndexHeader(fields) : encodeFixedIndexHeader({ ...fields, size, chunkSize: source.chunkSize });
  return {
    content: { size, csum: toHex(fields.csum) },
    async *file() {
      yield header;
      let piece: Buffer[] = [];
      for await (const { end, digest } of entriesWith(source, digests)) {
        piece.push(source.chunkSize === null ? encodeDynamicEntry(end, digest) : asBuffer(digest));
        if (piece.length < entriesPerPiece) continue;
        yield Buffer.concat(piece);
        piece = [];
      }
      if (piece.length > 0) yield Buffer.concat(piece);
    },
  };
}

async function* entriesWith(source: StagedIndex, digests: Buffer): AsyncGenerator<{ end: number; digest: Digest }, void> {
  let end = 0;
  let at = 0;
  for await (const { size } of source.entries()) {
    end += size;
    yield { end, digest: digests.subarray(at, at + digestLength) };
    at += digestLength;
  }
}
