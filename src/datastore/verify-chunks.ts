import { hash, webcrypto } from 'node:crypto';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { Semaphore, forEachLimited, throwIfAborted } from '../base/async.ts';
import { asBuffer, bytesEqual, digestLength, toHex, type Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { errorChain, errorCode, FormatError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { Progress } from '../base/progress.ts';
import type { ChunkIndex } from '../format/chunk-index.ts';
import { blobKind, checkBlobCrc, decodeBlobAsync, isEncryptedKind, maxChunkPlainSize } from '../format/data-blob.ts';
import type { Datastore } from './datastore.ts';
import { quotedPath } from './store-error.ts';

/** Lookups of the reading order at the same time: they are small reads all over the disk. */
const orderConcurrency = 32;
/** A long index says how far it is this often. */
const progressIntervalMs = 30_000;
/** Entries looked at before others get a turn: an image of 8 TiB names two million. */
const entriesPerTurn = 4096;
const encryptedHeaderLength = 44;

export interface ChunkVerifierOptions {
  /** Chunks read at the same time. */
  readThreads: number;
  /** Chunks decoded and hashed at the same time. */
  verifyThreads: number;
  log: ProgressLog;
  signal?: AbortSignal | undefined;
  clock?: Clock;
}

/** What the verification of one index found. */
export interface IndexVerdict {
  /** Bytes of chunk files that were read. */
  readBytes: number;
  /** What they decode to. */
  decodedBytes: number;
  /** Chunks that are missing, damaged or not what the index says. */
  errors: number;
}

/** `wrong`: an error, but not one that says that the chunk is damaged. */
type Finding = { state: 'good' } | { state: 'wrong' | 'corrupt'; complaint: string };

/** Codes of a chunk backend that say that the chunk is damaged or gone. */
const corruptCodes: ReadonlySet<string> = new Set(['store.chunk-missing', 'store.too-large']);

/** A chunk that is not what its name says; a wrong claim of an index is not one. */
class CorruptChunk extends Error {}

/**
 * Verifies chunks of one index after the other and remembers, for the whole task, which ones were good and which were corrupt
 * (spec retention 6.4). Corrupt ones are set aside as `.bad`, so that the next backup or sync stores them anew.
 *
 * Unlike the reference, a chunk counts as good only for the length and the encryption that the index claims, and an index that claims a wrong length for
 * an intact chunk is an error of the index: the chunk stays, it may belong to others.
 */
export class ChunkVerifier {
  readonly corrupt = new DigestSet();
  readonly #good = new DigestSet(4096);
  readonly #store: Datastore;
  readonly #options: ChunkVerifierOptions;
  readonly #clock: Clock;
  readonly #readSlots: Semaphore;
  readonly #checkSlots: Semaphore;

  constructor(store: Datastore, options: ChunkVerifierOptions) {
    this.#store = store;
    this.#options = options;
    this.#clock = options.clock ?? systemClock;
    this.#readSlots = new Semaphore(options.readThreads);
    this.#checkSlots = new Semaphore(options.verifyThreads);
  }

  /** All chunks that `index` names, each once; resolves when the last one is checked. `encrypted`: what the manifest says. Throws AbortedError. */
  async verifyIndex(index: ChunkIndex, encrypted: boolean): Promise<IndexVerdict> {
    const { log, signal, readThreads, verifyThreads } = this.#options;
    const verdict = { readBytes: 0, decodedBytes: 0, errors: 0 };
    const { entries, totalBytes } = await this.#entriesToCheck(index, encrypted, verdict);
    const progress = new Progress(this.#clock);
    let lastLineMs = this.#clock.now();
    let doneBytes = 0;
    const inOrder = this.#store.tuning.chunkOrder === 'inode' ? await this.#readingOrder(index, entries) : entries;
    await forEachLimited(inOrder, readThreads + verifyThreads, async (i) => {
      throwIfAborted(signal);
      const { digest, start, end } = index.entry(i);
      await this.#verifyChunk(digest, end - start, encrypted, verdict);
      doneBytes += end - start;
      progress.update(doneBytes, totalBytes);
      if (this.#clock.now() - lastLineMs < progressIntervalMs) return;
      lastLineMs = this.#clock.now();
      log.info(`  ${progress.text()}`);
    });
    throwIfAborted(signal);
    return verdict;
  }

  async #entriesToCheck(index: ChunkIndex, encrypted: boolean, verdict: IndexVerdict): Promise<{ entries: number[]; totalBytes: number }> {
    const seen = new DigestSet(Math.min(index.count, 1024 * 1024));
    const entries: number[] = [];
    let totalBytes = 0;
    for (let i = 0; i < index.count; i += 1) {
      if (i % entriesPerTurn === entriesPerTurn - 1) {
        await nextTurn();
        throwIfAborted(this.#options.signal);
      }
      const { digest, start, end } = index.entry(i);
      const claim = claimKey(digest, end - start, encrypted);
      if (this.#good.has(claim) || !seen.add(claim)) continue;
      if (this.corrupt.has(digest)) {
        this.#options.log.error(`chunk ${toHex(digest)} was marked as corrupt`);
        verdict.errors += 1;
        continue;
      }
      entries.push(i);
      totalBytes += end - start;
    }
    return { entries, totalBytes };
  }

  /** Entries in the order in which the disk reads them best; missing chunks last. */
  async #readingOrder(index: ChunkIndex, entries: readonly number[]): Promise<Iterable<number>> {
    const keys = new Float64Array(index.count).fill(Number.POSITIVE_INFINITY);
    await forEachLimited(entries, orderConcurrency, async (i) => {
      throwIfAborted(this.#options.signal);
      const order = await this.#store.chunks.readingOrder(index.digest(i)).catch(() => null);
      // Rounding of huge inode numbers only makes the order a little worse.
      if (order !== null) keys[i] = Number(order);
    });
    // Missing ones compare as equal (infinity minus infinity is no number): they stay in index order.
    return Uint32Array.from(entries).sort((a, b) => keys[a]! - keys[b]! || a - b);
  }

  async #verifyChunk(digest: Digest, size: number, encrypted: boolean, verdict: IndexVerdict): Promise<void> {
    const { log } = this.#options;
    // The same chunk under another claimed length may have been found corrupt while this one waited.
    if (this.corrupt.has(digest)) {
      log.error(`chunk ${toHex(digest)} was marked as corrupt`);
      verdict.errors += 1;
      return;
    }
    let finding = await this.#look(digest, size, encrypted, verdict);
    // Looked at again before it is judged: a sync may have healed it meanwhile, and a bad transfer from the disk may not be repeated.
    if (finding.state === 'corrupt') finding = await this.#look(digest, size, encrypted, verdict);
    if (finding.state === 'good') {
      this.#good.add(claimKey(digest, size, encrypted));
      return;
    }
    verdict.errors += 1;
    log.error(finding.complaint);
    if (finding.state === 'corrupt') await this.#setAside(digest);
  }

  /** Reads and checks the chunk once. */
  async #look(digest: Digest, size: number, encrypted: boolean, verdict: IndexVerdict): Promise<Finding> {
    let raw: Buffer;
    try {
      raw = await this.#readSlots.run(async () => this.#store.chunks.read(digest));
      checkBlobCrc(raw);
    } catch (e) {
      const complaint = `can't verify chunk, load failed - store '${this.#store.name}', unable to load chunk '${toHex(digest)}' - ${errorChain(e)}`;
      // A disk or a network that does not answer says nothing about the chunk (spec formats 9.4).
      return { state: e instanceof FormatError || corruptCodes.has(errorCode(e)) ? 'corrupt' : 'wrong', complaint };
    }
    verdict.readBytes += raw.byteLength;
    verdict.decodedBytes += size;
    try {
      const wrongClaim = await this.#checkSlots.run(async () => checkChunk(raw, digest, size, encrypted));
      return wrongClaim === null ? { state: 'good' } : { state: 'wrong', complaint: `chunk ${toHex(digest)}: ${wrongClaim}` };
    } catch (e) {
      if (!(e instanceof CorruptChunk) && !(e instanceof FormatError)) throw e;
      return { state: 'corrupt', complaint: `chunk ${toHex(digest)}: ${errorChain(e)}` };
    }
  }

  async #setAside(digest: Digest): Promise<void> {
    const { log } = this.#options;
    if (!this.corrupt.add(digest)) return;
    try {
      const name = await this.#store.chunks.markCorrupt(digest);
      if (name !== null) log.error(`corrupt chunk renamed to ${quotedPath(name)}`);
    } catch (e) {
      log.error(`could not rename corrupt chunk '${toHex(digest)}' - ${errorChain(e)}`);
    }
  }
}

/** Names the combination of digest, length and encryption that was found good: another claim about the same chunk is checked anew. */
function claimKey(digest: Digest, size: number, encrypted: boolean): Digest {
  const claim = Buffer.alloc(digestLength + 9);
  claim.set(digest);
  claim.writeDoubleLE(size, digestLength);
  claim[digestLength + 8] = encrypted ? 1 : 0;
  return hash('sha256', claim, 'buffer');
}

/**
 * Null when the chunk is what its name and the index say; what the index claims wrongly as text. Throws CorruptChunk or FormatError when the chunk
 * is damaged. The CRC has been checked. Without the key the content of an encrypted chunk cannot be checked, only the length of an uncompressed one.
 */
async function checkChunk(raw: Buffer, digest: Digest, size: number, encrypted: boolean): Promise<string | null> {
  const kind = blobKind(raw);
  if (isEncryptedKind(kind) !== encrypted) {
    const mode = (on: boolean): string => (on ? 'Encrypt' : 'None');
    return `chunk CryptMode ${mode(!encrypted)} does not match index CryptMode ${mode(encrypted)}`;
  }
  let length = size;
  if (kind === 'encrypted') length = raw.byteLength - encryptedHeaderLength;
  else if (kind !== 'encr_compr') {
    const data = await decodeBlobAsync(raw, { maxSize: maxChunkPlainSize });
    // Off the event loop, so that chunks are hashed side by side.
    const found = new Uint8Array(await webcrypto.subtle.digest('SHA-256', asBuffer(data) as Buffer<ArrayBuffer>));
    if (!bytesEqual(found, digest)) throw new CorruptChunk('detected chunk with wrong digest.');
    length = data.byteLength;
  }
  return length === size ? null : `detected chunk with wrong length (${size} != ${length})`;
}
