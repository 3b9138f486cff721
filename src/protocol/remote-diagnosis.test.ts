import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { test } from 'node:test';
import { AbortedError, HttpError } from '../base/errors.ts';
import { startScriptedRemote } from '../../test/support/scripted-remote.ts';
import type { RemoteScript, ScriptedRemote } from '../../test/support/scripted-remote.ts';
import { diagnose } from './diagnosis.ts';
import { networkError } from './network-error.ts';
import { diagnoseRemote } from './remote-diagnosis.ts';
import type { RemoteTestOptions } from './remote-diagnosis.ts';
import { RemoteEndpoint } from './remote-endpoint.ts';

/** What a reference server reveals to a token with the given effective privileges, as observed. */
interface Account {
  privileges: Record<string, string[]>;
  version?: string;
  namespaces?: string[];
  groups?: Array<Record<string, unknown>>;
  expire?: number;
  date?: string;
}

const now = Date.parse('2026-11-24T12:00:00Z');
const options: RemoteTestOptions = { remoteName: 'site', measureMs: 0, connectTimeoutMs: 2000, clock: { now: () => now } };

function reference(account: Account): RemoteScript {
  const effective = (path: string): string[] => {
    const at = Object.keys(account.privileges).filter((one) => path === one || path.startsWith(`${one}/`)).sort((a, b) => b.length - a.length)[0];
    return at === undefined ? [] : account.privileges[at]!;
  };
  const asObject = (privileges: string[]): Record<string, boolean> => Object.fromEntries(privileges.map((one) => [one, true]));
  const namespaces = account.namespaces ?? [''];
  const pathOf = (ns: string): string => (ns === '' ? '/datastore/main' : `/datastore/main/${ns}`);
  const replies: Record<string, (query: URLSearchParams) => unknown> = {
    version: () => ({ version: account.version ?? '4.2', release: '3', repoid: 'x' }),
    'access/users': () => [{ userid: 'sync@pbs', ...(account.expire === undefined ? {} : { expire: account.expire }) }],
    'access/permissions': (query) => {
      const path = query.get('path');
      const paths = path === null ? Object.keys(account.privileges) : [path];
      return Object.fromEntries(paths.filter((one) => effective(one).length > 0).map((one) => [one, asObject(effective(one))]));
    },
    'admin/datastore': () => (Object.keys(account.privileges).length === 0 ? [] : [{ store: 'main', comment: null }]),
    'admin/datastore/main/namespace': () => {
      const seen = namespaces.filter((ns) => effective(pathOf(ns)).length > 0);
      if (seen.length === 0) throw new HttpError(403, 'permission check failed');
      return seen.map((ns) => ({ ns }));
    },
    'admin/datastore/main/groups': (query) => {
      const ns = query.get('ns') ?? '';
      if (!effective(pathOf(ns)).some((one) => one === 'Datastore.Audit' || one === 'Datastore.Backup')) {
        throw new HttpError(403, `permission check failed - missing Datastore.Audit|Datastore.Backup on ${pathOf(ns)}`);
      }
      if (!namespaces.includes(ns)) throw new HttpError(400, 'ENOENT: No such file or directory');
      return account.groups ?? [];
    },
    'admin/datastore/nosuch/namespace': () => {
      throw new HttpError(400, "no such datastore 'nosuch'");
    },
    'admin/datastore/off/namespace': () => {
      throw new HttpError(400, "datastore 'off' is unavailable: offline maintenance mode: disk swap");
    },
  };
  return {
    onRequest: (request: IncomingMessage, response: ServerResponse) => {
      const url = new URL(request.url!, 'https://x');
      response.setHeader('date', account.date ?? new Date(now).toUTCString());
      if (request.headers.authorization !== 'PBSAPIToken sync@pbs!offsite:right') {
        response.writeHead(401).end('authentication failed');
        return;
      }
      const reply = replies[url.pathname.slice('/api2/json/'.length)];
      try {
        if (reply === undefined) throw new HttpError(404, `Path '${url.pathname}' not found.`);
        response.end(JSON.stringify({ data: reply(url.searchParams) }));
      } catch (e) {
        assert.ok(e instanceof HttpError);
        response.writeHead(e.status).end(e.message);
      }
    },
    onStream: (stream) => {
      stream.respond({ ':status': 200 });
      stream.end(Buffer.alloc(1_048_576, 'A'));
    },
  };
}

