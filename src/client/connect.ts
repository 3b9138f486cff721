import { ConfigError, toError } from '../base/errors.ts';
import { isAuthId } from '../format/auth-id.ts';
import { maxNamespaceDepth, namespaceDepth, parseNamespace } from '../format/backup-path.ts';
import { parseHumanByte } from '../format/human-byte.ts';
import { parseHttpProxy, type HttpProxy } from '../protocol/http-proxy.ts';
import { RateLimiter } from '../protocol/rate-limit.ts';
import type { Parameters } from '../terminal/command.ts';
import type { ClientContext } from './client-context.ts';
import { environmentValue, type ValueName } from './environment.ts';
import { KnownFingerprints } from './known-fingerprints.ts';
import { countRepository } from './repository-list.ts';
import { repositoryText, resolveRepository, type Repository } from './repository.ts';
import { ServerConnection } from './server-connection.ts';
import { TicketCache } from './ticket-cache.ts';

/** From the options of a command and the environment to a connection. */

function text(given: Parameters, name: string): string | undefined {
  return given[name] as string | undefined;
}

/** A value that the reference does without when it cannot be read. */
async function optionalValue(context: ClientContext, name: ValueName): Promise<string | null> {
  try {
    return await environmentValue(context.variables, name);
  } catch (e) {
    context.stderr.write(`${toError(e).message}\n`);
    return null;
  }
}

/** The repository that options and environment name; null when none does. ConfigError `config.repository`. */
export async function givenRepository(context: ClientContext, given: Parameters): Promise<Repository | null> {
  const { variables } = context;
  const port = variables['PBS_PORT'] ?? '';
  const portNumber = /^[0-9]{1,5}$/.test(port) ? Number(port) : 0;
  return resolveRepository({
    repository: text(given, 'repository'),
    options: { server: text(given, 'server'), port: given['port'] as number | undefined, datastore: text(given, 'datastore'), authId: text(given, 'auth-id') },
    defaultRepository: async () => optionalValue(context, 'PBS_REPOSITORY'),
    variables: {
      server: variables['PBS_SERVER'],
      // Invalid ones are ignored, as the reference does.
      port: portNumber >= 1 && portNumber <= 65_535 ? portNumber : undefined,
      datastore: variables['PBS_DATASTORE'],
      authId: isAuthId(variables['PBS_AUTH_ID'] ?? '') ? variables['PBS_AUTH_ID'] : undefined,
    },
  });
}

/** As `givenRepository`; ConfigError when there is none. */
export async function requiredRepository(context: ClientContext, given: Parameters): Promise<Repository> {
  const repository = await givenRepository(context, given);
  if (repository === null) {
    throw new ConfigError('config.repository', 'unable to get (default) repository', { hint: 'set PBS_REPOSITORY or give --repository [[user@realm@]host[:port]:]datastore' });
  }
  return repository;
}

export function ticketCache(context: ClientContext): TicketCache {
  return new TicketCache(context.folders.runtime, context.clock);
}

/** Of `ALL_PROXY`; undefined when it is not set. ConfigError `config.proxy`. */
function givenProxy({ variables, stderr }: ClientContext): HttpProxy | undefined {
  const text = variables['ALL_PROXY'];
  if (text === undefined || text === '') return undefined;
  const proxy = parseHttpProxy(text);
  stderr.write(`Using proxy connection: ${proxy.host}:${proxy.port}\n`);
  return proxy;
}

export interface ConnectOptions {
  signal?: AbortSignal | undefined;
}

/** Connects and logs in. `--rate` and `--burst` hold for everything on the connection. */
export async function connect(context: ClientContext, repository: Repository, given: Parameters, options: ConnectOptions = {}): Promise<ServerConnection> {
  const rate = text(given, 'rate');
  const burst = text(given, 'burst');
  const [bytes, burstBytes] = [rate, burst].map((value) => (value === undefined ? undefined : parseHumanByte(value)));
  const proxy = givenProxy(context);
  const connection = await ServerConnection.open(repository, {
    proxy,
    password: async () => environmentValue(context.variables, 'PBS_PASSWORD'),
    expectedFingerprint: await optionalValue(context, 'PBS_FINGERPRINT'),
    tickets: ticketCache(context),
    fingerprints: new KnownFingerprints(`${context.folders.config}/fingerprints`),
    prompter: context.prompter,
    stderr: context.stderr,
    clock: context.clock,
    limiter: bytes === undefined ? undefined : new RateLimiter({ rateIn: bytes, rateOut: bytes, burstIn: burstBytes, burstOut: burstBytes }),
    signal: options.signal,
    trusted: context.trusted,
  });
  await countRepository(context.folders.cache, repositoryText(repository));
  return connection;
}

/** `work` on a connection to the repository of options and environment, which is closed afterwards. */
export async function withConnection<T>(context: ClientContext, given: Parameters, work: (connection: ServerConnection) => Promise<T>): Promise<T> {
  const connection = await connect(context, await requiredRepository(context, given), given);
  try {
    return await work(connection);
  } finally {
    connection.close();
  }
}

/** Namespace of `--ns` or `PBS_NAMESPACE`; root is the empty text. FormatError, ConfigError `config.namespace`. */
export function givenNamespace(context: ClientContext, given: Parameters): string {
  const ns = text(given, 'ns') ?? context.variables['PBS_NAMESPACE'] ?? '';
  if (namespaceDepth(ns) > maxNamespaceDepth) throw new ConfigError('config.namespace', `namespace too deep, ${maxNamespaceDepth} >= max ${maxNamespaceDepth}`);
  return parseNamespace(ns);
}

/** Namespace of `--ns` alone: commands that remove things do not take it from the environment, as in the reference (spec client-cli 13). */
export function explicitNamespace(given: Parameters): string {
  return parseNamespace(text(given, 'ns') ?? '');
}
