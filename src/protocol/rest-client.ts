import assert from 'node:assert/strict';
import { Agent, request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage, RequestOptions } from 'node:http';
import { pipeline } from 'node:stream';
import type { Duplex, Readable } from 'node:stream';
import { createInflate } from 'node:zlib';
import { AbortedError, FarshoreError, HttpError, toError } from '../base/errors.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { Semaphore, throwIfAborted } from '../base/async.ts';
import { answerText } from './answer-text.ts';
import { classifyNetworkError, networkError } from './network-error.ts';
import { encodeQuery } from './query.ts';
import type { QueryParameters } from './query.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import { RemoteLogin } from './remote-login.ts';
import type { AuthHeaders } from './remote-login.ts';
import { connectTls } from './tls-connection.ts';
import type { TlsConnection } from './tls-connection.ts';

/** `data` and what else the server put beside it (`digest`, `total`; spec rest-api 3.1). */
export interface RestReply {
  data: unknown;
  [sibling: string]: unknown;
}

export interface RestClientOptions {
  limiter?: RateLimiter | undefined;
  /** Ends all requests with AbortedError. */
  signal?: AbortSignal | undefined;
  /** No byte for so long within an answer: `net.stalled`. Default 60 s. */
  stallTimeoutMs?: number | undefined;
  /** From the call to the end of the answer's header (spec sync 1.3): `net.timeout`. Default 2 min. */
  timeoutMs?: number | undefined;
  /** Larger answers are refused with `net.protocol`. Default 256 MiB, several hundred thousand snapshots in one list. */
  maxReplyBytes?: number | undefined;
  clock?: Clock | undefined;
  /** PEM certificates trusted beside the system's. */
  trusted?: readonly string[] | undefined;
}

export const userAgent = 'farshore/1.0';
export const defaultStallTimeoutMs = 60_000;
export const defaultRequestTimeoutMs = 120_000;
const defaultMaxReplyBytes = 256 * 1024 * 1024;
const maxConnections = 8;
/** Idle connections are given up before usual servers and firewalls do, so that a request seldom meets a dead one. */
const idleTimeoutMs = 15_000;
/** Path and query of an API call; a server answers 414 above (spec rest-api 1). */
const maxTargetBytes = 3072;

type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

interface RawReply {
  status: number;
  headers: IncomingMessage['headers'];
  body: Buffer;
}

interface RequestBody {
  contentType: string;
  bytes: Uint8Array;
}

function jsonBody(value: unknown): RequestBody {
  return { contentType: 'application/json', bytes: Buffer.from(JSON.stringify(value), 'utf8') };
}

/**
 * REST calls to a remote (spec sync 1.3, rest-api 1-3). Keeps connections open, logs in by itself, retries nothing:
 * the caller decides. Throws HttpError for every answer but 2xx (message = body text), NetworkError, AbortedError.
 */
export class RestClient {
  readonly endpoint: RemoteEndpoint;
  readonly #options: RestClientOptions;
  readonly #clock: Clock;
  readonly #agent: RemoteAgent;
  /** Node's agent counts a connection only once it is made, too late to limit them. */
  readonly #slots = new Semaphore(maxConnections);
  readonly #closing = new AbortController();
  readonly #login: RemoteLogin;
  #clockOffsetMs: number | undefined;

  constructor(endpoint: RemoteEndpoint, options: RestClientOptions = {}) {
    this.endpoint = endpoint;
    const signal = options.signal === undefined ? this.#closing.signal : AbortSignal.any([options.signal, this.#closing.signal]);
    this.#options = { ...options, signal };
    this.#clock = options.clock ?? systemClock;
    this.#agent = new RemoteAgent(endpoint, this.#options);
    this.#login = new RemoteLogin(endpoint, async (username, password) => this.#askTicket(username, password), this.#clock);
  }

  /** Parameters go into the query. `path` is relative to `/api2/json/`; its components must be percent-encoded by the caller. */
  async get(path: string, parameters: QueryParameters = {}): Promise<RestReply> {
    return this.#call('GET', path, parameters);
  }