function endpointOf(remote: ScriptedRemote, fields: { secret?: string; fingerprint?: string | undefined; host?: string; port?: number } = {}): RemoteEndpoint {
  return new RemoteEndpoint({ host: '127.0.0.1', port: remote.port, authId: 'sync@pbs!offsite', secret: 'right', fingerprint: remote.fingerprint, ...fields });
}

const reader = ['Datastore.Audit', 'Datastore.Read', 'Datastore.Verify'];
const group = { 'backup-type': 'vm', 'backup-id': '100', 'last-backup': 1_760_000_000, 'backup-count': 2 };

test('all well: version, latency, rate and what the token sees', async () => {
  await using remote = await startScriptedRemote(reference({ privileges: { '/datastore/main': reader }, namespaces: ['', 'a'], groups: [group] }));
  const found = await diagnoseRemote(endpointOf(remote), { store: 'main' }, { ...options, measureMs: 50 });
  assert.equal(found.problem, undefined);
  assert.deepEqual(found.warnings, []);
  assert.deepEqual(found.steps.map((one) => [one.step, one.ok]), [['name', true], ['tcp', true], ['tls', true], ['login', true]]);
  assert.equal(found.version, '4.2.3');
  assert.equal(found.fingerprint, remote.fingerprint);
  assert.equal(found.clockOffsetMs, 0);
  assert.ok(found.latencyMs! > 0 && found.bytesPerSecond! > 0);
  assert.deepEqual([found.stores, found.namespaces, found.groupCount], [['main'], ['', 'a'], 1]);
});

test('each broken connection names its cause and a mending command', async () => {
  await using remote = await startScriptedRemote(reference({ privileges: {} }));
  const plain = createServer((socket) => {
    socket.on('error', () => {});
    socket.end('HTTP/1.0 400 Bad Request\r\n\r\n');
  });
  await new Promise<void>((resolve) => plain.listen(0, '127.0.0.1', resolve));
  const plainPort = (plain.address() as AddressInfo).port;
  const silent = createServer((socket) => socket.on('error', () => {}));
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve));
  const silentPort = (silent.address() as AddressInfo).port;
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const closedPort = (closed.address() as AddressInfo).port;
  await new Promise((resolve) => closed.close(resolve));
  const other = Array.from({ length: 32 }, () => '00').join(':');
  const cases: Array<[Parameters<typeof endpointOf>[1], string, string, RegExp]> = [
    [{ host: 'no-such-host.invalid' }, 'name-not-found', 'name', /getent hosts no-such-host\.invalid/],
    [{ port: closedPort }, 'port-closed', 'tcp', /systemctl status proxmox-backup-proxy/],
    [{ port: silentPort }, 'filtered', 'tls', /firewall/],
    [{ port: plainPort }, 'not-tls', 'tls', /8007/],
    [{ fingerprint: other }, 'fingerprint', 'tls', new RegExp(`farshore remote update site --fingerprint ${remote.fingerprint}`)],
    [{ fingerprint: undefined }, 'certificate', 'tls', new RegExp(`farshore remote update site --fingerprint ${remote.fingerprint}`)],
    [{ secret: 'wrong' }, 'credentials', 'login', /user list-tokens sync@pbs/],
  ];
  for (const [fields, cause, step, hint] of cases) {
    const found = await diagnoseRemote(endpointOf(remote, fields), { store: 'main' }, { ...options, connectTimeoutMs: 200 });
    assert.equal(found.problem?.cause, cause, String(found.problem?.detail));
    assert.match(found.problem.hint!, hint);
    assert.equal(found.steps.at(-1)!.step, step);
    assert.equal(found.steps.at(-1)!.ok, false);
    assert.ok(!JSON.stringify(found).includes('wrong\''), 'no secret in a diagnosis');
    if (cause === 'fingerprint') assert.ok(found.problem.detail.includes(other) && found.problem.detail.includes(remote.fingerprint));
  }
  plain.close();
  silent.close();
});

