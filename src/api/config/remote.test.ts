import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { apiGround, type ApiGround } from '../../../test/support/api-ground.ts';
import { configApi, grant, tlsServer, type ConfigApi } from '../../../test/support/config-api.ts';
import { goldenDatastore } from '../../../test/support/golden.ts';
import { startScriptedRemote } from '../../../test/support/scripted-remote.ts';
import { aclFile } from '../../config/acl-config.ts';
import { permissionEndpoints } from '../access/permissions.ts';
import { datastoreListEndpoints } from '../admin/datastore.ts';
import { groupEndpoints } from '../admin/datastore/groups.ts';
import { namespaceEndpoints } from '../admin/datastore/namespace.ts';
import { readerEndpoints } from '../reader.ts';
import { versionEndpoints } from '../version.ts';
import type { RemoteTest } from './remote-test.ts';

const admin = 'admin@pbs';
const secret = 'very secret pass';

// Texts and stored values as a reference server 4.2.3 answered them.
test('remotes: life, stored values, refusals', async (t) => {
  const { server, paths, secrets, remotes } = await configApi(t, 'source');
  const remote = { name: 'rrr', host: '192.0.2.1', 'auth-id': 'x@pbs!y' };
  assert.equal(await server.data(admin, 'POST', '/config/remote', { ...remote, password: secret, comment: '  hi ' }), null);
  assert.deepEqual(await server.data(admin, 'GET', '/config/remote/rrr'), { ...remote, comment: 'hi' });
  assert.equal(await server.refusal(admin, 'POST', '/config/remote', { ...remote, password: 'a' }), "400 parameter verification failed - 'name': remote 'rrr' already exists.");
  await server.data(admin, 'PUT', '/config/remote/rrr', { comment: ' ', port: 9, 'use-node-proxy': true, host: 'hq.example.com' });
  assert.deepEqual(await server.data(admin, 'GET', '/config/remote/rrr'), { ...remote, host: 'hq.example.com', port: 9, 'use-node-proxy': true });
  assert.equal(secrets.open('rrr', remotes.get('rrr').password), secret);
  await server.data(admin, 'PUT', '/config/remote/rrr', { password: 'another', delete: ['port', 'use-node-proxy'] });
  assert.deepEqual(await server.data(admin, 'GET', '/config/remote/rrr'), { ...remote, host: 'hq.example.com' });
  assert.equal(secrets.open('rrr', remotes.get('rrr').password), 'another');

  assert.equal(await server.refusal(admin, 'PUT', '/config/remote/nosuch', { comment: '' }), "400 no such remote 'nosuch'");
  assert.equal(await server.refusal(admin, 'PUT', '/config/remote/rrr', { fingerprint: 'AA' }), "400 parameter verification failed - 'fingerprint': value does not match the regex pattern");
  assert.equal(await server.refusal(admin, 'PUT', '/config/remote/rrr', { comment: 'x', digest: '0'.repeat(64) }), '400 detected modified configuration - file changed by other user? Try again.');
  assert.match(await server.refusal(admin, 'PUT', '/config/remote/rrr', { port: 0 }), /'port': value must have a minimum value of 1/);
  assert.match(await server.refusal(admin, 'PUT', '/config/remote/rrr', { password: 'a\nb' }), /'password': value does not match the regex pattern/);

  await server.data(admin, 'POST', '/config/sync', { id: 'job1', store: 'main', remote: 'rrr', 'remote-store': 'main' });
  assert.equal(await server.refusal(admin, 'DELETE', '/config/remote/rrr'), "400 parameter verification failed - 'name': remote 'rrr' is used by sync job 'job1' (datastore 'main')");
  await server.data(admin, 'DELETE', '/config/sync/job1');
  assert.equal(await server.data(admin, 'DELETE', '/config/remote/rrr'), null);
  assert.equal(await server.refusal(admin, 'DELETE', '/config/remote/rrr'), "404 remote 'rrr' does not exist.");
  assert.doesNotMatch(readFileSync(join(paths.config, 'remote.cfg'), 'utf8'), /rrr/);
});