  /** The answer's body as it is, for a download. */
  async getBytes(path: string, parameters: QueryParameters = {}): Promise<Buffer> {
    return (await this.#authorized('GET', path, parameters)).body;
  }

  /** Parameters go into a JSON body. */
  async post(path: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<RestReply> {
    return this.#call('POST', path, {}, jsonBody(parameters));
  }

  /** Parameters go into the query. */
  async put(path: string, parameters: QueryParameters = {}): Promise<RestReply> {
    return this.#call('PUT', path, parameters);
  }

  /** Parameters go into the query. */
  async delete(path: string, parameters: QueryParameters = {}): Promise<RestReply> {
    return this.#call('DELETE', path, parameters);
  }

  /** Parameters go into a JSON body: for what may be longer than a query can be. */
  async putJson(path: string, parameters: Readonly<Record<string, unknown>>): Promise<RestReply> {
    return this.#call('PUT', path, {}, jsonBody(parameters));
  }

  /** Parameters go into the query, `bytes` is the body. */
  async postBytes(path: string, parameters: QueryParameters, bytes: Uint8Array): Promise<RestReply> {
    return this.#call('POST', path, parameters, { contentType: 'application/octet-stream', bytes });
  }

  /** Header fields for the upgrade of a session on the same endpoint; logs a user in when needed. */
  async authHeaders(): Promise<AuthHeaders> {
    return this.#login.headers();
  }

  /**
   * An open connection that no request uses just now, out of this client's hands: an upgrade on it costs no round trip for connecting. The
   * remote may have closed it already, of which nobody has heard yet. Undefined: there is none.
   */
  takeIdleConnection(): TlsConnection | undefined {
    return this.#agent.takeIdle();
  }

  /** Of the connections so far, in milliseconds: about a round trip. Infinity before the first. */
  get shortestHandshakeMs(): number {
    return this.#agent.shortestHandshakeMs;
  }

  /** The remote's clock minus ours in milliseconds, from the last answer's `Date`; exact to about a second. Undefined before the first answer. */
  get clockOffsetMs(): number | undefined {
    return this.#clockOffsetMs;
  }

  /** Drops all connections; requests under way and later ones fail with AbortedError. */
  close(): void {
    this.#closing.abort(new Error('the connection was closed'));
    this.#agent.destroy();
  }

  async #call(method: Method, path: string, query: QueryParameters, body?: RequestBody): Promise<RestReply> {
    return parseReply(this.endpoint, (await this.#authorized(method, path, query, body)).body);
  }

  async #authorized(method: Method, path: string, query: QueryParameters, body?: RequestBody): Promise<RawReply> {
    const headers = await this.#login.headers();
    try {
      return await this.#send(method, path, query, headers, body);
    } catch (e) {
      if (e instanceof HttpError && e.status === 401) this.#login.forget();
      throw e;
    }
  }

  async #askTicket(username: string, password: string): Promise<{ data: unknown; cookies: string[] }> {
    const reply = await this.#send('POST', 'access/ticket', {}, {}, jsonBody({ username, password }));
    return { data: parseReply(this.endpoint, reply.body).data, cookies: reply.headers['set-cookie'] ?? [] };
  }

  async #send(method: Method, path: string, query: QueryParameters, authHeaders: AuthHeaders, body?: RequestBody): Promise<RawReply> {
    const search = encodeQuery(query);
    const target = `/api2/json/${path.replace(/^\/+/, '')}${search === '' ? '' : `?${search}`}`;
    assert.ok(/^[\x21-\x7e]+$/.test(target) && !path.includes('?'), `API path '${path}'`);
    assert.ok(target.length <= maxTargetBytes, `API path and query of ${target.length} bytes`);
    const reply = await this.#exchange({
      agent: this.#agent,
      method,
      path: target,
      headers: {
        host: this.endpoint.authority,
        'user-agent': userAgent,
        'accept-encoding': 'deflate',
        ...authHeaders,
        ...(body === undefined ? {} : { 'content-type': body.contentType, 'content-length': body.bytes.byteLength }),
      },
    }, body?.bytes);
    const remoteMs = Date.parse(reply.headers.date ?? '');
    if (!Number.isNaN(remoteMs)) this.#clockOffsetMs = remoteMs - this.#clock.now();
    if (reply.status < 200 || reply.status > 299) throw new HttpError(reply.status, answerText(reply.status, [reply.body]));
    return reply;
  }

  async #exchange(options: RequestOptions, body: Uint8Array | undefined): Promise<RawReply> {
    return this.#slots.run(async () => {
      throwIfAborted(this.#options.signal);
      return new RestExchange(this.endpoint, this.#options).run(options, body);
    });
  }
}

/** One request and its answer, with its time limits. */
class RestExchange {
  readonly #endpoint: RemoteEndpoint;
  readonly #options: RestClientOptions;

  constructor(endpoint: RemoteEndpoint, options: RestClientOptions) {
    this.#endpoint = endpoint;
    this.#options = options;
  }

