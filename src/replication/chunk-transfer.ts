import { bytesEqual, toHex, asBuffer, type Digest } from '../base/bytes.ts';
import { Semaphore, throwIfAborted } from '../base/async.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { FormatError } from '../base/errors.ts';
import { maxChunkEncodedSize, maxChunkPlainSize, requireKind, verifyChunk } from '../format/data-blob.ts';
import type { FlightControl } from './flight-control.ts';
import type { LineRetry } from './line-retry.ts';
import type { PossessionJournal } from './possession-journal.ts';
import type { ChunkTarget, ReplicationSource, SnapshotSource, StagedIndex } from './ports.ts';
import type { ReplicationReport } from './report.ts';
import { SettledDigests } from './settled-digests.ts';

/** Chunks being checked and stored at a time; each may hold its encoded and its plain content. */
export const storingSlots = 4;
/** Where storing means a round trip; the bytes are bounded by the flight control anyhow. */
export const storingSlotsOverLine = 512;

export interface ChunkTransferParts {
  source: ReplicationSource;
  target: ChunkTarget;
  journal: PossessionJournal;
  flight: FlightControl;
  retry: LineRetry;
  report: ReplicationReport;
  signal: AbortSignal;
  /** Chunks of an adopted copy that this source made: reused after a check of each. */
  adopted?: DigestSet | null | undefined;
}

export interface ArchiveOptions {
  archive: string;
  /** Chunks of this archive must be of an encrypted kind (true) or of a plain kind (false). */
  encrypted: boolean;
  /** Copies in the target are read and checked before they are used; bad ones are fetched and replaced. */
  repair: boolean;
  /** Chunks that the group's newest finished snapshot in the target names: the group holds them already. */
  heldByGroup: DigestSet | null;
  /** Called with the plain size of each entry as it is settled. */
  onSettled: (plainBytes: number) => void;
}

export interface ArchiveResult {
  fetchedChunks: number;
  fetchedBytes: number;
}

/**
 * Brings the chunks that an index names into the target, for all archives of a job together: no chunk is on its way twice,
 * the bytes in flight are bounded for the job, and every chunk is checked before it is stored.
 */
export class ChunkTransfer {
  readonly #source: ReplicationSource;
  readonly #parts: ChunkTransferParts;
  readonly #target: ChunkTarget;
  readonly #journal: PossessionJournal;
  readonly #flight: FlightControl;
  readonly #retry: LineRetry;
  readonly #report: ReplicationReport;
  readonly #signal: AbortSignal;
  readonly #storing: Semaphore;
  readonly #inFlight = new Map<string, Promise<number>>();
  readonly #adopting = new Map<string, Promise<boolean>>();
  readonly #settled = new SettledDigests();

  constructor(parts: ChunkTransferParts, slots = storingSlots) {
    this.#parts = parts;
    this.#storing = new Semaphore(slots);
    this.#source = parts.source;
    this.#target = parts.target;
    this.#journal = parts.journal;
    this.#flight = parts.flight;
    this.#retry = parts.retry;
    this.#report = parts.report;
    this.#signal = parts.signal;
  }

