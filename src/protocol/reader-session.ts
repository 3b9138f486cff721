import type { Duplex, Readable } from 'node:stream';
import { Type } from 'typebox';
import { Semaphore } from '../base/async.ts';
import { digestLength, parseDigest, toHex, type Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { HttpError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { RawReply, serveSession, sessionEndpoint, type SessionEndpoint, type SessionExchange } from './h2-session-server.ts';

export const readerProtocol = 'proxmox-backup-reader-protocol-v1';

/** Chunks of one session in memory at a time; more wait. A slow client holds at most this many, whatever it asks for. */
export const chunksInFlight = 4;
/** 64 TiB in chunks of 4 MiB, 0.7 GiB of memory. */
const allowedChunksLimit = 16 * 1024 * 1024;

/** Requests of this protocol have no body. */
const requestBodyWindow = 16 * 1024;

const speedtestBody = Buffer.alloc(1024 * 1024, 'A');

/** The snapshot of a reader session. The maker holds the snapshot's shared lock until the session has ended. */
export interface ReadableSnapshot {
  /** Folder of the datastore, as the task log prints it. */
  readonly storePath: string;
  /** Folder of the snapshot, as messages print it. */
  readonly path: string;
  /** Opens a file of the snapshot by its (checked) name; null when there is none. */
  open(fileName: string): Promise<SnapshotFile | null>;
  /** The encoded chunk blob as stored. Throws StoreError when it cannot be read; the message is the answer. */
  readChunk(digest: Digest): Promise<Buffer>;
}

export interface SnapshotFile {
  /** As the task log and messages print it. */
  readonly path: string;
  /**
   * For an index: its digests in order, many at a time, each piece a whole number of 32-byte digests; the index is never in memory as
   * a whole. Throws FormatError when it is none.
   */
  digests(): AsyncIterable<Uint8Array>;
  /** The file's bytes from the start. May be called after digests(), once. */
  stream(): Readable;
  close(): Promise<void>;
}

export interface ReaderSessionOptions {
  snapshot: ReadableSnapshot;
  /** Task log. */
  log: ProgressLog;
  debug?: boolean;
  signal?: AbortSignal;
  /** Delay of the 401 for a chunk outside the allowed ones. Default 3000. */
  unauthorizedDelayMs?: number;
}

/**
 * Serves one reader session (spec backup-protocol 7.2) on a socket that acceptUpgrade returned; resolves when it has ended.
 * Connection errors are a normal end; an abort rejects with the signal's reason.
 */
export async function serveReaderSession(socket: Duplex, options: ReaderSessionOptions): Promise<void> {
  const { log, signal } = options;
  log.info('protocol upgrade done');
  const end = await serveSession(socket, {
    endpoints: readerEndpoints(options.snapshot),
    log,
    streamWindow: requestBodyWindow,
    ...(options.debug === undefined ? {} : { debug: options.debug }),
    ...(signal === undefined ? {} : { signal }),
    ...(options.unauthorizedDelayMs === undefined ? {} : { unauthorizedDelayMs: options.unauthorizedDelayMs }),
  });
  signal?.throwIfAborted();
  if (end.error !== null) log.debug(`connection ended: ${end.error.message}`);
  log.info('reader finished successfully');
}

/** First line of the reader task (spec backup-protocol 7.2). */
export function readerStartLine(store: string, snapshot: ReadableSnapshot): string {
  return `starting new backup reader datastore '${store}': ${JSON.stringify(snapshot.storePath)}`;
}

/** The endpoints of one session with its state: the digests that its client may fetch, and how many chunks are under way. */
export function readerEndpoints(snapshot: ReadableSnapshot): SessionEndpoint[] {
  const allowed = new DigestSet();
  const slots = new Semaphore(chunksInFlight);
  return [
    sessionEndpoint({
      method: 'GET',
      path: '/chunk',
      body: 'stream',
      parameters: Type.Object({ digest: Type.String({ pattern: '^[a-f0-9]{64}$' }) }),
      handler: (parameters, exchange) => sendChunk(snapshot, allowed, slots, parseDigest(parameters.digest)!, exchange),
    }),
    sessionEndpoint({
      method: 'GET',
      path: '/download',
      body: 'stream',
      parameters: Type.Object({ 'file-name': Type.String({ pattern: String.raw`^[A-Za-z0-9_][A-Za-z0-9._\-]*$` }) }),
      handler: (parameters, exchange) => sendFile(snapshot, allowed, parameters['file-name'], exchange.log),
    }),
    sessionEndpoint({
      method: 'GET',
      path: '/speedtest',
      body: 'stream',
      parameters: Type.Object({}),
      handler: () => Promise.resolve(new RawReply(speedtestBody)),
    }),
  ];
}

async function sendChunk(snapshot: ReadableSnapshot, allowed: DigestSet, slots: Semaphore, digest: Digest, exchange: SessionExchange): Promise<RawReply> {
  if (!allowed.has(digest)) {
    exchange.log.info(`attempted to download chunk ${toHex(digest)} which is not in registered chunk list`);
    throw new HttpError(401, `download chunk ${toHex(digest)} not allowed`);
  }
  await slots.acquire();
  try {
    // A stream that was reset while it waited must not cost a read.
    exchange.signal.throwIfAborted();
    return new RawReply(await snapshot.readChunk(digest), () => slots.release());
  } catch (e) {
    slots.release();
    throw e;
  }
}

async function sendFile(snapshot: ReadableSnapshot, allowed: DigestSet, name: string, log: ProgressLog): Promise<RawReply> {
  const isIndex = /\.[fd]idx$/.test(name);
  if (!isIndex && !name.endsWith('.blob')) throw new HttpError(400, `unknown archive type: ${JSON.stringify(name)}`);
  const file = await snapshot.open(name);
  if (file === null) {
    // Peers take the 404 for "this blob is not there"; for an index the reference answers 400.
    const path = JSON.stringify(`${snapshot.path}/${name}`);
    if (isIndex) throw new HttpError(400, `Unable to open ${name.endsWith('.fidx') ? 'fixed' : 'dynamic'} index ${path} - not found`);
    throw new HttpError(404, `open file ${path} failed - not found`);
  }
  try {
    log.info(`download ${JSON.stringify(file.path)}`);
    if (isIndex) {
      log.info(`register chunks in '${name}' as downloadable.`);
      await allow(allowed, file.digests());
    }
    const stream = file.stream();
    return new RawReply(stream, () => void file.close().catch((e: unknown) => log.error(`closing ${file.path}: ${String(e)}`)));
  } catch (e) {
    await file.close();
    throw e;
  }
}

async function allow(allowed: DigestSet, pieces: AsyncIterable<Uint8Array>): Promise<void> {
  for await (const piece of pieces) {
    for (let at = 0; at < piece.byteLength; at += digestLength) allowed.add(piece.subarray(at, at + digestLength));
    if (allowed.size > allowedChunksLimit) throw new HttpError(400, `more than ${allowedChunksLimit} chunks in one reader session`);
  }
}