test('the secret is in no file and in no answer', async (t) => {
  const { server, paths } = await configApi(t, 'source');
  await server.data(admin, 'POST', '/config/remote', { name: 'rrr', host: '192.0.2.1', 'auth-id': 'x@pbs!y', password: secret });
  const file = readFileSync(join(paths.config, 'remote.cfg'), 'utf8');
  assert.ok(!file.includes(secret) && !file.includes(Buffer.from(secret).toString('base64')));
  for (const path of ['/config/remote', '/config/remote/rrr']) assert.doesNotMatch(JSON.stringify(await server.data(admin, 'GET', path)), /password|secret/);
});

test('who may see and change remotes', async (t) => {
  const { server, acl } = await configApi(t, 'target');
  const low = 'low@pbs';
  const fields = { name: 'rrr', host: '192.0.2.1', 'auth-id': 'x@pbs!y', password: 'abc' };
  assert.deepEqual(await server.data(low, 'GET', '/config/remote'), []);
  const denied = '403 permission check failed';
  for (const path of ['', '/scan', '/scan/main/groups', '/scan/main/namespaces']) assert.equal(await server.refusal(low, 'GET', `/config/remote/pbs-hq${path}`), denied, path);
  assert.equal(await server.refusal(low, 'POST', '/config/remote/pbs-hq/test'), denied);
  await grant(acl, low, '/remote/pbs-hq', 'RemoteAudit');
  assert.equal(((await server.data(low, 'GET', '/config/remote')) as unknown[]).length, 1);
  assert.equal(((await server.data(low, 'GET', '/config/remote/pbs-hq')) as { name: string }).name, 'pbs-hq');
  assert.equal(await server.refusal(low, 'PUT', '/config/remote/pbs-hq', { comment: 'x' }), denied);
  assert.equal(await server.refusal(low, 'DELETE', '/config/remote/pbs-hq'), denied);
  await grant(acl, low, '/remote/pbs-hq', 'RemoteAdmin');
  await server.data(low, 'PUT', '/config/remote/pbs-hq', { comment: 'x' });
  assert.equal(await server.refusal(low, 'POST', '/config/remote', fields), denied);
});

/** Our own server with the golden datastore, and a remote entry that leads to it as `authId`. */
async function withRemote(t: TestContext, authId: string): Promise<{ here: ConfigApi; there: ApiGround & { port: number; fingerprint: string } }> {
  const ground = await apiGround(t, 'source', { main: await goldenDatastore() });
  const { datastores, access, tasks } = ground;
  const tls = await tlsServer(t, ground, [
    ...versionEndpoints({ programVersion: '0' }),
    ...permissionEndpoints({ acl: aclFile(ground.paths), access }),
    ...datastoreListEndpoints({ datastores, access }),
    ...groupEndpoints({ datastores, access }),
    ...namespaceEndpoints({ datastores, access }),
    ...readerEndpoints({ datastores, access, tasks, unauthorizedDelayMs: 0 }),
  ]);
  const here = await configApi(t, 'source');
  await here.server.data(admin, 'POST', '/config/remote', { name: 'there', host: '127.0.0.1', port: tls.port, fingerprint: tls.fingerprint, 'auth-id': authId, password: 'the-secret' });
  return { here, there: { ...ground, ...tls } };
}