test('missing privileges are named with their path and the role that gives them', async () => {
  const cases: Array<[Account, Parameters<typeof diagnoseRemote>[1], RegExp, RegExp]> = [
    [{ privileges: {} }, { store: 'main' }, /lacks Datastore\.Audit and Datastore\.Read on \/datastore\/main: the token itself, its user, or both/, /acl update \/datastore\/main DatastoreReader --auth-id 'sync@pbs!offsite'.*--auth-id 'sync@pbs'/],
    [{ privileges: {} }, {}, /lacks Datastore\.Audit on \/datastore/, /DatastoreReader/],
    [{ privileges: { '/datastore/main': ['Datastore.Audit'] } }, { store: 'main' }, /lacks Datastore\.Read on \/datastore\/main:/, /DatastoreReader/],
    [{ privileges: { '/datastore/main/a': reader }, namespaces: ['', 'a'] }, { store: 'main' }, /on \/datastore\/main:.*it has what is needed on \/datastore\/main\/a$/, /DatastoreReader/],
    [{ privileges: { '/datastore/main': reader, '/datastore/main/a': ['Datastore.Audit'] }, namespaces: ['', 'a'] }, { store: 'main', ns: 'a' }, /lacks Datastore\.Read on \/datastore\/main\/a:/, /\/datastore\/main\/a DatastoreReader/],
    [{ privileges: { '/datastore/main': reader } }, { store: 'main', direction: 'push' }, /lacks Datastore\.Backup on/, /DatastoreBackup/],
    [{ privileges: { '/datastore/main': ['Datastore.Backup'] } }, { store: 'main', direction: 'push', removeVanished: true }, /lacks Datastore\.Prune on/, /DatastorePowerUser/],
  ];
  for (const [account, use, detail, hint] of cases) {
    await using remote = await startScriptedRemote(reference(account));
    const found = await diagnoseRemote(endpointOf(remote), use, options);
    assert.equal(found.problem?.cause, 'privilege', JSON.stringify(found.problem));
    assert.match(found.problem.detail, detail);
    assert.match(found.problem.hint!, hint);
  }
});

test('what works but should be known is a warning', async () => {
  const cases: Array<[Account, RegExp]> = [
    [{ privileges: { '/datastore/main': ['Datastore.Backup'] } }, /^privilege .*nothing but groups that it owns/],
    [{ privileges: { '/datastore/main': reader, '/datastore/main/a': ['Datastore.Audit'] }, namespaces: ['', 'a'] }, /^privilege .*lacks Datastore\.Read on \/datastore\/main\/a/],
    [{ privileges: { '/datastore/main': reader }, expire: now / 1000 + 86_400 }, /^expiry user 'sync@pbs' expires at 2026-11-25T12:00:00/],
    [{ privileges: { '/datastore/main': reader }, date: new Date(now + 120_000).toUTCString() }, /^clock the clock of the remote is 120 s ahead of ours/],
    [{ privileges: { '/datastore/main': reader }, date: new Date(now - 300_000).toUTCString() }, /^clock the clock of the remote is 300 s behind ours/],
  ];
  for (const [account, text] of cases) {
    await using remote = await startScriptedRemote(reference(account));
    const found = await diagnoseRemote(endpointOf(remote), { store: 'main' }, options);
    assert.equal(found.problem, undefined, String(found.problem?.detail));
    assert.deepEqual(found.warnings.length, 1, JSON.stringify(found.warnings));
    assert.match(`${found.warnings[0]!.cause} ${found.warnings[0]!.detail}`, text);
  }
});

