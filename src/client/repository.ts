import { isIPv6 } from 'node:net';
import { ConfigError } from '../base/errors.ts';
import { safeIdPattern } from '../config/schemas.ts';

/** Which datastore on which server, as whom (spec client-cli 2.1). Null: not given, the default holds. */
export interface Repository {
  authId: string | null;
  /** As written: IPv6 in brackets. */
  host: string | null;
  port: number | null;
  datastore: string;
}

const defaultAuthId = 'root@pam';
const defaultHost = 'localhost';
export const defaultPort = 8007;

const userPattern = `[^\\s:/\\x00-\\x1f\\x7f]+@${safeIdPattern}`;
export const authIdPattern = `${userPattern}(?:!${safeIdPattern})?`;
const octet = '(?:25[0-5]|(?:2[0-4]|1[0-9]|[1-9])?[0-9])';
const label = '(?:[a-zA-Z0-9](?:[a-zA-Z0-9\\-]*[a-zA-Z0-9])?)';
export const hostPattern = `(?:(?:${label}\\.)*${label}|(?:${octet}\\.){3}${octet}|\\[[0-9a-fA-F:.]+\\])`;

/** `[[auth-id@]host[:port]:]datastore`. */
export const repositoryPattern = `^(?:(?:(${authIdPattern})@)?(${hostPattern}):(?:([0-9]{1,5}):)?)?(${safeIdPattern})$`;
const repositoryRegExp = new RegExp(repositoryPattern, 'u');
const maxRepositoryLength = 256;

/** ConfigError `config.repository` with the reference's text. */
export function parseRepository(text: string): Repository {
  const match = text.length <= maxRepositoryLength ? repositoryRegExp.exec(text) : null;
  const host = match?.[2] ?? null;
  const port = match?.[3] === undefined ? null : Number(match[3]);
  if (match === null || (port !== null && (port < 1 || port > 65_535)) || (host?.startsWith('[') === true && !isIPv6(host.slice(1, -1)))) {
    throw new ConfigError('config.repository', `unable to parse repository url '${text.slice(0, maxRepositoryLength)}'`, { hint: '[[user@realm@]host[:port]:]datastore' });
  }
  return { authId: match[1] ?? null, host, port, datastore: match[4]! };
}

/** Printed form: with an auth-id everything is shown. */
export function repositoryText(repository: Repository): string {
  const { authId, host, port, datastore } = repository;
  if (authId !== null) return `${authId}@${host ?? defaultHost}:${port ?? defaultPort}:${datastore}`;
  if (host === null && port === null) return datastore;
  return port === null ? `${host}:${datastore}` : `${host ?? defaultHost}:${port}:${datastore}`;
}

/** Who we are on the server. */
export function repositoryAuthId(repository: Repository): string {
  return repository.authId ?? defaultAuthId;
}

/** Name of the server in files: without port. */
export function repositoryHost(repository: Repository): string {
  return repository.host ?? defaultHost;
}

export function repositoryPort(repository: Repository): number {
  return repository.port ?? defaultPort;
}

/** The options and variables that name a repository; undefined: not given. */
export interface RepositoryParts {
  server: string | undefined;
  port: number | undefined;
  datastore: string | undefined;
  authId: string | undefined;
}

function fromParts(parts: RepositoryParts): Repository {
  const { server, port, datastore, authId } = parts;
  if (datastore === undefined) throw new ConfigError('config.repository', '--datastore is required when not using --repository');
  const host = server !== undefined && isIPv6(server) ? `[${server}]` : server;
  const repository: Repository = { authId: authId ?? null, host: host ?? null, port: port ?? null, datastore };
  // Variables were not checked by any schema.
  parseRepository(repositoryText({ ...repository, authId: repositoryAuthId(repository) }));
  return repository;
}

export interface RepositorySources {
  /** `--repository`. */
  repository: string | undefined;
  options: RepositoryParts;
  /** `PBS_REPOSITORY` or what stands for it; asked only when no option is given. */
  defaultRepository: () => Promise<string | null>;
  /** `PBS_SERVER`, `PBS_PORT`, `PBS_DATASTORE`, `PBS_AUTH_ID`. */
  variables: RepositoryParts;
}

function anyGiven(parts: RepositoryParts): boolean {
  return Object.values(parts).some((value) => value !== undefined);
}

/** The repository to use (spec client-cli 2.2), null when nothing names one. ConfigError `config.repository`. */
export async function resolveRepository(sources: RepositorySources): Promise<Repository | null> {
  const { repository, options, variables } = sources;
  if (repository !== undefined) {
    if (anyGiven(options)) throw new ConfigError('config.repository', '--repository and --server/--port/--datastore/--auth-id are mutually exclusive');
    return parseRepository(repository);
  }
  if (anyGiven(options)) {
    return fromParts({
      server: options.server ?? variables.server,
      port: options.port ?? variables.port,
      datastore: options.datastore ?? variables.datastore,
      authId: options.authId ?? variables.authId,
    });
  }
  const text = await sources.defaultRepository();
  if (text !== null) return parseRepository(text);
  return anyGiven(variables) ? fromParts(variables) : null;
}
