import { createServer, request as httpRequest } from 'node:http';
import type { ClientRequest, IncomingMessage, RequestListener, RequestOptions } from 'node:http';
import { createConnection } from 'node:net';
import { duplexPair } from 'node:stream';
import { HttpError, NetworkError, errorCode } from '../base/errors.ts';
import type { Method } from '../api/endpoint.ts';
import { hintHeader } from '../api/router.ts';

/** Answer of an API call: the value under `data` and its siblings (`digest`, `total`, `active`). */
export interface ApiReply {
  readonly data: unknown;
  readonly [sibling: string]: unknown;
}

/** The API of one server, as `root@pam`. */
export interface ApiConnection {
  /**
   * Calls `path`, which is below `/api2/json` and may have names in braces: they are taken from `parameters`. Parameters
   * that are undefined are not sent. Throws HttpError with the server's text, or NetworkError `net.connect`.
   */
  call(method: Method, path: string, parameters?: Readonly<Record<string, unknown>>): Promise<ApiReply>;
  /** Breaks off calls under way and ends the connection; in-process, waits until the tasks that it started have ended. */
  close(): Promise<void>;
}

/** A server without listener, for when none runs: what answers requests as `root@pam`, and how to end it. */
export interface LocalServer {
  handle: RequestListener;
  /** Waits for running tasks. */
  close(): Promise<void>;
}

const maxReplyLength = 256 * 1024 * 1024;

async function bodyOf(response: IncomingMessage): Promise<string> {
  const parts: Buffer[] = [];
  let length = 0;
  for await (const part of response as AsyncIterable<Buffer>) {
    length += part.byteLength;
    if (length > maxReplyLength) throw new NetworkError('net.too-large', `the server's answer is longer than ${maxReplyLength} bytes`);
    parts.push(part);
  }
  return Buffer.concat(parts).toString('utf8');
}

/** Path with the names in braces replaced, and the parameters that are left. */
export function fillPath(path: string, parameters: Readonly<Record<string, unknown>>): { path: string; rest: Record<string, unknown> } {
  const rest: Record<string, unknown> = Object.fromEntries(Object.entries(parameters).filter(([, value]) => value !== undefined));
  const filled = path.replace(/\{([a-z-]+)\}/g, (_, name: string) => {
    const value = rest[name];
    delete rest[name];
    return encodeURIComponent(String(value));
  });
  return { path: filled, rest };
}

function queryOf(parameters: Readonly<Record<string, unknown>>): string {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) query.append(name, typeof one === 'boolean' ? (one ? '1' : '0') : String(one));
  }
  const text = query.toString();
  return text === '' ? '' : `?${text}`;
}

function parseReply(text: string): ApiReply {
  try {
    const reply: unknown = JSON.parse(text);
    if (typeof reply === 'object' && reply !== null && 'data' in reply) return reply;
  } catch (e) {
    throw new NetworkError('net.protocol', 'the server answered with something that is not JSON', { cause: e });
  }
  throw new NetworkError('net.protocol', 'the server answered without data');
}

/** HTTP/1.1 requests over connections that `transport` describes. */
class HttpConnection implements ApiConnection {
  readonly #transport: RequestOptions;
  readonly #end: () => Promise<void>;
  readonly #pending = new Set<ClientRequest>();

  constructor(transport: RequestOptions, end: () => Promise<void>) {
    this.#transport = transport;
    this.#end = end;
  }

  async call(method: Method, path: string, parameters: Readonly<Record<string, unknown>> = {}): Promise<ApiReply> {
    const filled = fillPath(path, parameters);
    // A GET has its parameters in the query: endpoints that write their own answers read no body (spec rest-api 2).
    const query = method === 'GET' ? queryOf(filled.rest) : '';
    const body = method === 'GET' ? null : Buffer.from(JSON.stringify(filled.rest));
    const response = await new Promise<IncomingMessage>((resolve, reject) => {
      const request = httpRequest({
        ...this.#transport,
        method,
        path: `/api2/json${filled.path}${query}`,
        headers: {
          host: 'localhost',
          ...(body === null ? {} : { 'content-type': 'application/json', 'content-length': body.byteLength }),
        },
      });
      this.#pending.add(request);
      request.on('close', () => this.#pending.delete(request));
      request.on('response', resolve);
      request.on('error', (e) => reject(new NetworkError('net.connect', 'client error (Connect)', { cause: e })));
      request.end(body);
    });
    const text = await bodyOf(response);
    const status = response.statusCode ?? 0;
    if (status < 200 || status > 299) {
      const hint = response.headers[hintHeader];
      throw new HttpError(status, text === '' ? `HTTP status ${status}` : text, typeof hint === 'string' ? { hint: decodeURIComponent(hint) } : {});
    }
    return parseReply(text);
  }

  async close(): Promise<void> {
    for (const request of this.#pending) request.destroy();
    await this.#end();
  }
}

/** Over the unix socket of the running server. */
export function socketConnection(socketPath: string): ApiConnection {
  // A connection per call: on a local socket that is cheap, and a kept one could be closed under the next request.
  return new HttpConnection({ socketPath, agent: false }, async () => {});
}

/** Same requests, same checks, without a socket: both ends of the connection are in this process. */
export function inProcessConnection(server: LocalServer): ApiConnection {
  const http = createServer(server.handle);
  const transport: RequestOptions = {
    createConnection: () => {
      const [near, far] = duplexPair();
      http.emit('connection', far);
      return near;
    },
  };
  return new HttpConnection(transport, async () => server.close());
}

/** True when somebody listens on `socketPath`; false when nobody does. Any other reason is an error. */
export async function isListening(socketPath: string): Promise<boolean> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(socketPath);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', (e) => {
      if (['ENOENT', 'ECONNREFUSED'].includes(errorCode(e))) resolve(false);
      else reject(new NetworkError('net.connect', `cannot connect to ${socketPath}`, { cause: e }));
    });
  });
}

export interface ServerSearch {
  /** `<run>/farshore.sock` of the installation. */
  socketPath: string;
  /** Makes the in-process server; null: calls fail when no server runs. */
  openLocal: (() => Promise<LocalServer>) | null;
}

/** Looks for the running server at the first call and stays with what it found. */
export class FoundServer implements ApiConnection {
  readonly #search: ServerSearch;
  #connection: Promise<ApiConnection> | null = null;

  constructor(search: ServerSearch) {
    this.#search = search;
  }

  async call(method: Method, path: string, parameters?: Readonly<Record<string, unknown>>): Promise<ApiReply> {
    this.#connection ??= this.#connect();
    const connection = await this.#connection;
    return connection.call(method, path, parameters);
  }

  async close(): Promise<void> {
    if (this.#connection === null) return;
    const [outcome] = await Promise.allSettled([this.#connection]);
    if (outcome.status === 'fulfilled') await outcome.value.close();
  }

  async #connect(): Promise<ApiConnection> {
    const { socketPath, openLocal } = this.#search;
    if (await isListening(socketPath)) return socketConnection(socketPath);
    if (openLocal !== null) return inProcessConnection(await openLocal());
    throw new NetworkError('net.connect', 'client error (Connect)', {
      cause: new Error(`no server listens on ${socketPath}`),
      hint: 'start the server: farshore server',
    });
  }
}
