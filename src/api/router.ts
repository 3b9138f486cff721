import assert from 'node:assert/strict';
import type { EventEmitter } from 'node:events';
import { ServerResponse, STATUS_CODES, type IncomingMessage } from 'node:http';
import type { Duplex } from 'node:stream';
import { pause } from '../base/async.ts';
import { HttpError, toError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { checkJson, checkPairs, decodeForm, type ParameterFault } from '../protocol/parameters.ts';
import { decodeParameters, readParameterBody } from '../protocol/request-body.ts';
import { parseRequestTarget, targetLength, type RequestTarget } from '../protocol/request-target.ts';
import { acceptUpgrade } from '../protocol/upgrade.ts';
import type { AuditTrail, CallRecord } from './audit-trail.ts';
import { failureOf, replyOf, sendFailure, sendReply, sendText, type Failure, type OutputFormat } from './answer.ts';
import type { Caller, Endpoint, Method, UpgradeRequest } from './endpoint.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import { PathTree, type Place } from './path-tree.ts';

/** Path and query of a REST request (spec rest-api 1). */
const targetLimit = 3072;
/** Of a failure's text in the log; callers get it whole. */
const logLimit = 2000;
/** Unread rest of a body that is thrown away to keep the connection; more is answered by closing it. */
const drainLimit = 8 * 1024 * 1024;

export interface Delays {
  /** Before the answer to a failed authentication, and to a handler's 401. Default 3000. */
  unauthorizedMs: number;
  /** Before the answer to a failed declarative permission. Default 500. */
  forbiddenMs: number;
}

/** One finished request, for the access log (spec server 11). */
export interface AccessEntry {
  remoteAddress: string;
  /** Empty when nobody was authenticated. */
  authId: string;
  method: string;
  /** Normalised path and query. */
  target: string;
  status: number;
  /** Bytes of the body; 0 for streams. */
  size: number;
  userAgent: string;
}

export interface RouterOptions {
  endpoints: readonly Endpoint[];
  gatekeeper: Gatekeeper;
  /** The server's log. */
  log: ProgressLog;
  delays?: Delays;
  onAccess?: (entry: AccessEntry) => void;
  audit?: Pick<AuditTrail, 'call' | 'refused'>;
  /** Told of every request by whom it is, before it is looked at further; empty: by nobody who is known. For limits by user. */
  onCaller?: (connection: Duplex, authId: string) => void;
  /** GET outside `/api2`: the user interface. Without it 404. Gets the components, decoded. */
  pages?: (components: readonly string[], request: IncomingMessage, response: ServerResponse) => Promise<void>;
}

/** A call without HTTP: `parameters` in JSON form, or `pairs` in string form. */
export interface CallRequest {
  method: Method;
  /** Below `/api2/json`, components percent-encoded where needed: `/config/remote/hq`. */
  path: string;
  caller: Caller;
  parameters?: Readonly<Record<string, unknown>>;
  pairs?: ReadonlyArray<readonly [string, string]>;
}

export type CallResult =
  | { ok: true; status: 200; data: unknown; siblings: Readonly<Record<string, unknown>> }
  | { ok: false; status: number; message: string; faults: readonly ParameterFault[]; hint: string | undefined };

/** What mends a failure, URI encoded; goes beside the reference's text to the local manager. */
export const hintHeader = 'x-farshore-hint';

/** What became of an upgrade request: `taken` by its handler, `answered` like any other (the connection goes on), or `closed`. */
export type UpgradeOutcome = 'taken' | 'answered' | 'closed';

/** One HTTP request under way. */
interface Exchange {
  request: IncomingMessage;
  response: ServerResponse;
  /** Callers from the local socket are known without credentials. */
  trusted: Caller | undefined;
  /** Aborted when the caller hangs up. */
  gone: AbortSignal;
  /** What was read past the request, for an upgrade. */
  upgrade: { socket: Duplex; head: Buffer; taken: boolean } | null;
  authId: string;
  /** How it is written down, from when an endpoint was found for it until that was done. */
  record: Omit<CallRecord, 'status' | 'message'> | null;
}

/** Routes, admits, checks and answers API requests in the order of spec rest-api 1. Knows no socket: the listener owns those. */
export class Router {
  readonly endpoints: readonly Endpoint[];
  readonly #tree: PathTree;
  readonly #gatekeeper: Gatekeeper;
  readonly #log: ProgressLog;
  readonly #delays: Delays;
  readonly #onAccess: (entry: AccessEntry) => void;
  readonly #onCaller: NonNullable<RouterOptions['onCaller']>;
  readonly #audit: RouterOptions['audit'];
  readonly #pages: RouterOptions['pages'];
  /** The last answer under way on a connection; HTTP/1.1 answers in order, so all others have left before it. */
  readonly #answering = new WeakMap<Duplex, Promise<void>>();

  constructor(options: RouterOptions) {
    this.endpoints = options.endpoints;
    this.#tree = new PathTree(options.endpoints);
    this.#gatekeeper = options.gatekeeper;
    this.#log = options.log;
    this.#delays = options.delays ?? { unauthorizedMs: 3000, forbiddenMs: 500 };
    this.#onAccess = options.onAccess ?? (() => {});
    this.#onCaller = options.onCaller ?? (() => {});
    this.#audit = options.audit;
    this.#pages = options.pages;
  }

  /** Answers one request; never rejects. With `trusted` nobody is asked for credentials. */
  async handle(request: IncomingMessage, response: ServerResponse, trusted?: Caller): Promise<void> {
    const { socket } = request;
    // An upgrade request may be pipelined behind this one and must not answer before it.
    this.#answering.set(socket, closing(response));
    await this.#serve(request, response, trusted, null);
  }

  /** Whether the request's path is one that leaves HTTP/1.1; `Upgrade` headers anywhere else are ignored, as HTTP allows. */
  wantsUpgrade(request: IncomingMessage): boolean {
    try {
      const { components } = parseRequestTarget(request.url ?? '/');
      return components[0] === 'api2' && this.#tree.find(components.slice(2))?.endpoint(request.method ?? '')?.kind === 'upgrade';
    } catch {
      return false;
    }
  }

  /**
   * Serves a request that Node's `upgrade` event brought. After `answered` the caller feeds the socket back to its HTTP server, `head`
   * has then been pushed back. Never rejects.
   */
  async upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, trusted?: Caller): Promise<UpgradeOutcome> {
    // Nobody else listens on this socket from here on; a reset while we think must not end the process.
    socket.on('error', () => {});
    await Promise.race([this.#answering.get(socket), closing(socket)]);
    if (socket.destroyed) return 'closed';
    const response = new ServerResponse(request);
    response.shouldKeepAlive = !hasBody(request) && request.httpVersion === '1.1' && !/\bclose\b/i.test(request.headers.connection ?? '');
    response.assignSocket(socket as never);
    const state = { socket, head, taken: false };
    await this.#serve(request, response, trusted, state);
    if (state.taken) return 'taken';
    await closed(response);
    response.detachSocket(socket as never);
    if (socket.destroyed || !response.shouldKeepAlive || !response.writableFinished) {
      socket.destroy();
      return 'closed';
    }
    if (head.length > 0) socket.unshift(head);
    return 'answered';
  }

  /** The same endpoints without HTTP: same admission, same checks, no delays. Only endpoints of kind `json`. Never rejects. */
  async call(call: CallRequest): Promise<CallResult> {
    try {
      const target = parseRequestTarget(call.path);
      const place = this.#tree.find(target.components);
      const endpoint = this.#endpointAt(place, call.method, `/api2/json${target.path}`);
      if (endpoint === null) return { ok: true, status: 200, data: listing(place!), siblings: {} };
      if (!(await this.#permitted(endpoint, call.caller, place!))) throw new HttpError(403, 'permission check failed');
      if (endpoint.kind !== 'json') throw new HttpError(400, `${call.method} ${target.path} needs an HTTP connection`);
      const uri = Object.entries(place!.uriParameters);
      const parameters = call.pairs === undefined ? checkJson(endpoint.parameters, call.parameters ?? {}, uri) : checkPairs(endpoint.parameters, [...call.pairs, ...uri]);
      const reply = replyOf(await endpoint.handler(parameters, call.caller));
      return { ok: true, status: 200, data: reply.data ?? null, siblings: reply.siblings };
    } catch (e) {
      const { status, message, faults, hint } = this.#failure(e, `${call.method} ${call.path}`);
      return { ok: false, status, message, faults, hint };
    }
  }

  async #serve(request: IncomingMessage, response: ServerResponse, trusted: Caller | undefined, upgrade: Exchange['upgrade']): Promise<void> {
    const gone = new AbortController();
    const exchange: Exchange = { request, response, trusted, gone: gone.signal, upgrade, authId: trusted?.authId ?? '', record: null };
    let target = request.url ?? '/';
    request.on('error', () => {});
    response.on('error', () => {});
    response.once('close', () => gone.abort());
    try {
      const parsed = parseRequestTarget(target);
      target = parsed.path + (parsed.query === '' ? '' : `?${parsed.query}`);
      if (targetLength(parsed) > targetLimit) sendText(response, 414, '');
      else if (parsed.components[0] === 'api2') await this.#serveApi(exchange, parsed);
      else await this.#servePage(exchange, parsed);
    } catch (e) {
      const failure = this.#failure(e, `${request.method} ${target}`);
      sendText(response, failure.status, failure.message);
    }
    if (upgrade?.taken !== true) drain(request, response);
    this.#onAccess({
      remoteAddress: trusted?.remoteAddress ?? request.socket.remoteAddress ?? '',
      authId: exchange.authId,
      method: request.method ?? '',
      target,
      status: upgrade?.taken === true ? 101 : response.statusCode,
      size: upgrade?.taken === true ? 0 : Number(response.getHeader('content-length') ?? 0),
      userAgent: request.headers['user-agent'] ?? '',
    });
  }

  async #servePage(exchange: Exchange, target: RequestTarget): Promise<void> {
    if (exchange.request.method !== 'GET') throw new HttpError(400, 'invalid http method for path');
    if (this.#pages === undefined) throw new HttpError(404, `no such file: '${target.components.join('/')}'`);
    await this.#pages(target.components, exchange.request, exchange.response);
  }

  async #serveApi(exchange: Exchange, target: RequestTarget): Promise<void> {
    const format = target.components[1];
    if (format === undefined) throw new HttpError(404, `invalid api path '${target.path}'`);
    if (format !== 'json' && format !== 'extjs') throw new HttpError(400, `Unsupported output format '${format}'.`);
    const { request, response } = exchange;
    const place = this.#tree.find(target.components.slice(2));
    const isPublic = place?.endpoint(request.method ?? '')?.permission.kind === 'public';
    const caller = exchange.trusted ?? (isPublic ? { authId: '', remoteAddress: request.socket.remoteAddress ?? '' } : await this.#authenticate(request));
    this.#onCaller(request.socket, caller?.authId ?? '');
    if (caller === null) {
      await this.#audit?.refused({ address: request.socket.remoteAddress ?? '', method: request.method ?? '', path: target.path });
      await hold(this.#delays.unauthorizedMs, exchange.gone);
      sendText(response, 401, 'authentication failed');
      return;
    }
    exchange.authId = caller.authId;
    try {
      const endpoint = this.#endpointAt(place, request.method ?? '', target.path);
      if (endpoint === null) {
        sendReply(response, format, replyOf(listing(place!)));
        return;
      }
      exchange.record = { endpoint, method: request.method ?? '', path: apiPath(target), caller, parameters: null };
      if (!(await this.#permitted(endpoint, caller, place!))) {
        await hold(this.#delays.forbiddenMs, exchange.gone);
        throw new HttpError(403, 'permission check failed');
      }
      await this.#run(exchange, endpoint, format, target, place!, caller);
    } catch (e) {
      await this.#answerFailure(exchange, format, target, e);
    }
  }

  async #answerFailure(exchange: Exchange, format: OutputFormat, target: RequestTarget, e: unknown): Promise<void> {
    const { request, response, upgrade } = exchange;
    const failure = this.#failure(e, `${request.method} ${target.path}`);
    this.#log.info(`${request.method} ${target.path}: ${failure.status} ${STATUS_CODES[failure.status] ?? ''}: [client ${exchange.trusted?.remoteAddress ?? clientText(request)}] ${failure.message.slice(0, logLimit)}`);
    await this.#writeDown(exchange, failure.status, failure.message);
    if (upgrade?.taken === true) {
      upgrade.socket.destroy();
      return;
    }
    if (failure.status === 401) await hold(this.#delays.unauthorizedMs, exchange.gone);
    // Only for who sits at this host: the command may name what others are not to know.
    if (exchange.trusted !== undefined && failure.hint !== undefined && !response.headersSent) response.setHeader(hintHeader, encodeURIComponent(failure.hint));
    sendFailure(response, format, failure);
  }

  /** Once for each exchange. */
  async #writeDown(exchange: Exchange, status: number, message?: string): Promise<void> {
    const { record } = exchange;
    exchange.record = null;
    if (record !== null) await this.#audit?.call({ ...record, status, ...(message === undefined ? {} : { message }) });
  }

  /** Null = a folder to list. Throws HttpError 404. */
  #endpointAt(place: Place | null, method: string, path: string): Endpoint | null {
    const endpoint = place?.endpoint(method);
    if (endpoint !== undefined) return endpoint;
    if (place === null || method !== 'GET' || place.subdirs().length === 0) throw new HttpError(404, `Path '${path}' not found.`);
    return null;
  }

  async #authenticate(request: IncomingMessage): Promise<Caller | null> {
    try {
      return await this.#gatekeeper.authenticate(request);
    } catch (e) {
      // Whatever it is, it is not for somebody without credentials to know.
      this.#log.error(`authentication could not be checked: ${failureOf(e).message} ${toError(e).stack ?? ''}`);
      return null;
    }
  }

  async #permitted(endpoint: Endpoint, caller: Caller, place: Place): Promise<boolean> {
    const { permission } = endpoint;
    return permission.kind === 'public' || permission.kind === 'any' || (await this.#gatekeeper.allowed(permission, caller, place.uriParameters));
  }

  async #run(exchange: Exchange, endpoint: Endpoint, format: OutputFormat, target: RequestTarget, place: Place, caller: Caller): Promise<void> {
    const { request, response } = exchange;
    const uri = Object.entries(place.uriParameters);
    const takesBody = endpoint.kind === 'json' || (endpoint.kind === 'raw' && endpoint.body === 'form');
    const parameters = takesBody
      ? decodeParameters(endpoint.parameters, request.headers['content-type'], await readParameterBody(request), target.query, uri)
      : checkPairs(endpoint.parameters, [...decodeForm(target.query), ...uri]);
    if (exchange.record !== null) exchange.record.parameters = parameters;
    switch (endpoint.kind) {
      case 'json': {
        const value = await endpoint.handler(parameters, caller);
        // Before the caller knows of it.
        await this.#writeDown(exchange, 200);
        sendReply(response, format, replyOf(value));
        return;
      }
      case 'raw':
        await endpoint.handler(parameters, caller, request, response);
        await this.#writeDown(exchange, response.statusCode);
        return;
      case 'upgrade':
        // What one end takes for the body the other would take for the session.
        if (hasBody(request)) throw new HttpError(400, 'a request for an upgrade cannot have a body');
        await endpoint.handler(parameters, caller, upgradeRequest(exchange, () => this.#writeDown(exchange, 101)));
        assert.ok(exchange.upgrade?.taken === true, `${endpoint.path}: the handler neither accepted nor refused`);
        return;
      default:
        endpoint satisfies never;
    }
  }

  #failure(e: unknown, request: string): Failure {
    const failure = failureOf(e);
    if (failure.unexpected) this.#log.error(`${request}: ${toError(e).stack ?? toError(e).message}`);
    return failure;
  }
}

/** Without `/api2/json`. */
function apiPath({ components }: RequestTarget): string {
  return `/${components.slice(2).join('/')}`;
}

function listing(place: Place): Array<{ subdir: string }> {
  return place.subdirs().map((subdir) => ({ subdir }));
}

function upgradeRequest(exchange: Exchange, begun: () => Promise<void>): UpgradeRequest {
  const { request, response, upgrade } = exchange;
  return {
    protocol: request.headers.upgrade,
    accept: async (protocol) => {
      if (upgrade === null) throw new HttpError(400, 'the connection cannot be upgraded: header Connection: upgrade is missing');
      assert.ok(!upgrade.taken && !response.headersSent);
      upgrade.taken = true;
      await begun();
      response.detachSocket(upgrade.socket as never);
      return acceptUpgrade(upgrade.socket, upgrade.head, protocol);
    },
  };
}

/** Of an upgrade request: it would have to be read by the parser that Node has taken away. */
function hasBody({ headers }: IncomingMessage): boolean {
  return headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0;
}

/** `10.0.0.5:44310` or `[::1]:44310` (spec server 11). */
function clientText(request: IncomingMessage): string {
  const { remoteAddress = '', remotePort = 0 } = request.socket;
  return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}

/** A delay against guessing; ends early when nobody waits for the answer. */
async function hold(milliseconds: number, gone: AbortSignal): Promise<void> {
  if (milliseconds > 0) await pause(milliseconds, gone).catch(() => {});
}

function closing(emitter: EventEmitter): Promise<void> {
  return new Promise((resolve) => emitter.once('close', () => resolve()));
}

async function closed(response: ServerResponse): Promise<void> {
  if (response.closed || response.writableFinished || response.destroyed || response.socket?.destroyed !== false) return;
  await new Promise<void>((resolve) => {
    response.once('finish', resolve);
    response.once('close', resolve);
    response.socket?.once('close', resolve);
  });
}

/** Reads on after the answer so that the connection can be used again, up to a limit. */
function drain(request: IncomingMessage, response: ServerResponse): void {
  if (request.complete || request.destroyed) {
    request.resume();
    return;
  }
  let left = drainLimit;
  request.on('data', (piece: Buffer) => {
    left -= piece.length;
    if (left < 0) response.socket?.destroy();
    if (left < 0) request.destroy();
  });
}