test('a scan shows what the account sees on the remote', async (t) => {
  const { here } = await withRemote(t, 'sync@pbs!offsite');
  const scan = async (path: string, parameters: Record<string, unknown> = {}): Promise<Array<Record<string, unknown>>> => (await here.server.data(admin, 'GET', `/config/remote/there/scan${path}`, parameters)) as Array<Record<string, unknown>>;
  assert.deepEqual(await scan(''), [{ store: 'main', comment: null, 'mount-status': 'nonremovable', 'backend-type': 'filesystem' }]);
  assert.deepEqual(await here.server.data(admin, 'GET', '/config/remote/there/scan/main'), [{ subdir: 'groups' }, { subdir: 'namespaces' }]);
  assert.deepEqual((await scan('/main/namespaces')).map(({ ns }) => String(ns)).sort(), ['', 'site-a', 'site-a/dept-b']);
  const groups = await scan('/main/groups');
  assert.deepEqual(groups.map((one) => `${String(one['backup-type'])}/${String(one['backup-id'])}`).sort(), ['host/alices', 'host/crypt', 'host/plain', 'host/signed', 'host/split', 'vm/100']);
  const [group, ...others] = await scan('/main/groups', { namespace: 'site-a' });
  assert.deepEqual(others, []);
  const { files, ...rest } = group!;
  assert.deepEqual(rest, { 'backup-type': 'ct', 'backup-id': '200', 'last-backup': 1_760_000_500, 'backup-count': 1, owner: 'admin@pbs' });
  assert.ok((files as string[]).includes('index.json.blob'));
});

test('what goes wrong at the remote is said with its name, the cause and what mends it', async (t) => {
  const { here, there } = await withRemote(t, 'sync@pbs!offsite');
  const failure = async (path = '', parameters: Record<string, unknown> = {}): Promise<{ text: string; hint: string }> => {
    const result = await here.server.call(admin, 'GET', `/config/remote/there/scan${path}`, parameters);
    assert.ok(!result.ok);
    return { text: `${result.status} ${result.message}`, hint: result.hint ?? '' };
  };
  assert.deepEqual(await here.server.refusal(admin, 'GET', '/config/remote/nosuch/scan'), "400 no such remote 'nosuch'");
  assert.equal((await failure('/nosuch/groups')).text, "500 failed to scan remote 'there' - permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/nosuch");
  const update = async (fields: Record<string, unknown>): Promise<unknown> => here.server.data(admin, 'PUT', '/config/remote/there', fields);
  await update({ fingerprint: Array(32).fill('00').join(':') });
  const pinned = await failure();
  assert.match(pinned.text, /^500 failed to scan remote 'there' - .*fingerprint/i);
  assert.match(pinned.hint, new RegExp(`farshore remote update there --fingerprint ${there.fingerprint}`));
  const closed = createServer();
  await new Promise<void>((resolve) => closed.listen(0, '127.0.0.1', resolve));
  const { port } = closed.address() as AddressInfo;
  await new Promise((resolve) => closed.close(resolve));
  await update({ port });
  const refused = await failure();
  assert.match(refused.text, /^500 failed to scan remote 'there' - 127\.0\.0\.1:[0-9]+ refuses the connection/);
  assert.match(refused.hint, /nothing listens/);
});

test('an account without any rights sees nothing, which is no failure', async (t) => {
  const { here } = await withRemote(t, 'low@pbs!t');
  assert.deepEqual(await here.server.data(admin, 'GET', '/config/remote/there/scan'), []);
});

test('lists that make no sense are not passed on', async (t) => {
  const here = await configApi(t, 'source');
  let body = '';
  await using remote = await startScriptedRemote({ onRequest: (_request, response) => void response.end(body) });
  await here.server.data(admin, 'POST', '/config/remote', { name: 'there', host: '127.0.0.1', port: remote.port, fingerprint: remote.fingerprint, 'auth-id': 'a@pbs!b', password: 'c' });
  const scan = async (answer: unknown, path = ''): Promise<string> => {
    body = typeof answer === 'string' ? answer : JSON.stringify({ data: answer });
    return here.server.refusal(admin, 'GET', `/config/remote/there/scan${path}`);
  };
  const start = "500 failed to scan remote 'there' - ";
  assert.match(await scan('<html>'), /^500 failed to scan remote 'there' - .*not JSON/);
  assert.equal(await scan({ store: 'x' }), `${start}the remote answered with something that is not a list`);
  assert.equal(await scan(['main']), `${start}the remote answered with a list of something else than objects`);
  assert.equal(await scan([{ store: '../../etc' }]), `${start}the remote's list has a bad 'store': value does not match the regex pattern`);
  assert.equal(await scan([{ ns: 7 }], '/main/namespaces'), `${start}the remote's list has a bad 'ns': Expected string value.`);
  assert.match(await scan([{ 'backup-type': 'disk', 'backup-id': 'a' }], '/main/groups'), /bad 'backup-type'/);
  // Only what is expected is passed on.
  body = JSON.stringify({ data: [{ store: 'main', comment: 'c', more: '<script>', 'backend-type': 's3' }] });
  assert.deepEqual(await here.server.data(admin, 'GET', '/config/remote/there/scan'), [{ store: 'main', comment: 'c', 'mount-status': 'nonremovable', 'backend-type': 's3' }]);
});