  /** The same job, into the session of a remote that takes one snapshot: what it has not been given or told of, it does not have. */
  into(target: ChunkTarget): ChunkTransfer {
    return new ChunkTransfer({ ...this.#parts, target }, storingSlotsOverLine);
  }

  /** Resolves when every chunk of `index` is stored. The first failure stops asking for more and is thrown once all that is on its way has ended. */
  async transfer(session: SnapshotSource, index: StagedIndex, options: ArchiveOptions): Promise<ArchiveResult> {
    const result: ArchiveResult = { fetchedChunks: 0, fetchedBytes: 0 };
    const pending = new Set<Promise<void>>();
    const failures: unknown[] = [];
    for await (const { digest, size } of index.entries()) {
      throwIfAborted(this.#signal);
      if (failures.length > 0) break;
      if (size < 1 || size > maxChunkPlainSize) throw new FormatError('format.index', `${options.archive}: chunk ${toHex(digest)} with a size of ${size} bytes`);
      if (this.#settled.has(digest, options)) {
        options.onSettled(size);
        continue;
      }
      const key = asBuffer(digest).toString('latin1');
      const running = this.#inFlight.get(key);
      const own = Buffer.from(digest);
      let work: Promise<number>;
      if (running !== undefined) {
        // If the snapshot that asked first fails, this one asks for itself.
        work = running.then(() => 0, () => this.#obtain(session, own, size, options));
      } else {
        if (await this.#reuse(own, size, options)) {
          // Another snapshot may have looked at the same time.
          if (!this.#settled.has(own, options)) {
            this.#report.reusedChunks += 1;
            this.#report.reusedBytes += size;
          }
          this.#settled.add(own, options.repair);
          options.onSettled(size);
          continue;
        }
        const permit = await this.#flight.acquire(size, this.#signal);
        // Another snapshot may have asked for it, or even have finished, while this one waited.
        const again = this.#inFlight.get(key);
        if (again !== undefined || this.#settled.has(own, options)) {
          permit.release(0);
          work = again === undefined ? Promise.resolve(0) : again.then(() => 0, () => this.#obtain(session, own, size, options));
        } else {
          work = this.#fetch(session, own, size, options, permit);
          this.#inFlight.set(key, work);
          const forget = (): void => void this.#inFlight.delete(key);
          work.then(forget, forget);
        }
      }
      const one = work
        .then((bytes) => {
          if (bytes > 0) {
            result.fetchedChunks += 1;
            result.fetchedBytes += bytes;
          }
          options.onSettled(size);
        })
        .catch((e: unknown) => {
          failures.push(e);
        })
        .finally(() => {
          pending.delete(one);
        });
      pending.add(one);
    }
    await Promise.all(pending);
    if (failures.length > 0) throw failures[0];
    return result;
  }

  async #obtain(session: SnapshotSource, digest: Digest, size: number, options: ArchiveOptions): Promise<number> {
    const permit = await this.#flight.acquire(size, this.#signal);
    return this.#fetch(session, digest, size, options, permit);
  }

  /**
   * True when the copy in the target may stand for this chunk: the source is known to hold the content (journal, own group, or a
   * look at a local source) *and* the copy is there. In repair mode the copy must also check out.
   */
  async #reuse(digest: Digest, size: number, options: ArchiveOptions): Promise<boolean> {
    // Before what the group holds: nobody here has looked at these yet.
    if (this.#parts.adopted?.has(digest) === true && !this.#journal.has(digest)) return this.#adopt(digest, size, options);
    const known =
      this.#source.holds === undefined
        ? options.heldByGroup?.has(digest) === true || this.#journal.has(digest)
        : await this.#source.holds(digest);
    if (!known) return false;
    if (!options.repair) return this.#target.touchChunk(digest);
    const blob = await this.#target.readChunk(digest);
    return blob !== null && (await isSound(blob, digest, size)) && (await this.#target.touchChunk(digest));
  }

  /** A chunk of an adopted copy is read and checked once, whoever asks for it meanwhile; then it counts as delivered. */
  async #adopt(digest: Digest, size: number, options: ArchiveOptions): Promise<boolean> {
    const key = `${asBuffer(digest).toString('latin1')}${size}${String(options.encrypted)}`;
    let check = this.#adopting.get(key);
    if (check === undefined) {
      check = this.#checkAdopted(digest, size, options).finally(() => this.#adopting.delete(key));
      this.#adopting.set(key, check);
    }
    return check;
  }

  async #checkAdopted(digest: Digest, size: number, options: ArchiveOptions): Promise<boolean> {
    const blob = await this.#target.readChunk(digest);
    if (blob === null || !(await isOfKind(blob, digest, size, options.encrypted)) || !(await this.#target.touchChunk(digest))) return false;
    this.#journal.add(digest, blob.byteLength);
    return true;
  }

  /** Fetches, checks and stores one chunk; returns its encoded size. */
  async #fetch(session: SnapshotSource, digest: Digest, size: number, options: ArchiveOptions, permit: { release(bytes: number): void }): Promise<number> {
    let received = 0;
    try {
      const blob = await this.#retry.run(`chunk ${toHex(digest)}`, () => session.chunk(digest, options.archive, maxChunkEncodedSize));
      received = blob.byteLength;
      this.#report.fetchedChunks += 1;
      this.#report.fetchedBytes += received;
      // The permit is held until a storing slot is free, so that a slow disk slows the line down instead of filling memory.
      await this.#storing.run(() => this.#store(blob, digest, size, options));
      this.#journal.add(digest, received);
      this.#report.storedChunks += 1;
      this.#report.storedBytes += received;
      this.#settled.add(digest, true);
      return received;
    } finally {
      permit.release(received);
    }
  }

  async #store(blob: Buffer, digest: Digest, size: number, options: ArchiveOptions): Promise<void> {
    throwIfAborted(this.#signal);
    try {
      requireKind(blob, options.encrypted);
      await verifyChunk(blob, digest, size);
    } catch (e) {
      throw new FormatError('format.chunk-received', `chunk ${toHex(digest)} of ${options.archive} arrived damaged: the source's copy is bad`, { cause: e });
    }
    if (await storeOverExisting(this.#target, digest, blob, size)) this.#report.repairedChunks += 1;
  }
}

/** Stores a checked chunk; true when a bad copy had to be replaced. */
export async function storeOverExisting(target: ChunkTarget, digest: Digest, blob: Buffer, size: number): Promise<boolean> {
  const { duplicate } = await target.storeChunk(digest, blob, false, size);
  if (!duplicate) return false;
  // Something was stored already: it must not be trusted over the good bytes that are at hand.
  const existing = await target.readChunk(digest);
  if (existing !== null && (bytesEqual(existing, blob) || (await isSound(existing, digest, size)))) return false;
  await target.storeChunk(digest, blob, true, size);
  return true;
}

/** As `isSound`, of an encrypted or of a plain kind. */
export async function isOfKind(blob: Buffer, digest: Digest, size: number, encrypted: boolean): Promise<boolean> {
  try {
    requireKind(blob, encrypted);
  } catch (e) {
    if (e instanceof FormatError) return false;
    throw e;
  }
  return isSound(blob, digest, size);
}

/** Whether a stored chunk is what its digest says, as far as that can be seen without a key. */
export async function isSound(blob: Buffer, digest: Digest, size: number): Promise<boolean> {
  try {
    await verifyChunk(blob, digest, size);
    return true;
  } catch (e) {
    if (e instanceof FormatError) return false;
    throw e;
  }
}
