import type { Clock } from '../base/clock.ts';
import { ConfigError, NetworkError, toError } from '../base/errors.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { BackupClient } from '../protocol/backup-client.ts';
import type { HttpProxy } from '../protocol/http-proxy.ts';
import { CertificateError } from '../protocol/network-error.ts';
import type { QueryParameters } from '../protocol/query.ts';
import type { RateLimiter } from '../protocol/rate-limit.ts';
import { ReaderClient } from '../protocol/reader-client.ts';
import { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { RestClient } from '../protocol/rest-client.ts';
import type { RestReply } from '../protocol/rest-client.ts';
import { connectTls } from '../protocol/tls-connection.ts';
import type { TextSink } from '../terminal/output.ts';
import type { Prompter } from '../terminal/prompter.ts';
import type { KnownFingerprints } from './known-fingerprints.ts';
import { repositoryAuthId, repositoryHost, repositoryPort, repositoryText, type Repository } from './repository.ts';
import type { CachedTicket, TicketCache } from './ticket-cache.ts';

export interface ConnectionParts {
  /** `PBS_PASSWORD` or what stands for it; null when not set. Its ConfigError is told as one of this connection. */
  password: () => Promise<string | null>;
  /** `PBS_FINGERPRINT` or what stands for it; null when not set. */
  expectedFingerprint: string | null;
  tickets: TicketCache;
  fingerprints: KnownFingerprints;
  prompter: Prompter;
  /** `ALL_PROXY`. */
  proxy?: HttpProxy | undefined;
  /** Log lines. */
  stderr: TextSink;
  clock?: Clock | undefined;
  limiter?: RateLimiter | undefined;
  signal?: AbortSignal | undefined;
  /** PEM certificates trusted beside the system's. */
  trusted?: readonly string[] | undefined;
}

/** One server, as whom the repository says: the certificate is accepted and a user is logged in. */
export class ServerConnection {
  readonly repository: Repository;
  readonly #endpoint: RemoteEndpoint;
  readonly #rest: RestClient;
  readonly #parts: ConnectionParts;

  private constructor(repository: Repository, endpoint: RemoteEndpoint, rest: RestClient, parts: ConnectionParts) {
    this.repository = repository;
    this.#endpoint = endpoint;
    this.#rest = rest;
    this.#parts = parts;
  }

  /**
   * Finds the password (spec client-cli 2.6), checks the certificate (2.5), logs a user in and keeps the ticket. Throws ConfigError `config.password`,
   * NetworkError `net.connect` with the cause when there is no connection, HttpError when the login is refused.
   */
  static async open(repository: Repository, parts: ConnectionParts): Promise<ServerConnection> {
    const secret = await findSecret(repository, parts);
    const fields = { host: repositoryHost(repository), port: repositoryPort(repository), authId: repositoryAuthId(repository), secret, proxy: parts.proxy };
    const endpoint = await withAcceptedCertificate(fields, parts);
    const { limiter, signal, trusted, clock } = parts;
    const rest = new RestClient(endpoint, { limiter, signal, trusted, clock });
    try {
      const ticket = endpoint.isToken ? null : ticketOf(await rest.authHeaders());
      if (ticket !== null) await parts.tickets.store(repositoryHost(repository), endpoint.authId, ticket);
      return new ServerConnection(repository, endpoint, rest, parts);
    } catch (e) {
      rest.close();
      throw e;
    }
  }

  /** `path` is relative to `/api2/json/`. Throws HttpError with the server's text, NetworkError, AbortedError. */
  async get(path: string, parameters?: QueryParameters): Promise<RestReply> {
    return this.#rest.get(path, parameters);
  }

  /** `path` is below `admin/datastore/{store}/` of the repository's datastore. */
  async getOfDatastore(path: string, parameters?: QueryParameters): Promise<unknown> {
    return (await this.getReplyOfDatastore(path, parameters)).data;
  }

  async getReplyOfDatastore(path: string, parameters?: QueryParameters): Promise<RestReply> {
    return this.get(this.#ofDatastore(path), parameters);
  }

  /** Parameters go into a JSON body. */
  async postToDatastore(path: string, parameters: Readonly<Record<string, unknown>>): Promise<unknown> {
    return (await this.#rest.post(this.#ofDatastore(path), parameters)).data;
  }

  /** Parameters go into a JSON body. */
  async putToDatastore(path: string, parameters: Readonly<Record<string, unknown>>): Promise<unknown> {
    return (await this.#rest.putJson(this.#ofDatastore(path), parameters)).data;
  }

  async deleteOfDatastore(path: string, parameters: QueryParameters): Promise<unknown> {
    return (await this.#rest.delete(this.#ofDatastore(path), parameters)).data;
  }

  /** A body of bytes beside the parameters. */
  async uploadToDatastore(path: string, parameters: QueryParameters, bytes: Uint8Array): Promise<unknown> {
    return (await this.#rest.postBytes(this.#ofDatastore(path), parameters, bytes)).data;
  }

  async delete(path: string, parameters?: QueryParameters): Promise<RestReply> {
    return this.#rest.delete(path, parameters);
  }

  /** Reader session of a snapshot; HttpError with the server's text when it refuses. */
  async openReader(ns: string, snapshot: BackupSnapshot): Promise<ReaderClient> {
    const { limiter, signal, trusted } = this.#parts;
    return ReaderClient.open(this.#endpoint, {
      store: this.repository.datastore,
      ns,
      backupType: snapshot.type,
      backupId: snapshot.id,
      backupTime: snapshot.time,
      debug: true,
      limiter,
      signal,
      trusted,
      authHeaders: async () => this.#rest.authHeaders(),
    });
  }

  /** Backup session for a new snapshot; HttpError with the server's text when it refuses. */
  async openBackup(ns: string, snapshot: BackupSnapshot, options: { debug: boolean; benchmark?: boolean; noCache?: boolean }): Promise<BackupClient> {
    const { limiter, signal, trusted } = this.#parts;
    return BackupClient.open(this.#endpoint, {
      ...options,
      store: this.repository.datastore,
      ns,
      backupType: snapshot.type,
      backupId: snapshot.id,
      backupTime: snapshot.time,
      limiter,
      signal,
      trusted,
      authHeaders: async () => this.#rest.authHeaders(),
    });
  }

  close(): void {
    this.#rest.close();
  }

  #ofDatastore(path: string): string {
    return `admin/datastore/${encodeURIComponent(this.repository.datastore)}/${path}`;
  }
}

async function findSecret(repository: Repository, parts: ConnectionParts): Promise<string> {
  const refuse = (why: string, hint?: string): never => {
    throw new ConfigError('config.password', `error building client for repository ${repositoryText(repository)} - ${why}`, hint === undefined ? {} : { hint });
  };
  const authId = repositoryAuthId(repository);
  const password = await parts.password().catch((e: unknown) => (e instanceof ConfigError ? refuse(e.message) : Promise.reject(toError(e))));
  if (authId.includes('!')) return password ?? refuse('API token secret must be provided!', "set PBS_PASSWORD to the token's secret");
  if (password !== null) return password;
  const ticket = await parts.tickets.find(repositoryHost(repository), authId);
  // A ticket stands for the password when it is renewed.
  if (ticket !== null) return ticket.ticket;
  if (!parts.prompter.canAsk) return refuse('no password input mechanism available', 'set PBS_PASSWORD, or PBS_PASSWORD_FILE to a file that holds the password');
  return parts.prompter.secret(`Password for "${authId}": `);
}

interface EndpointFields {
  host: string;
  port: number;
  authId: string;
  secret: string;
  proxy: HttpProxy | undefined;
}

/**
 * The endpoint with what its certificate has to be from here on: valid by chain and name, or of the one fingerprint that was
 * expected or that a person has confirmed (spec client-cli 2.5).
 */
async function withAcceptedCertificate(fields: EndpointFields, parts: ConnectionParts): Promise<RemoteEndpoint> {
  const endpoint = new RemoteEndpoint(fields);
  const { signal, trusted } = parts;
  try {
    const { socket } = await connectTls(endpoint, { signal, trusted });
    socket.destroy();
    return endpoint;
  } catch (e) {
    if (e instanceof CertificateError) return new RemoteEndpoint({ ...fields, fingerprint: await acceptedFingerprint(fields.host, e, parts) });
    throw e instanceof NetworkError ? connectError(e) : e;
  }
}

async function acceptedFingerprint(host: string, refused: CertificateError, parts: ConnectionParts): Promise<string> {
  const { expectedFingerprint, fingerprints, prompter, stderr } = parts;
  const { seen } = refused;
  const expected = expectedFingerprint ?? (await fingerprints.of(host));
  if (expected !== null && expected.trim().toLowerCase() === seen) return seen;
  if (expected !== null) stderr.write(`WARNING: certificate fingerprint does not match expected fingerprint!\nexpected:    ${expected}\n`);
  if (prompter.canAsk && (await confirmed(seen, prompter, stderr))) {
    if (expectedFingerprint === null) await fingerprints.remember(host, seen);
    return seen;
  }
  stderr.write('certificate validation failed - Certificate fingerprint was not confirmed.\n');
  const name = host.replace(/^\[|\]$/g, '');
  const hint = `compare ${seen} with \`proxmox-backup-manager cert info\` on ${name}, and set PBS_FINGERPRINT to it when they are equal`;
  throw connectError(expected === null ? refused : new NetworkError('net.fingerprint', `the certificate of ${name} has fingerprint ${seen}, expected ${expected}`), hint);
}

async function confirmed(seen: string, prompter: Prompter, stderr: TextSink): Promise<boolean> {
  stderr.write(`fingerprint: ${seen}\n`);
  for (;;) {
    const answer = (await prompter.line('Are you sure you want to continue connecting? (y/n): ')).trim();
    if (answer === 'y' || answer === 'Y') return true;
    if (answer === 'n' || answer === 'N') return false;
  }
}

/** As the reference says it, with the cause that it leaves out. */
function connectError(cause: NetworkError, hint = cause.hint): NetworkError {
  return new NetworkError('net.connect', 'client error (Connect)', { cause, ...(hint === undefined ? {} : { hint }) });
}

/** The ticket in the headers of a logged-in user. */
function ticketOf(headers: Readonly<Record<string, string>>): CachedTicket | null {
  const ticket = /^[^=]+=(.*)$/.exec(headers['cookie'] ?? '')?.[1];
  const csrfToken = headers['csrfpreventiontoken'];
  return ticket === undefined || csrfToken === undefined ? null : { ticket: decodeURIComponent(ticket), csrfToken };
}
