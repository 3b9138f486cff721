import assert from 'node:assert/strict';
import { toHex } from '../base/bytes.ts';
import type { Digest } from '../base/bytes.ts';
import type { FarshoreError } from '../base/errors.ts';
import { openUpgraded } from './client-upgrade.ts';
import { ClientSession } from './client-session.ts';
import type { SessionOptions } from './client-session.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import type { AuthHeaders } from './remote-login.ts';
import { RestClient } from './rest-client.ts';
import type { TlsConnection } from './tls-connection.ts';

export const readerProtocol = 'proxmox-backup-reader-protocol-v1';

export interface ReaderOptions extends SessionOptions {
  store: string;
  /** `''` = root. */
  ns: string;
  backupType: string;
  backupId: string;
  /** Seconds since the epoch. */
  backupTime: number;
  /** True makes the remote write a task log line per request (spec sync W19). */
  debug?: boolean | undefined;
  limiter?: RateLimiter | undefined;
  /** Give `() => restClient.authHeaders()` to share a user's login; without it a user logs in for each session. */
  authHeaders?: (() => Promise<AuthHeaders>) | undefined;
  /** Called once before connecting: an open connection to use instead (`() => restClient.takeIdleConnection()`). */
  idleConnection?: (() => TlsConnection | undefined) | undefined;
  /** PEM certificates trusted beside the system's. */
  trusted?: readonly string[] | undefined;
}

export interface SpeedSample {
  bytes: number;
  seconds: number;
}

/** Takes a body piece by piece; the next comes when the promise is fulfilled. */
export type ByteSink = (bytes: Buffer) => void | Promise<void>;

/** Reader session of one snapshot (spec backup-protocol 7). All methods throw HttpError, NetworkError or AbortedError. */
export class ReaderClient {
  readonly #session: ClientSession;

  private constructor(session: ClientSession) {
    this.#session = session;
  }

  /** Connects, upgrades, starts HTTP/2. HttpError with the remote's text when it refuses (no permission, no such snapshot, snapshot locked). */
  static async open(endpoint: RemoteEndpoint, options: ReaderOptions): Promise<ReaderClient> {
    const { signal, limiter, trusted } = options;
    const authHeaders = await (options.authHeaders ?? (async () => logIn(endpoint, options)))();
    const connection = await openUpgraded(
      endpoint,
      {
        path: 'reader',
        protocol: readerProtocol,
        parameters: {
          store: options.store,
          ns: options.ns === '' ? undefined : options.ns,
          'backup-type': options.backupType,
          'backup-id': options.backupId,
          'backup-time': options.backupTime,
          debug: options.debug ?? false,
        },
        authHeaders,
      },
      { limiter, signal, trusted },
      options.idleConnection?.(),
    );
    return new ReaderClient(new ClientSession(endpoint, connection, options));
  }

  /**
   * Raw bytes of a file of the snapshot. Fulfilled with the answer's header; 404 = the blob does not exist. The
   * body must be iterated (or its iterator returned), it holds a stream of the session. More than `maxBytes` bytes: `net.protocol`.
   * Downloading an index entitles the session to its chunks.
   */
  async download(fileName: string, options: { maxBytes: number }): Promise<AsyncIterable<Buffer>> {
    return this.#session.openBody({ path: '/download', parameters: { 'file-name': fileName }, maxBytes: options.maxBytes });
  }

  /** Hands the file's pieces to `sink` in order, one at a time. Returns the number of bytes. */
  async downloadTo(fileName: string, sink: ByteSink, options: { maxBytes: number }): Promise<number> {
    let total = 0;
    for await (const piece of await this.download(fileName, options)) {
      total += piece.length;
      await sink(piece);
    }
    return total;
  }

  /** The encoded chunk as stored on the remote, unchecked. 401 = its index was not downloaded in this session. */
  async chunk(digest: Digest, options: { maxBytes: number }): Promise<Buffer> {
    assert.equal(digest.length, 32);
    return this.#session.fetch({ path: '/chunk', parameters: { digest: toHex(digest) }, maxBytes: options.maxBytes });
  }

  /** Downloads the protocol's 1 MiB test body once. */
  async speedtest(): Promise<SpeedSample> {
    const startMs = performance.now();
    const body = await this.#session.fetch({ path: '/speedtest', maxBytes: 16 * 1024 * 1024 });
    return { bytes: body.length, seconds: (performance.now() - startMs) / 1000 };
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#session.inFlight;
  }

  /** Why the session ended; undefined while it lives. */
  get failure(): FarshoreError | undefined {
    return this.#session.failure;
  }

  /** Bytes on the wire below TLS, handshakes included. */
  get wireBytes(): { read: number; written: number } {
    return this.#session.wireBytes;
  }

  /** Fulfilled when the session has ended; never rejected. */
  get closed(): Promise<void> {
    return this.#session.closed;
  }

  /** Drops the connection; requests under way fail with AbortedError. */
  close(): void {
    this.#session.close();
  }
}

async function logIn(endpoint: RemoteEndpoint, options: ReaderOptions): Promise<AuthHeaders> {
  const rest = new RestClient(endpoint, { limiter: options.limiter, signal: options.signal, trusted: options.trusted });
  try {
    return await rest.authHeaders();
  } finally {
    rest.close();
  }
}
