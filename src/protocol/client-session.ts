import assert from 'node:assert/strict';
import { connect as connectHttp2, constants } from 'node:http2';
import type { ClientHttp2Session, ClientHttp2Stream } from 'node:http2';
import { AbortedError } from '../base/errors.ts';
import type { FarshoreError } from '../base/errors.ts';
import { SessionExchange } from './client-exchange.ts';
import { classifyNetworkError, networkError } from './network-error.ts';
import { encodeQuery } from './query.ts';
import type { QueryParameters } from './query.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import { defaultStallTimeoutMs, userAgent } from './rest-client.ts';
import type { TlsConnection } from './tls-connection.ts';

export interface SessionOptions {
  signal?: AbortSignal | undefined;
  /** See ClientSession. Default 60 s. */
  stallTimeoutMs?: number | undefined;
  /** Told of every piece of a body as it arrives. */
  onBytes?: ((bytes: number) => void) | undefined;
}

export interface SessionRequest {
  method?: 'GET' | 'POST' | 'PUT';
  /** Relative to the protocol root, e.g. `/chunk`. */
  path: string;
  parameters?: QueryParameters;
  contentType?: string;
  body?: Uint8Array;
  /** Longer answers are cut off with `net.protocol`. */
  maxBytes: number;
}

/** A chunk never fills it, and a reader that is slower than the line holds at most this much per file in memory. */
const streamWindow = 32 * 1024 * 1024;
const connectionWindow = 2 ** 31 - 1;
const maxFrameSize = 4 * 1024 * 1024;
/** Node's own limit (10 MB) ends sessions with several chunks in flight; callers bound what they have in flight. */
const maxSessionMemoryMb = 4096;
/** The reference's client refuses to build longer queries (spec backup-protocol 3). */
const maxQueryBytes = 4096;

/**
 * Client side of an HTTP/2 session of the backup or reader protocol (spec backup-protocol 3).
 *
 * A request fails at most once: HttpError for an answer other than 2xx (the session goes on), NetworkError for a
 * broken or cut-off answer, and when the session ends every request under way fails with the session's one error.
 *
 * Watchdog: while a request waits for the remote, bytes of answers must arrive on the session. None for
 * `stallTimeoutMs` ends the session with `net.stalled`. It looks at the session and not at single requests: of many
 * chunks on a thin line the last one may rightly wait long.
 */
export class ClientSession {
  /** Fulfilled when the session has ended, whoever ended it; never rejected. */
  readonly closed: Promise<void>;
  readonly #endpoint: RemoteEndpoint;
  readonly #connection: TlsConnection;
  readonly #session: ClientHttp2Session;
  readonly #pending = new Set<SessionExchange>();
  readonly #stallMs: number;
  readonly #onBytes: ((bytes: number) => void) | undefined;
  readonly #detachSignal: () => void;
  #failure: FarshoreError | undefined;
  /** Exchanges for which the remote, not the caller, is to act. */
  #waiting = 0;
  #uploads = 0;
  /** The remote said goodbye: answers under way come, then the session ends. */
  #leaving = false;
  #progressMs = 0;
  #writtenBefore = 0;
  #watchdog: NodeJS.Timeout | undefined;

