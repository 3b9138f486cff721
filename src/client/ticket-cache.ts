import { mkdir, readFile, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { isJsonObject, parseJson, type JsonValue } from '../base/json-text.ts';
import { nowSeconds, type Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { replaceFile } from '../datastore/replace-file.ts';

/** A ticket and the token that goes with it. Secrets. */
export interface CachedTicket {
  ticket: string;
  csrfToken: string;
}

/** Two hours less a minute: the rest of a ticket's life is too short to begin something with. */
const usableSeconds = 7140;

interface Entry extends CachedTicket {
  timestamp: number;
}

type Tickets = Map<string, Map<string, Entry>>;

/**
 * Tickets of earlier logins, by host (without port) and user, in a folder that only this user can look into (spec client-cli 2.4).
 * Where there is no such folder nothing is kept and nothing found.
 */
export class TicketCache {
  readonly #path: string | null;
  readonly #clock: Clock;

  /** `folder`: `proxmox-backup` below the runtime folder; null: there is none. */
  constructor(folder: string | null, clock: Clock) {
    this.#path = folder === null ? null : join(folder, 'tickets');
    this.#clock = clock;
  }

  /** The ticket as long as it can be used. */
  async find(host: string, userId: string): Promise<CachedTicket | null> {
    const path = await this.#usablePath();
    if (path === null) return null;
    const entry = (await readTickets(path)).get(host)?.get(userId);
    return entry !== undefined && this.#isFresh(entry) ? entry : null;
  }

  /** Keeps a ticket; those that are too old go. */
  async store(host: string, userId: string, ticket: CachedTicket): Promise<void> {
    const path = await this.#usablePath();
    if (path === null) return;
    const tickets = await readTickets(path);
    const ofHost = tickets.get(host) ?? new Map<string, Entry>();
    ofHost.set(userId, { ...ticket, timestamp: nowSeconds(this.#clock) });
    tickets.set(host, ofHost);
    await this.#write(path, tickets);
  }

  /** False when there was none. */
  async forget(host: string, userId: string): Promise<boolean> {
    const path = await this.#usablePath();
    if (path === null) return false;
    const tickets = await readTickets(path);
    if (tickets.get(host)?.delete(userId) !== true) return false;
    await this.#write(path, tickets);
    return true;
  }

  #isFresh({ timestamp }: Entry): boolean {
    const age = nowSeconds(this.#clock) - timestamp;
    return age > -60 && age < usableSeconds;
  }

  /** Null unless the runtime folder is there and closed to others. */
  async #usablePath(): Promise<string | null> {
    if (this.#path === null) return null;
    try {
      const { mode } = await stat(dirname(dirname(this.#path)));
      return (mode & 0o077) === 0 ? this.#path : null;
    } catch (e) {
      if (['ENOENT', 'ENOTDIR', 'EACCES'].includes(errorCode(e))) return null;
      throw e;
    }
  }

  async #write(path: string, tickets: Tickets): Promise<void> {
    const fresh = [...tickets].map(([host, entries]) => [
      host,
      Object.fromEntries([...entries].filter(([, entry]) => this.#isFresh(entry)).map(([user, { ticket, timestamp, csrfToken }]) => [user, { ticket, timestamp, token: csrfToken }])),
    ]);
    await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    await replaceFile(path, JSON.stringify(Object.fromEntries(fresh)), { mode: 0o600, owner: null, sync: false });
  }
}

async function readTickets(path: string): Promise<Tickets> {
  let value: JsonValue;
  try {
    value = parseJson(await readFile(path));
  } catch (e) {
    // A cache that is missing or broken is an empty one: the password decides.
    if (errorCode(e) === 'ENOENT' || errorCode(e).startsWith('format.')) return new Map();
    throw e;
  }
  const tickets: Tickets = new Map();
  for (const [host, users] of isJsonObject(value) ? Object.entries(value) : []) {
    const entries = new Map<string, Entry>();
    for (const [user, entry] of isJsonObject(users) ? Object.entries(users) : []) {
      if (!isJsonObject(entry)) continue;
      const { ticket, token, timestamp } = entry;
      if (typeof ticket === 'string' && typeof token === 'string' && typeof timestamp === 'number') entries.set(user, { ticket, csrfToken: token, timestamp });
    }
    tickets.set(host, entries);
  }
  return tickets;
}