test('clocks far apart are the cause where nothing else is wrong', async () => {
  const date = new Date(now - 301_000).toUTCString();
  await using apart = await startScriptedRemote(reference({ privileges: { '/datastore/main': reader }, date }));
  const found = await diagnoseRemote(endpointOf(apart), { store: 'main' }, options);
  assert.equal(`${found.problem?.cause} ${found.problem?.detail}`, 'clock the clock of the remote is 301 s behind ours');
  assert.deepEqual(found.warnings, []);
  const other = await diagnoseRemote(endpointOf(apart), { store: 'nosuch' }, options);
  assert.equal(other.problem?.cause, 'no-such-datastore');
  assert.deepEqual(other.warnings.map(({ cause }) => cause), ['clock']);
});

test('datastore, namespace, version', async () => {
  await using remote = await startScriptedRemote(reference({ privileges: { '/datastore/main': reader }, namespaces: ['', 'a', 'b/c'] }));
  const missing = await diagnoseRemote(endpointOf(remote), { store: 'nosuch' }, options);
  assert.equal(missing.problem?.cause, 'no-such-datastore');
  assert.match(missing.problem.detail, /no datastore 'nosuch'.*can see main/);
  const offline = await diagnoseRemote(endpointOf(remote), { store: 'off' }, options);
  assert.equal(offline.problem?.cause, 'datastore-unavailable');
  const namespace = await diagnoseRemote(endpointOf(remote), { store: 'main', ns: 'x' }, options);
  assert.equal(namespace.problem?.cause, 'namespace');
  assert.match(namespace.problem.detail, /no namespace 'x'.*can see a, b\/c/);
  for (const [version, cause] of [['2.1', 'version'], ['1.1', 'version'], ['2.2', undefined], ['3.0', undefined], ['10.0', undefined]] as const) {
    await using old = await startScriptedRemote(reference({ privileges: { '/datastore/main': reader }, version }));
    assert.equal((await diagnoseRemote(endpointOf(old), { store: 'main' }, options)).problem?.cause, cause, version);
  }
});

test('a snapshot that cannot be read in spite of all privileges is found', async () => {
  await using remote = await startScriptedRemote({
    ...reference({ privileges: { '/datastore/main': reader }, groups: [group] }),
    onUpgrade: (socket) => socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 29\r\n\r\nbackup owner check failed! ok'),
  });
  const found = await diagnoseRemote(endpointOf(remote), { store: 'main' }, options);
  assert.equal(found.problem?.cause, 'privilege');
  assert.match(found.problem.detail, /owner check failed/);
});

test('an abort is no diagnosis', async () => {
  await using remote = await startScriptedRemote(reference({ privileges: {} }));
  await assert.rejects(diagnoseRemote(endpointOf(remote), {}, { ...options, signal: AbortSignal.abort() }), AbortedError);
});

test('single errors', () => {
  const endpoint = new RemoteEndpoint({ host: 'pbs.example', authId: 'sync@pbs!offsite', secret: 'x' });
  const cause = (e: unknown): string => diagnose(e, endpoint).cause;
  assert.equal(cause(networkError('net.stalled', 'x')), 'stalled');
  assert.equal(cause(networkError('net.reset', 'x')), 'connection-lost');
  assert.equal(cause(networkError('net.unreachable', 'x')), 'unreachable');
  assert.equal(cause(new HttpError(403, 'permission check failed')), 'privilege');
  assert.equal(cause(new HttpError(404, "Path '/api2/json/version' not found.")), 'not-a-backup-server');
  assert.equal(cause(new HttpError(400, 'snapshot vm/1/1970-01-01T00:00:01Z does not exist.')), 'refused-request');
  assert.equal(cause(new Error('?')), 'other');
  assert.equal(cause(new AbortedError()), 'aborted');
  // Text of the remote must not become part of a command.
  const hostile = diagnose(new HttpError(403, "permission check failed - missing Datastore.Read on /datastore/x$(reboot);`reboot`"), endpoint);
  assert.ok(!hostile.hint!.includes('reboot'), String(hostile.hint));
});
