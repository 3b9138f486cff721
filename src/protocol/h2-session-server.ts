import assert from 'node:assert/strict';
import { performServerHandshake, type IncomingHttpHeaders, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2';
import { STATUS_CODES } from 'node:http';
import type { Duplex } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import type { Readable } from 'node:stream';
import type { Static, TObject } from 'typebox';
import { pause } from '../base/async.ts';
import { errorChain, HttpError, toError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { assertParameterSchema, checkPairs, decodeForm, ParameterError } from './parameters.ts';
import { decodeParameters, readParameterBody } from './request-body.ts';
import { parseRequestTarget } from './request-target.ts';

/** What a session offers (spec backup-protocol 3): the recorded values of the reference's server, but for the window of a stream. */
export const sessionWindow = 32 * 1024 * 1024;
/**
 * The reference offers 32 MiB here too and relies on the window of the connection. Node gives that one back as bytes arrive,
 * read or not, so that a client could make this process hold streams × stream window: 6.4 GiB. A usual chunk fits into 4 MiB whole.
 */
export const sessionStreamWindow = 4 * 1024 * 1024;
export const sessionFrameSize = 4 * 1024 * 1024;
export const sessionStreams = 200;
const sessionHeaderList = 16 * 1024;
/** MB that Node lets one session hold before it kills it with ENHANCE_YOUR_CALM; the default of 10 is two chunks. */
const sessionMemoryMb = 1024;

/** One request of a session, for handlers that read bodies. */
export interface SessionExchange {
  /** The request body of a `stream` endpoint, unread. */
  readonly body: Readable;
  /** Aborted when the client resets this stream or the session ends. */
  readonly signal: AbortSignal;
  /** Task log of the session. */
  readonly log: ProgressLog;
}

/** Bytes instead of `{"data": ...}`: a Buffer goes out with content-length, a stream without. */
export class RawReply {
  readonly content: Uint8Array | Readable;
  /** Called once, when the reply has left or never will. */
  readonly released: () => void;

  constructor(content: Uint8Array | Readable, released: () => void = () => {}) {
    this.content = content;
    this.released = released;
  }
}

export interface SessionEndpoint<P extends TObject = TObject> {
  method: 'GET' | 'POST' | 'PUT';
  /** Relative to the protocol root: `/download`. */
  path: string;
  parameters: P;
  /**
   * `parameters` (default): REST rules, parameters also come from the body. `stream`: query only, the handler may read the body, the
   * content type is not looked at.
   */
  body?: 'parameters' | 'stream';
  /** Returns the value under `data`, or a RawReply. Throws HttpError for another status than 400. */
  handler(parameters: Static<P>, exchange: SessionExchange): Promise<unknown>;
}

/** Ties the handler's parameter type to the schema. */
export function sessionEndpoint<P extends TObject>(endpoint: SessionEndpoint<P>): SessionEndpoint {
  return endpoint;
}

export interface SessionOptions {
  endpoints: readonly SessionEndpoint[];
  /** Task log: failed requests, with `debug` every request. */
  log: ProgressLog;
  debug?: boolean;
  /** Bytes that one request body may have unread; times 200 streams it bounds what a client can park here. Default sessionStreamWindow. */
  streamWindow?: number;
  /** Ends the session at once. */
  signal?: AbortSignal;
  /** Delay of a handler's 401 (spec rest-api 1). Default 3000. */
  unauthorizedDelayMs?: number;
}

/** How a session ended: null = the client closed it, an Error = the connection broke, spoke no HTTP/2 or was aborted. */
export interface SessionEnd {
  error: Error | null;
}

/**
 * Serves an HTTP/2 session with prior knowledge on a socket that acceptUpgrade returned (spec backup-protocol 3), until it
 * ends and all its handlers have returned. Never rejects. The socket is closed afterwards.
 */
export async function serveSession(socket: Duplex, options: SessionOptions): Promise<SessionEnd> {
  const routes = new Map<string, SessionEndpoint>();
  for (const endpoint of options.endpoints) {
    assertParameterSchema(endpoint.parameters);
    assert.match(endpoint.path, /^\/[a-z0-9_/]+$/);
    assert.ok(!routes.has(`${endpoint.method} ${endpoint.path}`), `${endpoint.method} ${endpoint.path} is registered twice`);
    routes.set(`${endpoint.method} ${endpoint.path}`, endpoint);
  }
  // Between the upgrade and the session nobody else listens; an unheard error would end the process.
  socket.on('error', () => {});
  if (options.signal?.aborted === true || socket.destroyed) {
    socket.destroy();
    return { error: new Error('connection closed before the session') };
  }
  const session = performServerHandshake(socket, {
    maxSessionMemory: sessionMemoryMb,
    settings: { initialWindowSize: options.streamWindow ?? sessionStreamWindow, maxFrameSize: sessionFrameSize, maxConcurrentStreams: sessionStreams, maxHeaderListSize: sessionHeaderList },
  });
  session.setLocalWindowSize(sessionWindow);
  const running = new Set<Promise<void>>();
  session.on('stream', (stream: ServerHttp2Stream, headers: IncomingHttpHeaders) => {
    const one: Promise<void> = serveStream(stream, headers, routes, options).finally(() => running.delete(one));
    running.add(one);
  });
  const end = await sessionEnd(session, socket, () => running.size > 0, options.signal);
  while (running.size > 0) await Promise.all(running);
  return end;
}

async function sessionEnd(session: ServerHttp2Session, socket: Duplex, busy: () => boolean, signal: AbortSignal | undefined): Promise<SessionEnd> {
  let error: Error | null = null;
  const abort = (): void => {
    error ??= toError(signal?.reason ?? 'aborted');
    session.destroy();
    socket.destroy();
  };
  session.on('error', (e) => (error ??= e));
  // A reset may reach the socket only.
  socket.on('error', (e) => (error ??= e));
  session.on('frameError', (_type, code) => (error ??= new Error(`HTTP/2 frame error ${code}`)));
  session.on('goaway', (code) => {
    if (code !== 0) error ??= new Error(`client left with HTTP/2 error ${code}`);
  });
  // A client that only closes its TCP side has left: without this a half-open socket would keep the session.
  socket.on('end', () => {
    // A reset, too, can look like this when a write met it first.
    if (busy()) error ??= new Error('the client closed the connection with requests under way');
    session.destroy();
  });
  signal?.addEventListener('abort', abort, { once: true });
  await new Promise<void>((resolve) => {
    const settle = (): void => {
      if (session.destroyed && socket.destroyed) resolve();
    };
    session.once('close', () => {
      socket.destroy();
      settle();
    });
    socket.once('close', () => {
      session.destroy();
      settle();
    });
    settle();
  });
  signal?.removeEventListener('abort', abort);
  return { error };
}

type Routes = ReadonlyMap<string, SessionEndpoint>;

/** Answers one request. Never rejects, whatever the client does. */
async function serveStream(stream: ServerHttp2Stream, headers: IncomingHttpHeaders, routes: Routes, options: SessionOptions): Promise<void> {
  const ended = new AbortController();
  stream.on('error', () => {});
  stream.on('aborted', () => ended.abort());
  stream.on('close', () => ended.abort());
  const method = headers[':method'] ?? '';
  const rawTarget = headers[':path'] ?? '/';
  let path = rawTarget.split('?', 1)[0]!;
  try {
    const target = parseRequestTarget(rawTarget);
    path = target.path;
    if (options.debug === true) options.log.info(`${method} ${path}`);
    const decoded = `/${target.components.join('/')}`;
    const endpoint = routes.get(`${method} ${decoded}`);
    if (endpoint === undefined) {
      if (method !== 'GET' || target.components.length > 0) throw new HttpError(404, `Path '${path}' not found.`);
      sendData(stream, listing(routes));
      return;
    }
    const parameters =
      endpoint.body === 'stream'
        ? checkPairs(endpoint.parameters, decodeForm(target.query))
        : decodeParameters(endpoint.parameters, headers['content-type'], await readParameterBody(stream), target.query, []);
    const value = await endpoint.handler(parameters, { body: stream, signal: ended.signal, log: options.log });
    if (value instanceof RawReply) await sendRaw(stream, value);
    else sendData(stream, value);
  } catch (e) {
    await sendFailure(stream, `${method} ${path}`, e, ended.signal, options);
  } finally {
    finish(stream);
  }
}

function listing(routes: Routes): Array<{ subdir: string }> {
  const names = new Set([...routes.values()].map((endpoint) => endpoint.path.split('/')[1]!));
  return [...names].sort().map((subdir) => ({ subdir }));
}

const jsonType = 'application/json;charset=UTF-8';

function writable(stream: ServerHttp2Stream): boolean {
  return !stream.destroyed && !stream.closed && !stream.headersSent && stream.session?.destroyed === false;
}

function sendData(stream: ServerHttp2Stream, value: unknown): void {
  const body = Buffer.from(JSON.stringify({ data: value ?? null }));
  if (!writable(stream)) return;
  stream.respond({ ':status': 200, 'content-type': jsonType, 'content-length': body.length });
  stream.end(body);
}

async function sendRaw(stream: ServerHttp2Stream, reply: RawReply): Promise<void> {
  try {
    if (reply.content instanceof Uint8Array) {
      if (!writable(stream)) return;
      const { content } = reply;
      stream.respond({ ':status': 200, 'content-type': 'application/octet-stream', 'content-length': content.byteLength });
      await new Promise<void>((resolve) => {
        // `close` also comes when the client resets the stream or disappears; `finish` then never does.
        stream.once('close', resolve);
        stream.end(content, resolve);
      });
    } else {
      if (!writable(stream)) {
        reply.content.destroy();
        return;
      }
      stream.respond({ ':status': 200, 'content-type': 'application/octet-stream' });
      await pipeline(reply.content, stream);
    }
  } finally {
    reply.released();
  }
}

async function sendFailure(stream: ServerHttp2Stream, request: string, e: unknown, ended: AbortSignal, options: SessionOptions): Promise<void> {
  const status = e instanceof HttpError ? e.status : 400;
  const message = e instanceof HttpError ? e.message : errorChain(e);
  // A stream that the client itself gave up is no failure of the request.
  // Not a warning of the task: clients ask for what may be missing (a previous backup) and take the refusal for an answer.
  if (!ended.aborted || e instanceof HttpError) options.log.info(`${request}: ${status} ${STATUS_CODES[status] ?? ''}: ${message}`);
  if (status === 401) await pause(options.unauthorizedDelayMs ?? 3000, ended).catch(() => {});
  if (stream.headersSent) {
    stream.close(2);
    return;
  }
  if (!writable(stream)) return;
  stream.respond({ ':status': status, ...(e instanceof ParameterError ? {} : { 'content-type': jsonType }), 'content-length': Buffer.byteLength(message) });
  stream.end(message);
}

/** A body that nobody wanted is thrown away: unread it would hold memory until the session ends. */
function finish(stream: ServerHttp2Stream): void {
  if (!stream.destroyed && !stream.readableEnded) stream.resume();
}

/**
 * The whole body of an upload that announced its size (spec backup-protocol 4.1, 4.3). Otherwise throws HttpError 400 with the text
 * that `fault` makes of the number of bytes received; reading stops at the first byte too many.
 */
export async function readAnnouncedBody(body: Readable, size: number, fault: (received: number) => string): Promise<Buffer> {
  const parts: Buffer[] = [];
  let length = 0;
  // Not destroyed when reading stops early: the answer goes over the same stream, and what follows is thrown away after it.
  for await (const piece of body.iterator({ destroyOnReturn: false }) as AsyncIterable<Buffer>) {
    length += piece.length;
    if (length > size) break;
    parts.push(piece);
  }
  if (length !== size) throw new HttpError(400, fault(length));
  return parts.length === 1 ? parts[0]! : Buffer.concat(parts, length);
}
