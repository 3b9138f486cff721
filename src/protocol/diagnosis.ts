import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import type { Socket } from 'node:net';
import { AbortedError, FarshoreError, HttpError, errorChain, errorCode, toError } from '../base/errors.ts';
import { inTime } from '../base/async.ts';
import { systemClock } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { CertificateError, classifyNetworkError, networkError } from './network-error.ts';
import type { RateLimiter } from './rate-limit.ts';
import type { RemoteEndpoint } from './remote-endpoint.ts';
import { RestClient } from './rest-client.ts';
import { connectSocket, connectTimeoutMs, secureSocket } from './tls-connection.ts';

/** The one thing that is wrong with a remote. */
export type DiagnosisCause =
  | 'name-not-found'
  | 'port-closed'
  | 'filtered'
  | 'unreachable'
  | 'not-tls'
  | 'fingerprint'
  | 'certificate'
  | 'credentials'
  | 'second-factor'
  | 'not-a-backup-server'
  | 'version'
  | 'clock'
  | 'no-such-datastore'
  | 'datastore-unavailable'
  | 'privilege'
  | 'namespace'
  | 'expiry'
  | 'connection-lost'
  | 'stalled'
  | 'protocol'
  | 'refused-request'
  | 'aborted'
  | 'other';

export interface Diagnosis {
  cause: DiagnosisCause;
  /** One sentence. */
  detail: string;
  /** What mends it: usually commands in backticks, and where to run them. */
  hint?: string;
}

/** A name to put into suggested commands. */
export interface HintNames {
  /** Name of the remote entry here. */
  remoteName?: string | undefined;
}

/** Names the cause of an error of RestClient, ReaderClient or connectTls in one sentence. */
export function diagnose(error: unknown, endpoint: RemoteEndpoint, names: HintNames = {}): Diagnosis {
  if (error instanceof AbortedError) return { cause: 'aborted', detail: 'the work was aborted' };
  if (error instanceof CertificateError) return diagnoseCertificate(error, names);
  if (error instanceof HttpError) return diagnoseAnswer(error, endpoint, names);
  const code = errorCode(error);
  const known = networkCauses[code];
  if (known !== undefined) return { cause: known.cause, detail: toError(error).message, hint: known.hint(endpoint) };
  const detail = errorChain(error);
  const hint = error instanceof FarshoreError ? error.hint : undefined;
  return hint === undefined ? { cause: 'other', detail } : { cause: 'other', detail, hint };
}

const networkCauses: Record<string, { cause: DiagnosisCause; hint: (endpoint: RemoteEndpoint) => string }> = {
  'net.name-not-found': { cause: 'name-not-found', hint: (e) => `check the spelling and the name servers of this host: \`getent hosts ${e.host}\`` },
  'net.refused': { cause: 'port-closed', hint: (e) => `nothing listens on port ${e.port}: on the remote run \`systemctl status proxmox-backup-proxy\` and \`ss -ltn\`, and compare the port` },
  'net.unreachable': { cause: 'unreachable', hint: (e) => `there is no way to it or a firewall rejects it: \`ip route get ${e.host}\`` },
  'net.timeout': { cause: 'filtered', hint: (e) => `a firewall drops the packets, or the host is down: \`ping ${e.host}\`, and allow TCP port ${e.port} on the remote and between` },
  'net.not-tls': { cause: 'not-tls', hint: (e) => `another service listens on port ${e.port}; a backup server's port is 8007` },
  'net.reset': { cause: 'connection-lost', hint: () => 'run it again; when it happens always, look into `journalctl -u proxmox-backup-proxy` on the remote and at firewalls between' },
  'net.stalled': { cause: 'stalled', hint: () => 'the line or the remote hangs: run it again, and look at the load of the remote and of the line' },
  'net.protocol': { cause: 'protocol', hint: () => 'check that host and port are those of a Proxmox Backup Server or a Farshore, without a proxy between' },
};

function diagnoseCertificate(error: CertificateError, names: HintNames): Diagnosis {
  const update = `\`farshore remote update ${names.remoteName ?? 'NAME'} --fingerprint ${error.seen}\``;
  const compare = 'compare it with `proxmox-backup-manager cert info` on the remote';
  return error.code === 'net.fingerprint'
    ? { cause: 'fingerprint', detail: error.message, hint: `${compare}; if it is the same, the certificate was renewed: ${update}. If not, someone is in between` }
    : { cause: 'certificate', detail: error.message, hint: `${compare}; if it is the same: ${update}` };
}

