import { ByteBudget } from '../base/byte-budget.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import type { FarshoreError } from '../base/errors.ts';
import type { IndexKind } from '../format/chunk-index.ts';
import { ClientSession, type SessionOptions } from './client-session.ts';
import { openUpgraded } from './client-upgrade.ts';
import { networkError } from './network-error.ts';
import type { QueryParameters } from './query.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import type { AuthHeaders } from './remote-login.ts';
import type { TlsConnection } from './tls-connection.ts';

export const backupProtocol = 'proxmox-backup-protocol-v1';

/** Answers without a file in them. */
const maxReplyBytes = 64 * 1024;
/**
 * Plain bytes of chunks that are encoded and sent at a time, over all archives of the session: more than a fast long line holds (1 Gbit/s and 150 ms: 18 MiB). Encoded
 * and in TLS records they take as much once more or twice.
 */
const uploadBudgetBytes = 32 * 1024 * 1024;

export interface BackupOptions extends SessionOptions {
  store: string;
  /** `''` = root. */
  ns: string;
  backupType: string;
  backupId: string;
  /** Seconds since the epoch. */
  backupTime: number;
  /** True makes the remote write a task log line per request. */
  debug?: boolean | undefined;
  /** A session that leaves no snapshot (spec client-cli 9). */
  benchmark?: boolean | undefined;
  /** Asks the remote to remember what this session delivers (docs/compatibility.md): only for one that has the capability, others refuse it. */
  deliveries?: boolean | undefined;
  /** The remote goes around the local cache of its object store. */
  noCache?: boolean | undefined;
  limiter?: RateLimiter | undefined;
  authHeaders: () => Promise<AuthHeaders>;
  /** A connection to the endpoint that nobody uses: saves the round trips for another one. */
  idleConnection?: (() => TlsConnection | undefined) | undefined;
  /** PEM certificates trusted beside the system's. */
  trusted?: readonly string[] | undefined;
}

/** An index that is open on the remote. */
export interface OpenIndex {
  kind: IndexKind;
  wid: number;
}

export interface IndexPlace {
  digest: Digest;
  /** Offset of the chunk's first byte. */
  start: number;
}

/**
 * Client side of a backup session (spec backup-protocol 4). Nothing of it is a snapshot before `finish`; closing the session before
 * that makes the remote remove what it has. All methods throw HttpError with the remote's text, NetworkError or AbortedError.
 */
export class BackupClient {
  readonly #session: ClientSession;
  readonly #at: string;
  /** Bounds what is encoded and under way, whichever archive it is of. */
  readonly uploads = new ByteBudget(uploadBudgetBytes);

  private constructor(session: ClientSession, at: string) {
    this.#session = session;
    this.#at = at;
  }

  /** Connects, upgrades, starts HTTP/2. HttpError with the remote's text when it refuses. */
  static async open(endpoint: RemoteEndpoint, options: BackupOptions): Promise<BackupClient> {
    const { signal, limiter, trusted } = options;
    const parameters: QueryParameters = {
      'backup-type': options.backupType,
      'backup-id': options.backupId,
      'backup-time': options.backupTime,
      store: options.store,
      ns: options.ns === '' ? undefined : options.ns,
      debug: options.debug ?? false,
      benchmark: options.benchmark ?? false,
      'no-cache': options.noCache === true ? true : undefined,
      'farshore-deliveries': options.deliveries === true ? true : undefined,
    };
    const connection = await openUpgraded(endpoint, { path: 'backup', protocol: backupProtocol, parameters, authHeaders: await options.authHeaders() }, { limiter, signal, trusted }, options.idleConnection?.());
    return new BackupClient(new ClientSession(endpoint, connection, options), endpoint.authority);
  }

  /** Time of the snapshot whose chunks may be used again; null when there is none. */
  async previousBackupTime(): Promise<number | null> {
    const time = await this.#call('GET', '/previous_backup_time');
    if (time !== null && !Number.isSafeInteger(time)) throw this.#strange('the time of the previous backup');
    return time as number | null;
  }

  /** A file of that snapshot as stored. Of an index, the remote registers the chunks: they need not be uploaded in this session. */
  async previous(archiveName: string, options: { maxBytes: number }): Promise<Buffer> {
    return this.#session.fetch({ path: '/previous', parameters: { 'archive-name': archiveName }, maxBytes: options.maxBytes });
  }

