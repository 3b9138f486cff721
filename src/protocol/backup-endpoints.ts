import type { Duplex } from 'node:stream';
import { Type } from 'typebox';
import { parseDigest } from '../base/bytes.ts';
import { AbortedError, errorChain, NetworkError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { IndexKind } from '../format/chunk-index.ts';
import { maxChunkEncodedSize, maxChunkPlainSize } from '../format/data-blob.ts';
import { BackupSession, maxWriters } from './backup-session.ts';
import type { BackupStore, EarlierDeliveries } from './backup-store.ts';
import { serveSession, sessionEndpoint, type SessionEndpoint, type SessionExchange } from './h2-session-server.ts';

export const backupProtocol = 'proxmox-backup-protocol-v1';

/**
 * Bytes that a stream takes before its body is read, times 200 streams in memory at worst. A client with 64 chunks under way fills a line of 1 Gbit/s and
 * 0.5 s with it.
 */
const streamWindow = 1024 * 1024;

const digestText = Type.String({ pattern: '^[a-f0-9]{64}$' });
const fileName = Type.String({ pattern: String.raw`^[A-Za-z0-9_][A-Za-z0-9._\-]*$` });
const wid = Type.Integer({ minimum: 1, maximum: maxWriters });
const count = (minimum: number) => Type.Integer({ minimum });

export interface BackupSessionOptions {
  store: BackupStore;
  /** Task log. */
  log: ProgressLog;
  debug: boolean;
  benchmark: boolean;
  signal: AbortSignal;
  /** The client wants to know what it delivered before. */
  deliveries?: EarlierDeliveries | null;
}

/**
 * Serves one backup session on a socket that acceptUpgrade returned (spec backup-protocol 4 to 6). Resolves when it has ended and its backup is finished;
 * for a benchmark in any case. Rejects when it ended before: AbortedError, NetworkError. What was written is the caller's to remove then.
 */
export async function serveBackupSession(socket: Duplex, options: BackupSessionOptions): Promise<void> {
  const { store, log, debug, benchmark, signal, deliveries = null } = options;
  if (debug) log.info('protocol upgrade done');
  const session = new BackupSession(store, { log, debug, deliveries });
  const end = await serveSession(socket, { endpoints: [...backupEndpoints(session), ...(deliveries === null ? [] : deliveryEndpoints(session))], log, debug, signal, streamWindow });
  await session.end();
  if (benchmark) {
    log.info('benchmark finished successfully');
    return;
  }
  if (session.finished) {
    // The client has its answer: how the connection ended does not matter any more.
    log.info(end.error === null ? 'backup finished successfully' : `backup had errors but finished: ${errorChain(end.error)}`);
    return;
  }
  const failure = signal.aborted ? new AbortedError('task aborted') : new NetworkError('net.closed', end.error === null ? 'backup ended but finished state is not set.' : `connection error: ${errorChain(end.error)}`);
  if (end.error === null) log.info(`backup ended and finish failed: ${failure.message}`);
  else log.info(`backup failed: ${failure.message}`);
  log.info(end.error === null ? 'removing unfinished backup' : 'removing failed backup');
  throw failure;
}

/** The endpoints of a session, relative to the protocol root. */
export function backupEndpoints(session: BackupSession): SessionEndpoint[] {
  return [
    ...indexEndpoints(session),
    ...(['dynamic', 'fixed'] as const).flatMap((kind) => chunkEndpoints(session, kind)),
    sessionEndpoint({
      method: 'POST',
      path: '/blob',
      body: 'stream',
      parameters: Type.Object({ 'file-name': fileName, 'encoded-size': Type.Integer({ minimum: 12, maximum: maxChunkEncodedSize }) }),
      handler: (p, exchange) => session.storeBlob(p['file-name'], p['encoded-size'], exchange),
    }),
    sessionEndpoint({
      method: 'GET',
      path: '/previous',
      body: 'stream',
      parameters: Type.Object({ 'archive-name': fileName }),
      handler: (p) => session.previousFile(p['archive-name']),
    }),
    sessionEndpoint({ method: 'GET', path: '/previous_backup_time', parameters: Type.Object({}), handler: () => Promise.resolve(session.previousTime()) }),
    sessionEndpoint({ method: 'POST', path: '/finish', parameters: Type.Object({}), handler: () => session.finish() }),
    sessionEndpoint({ method: 'POST', path: '/speedtest', body: 'stream', parameters: Type.Object({}), handler: (_, exchange) => discard(exchange) }),
  ];
}

/** Farshore's own (docs/compatibility.md, `deliveries`). */
function deliveryEndpoints(session: BackupSession): SessionEndpoint[] {
  return [
    sessionEndpoint({
      method: 'POST',
      path: '/farshore_delivered',
      parameters: Type.Object({ 'digest-list': Type.Array(digestText), 'size-list': Type.Array(Type.Integer({ minimum: 1, maximum: maxChunkPlainSize })) }),
      handler: (p) => session.delivered(p['digest-list'].map((text) => parseDigest(text)!), p['size-list']),
    }),
  ];
}

function indexEndpoints(session: BackupSession): SessionEndpoint[] {
  return [
    sessionEndpoint({
      method: 'POST',
      path: '/dynamic_index',
      parameters: Type.Object({ 'archive-name': fileName }),
      handler: (p) => session.createIndex('dynamic', p['archive-name']),
    }),
    sessionEndpoint({
      method: 'POST',
      path: '/fixed_index',
      parameters: Type.Object({ 'archive-name': fileName, size: Type.Optional(count(1)), 'reuse-csum': Type.Optional(digestText) }),
      handler: (p) => session.createIndex('fixed', p['archive-name'], { size: p.size, reuseCsum: p['reuse-csum'] }),
    }),
  ];
}

function chunkEndpoints(session: BackupSession, kind: IndexKind): SessionEndpoint[] {
  const least = kind === 'dynamic' ? 1 : 0;
  return [
    sessionEndpoint({
      method: 'POST',
      path: `/${kind}_chunk`,
      body: 'stream',
      parameters: Type.Object({
        wid,
        digest: digestText,
        size: Type.Integer({ minimum: 1, maximum: maxChunkPlainSize }),
        'encoded-size': Type.Integer({ minimum: 13, maximum: maxChunkEncodedSize }),
      }),
      handler: async (p, exchange) => {
        await session.uploadChunk(kind, p.wid, { digest: parseDigest(p.digest)!, size: p.size, encodedSize: p['encoded-size'] }, exchange);
        return p.digest;
      },
    }),
    sessionEndpoint({
      method: 'PUT',
      path: `/${kind}_index`,
      parameters: Type.Object({ wid, 'digest-list': Type.Array(digestText), 'offset-list': Type.Array(count(0)) }),
      handler: (p) => session.append(kind, p.wid, p['digest-list'].map((text) => parseDigest(text)!), p['offset-list']),
    }),
    sessionEndpoint({
      method: 'POST',
      path: `/${kind}_close`,
      parameters: Type.Object({ wid, 'chunk-count': count(least), size: count(least), csum: digestText }),
      handler: (p) => session.closeIndex(kind, p.wid, { chunkCount: p['chunk-count'], size: p.size, csum: parseDigest(p.csum)! }),
    }),
  ];
}

/** Reads to the end, for nothing (spec backup-protocol 4.8). */
async function discard({ body }: SessionExchange): Promise<void> {
  try {
    for await (const _ of body);
  } catch {
    // The answer is the same; whether anybody is there to take it shows soon enough.
  }
}