function diagnoseAnswer(error: HttpError, endpoint: RemoteEndpoint, names: HintNames): Diagnosis {
  const text = error.message;
  if (error.status === 401) return error.hint === undefined ? diagnoseCredentials(endpoint, names) : { cause: 'second-factor', detail: text, hint: error.hint };
  const store = /no such datastore '([^']*)'/.exec(text)?.[1];
  if (store !== undefined) return { cause: 'no-such-datastore', detail: `the remote has no datastore '${store}'`, hint: 'on the remote: `proxmox-backup-manager datastore list`' };
  if (/^datastore '[^']*' is unavailable/.test(text)) {
    return { cause: 'datastore-unavailable', detail: text, hint: 'end the maintenance or mount the datastore on the remote: `proxmox-backup-manager datastore list`' };
  }
  // The text comes from the remote and goes into a command that somebody may copy: nothing but what an ACL path consists of.
  const missing = /missing (?:permissions ')?([A-Za-z.|&]+)'? on '?(\/[\w./-]*)/.exec(text) ?? /no permissions on ()(\/[\w./-]*)/.exec(text);
  if (missing !== null) return refusedPrivilege(endpoint, missing[2]!, missing[1] === '' ? 'Datastore.Read' : missing[1]!);
  if (error.status === 403 || /owner check failed/.test(text)) {
    return { cause: 'privilege', detail: `the remote refuses '${endpoint.authId}': ${text}`, hint: `on the remote: \`proxmox-backup-manager user permissions '${endpoint.authId}'\`` };
  }
  if (error.status === 404 && /^Path '|nothing here|not found/i.test(text)) {
    return { cause: 'not-a-backup-server', detail: `${endpoint.authority} does not know the backup server's interface: ${text}`, hint: 'check host and port' };
  }
  return { cause: 'refused-request', detail: `the remote answered with status ${error.status}: ${text}` };
}

/** `A|B`: one of them would do, `A&B`: all are needed. A remote says the same of a datastore that it does not have. */
function refusedPrivilege(endpoint: RemoteEndpoint, path: string, privileges: string): Diagnosis {
  const anyOf = privileges.split('|');
  const found = missingPrivilege(endpoint, path, privileges.split(/[|&]/), anyOf.includes('Datastore.Read') ? 'DatastoreReader' : undefined);
  if (anyOf.length > 1) found.detail = found.detail.replace(anyOf.join(' and '), `any of ${anyOf.join(', ')}`);
  if (path.startsWith('/datastore/')) found.hint += '; the remote says the same of a datastore that it does not have: `proxmox-backup-manager datastore list`';
  return found;
}

/** What 401 can mean: the remote says the same to all of it, after 3 s. */
function diagnoseCredentials(endpoint: RemoteEndpoint, names: HintNames): Diagnosis {
  const setSecret = `\`farshore remote update ${names.remoteName ?? 'NAME'} --password SECRET\``;
  if (!endpoint.isToken) {
    return {
      cause: 'credentials',
      detail: `the remote does not accept '${endpoint.authId}': the password is wrong, or the user does not exist, is disabled or expired; the remote does not say which`,
      hint: `on the remote: \`proxmox-backup-manager user list\` shows whether the user is there, enabled and not expired; then ${setSecret}`,
    };
  }
  const { user, tokenName } = splitToken(endpoint.authId);
  return {
    cause: 'credentials',
    detail: `the remote does not accept '${endpoint.authId}': the secret is wrong, or the token or its user does not exist, is disabled or expired; the remote does not say which`,
    hint:
      `on the remote: \`proxmox-backup-manager user list-tokens ${user}\` and \`proxmox-backup-manager user list\` show whether both are there, enabled and not expired; ` +
      `if they are, the secret is wrong: make a new token (\`proxmox-backup-manager user generate-token ${user} ${tokenName}-2\`), or find the secret, and ${setSecret}`,
  };
}

/** `authId` of a token as user and token name. */
export function splitToken(authId: string): { user: string; tokenName: string } {
  const at = authId.lastIndexOf('!');
  return { user: authId.slice(0, at), tokenName: authId.slice(at + 1) };
}

/** Role that holds each of the privileges and little else (spec rest-api 7.2). */
function roleFor(privileges: readonly string[]): string {
  if (privileges.includes('Datastore.Modify')) return 'DatastoreAdmin';
  const writes = privileges.includes('Datastore.Backup') || privileges.includes('Datastore.Prune');
  if (writes && privileges.length === 1) return privileges[0] === 'Datastore.Backup' ? 'DatastoreBackup' : 'DatastorePowerUser';
  if (writes && !privileges.includes('Datastore.Read') && !privileges.includes('Datastore.Audit')) return 'DatastorePowerUser';
  return 'DatastoreReader';
}

/**
 * Privileges missing on an ACL path, with the commands that give them. A token has what its own entries and its user's
 * have in common, and may not look at its user's (checked with the reference: 400 `not allowed to list permissions`).
 */
