import type { IncomingMessage, ServerResponse } from 'node:http';
import type { Duplex } from 'node:stream';
import type { Static, TObject, TSchema } from 'typebox';

export type Method = 'GET' | 'POST' | 'PUT' | 'DELETE';

/**
 * What the router checks before it looks at any parameter (spec rest-api 11, column Permission). Path pieces in braces
 * are taken from URI parameters only.
 */
export type Permission =
  | { kind: 'public' }
  /** Every authenticated caller; the handler checks or filters by itself. */
  | { kind: 'any' }
  /** root@pam only. */
  | { kind: 'root' }
  /** URI parameter `userid` equals the caller (never a token). */
  | { kind: 'self' }
  /** All (`partial: true`: at least one) of `privileges` on `path`, e.g. `/datastore/{store}`. */
  | { kind: 'privilege'; path: string; privileges: readonly string[]; partial?: boolean }
  | { kind: 'or'; of: readonly Permission[] }
  | { kind: 'and'; of: readonly Permission[] };

/** Who asks. What a handler needs beyond this it gets from the function that made the endpoint, not from here. */
export interface Caller {
  /** `user@realm` or `user@realm!token`; empty on public endpoints, where nobody looks at credentials (except for the local socket). */
  readonly authId: string;
  /** Address as the task log prints it, e.g. `::ffff:127.0.0.1`; `unix` for the local socket. */
  readonly remoteAddress: string;
}

/** What a handler returns: the value under `data`, or this with siblings of `data` (`digest`, `total`). */
export class Reply {
  readonly data: unknown;
  readonly siblings: Readonly<Record<string, unknown>>;

  constructor(data: unknown, siblings: Record<string, unknown> = {}) {
    this.data = data;
    this.siblings = siblings;
  }
}

interface EndpointBase<P extends TObject> {
  method: Method;
  /** Below `/api2/json`, URI parameters in braces: `/admin/datastore/{store}/groups`. */
  path: string;
  description: string;
  /** All parameters, those of the URI too. Names are the reference's. */
  parameters: P;
  permission: Permission;
  /** Schema of the value under `data`; used by the manager's tables and by the API description. */
  returns?: TSchema;
}

/** The normal kind: parameters in, `data` out. */
export interface JsonEndpoint<P extends TObject = TObject> extends EndpointBase<P> {
  kind: 'json';
  handler(parameters: Static<P>, caller: Caller): Promise<unknown>;
}

/** Reads or writes bodies itself: downloads, uploads, the ticket call, the task log. Parameters come from query and URI only. */
export interface RawEndpoint<P extends TObject = TObject> extends EndpointBase<P> {
  kind: 'raw';
  /** `form`: parameters also come from the body, as with the normal kind. */
  body?: 'form' | 'none' | 'stream';
  handler(parameters: Static<P>, caller: Caller, request: IncomingMessage, response: ServerResponse): Promise<void>;
}

/** Leaves HTTP/1.1 with status 101 (backup and reader sessions). The handler owns the socket after it accepted. */
export interface UpgradeEndpoint<P extends TObject = TObject> extends EndpointBase<P> {
  kind: 'upgrade';
  handler(parameters: Static<P>, caller: Caller, upgrade: UpgradeRequest): Promise<void>;
}

export interface UpgradeRequest {
  /** Value of the `Upgrade` header, exactly as sent; undefined when there is none. */
  readonly protocol: string | undefined;
  /** Writes the 101 reply for `protocol` and resolves, when it is written, with the socket and with what was read past the request already pushed back. */
  accept(protocol: string): Promise<Duplex>;
}

export type Endpoint = JsonEndpoint | RawEndpoint | UpgradeEndpoint;

/** Ties the handler's parameter type to the schema. */
export function jsonEndpoint<P extends TObject>(endpoint: Omit<JsonEndpoint<P>, 'kind'>): Endpoint {
  return { kind: 'json', ...endpoint } as unknown as Endpoint;
}

export function rawEndpoint<P extends TObject>(endpoint: Omit<RawEndpoint<P>, 'kind'>): Endpoint {
  return { kind: 'raw', ...endpoint } as unknown as Endpoint;
}

export function upgradeEndpoint<P extends TObject>(endpoint: Omit<UpgradeEndpoint<P>, 'kind'>): Endpoint {
  return { kind: 'upgrade', ...endpoint } as unknown as Endpoint;
}