  /** Takes over the connection, on which the 101 answer was received. */
  constructor(endpoint: RemoteEndpoint, connection: TlsConnection, options: SessionOptions = {}) {
    this.#endpoint = endpoint;
    this.#connection = connection;
    this.#stallMs = options.stallTimeoutMs ?? defaultStallTimeoutMs;
    this.#onBytes = options.onBytes;
    const session = connectHttp2('https://localhost:8007', {
      createConnection: () => connection.socket,
      settings: { enablePush: false, initialWindowSize: streamWindow, maxFrameSize },
      maxSessionMemory: maxSessionMemoryMb,
    });
    this.#session = session;
    session.setLocalWindowSize(connectionWindow);
    this.closed = new Promise((resolve) => {
      session.once('close', () => {
        this.#end(networkError('net.reset', `${endpoint.authority} closed the session`));
        resolve();
      });
    });
    session.on('error', (e) => this.#end(classifyNetworkError(e, endpoint, 'session')));
    session.on('goaway', (code) => {
      if (code !== constants.NGHTTP2_NO_ERROR) this.#end(networkError('net.protocol', `${endpoint.authority} ended the session with HTTP/2 error ${code}`));
      this.#leaving = true;
      this.#leaveWhenIdle();
    });
    const { signal } = options;
    const onAbort = (): void => this.#end(new AbortedError(undefined, { cause: signal?.reason }));
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#detachSignal = () => signal?.removeEventListener('abort', onAbort);
    if (signal?.aborted === true) onAbort();
  }

  /** The whole body of a 2xx answer in one Buffer. */
  async fetch(request: SessionRequest): Promise<Buffer> {
    return this.#begin(request).whole();
  }

  /**
   * The body of a 2xx answer as it comes; fulfilled with the answer's header. The iteration throws when the body is
   * cut off, and must be started: until it ends the request counts as in flight.
   */
  async openBody(request: SessionRequest): Promise<AsyncIterable<Buffer>> {
    return this.#begin(request).streamed();
  }

  /** Requests under way. */
  get inFlight(): number {
    return this.#pending.size;
  }

  /** Why the session ended; undefined while it lives. */
  get failure(): FarshoreError | undefined {
    return this.#failure;
  }

  /** Bytes on the wire below TLS, handshakes included. */
  get wireBytes(): { read: number; written: number } {
    return this.#connection.wireBytes();
  }

  /** Drops the connection at once (as the reference's client does); requests under way fail with AbortedError. */
  close(): void {
    this.#end(new AbortedError('the session was closed'));
  }

  #begin(request: SessionRequest): SessionExchange {
    const stream = this.#request(request);
    const isUpload = request.body !== undefined;
    const exchange = new SessionExchange(stream, {
      at: this.#endpoint.authority,
      maxBytes: request.maxBytes,
      onBytes: (bytes) => {
        this.#progressMs = performance.now();
        if (bytes > 0) this.#onBytes?.(bytes);
      },
      onWaiting: (waits) => this.#countWaiting(waits),
      onSettled: () => {
        this.#pending.delete(exchange);
        if (isUpload) this.#uploads -= 1;
        this.#leaveWhenIdle();
      },
      // The end of the session names the cause better than the end of one of its streams. It follows once the
      // socket is closed, which Node leaves to the remote in some cases.
      sessionEnds: () => {
        if (this.#session.destroyed) this.#connection.socket.destroy();
        return this.#session.destroyed;
      },
    });
    this.#pending.add(exchange);
    if (isUpload) this.#uploads += 1;
    exchange.start();
    return exchange;
  }

  #request(request: SessionRequest): ClientHttp2Stream {
    if (this.#failure !== undefined) throw this.#failure;
    const at = this.#endpoint.authority;
    if (this.#session.closed || this.#session.destroyed) throw networkError('net.reset', `${at} is closing the session`);
    const query = encodeQuery(request.parameters ?? {});
    assert.ok(query.length <= maxQueryBytes, `query of ${query.length} bytes`);
    const headers = {
      ':method': request.method ?? 'GET',
      ':path': query === '' ? request.path : `${request.path}?${query}`,
      'user-agent': userAgent,
      'content-type': request.contentType ?? 'application/x-www-form-urlencoded',
    };
    let stream: ClientHttp2Stream;
    try {
      stream = this.#session.request(headers, { endStream: request.body === undefined });
    } catch (e) {
      throw classifyNetworkError(e, this.#endpoint, 'session');
    }
    if (request.body !== undefined) stream.end(request.body);
    return stream;
  }

  #leaveWhenIdle(): void {
    if (this.#leaving && this.#pending.size === 0) this.#end(networkError('net.reset', `${this.#endpoint.authority} closed the session`));
  }

  #countWaiting(waits: boolean): void {
    this.#waiting += waits ? 1 : -1;
    if (waits && this.#waiting === 1) {
      this.#progressMs = performance.now();
      if (this.#watchdog === undefined && this.#failure === undefined) this.#watch(this.#stallMs);
    }
  }

  #watch(delayMs: number): void {
    this.#watchdog = setTimeout(() => {
      this.#watchdog = undefined;
      if (this.#waiting === 0) return;
      const { written } = this.#connection.wireBytes();
      const uploadMoves = this.#uploads > 0 && written !== this.#writtenBefore;
      this.#writtenBefore = written;
      if (uploadMoves || this.#connection.heldBack()) this.#progressMs = performance.now();
      const leftMs = this.#stallMs - (performance.now() - this.#progressMs);
      if (leftMs > 0) this.#watch(leftMs);
      else this.#end(networkError('net.stalled', `${this.#endpoint.authority} sent nothing for ${this.#stallMs / 1000} s with ${this.#pending.size} requests under way`));
    }, Math.max(1, delayMs));
  }

  /** The one way a session ends; later reasons are echoes of the first. */
  #end(reason: FarshoreError): void {
    if (this.#failure !== undefined) return;
    this.#failure = reason;
    clearTimeout(this.#watchdog);
    this.#watchdog = undefined;
    this.#detachSignal();
    for (const exchange of this.#pending) exchange.fail(reason);
    this.#session.destroy();
    this.#connection.socket.destroy();
  }
}