test('the test finds that all is well, for what jobs use the remote for', async (t) => {
  const { here } = await withRemote(t, 'sync@pbs!offsite');
  const run = async (fields: Record<string, unknown> = {}): Promise<RemoteTest> => (await here.server.data(admin, 'POST', '/config/remote/there/test', fields)) as RemoteTest;
  const plain = await run();
  assert.deepEqual([plain.ok, plain.cause, plain.version], [true, undefined, '4.2.3']);
  assert.deepEqual(plain.checks.filter(({ name }) => name !== 'warning').map(({ name }) => name), ['name', 'connection', 'certificate', 'login', 'latency', 'rate', 'datastores']);
  assert.equal(plain.checks.find(({ name }) => name === 'datastores')!.detail, 'visible: main');

  const job = { store: 'main', remote: 'there', 'remote-store': 'main' };
  await here.server.data(admin, 'POST', '/config/sync', { ...job, id: 'job1' });
  await here.server.data(admin, 'POST', '/config/sync', { ...job, id: 'job2', schedule: 'daily' });
  await here.server.data(admin, 'POST', '/config/sync', { ...job, id: 'job3', 'remote-ns': 'site-a' });
  const used = await run();
  assert.equal(used.ok, true, JSON.stringify(used));
  assert.deepEqual(used.checks.filter(({ name }) => name.startsWith('pull')), [
    { name: 'pull from main', ok: true, detail: '6 groups, 2 namespaces: site-a, site-a/dept-b' },
    { name: 'pull from main:site-a', ok: true, detail: '1 group, 1 namespace: site-a/dept-b' },
  ]);
  assert.ok(used['bytes-per-second']! > 0);
});

test('the test names one cause and what mends it', async (t) => {
  const { here } = await withRemote(t, 'sync@pbs!offsite');
  const run = async (fields: Record<string, unknown> = {}): Promise<RemoteTest> => (await here.server.data(admin, 'POST', '/config/remote/there/test', fields)) as RemoteTest;
  const namespace = await run({ store: 'main', ns: 'nosuch' });
  assert.deepEqual([namespace.ok, namespace['cause-name']], [false, 'namespace']);
  assert.match(namespace.cause!, /has no namespace 'nosuch'.*site-a/);
  assert.match(namespace.hint!, /namespace create nosuch/);
  assert.deepEqual(namespace.checks.at(-1), { name: 'pull from main:nosuch', ok: false, detail: namespace.cause });
  const push = await run({ store: 'main', 'sync-direction': 'push', 'remove-vanished': true });
  assert.deepEqual([push.ok, push['cause-name']], [false, 'privilege']);
  assert.match(push.cause!, /lacks Datastore.Backup and Datastore.Prune on \/datastore\/main/);
  await here.server.data(admin, 'PUT', '/config/remote/there', { delete: ['fingerprint'] });
  const certificate = await run();
  assert.deepEqual([certificate.ok, certificate['cause-name']], [false, 'certificate']);
  assert.deepEqual(certificate.checks.map(({ name, ok }) => `${name} ${ok}`), ['name true', 'connection true', 'certificate false']);
  assert.match(certificate.hint!, /farshore remote update there --fingerprint/);
  assert.equal(await here.server.refusal(admin, 'POST', '/config/remote/nosuch/test'), "400 no such remote 'nosuch'");
});