  async run(requestOptions: RequestOptions, body: Uint8Array | undefined): Promise<RawReply> {
    const at = this.#endpoint.authority;
    const { signal } = this.#options;
    const timeoutMs = this.#options.timeoutMs ?? defaultRequestTimeoutMs;
    const stallMs = this.#options.stallTimeoutMs ?? defaultStallTimeoutMs;
    const request = httpRequest(requestOptions);
    let reason: FarshoreError | undefined;
    const stop = (e: FarshoreError): void => {
      reason ??= e;
      request.destroy(e);
    };
    const onAbort = (): void => stop(new AbortedError(undefined, { cause: signal?.reason }));
    signal?.addEventListener('abort', onAbort, { once: true });
    let timer = setTimeout(() => stop(networkError('net.timeout', `${at} does not answer within ${timeoutMs / 1000} s`)), timeoutMs);
    const onProgress = (): void => {
      clearTimeout(timer);
      timer = setTimeout(() => stop(networkError('net.stalled', `${at} sent nothing for ${stallMs / 1000} s in the middle of an answer`)), stallMs);
    };
    try {
      const response = await new Promise<IncomingMessage>((resolve, reject) => {
        request.on('response', resolve);
        request.on('error', reject);
        request.on('upgrade', (_response, socket) => {
          socket.destroy();
          reject(networkError('net.protocol', `${at} switched protocols without being asked`));
        });
        request.end(body);
      });
      onProgress();
      const content = await readBody(response, onProgress, this.#options.maxReplyBytes ?? defaultMaxReplyBytes, at);
      return { status: response.statusCode ?? 0, headers: response.headers, body: content };
    } catch (e) {
      if (!request.destroyed) request.destroy();
      if (reason !== undefined) throw reason;
      throw e instanceof FarshoreError ? e : classifyNetworkError(e, this.#endpoint, 'request');
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
    }
  }
}

async function readBody(response: IncomingMessage, onProgress: () => void, maxBytes: number, at: string): Promise<Buffer> {
  const deflated = response.headers['content-encoding'] === 'deflate';
  response.on('data', onProgress);
  response.pause();
  // The pipeline's error comes out of the iteration below.
  const source: Readable = deflated ? pipeline(response, createInflate(), () => {}) : response;
  const parts: Buffer[] = [];
  let total = 0;
  for await (const part of source as AsyncIterable<Buffer>) {
    total += part.length;
    if (total > maxBytes) throw networkError('net.protocol', `${at} sent an answer of more than ${maxBytes} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts, total);
}

function parseReply(endpoint: RemoteEndpoint, body: Buffer): RestReply {
  let value: unknown;
  try {
    value = JSON.parse(body.toString('utf8'));
  } catch (e) {
    throw networkError('net.protocol', `${endpoint.authority} answered with something that is not JSON`, e);
  }
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, 'data')) {
    throw networkError('net.protocol', `${endpoint.authority}: got result without data property`);
  }
  return value as RestReply;
}

class RemoteAgent extends Agent {
  readonly #endpoint: RemoteEndpoint;
  readonly #options: RestClientOptions;
  readonly #connections = new WeakMap<Duplex, TlsConnection>();
  shortestHandshakeMs = Infinity;

  constructor(endpoint: RemoteEndpoint, options: RestClientOptions) {
    super({ keepAlive: true, maxSockets: maxConnections, maxFreeSockets: maxConnections, timeout: idleTimeoutMs, scheduling: 'lifo' });
    this.#endpoint = endpoint;
    this.#options = options;
  }

  takeIdle(): TlsConnection | undefined {
    for (const [name, sockets = []] of Object.entries(this.freeSockets)) {
      const at = sockets.findIndex((socket) => !socket.destroyed && socket.writable && this.#connections.has(socket));
      if (at < 0) continue;
      const [socket] = sockets.splice(at, 1);
      if (sockets.length === 0) delete (this.freeSockets as NodeJS.Dict<unknown>)[name];
      // What Node does when a request takes an idle connection (it has guards against bytes that nobody asked for), and when an upgrade takes it
      // away from the agent, which is no use while the socket is in the list of idle ones.
      this.reuseSocket(socket!, {} as ClientRequest);
      socket!.emit('agentRemove');
      socket!.setTimeout(0);
      return this.#connections.get(socket!);
    }
    return undefined;
  }

  override createConnection(_options: unknown, callback?: (e: Error | null, socket: Duplex) => void): undefined {
    void this.#connect(callback as Connected);
  }

  async #connect(callback: Connected): Promise<void> {
    const { limiter, signal, trusted } = this.#options;
    let connection: TlsConnection;
    try {
      connection = await connectTls(this.#endpoint, { limiter, signal, trusted });
    } catch (e) {
      callback(toError(e));
      return;
    }
    this.shortestHandshakeMs = Math.min(this.shortestHandshakeMs, connection.handshakeMs);
    this.#connections.set(connection.socket, connection);
    callback(null, connection.socket);
  }
}

/** How Node's agent wants to hear of a connection; declared there without the case of an error. */
type Connected = (e: Error | null, socket?: Duplex) => void;