  /**
   * Which of these chunks we delivered into this datastore before and are still there; the remote has registered them for this session then. Only
   * in a session with `deliveries`; at most some 5000.
   */
  async delivered(chunks: ReadonlyArray<{ digest: Digest; size: number }>): Promise<boolean[]> {
    const body = JSON.stringify({ 'digest-list': chunks.map(({ digest }) => toHex(digest)), 'size-list': chunks.map(({ size }) => size) });
    const answer = await this.#session.fetch({ method: 'POST', path: '/farshore_delivered', contentType: 'application/json', body: Buffer.from(body, 'utf8'), maxBytes: maxReplyBytes });
    const data = this.#data(answer, 'POST /farshore_delivered');
    if (typeof data !== 'string' || data.length !== chunks.length || !/^[01]*$/.test(data)) throw this.#strange('what it remembers');
    return Array.from(data, (flag) => flag === '1');
  }

  /** `encoded`: a whole data blob. */
  async putBlob(fileName: string, encoded: Uint8Array): Promise<void> {
    await this.#upload('/blob', { 'encoded-size': encoded.byteLength, 'file-name': fileName }, encoded);
  }

  /** `size`: bytes of an image, when known. */
  async createIndex(kind: IndexKind, archiveName: string, size?: number): Promise<OpenIndex> {
    const wid = await this.#call('POST', `/${kind}_index`, { 'archive-name': archiveName, size });
    if (!Number.isSafeInteger(wid)) throw this.#strange('the number of an index');
    return { kind, wid: wid as number };
  }

  /** `size`: plain bytes; `encoded`: a whole data blob. */
  async putChunk({ kind, wid }: OpenIndex, chunk: { digest: Digest; size: number; encoded: Uint8Array }): Promise<void> {
    const { digest, size, encoded } = chunk;
    await this.#upload(`/${kind}_chunk`, { wid, digest: toHex(digest), size, 'encoded-size': encoded.byteLength }, encoded);
  }

  /** Chunks that the remote has, in the order of the archive. At most some 6000 (spec backup-protocol 4.4). */
  async appendChunks({ kind, wid }: OpenIndex, places: readonly IndexPlace[]): Promise<void> {
    const body = JSON.stringify({ wid, 'digest-list': places.map(({ digest }) => toHex(digest)), 'offset-list': places.map(({ start }) => start) });
    await this.#session.fetch({ method: 'PUT', path: `/${kind}_index`, contentType: 'application/json', body: Buffer.from(body, 'utf8'), maxBytes: maxReplyBytes });
  }

  async closeIndex({ kind, wid }: OpenIndex, summary: { chunkCount: number; size: number; csum: Digest }): Promise<void> {
    await this.#call('POST', `/${kind}_close`, { wid, 'chunk-count': summary.chunkCount, size: summary.size, csum: toHex(summary.csum) });
  }

  /** Makes the snapshot: everything is on the remote, and stays. */
  async finish(): Promise<void> {
    await this.#call('POST', '/finish');
  }

  /** Bytes that the remote throws away. */
  async speedtest(bytes: Uint8Array): Promise<void> {
    await this.#upload('/speedtest', {}, bytes);
  }

  /** Why the session ended; undefined while it lives. */
  get failure(): FarshoreError | undefined {
    return this.#session.failure;
  }

  /** Drops the connection; requests under way fail with AbortedError. */
  close(): void {
    this.#session.close();
  }

  async #call(method: 'GET' | 'POST', path: string, parameters: QueryParameters = {}): Promise<unknown> {
    return this.#data(await this.#session.fetch({ method, path, parameters, maxBytes: maxReplyBytes }), `${method} ${path}`);
  }

  #data(body: Buffer, request: string): unknown {
    try {
      const reply = JSON.parse(body.toString('utf8')) as { data?: unknown };
      return reply.data ?? null;
    } catch {
      throw this.#strange(`its answer to ${request}`);
    }
  }

  async #upload(path: string, parameters: QueryParameters, body: Uint8Array): Promise<void> {
    await this.#session.fetch({ method: 'POST', path, parameters, contentType: 'application/octet-stream', body, maxBytes: maxReplyBytes });
  }

  #strange(what: string): FarshoreError {
    return networkError('net.protocol', `${this.#at}: ${what} is not understood`);
  }
}
