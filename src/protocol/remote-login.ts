import { HttpError, NetworkError } from '../base/errors.ts';
import type { Clock } from '../base/clock.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';

/** Header fields that say who is asking. */
export type AuthHeaders = Record<string, string>;

/** Answer of `POST access/ticket`, as far as a login needs it. */
export interface TicketReply {
  data: unknown;
  cookies: readonly string[];
}

/** Tickets are renewed by logging in with the old one as password (spec sync 1.3, rest-api 6.1). */
const renewAfterMs = 15 * 60_000;

interface Ticket {
  headers: AuthHeaders;
  text: string;
  takenMs: number;
}

/** Who we are at a remote: a token's fixed header, or a user's ticket, taken on first use and renewed. */
export class RemoteLogin {
  readonly #endpoint: RemoteEndpoint;
  readonly #askTicket: (username: string, password: string) => Promise<TicketReply>;
  readonly #clock: Clock;
  #ticket: Ticket | undefined;
  #pending: Promise<Ticket> | undefined;

  constructor(endpoint: RemoteEndpoint, askTicket: (username: string, password: string) => Promise<TicketReply>, clock: Clock) {
    this.#endpoint = endpoint;
    this.#askTicket = askTicket;
    this.#clock = clock;
  }

  /** Logs in when needed; callers at the same time share one login. Throws what the login throws. */
  async headers(): Promise<AuthHeaders> {
    if (this.#endpoint.isToken) return tokenHeaders(this.#endpoint);
    const ticket = this.#ticket;
    if (ticket !== undefined && this.#clock.now() - ticket.takenMs < renewAfterMs) return ticket.headers;
    this.#pending ??= this.#take(ticket).finally(() => (this.#pending = undefined));
    return (await this.#pending).headers;
  }

  /** After a 401: the next request logs in with the password again. */
  forget(): void {
    this.#ticket = undefined;
  }

  async #take(old: Ticket | undefined): Promise<Ticket> {
    const { authId, secret } = this.#endpoint;
    let reply: TicketReply | undefined;
    if (old !== undefined) {
      try {
        reply = await this.#askTicket(authId, old.text);
      } catch (e) {
        // The old ticket may have expired or lost its key: the password decides.
        if (!(e instanceof HttpError) || e.status !== 401) throw e;
      }
    }
    reply ??= await this.#askTicket(authId, secret);
    this.#ticket = parseTicket(reply, this.#clock.now());
    return this.#ticket;
  }
}

/** The form that every reference server and client knows; non-ASCII names go as UTF-8. */
function tokenHeaders(endpoint: RemoteEndpoint): AuthHeaders {
  const value = `PBSAPIToken ${endpoint.authId}:${encodeURIComponent(endpoint.secret)}`;
  return { authorization: Buffer.from(value, 'utf8').toString('latin1') };
}

function parseTicket(reply: TicketReply, takenMs: number): Ticket {
  const data = typeof reply.data === 'object' && reply.data !== null ? (reply.data as Record<string, unknown>) : {};
  const csrf = data['CSRFPreventionToken'];
  const cookie = reply.cookies.map((text) => /^__Host-PBSAuthCookie=([^;]+)/.exec(text)?.[1]).find((value) => value !== undefined);
  const text = cookie === undefined ? data['ticket'] : decodeURIComponent(cookie);
  if (typeof text !== 'string' || typeof csrf !== 'string') throw new NetworkError('net.protocol', 'the login answer holds no ticket');
  if (text.startsWith('PBS:!tfa!')) {
    throw new HttpError(401, 'the user needs a second factor to log in', { hint: 'use an API token: tokens need no second factor' });
  }
  const name = cookie === undefined ? 'PBSAuthCookie' : '__Host-PBSAuthCookie';
  return { headers: { cookie: `${name}=${encodeURIComponent(text)}`, csrfpreventiontoken: csrf }, text, takenMs };
}
