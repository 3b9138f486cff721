import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { Agent, request as httpsRequest } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { parseTotp, totpCode } from '../../src/access/totp.ts';
import { coverageOf } from '../support/api-coverage.ts';
import { labelOf, listedMethods } from '../support/api-schema.ts';
import { FarshoreServer } from '../support/farshore-server.ts';
import { Peer } from '../support/peer.ts';
import { writeGoldenFiles } from '../support/peer-backups.ts';
import { shapeDifferences, shapeOf } from '../support/reply-shape.ts';
import { WholeServer } from '../support/whole-server.ts';

/**
 * The same calls to both servers with equal configuration. Calls for reading only, and second factors: the reference's other ones reach the host
 * that it runs on, its clock and its package sources among them, whatever instance they are sent to.
 */

const password = 'operator-1';
const bobsPassword = 'bob-password-1';

/** What both are set up with; `DIR` is the folder of the datastores. */
const setUp = [
  ['user', 'create', 'op@pbs', '--password', password],
  ['user', 'create', 'bob@pbs', '--password', bobsPassword, '--comment', 'Bob', '--firstname', 'Bob', '--email', 'bob@example.org'],
  ['acl', 'update', '/', 'Admin', '--auth-id', 'op@pbs'],
  ['user', 'generate-token', 'bob@pbs', 'tok', '--comment', 'Token'],
  ['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'bob@pbs'],
  ['remote', 'create', 'pbs-hq', '--host', '192.0.2.7', '--auth-id', 'x@pbs', '--password', 'secret', '--comment', 'Headquarters'],
  ['sync-job', 'create', 'sync-1', '--store', 'main', '--remote', 'pbs-hq', '--remote-store', 'main', '--schedule', 'daily', '--comment', 'Sync'],
  ['prune-job', 'create', 'prune-1', '--store', 'main', '--schedule', 'daily', '--keep-last', '3'],
  ['verify-job', 'create', 'verify-1', '--store', 'main', '--schedule', 'weekly'],
  ['datastore', 'update', 'main', '--comment', 'All of it', '--gc-schedule', 'daily'],
];

interface Answer {
  status: number;
  contentType: string | undefined;
  body: string;
}

/** One server, asked as `op@pbs` or as somebody else with a ticket. */
class Side {
  readonly #at: { host: string; port: number };
  readonly #agent = new Agent({ keepAlive: true, rejectUnauthorized: false, maxSockets: 1 });

  constructor(at: { host: string; port: number }, t: TestContext) {
    this.#at = at;
    t.after(() => this.#agent.destroy());
  }

  async ask(method: string, target: string, options: { parameters?: Record<string, string>; ticket?: Ticket } = {}): Promise<Answer> {
    const query = new URLSearchParams(options.parameters ?? {}).toString();
    const inBody = method === 'POST' || method === 'PUT';
    const { ticket } = options;
    const request = httpsRequest({
      ...this.#at,
      method,
      path: `${target}${inBody || query === '' ? '' : `?${query}`}`,
      agent: this.#agent,
      headers: {
        ...(inBody ? { 'content-type': 'application/x-www-form-urlencoded' } : {}),
        ...(ticket === undefined ? {} : { cookie: `PBSAuthCookie=${encodeURIComponent(ticket.ticket)}`, csrfpreventiontoken: ticket.csrf }),
      },
    });
    const { promise, resolve, reject } = Promise.withResolvers<IncomingMessage>();
    request.once('response', resolve).once('error', reject);
    request.end(inBody ? query : undefined);
    const response = await promise;
    return { status: response.statusCode!, contentType: response.headers['content-type'], body: await text(response) };
  }

  async login(username: string, secret: string, challenge?: string): Promise<Ticket> {
    const { status, body } = await this.ask('POST', '/api2/json/access/ticket', { parameters: { username, password: secret, ...(challenge === undefined ? {} : { 'tfa-challenge': challenge }) } });
    assert.equal(status, 200, body);
    const { data } = JSON.parse(body) as { data: { ticket: string; CSRFPreventionToken: string } };
    return { ticket: data.ticket, csrf: data.CSRFPreventionToken };
  }
}

interface Ticket {
  ticket: string;
  csrf: string;
}

interface Pair {
  ours: Side;
  theirs: Side;
}

async function pairOf(t: TestContext): Promise<Pair> {
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  const peer = await Peer.start();
  t.after(async () => peer[Symbol.asyncDispose]());
  const farshore = await FarshoreServer.start(join(work, 'farshore'));
  t.after(async () => farshore[Symbol.asyncDispose]());
  mkdirSync(join(work, 'data'));
  await farshore.manager('datastore', 'create', 'main', join(work, 'data', 'main'));
  await peer.manager('datastore', 'create', 'main', '/data/main');
  for (const folder of [join(work, 'data'), peer.dataFolder]) writeGoldenFiles(join(folder, 'main'), ['.gc-status']);
  for (const words of setUp) {
    await farshore.manager(...words);
    await peer.manager(...words);
  }
  return { ours: new Side({ host: '127.0.0.1', port: farshore.port }, t), theirs: new Side({ host: peer.host, port: peer.port }, t) };
}

/** Not asked: what looks at hardware, at the host's packages and services, or at other hosts, and a GET that removes something. */
const hostOnly = /\/(?:disks|apt|network|services|journal|syslog|report|subscription|scan|scan-drives|scan-changers|list-buckets|vncwebsocket|directories|tos|challenge-schema|destroy)(?:\/|$)/;
/** What the host tells, in which it differs from itself in the other's namespaces. */
const ofTheHost = /^GET \/nodes\/localhost\/(?:dns|rrd)|^GET \/admin\/datastore\/main\/rrd/;

const variables: Record<string, string> = {
  node: 'localhost', store: 'main', userid: 'bob@pbs', 'token-name': 'tok', name: 'pbs-hq', fingerprint: Array(32).fill('aa').join(':'), drive: 'xyz', uuid: '11111111-1111-1111-1111-111111111111', service: 'xyz',
};
const snapshot = { 'backup-type': 'host', 'backup-id': 'plain', 'backup-time': '1760000000' };

/** Values for parameters without which a method does not answer. */
function parametersOf(path: string, required: readonly string[]): Record<string, string> {
  const known: Record<string, string> = { ...snapshot, cf: 'AVERAGE', timeframe: 'hour', 'file-name': 'index.json.blob', filepath: '/' };
  return Object.fromEntries(required.filter((name) => !path.includes(`{${name}}`)).map((name) => [name, known[name] ?? 'xyz']));
}

/** Every method for reading, with something for each of its variables. */
async function readingCalls(): Promise<Array<{ target: string; parameters: Record<string, string> }>> {
  await using server = await WholeServer.make();
  const missing = new Set(coverageOf(server.composition.router.endpoints).filter(({ coverage }) => coverage === 'missing' || coverage === 'session').map(({ listed }) => labelOf(listed)));
  const ids: Record<string, string> = { '/config/sync': 'sync-1', '/config/prune': 'prune-1', '/config/verify': 'verify-1', '/config/datastore': 'main' };
  const calls = listedMethods().filter((listed) => listed.method === 'GET' && listed.open !== true && !missing.has(labelOf(listed)) && !hostOnly.test(listed.path) && !/^\/(?:backup|reader)$/.test(listed.path) && !listed.path.includes('/tasks/{upid}') && !listed.path.includes('download'));
  return calls.map(({ path, parameters = {} }) => ({
    target: path.replace(/^(.*?)\{([a-z0-9-]+)\}/, (_, before: string, name: string) => before + (ids[before.slice(0, -1)] ?? variables[name] ?? 'xyz')).replace(/\{([a-z0-9-]+)\}/g, (_, name: string) => variables[name] ?? 'xyz'),
    parameters: parametersOf(path, Object.entries(parameters).filter(([, one]) => one.optional !== true).map(([name]) => name)),
  }));
}

/** Differences that docs/compatibility.md names, or that depend on what happened to one of the two servers. */
const meant: readonly RegExp[] = [
  // Its chunk store keeps no statistics of the cache before its first collection.
  /cache-stats: (?:not there|only here)$/,
  // The reference's scheduler writes its state files at its first start.
  /^GET \/admin\/(?:sync|prune|verify|gc|datastore\/main\/gc).*(?:last-run-|next-run|duration)/,
];

test('equal calls get equal statuses, and replies of equal shape', async (t) => {
  const { ours, theirs } = await pairOf(t);
  const [ourTicket, theirTicket] = [await ours.login('op@pbs', password), await theirs.login('op@pbs', password)];
  const [ourBob, theirBob] = [await ours.login('bob@pbs', bobsPassword), await theirs.login('bob@pbs', bobsPassword)];
  const differences: string[] = [];
  const calls = await readingCalls();
  assert.ok(calls.length > 60, String(calls.length));
  for (const [who, ourOwn, theirOwn] of [['op@pbs', ourTicket, theirTicket], ['bob@pbs', ourBob, theirBob]] as const) {
    for (const { target, parameters } of calls) {
      for (const format of who === 'op@pbs' ? ['json', 'extjs'] : ['json']) {
        // Refusals are held back for a while.
        const [mine, other] = await Promise.all([ours.ask('GET', `/api2/${format}${target}`, { parameters, ticket: ourOwn }), theirs.ask('GET', `/api2/${format}${target}`, { parameters, ticket: theirOwn })]);
        const label = `GET ${target}`;
        const note = (what: string): void => void (meant.some((one) => one.test(`${label}: ${what}`)) || differences.push(`${format} ${who} ${label}: ${what}`));
        if (mine.status !== other.status || mine.contentType !== other.contentType) note(`${mine.status} ${mine.contentType} ${mine.body.slice(0, 120)}, theirs ${other.status} ${other.contentType} ${other.body.slice(0, 120)}`);
        else if (mine.status !== 200) {
          if (mine.body !== other.body) note(`'${mine.body}', theirs '${other.body}'`);
        } else if (!ofTheHost.test(label)) {
          for (const one of shapeDifferences(shapeOf(JSON.parse(mine.body)), shapeOf(JSON.parse(other.body)))) note(one);
        }
      }
    }
  }
  assert.deepEqual(differences, []);
});

const address = 'otpauth://totp/Test:bob%40pbs?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&period=30&digits=6&algorithm=SHA1&issuer=Test';

function codeNow(step = Math.floor(Date.now() / 30_000)): string {
  return totpCode(parseTotp(address), step);
}

/** A second factor's life, as one server tells it: statuses and replies without what is random. */
async function lifeOfFactors(side: Side): Promise<string[]> {
  const told: string[] = [];
  const ticket = await side.login('bob@pbs', bobsPassword);
  const plain = (body: string): string =>
    body.replace(/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}/g, 'ID').replace(/[0-9a-f]{4}(?:-[0-9a-f]{4}){3}/g, 'KEY').replace(/"created":\d{10}/g, '"created":TIME');
  const call = async (method: string, path: string, parameters: Record<string, string> = {}): Promise<Answer> => {
    const answer = await side.ask(method, `/api2/json/access/${path}`, { parameters, ticket });
    const parsed = answer.status === 200 ? JSON.stringify(sortedKeys(JSON.parse(answer.body))) : answer.body;
    told.push(`${method} ${plain(path)} ${Object.keys(parameters).join(' ')}: ${answer.status} ${plain(parsed)}`);
    return answer;
  };
  const bob = 'tfa/bob@pbs';
  const own = { password: bobsPassword };
  await call('GET', 'tfa');
  await call('GET', bob);
  await call('GET', `${bob}/none`);
  await call('POST', bob, { type: 'totp', description: 'phone', totp: address, value: codeNow() });
  await call('POST', bob, { type: 'totp', totp: address, value: codeNow(), ...own });
  await call('POST', bob, { type: 'totp', description: 'phone', value: codeNow(), ...own });
  await call('POST', bob, { type: 'totp', description: 'phone', totp: 'nonsense', value: codeNow(), ...own });
  await call('POST', bob, { type: 'totp', description: 'phone', totp: address, value: codeNow(1), ...own });
  const added = await call('POST', bob, { type: 'totp', description: 'phone', totp: address, value: codeNow(), ...own });
  const { id } = (JSON.parse(added.body) as { data: { id: string } }).data;
  await call('POST', bob, { type: 'recovery', value: 'x', ...own });
  const keys = await call('POST', bob, { type: 'recovery', ...own });
  const { recovery } = (JSON.parse(keys.body) as { data: { recovery: string[] } }).data;
  await call('POST', bob, { type: 'recovery', ...own });
  await call('POST', bob, { type: 'u2f', description: 'x', ...own });
  await call('POST', bob, { type: 'webauthn', description: 'x', ...own });
  await call('GET', 'tfa');
  await call('GET', `${bob}/${id}`);
  await call('PUT', `${bob}/${id}`, { enable: '0', description: 'old', ...own });
  await call('GET', bob);
  await call('PUT', `${bob}/recovery`, { enable: '0', ...own });
  await call('PUT', `${bob}/${id}`, { enable: '1', ...own });
  const challenge = await side.login('bob@pbs', bobsPassword);
  told.push(`challenge ${/^PBS:(.*):[0-9A-F]{8}::/.exec(challenge.ticket)?.[1]} ${challenge.csrf}`);
  const granted = await side.login('bob@pbs', `recovery:${recovery[4]}`, challenge.ticket);
  told.push(`recovery ${/^PBS:(.*):[0-9A-F]{8}::/.exec(granted.ticket)?.[1]}`);
  const again = await side.login('bob@pbs', bobsPassword);
  told.push(`challenge ${/^PBS:(.*):[0-9A-F]{8}::/.exec(again.ticket)?.[1]}`);
  await side.login('bob@pbs', `totp:${codeNow()}`, again.ticket);
  const op = await side.login('op@pbs', password);
  const unlocked = await side.ask('PUT', '/api2/json/access/users/bob@pbs/unlock-tfa', { ticket: op });
  told.push(`unlock ${unlocked.status} ${unlocked.body}`);
  await call('DELETE', `${bob}/${id}`);
  await call('DELETE', `${bob}/none`, own);
  await call('DELETE', `${bob}/${id}`, own);
  await call('DELETE', `${bob}/recovery`, own);
  await call('GET', bob);
  return told;
}

function sortedKeys(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(sortedKeys);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)).map(([name, one]) => [name, sortedKeys(one)]));
}

test('a second factor lives on both servers in the same way', async (t) => {
  const { ours, theirs } = await pairOf(t);
  const [mine, other] = await Promise.all([lifeOfFactors(ours), lifeOfFactors(theirs)]);
  assert.deepEqual(mine, other);
});