export function missingPrivilege(endpoint: RemoteEndpoint, path: string, privileges: readonly string[], role = roleFor(privileges)): Diagnosis {
  const grant = (authId: string): string => `\`proxmox-backup-manager acl update ${path} ${role} --auth-id '${authId}'\``;
  const detail = `'${endpoint.authId}' lacks ${privileges.join(' and ')} on ${path}`;
  const settle = '(the remote takes up to 5 s to notice)';
  if (!endpoint.isToken) return { cause: 'privilege', detail, hint: `on the remote: ${grant(endpoint.authId)} ${settle}` };
  const { user } = splitToken(endpoint.authId);
  return {
    cause: 'privilege',
    detail: `${detail}: the token itself, its user, or both; a token has only what both have, and the remote does not tell it which one lacks it`,
    hint:
      `on the remote: \`proxmox-backup-manager user permissions '${endpoint.authId}' --path ${path}\` and the same for '${user}'; ` +
      `then ${grant(endpoint.authId)} and ${grant(user)} ${settle}`,
  };
}

export type ProbeStepName = 'name' | 'tcp' | 'tls' | 'login';

export interface ProbeStep {
  step: ProbeStepName;
  ok: boolean;
  /** What was found, or the problem's sentence. */
  detail: string;
  milliseconds: number;
}

/** How far a connection comes. */
export interface ProbeResult {
  /** In order; the first that fails is the last. */
  steps: ProbeStep[];
  problem: Diagnosis | undefined;
  /** Of the remote's certificate, accepted or not. */
  fingerprint: string | undefined;
  /** E.g. `4.2.3`. */
  version: string | undefined;
  /** The remote's clock minus ours. */
  clockOffsetMs: number | undefined;
}

export interface ProbeOptions extends HintNames {
  signal?: AbortSignal | undefined;
  limiter?: RateLimiter | undefined;
  clock?: Clock | undefined;
  connectTimeoutMs?: number | undefined;
  trusted?: readonly string[] | undefined;
}

/** Goes the way of a connection step by step: name, TCP, TLS with the certificate, login and version. Throws only AbortedError. */
export async function probe(endpoint: RemoteEndpoint, options: ProbeOptions = {}): Promise<ProbeResult> {
  const result: ProbeResult = { steps: [], problem: undefined, fingerprint: undefined, version: undefined, clockOffsetMs: undefined };
  let tcp: Socket | undefined;
  const way: Array<[ProbeStepName, () => Promise<string>]> = [
    ['name', async () => resolveName(endpoint, options.connectTimeoutMs ?? connectTimeoutMs)],
    [
      'tcp',
      async () => {
        tcp = await connectSocket(endpoint, options);
        return `connected to ${tcp.remoteAddress ?? endpoint.host} port ${endpoint.port}`;
      },
    ],
    [
      'tls',
      async () => {
        const connection = await secureSocket(endpoint, tcp!, options);
        const version = connection.socket.getProtocol() ?? 'TLS';
        connection.socket.destroy();
        result.fingerprint = connection.fingerprint;
        return `${version}, certificate ${endpoint.fingerprint === undefined ? 'valid' : 'as pinned'}`;
      },
    ],
    ['login', async () => askVersion(endpoint, options, result)],
  ];
  for (const [step, go] of way) {
    const startMs = performance.now();
    try {
      const detail = await go();
      result.steps.push({ step, ok: true, detail, milliseconds: performance.now() - startMs });
    } catch (e) {
      if (e instanceof AbortedError) throw e;
      if (e instanceof CertificateError) result.fingerprint = e.seen;
      result.problem = diagnose(e, endpoint, options);
      result.steps.push({ step, ok: false, detail: result.problem.detail, milliseconds: performance.now() - startMs });
      break;
    }
  }
  return result;
}

async function resolveName(endpoint: RemoteEndpoint, limitMs: number): Promise<string> {
  if (isIP(endpoint.host) !== 0) return `${endpoint.host} is an address`;
  try {
    const found = await inTime(lookup(endpoint.host, { all: true }), limitMs, () => networkError('net.name-not-found', `the name '${endpoint.host}' was not resolved within ${limitMs / 1000} s`));
    return `${endpoint.host} is ${found.map((one) => one.address).join(', ')}`;
  } catch (e) {
    throw classifyNetworkError(e, endpoint, 'connect');
  }
}

async function askVersion(endpoint: RemoteEndpoint, options: ProbeOptions, result: ProbeResult): Promise<string> {
  const rest = new RestClient(endpoint, { signal: options.signal, limiter: options.limiter, clock: options.clock ?? systemClock, trusted: options.trusted });
  try {
    const { data } = await rest.get('version');
    const fields = typeof data === 'object' && data !== null ? (data as Record<string, unknown>) : {};
    if (typeof fields['version'] !== 'string') throw networkError('net.protocol', `${endpoint.authority} names no version`);
    result.version = typeof fields['release'] === 'string' ? `${fields['version']}.${fields['release']}` : fields['version'];
    return `'${endpoint.authId}' accepted by version ${result.version}`;
  } finally {
    result.clockOffsetMs = rest.clockOffsetMs;
    rest.close();
  }
}
