import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, rm, unlink } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { apiGround, testServer, type ApiGround, type TestServer } from '../../test/support/api-ground.ts';
import { goldenDatastore, readFixture, unpackGoldenDatastore } from '../../test/support/golden.ts';
import { h2ClientOn, h2Request } from '../../test/support/http2-client.ts';
import { decodeManifestBlob } from '../format/manifest.ts';
import { readerProtocol } from '../protocol/reader-session.ts';
import { readerEndpoints } from './reader.ts';

async function readerServer(t: TestContext, path: string): Promise<ApiGround & TestServer> {
  const ground = await apiGround(t, 'source', { main: path });
  return { ...ground, ...(await testServer(t, ground, readerEndpoints({ datastores: ground.datastores, access: ground.access, tasks: ground.tasks, unauthorizedDelayMs: 0 }))) };
}

interface Recorded {
  session: string;
  request: string;
  status: number;
  token?: boolean;
  type?: string;
  text?: string;
  sha256?: string;
  bytes?: number;
}

const recorded: Recorded[] = readFixture('wire/reader-conversations.jsonl').toString('utf8').trim().split('\n').map((line) => JSON.parse(line) as Recorded);

/** Sessions of the recording: the upgrade request and what followed. */
function recordedSessions(): Recorded[][] {
  const sessions = new Map<string, Recorded[]>();
  for (const one of recorded.filter(({ status, type, request }) => status === 101 || !request.includes('/api2/') || type === undefined)) sessions.set(one.session, [...(sessions.get(one.session) ?? []), one]);
  return [...sessions.values()].filter(([first]) => first!.status === 101);
}

const plain = '/api2/json/reader?backup-id=plain&backup-time=1760086400&backup-type=host&store=main';

async function refused(server: TestServer, as: string, target: string, protocol: string | null = readerProtocol): Promise<string> {
  const answer = await server.upgrade(as, target, protocol);
  assert.ok(!(answer instanceof Duplex), `${target} was upgraded for ${as}`);
  return `${answer.status} ${String(answer.body)}`;
}

test('every recorded reader session gets the recorded answers', async (t) => {
  const path = await goldenDatastore();
  const server = await readerServer(t, path);
  const sessions = recordedSessions();
  assert.ok(sessions.length >= 20);
  let answers = 0;
  for (const [upgrade, ...requests] of sessions) {
    const as = upgrade!.token === true ? 'sync@pbs!offsite' : 'admin@pbs';
    const socket = await server.upgrade(as, upgrade!.request.replace('GET ', ''), readerProtocol);
    assert.ok(socket instanceof Duplex, upgrade!.request);
    const session = await h2ClientOn(socket);
    for (const { request, status, type, text, sha256, bytes } of requests) {
      const answer = await h2Request(session, 'GET', request.replace('GET ', ''));
      const where = `${upgrade!.request}: ${request}`;
      assert.deepEqual([answer.status, answer.headers['content-type']], [status, type], where);
      if (text !== undefined) assert.equal(String(answer.body).replace(path, '/srv/main'), text, where);
      // The restores were recorded before the verification that changed the manifests.
      else if (upgrade!.session.startsWith('restore-') && request.endsWith('=index.json.blob')) decodeManifestBlob(answer.body);
      else assert.deepEqual([answer.body.length, createHash('sha256').update(answer.body).digest('hex')], [bytes, sha256], where);
      answers += 1;
    }
    session.close();
    await once(socket, 'close');
  }
  assert.ok(answers > 100);
  assert.deepEqual(server.complaints, []);
});

test('the checks before a session, in order', async (t) => {
  const server = await readerServer(t, await goldenDatastore());
  const cases: Array<[as: string, target: string, answer: string, protocol?: string | null]> = [
    ['admin@pbs', '/api2/json/reader?store=main', "400 parameter verification failed:\n- 'backup-id': parameter is missing and it is not optional.\n- 'backup-time': parameter is missing and it is not optional.\n- 'backup-type': parameter is missing and it is not optional."],
    ['nobody@pbs', '/api2/json/reader?backup-id=plain&backup-time=1&backup-type=host&store=other', '400 no permissions on /datastore/other', null],
    ['nobody@pbs', `${plain}&ns=site-a%2Fdept-b`, '400 no permissions on /datastore/main/site-a/dept-b', null],
    ['admin@pbs', '/api2/json/reader?backup-id=plain&backup-time=1&backup-type=host&store=other', "400 no such datastore 'other'", null],
    ['admin@pbs', plain, '400 missing Upgrade header', null],
    ['admin@pbs', plain, '400 invalid protocol name', 'proxmox-backup-protocol-v1'],
    ['admin@pbs', plain, '400 invalid protocol name', readerProtocol.toUpperCase()],
    ['alice@pbs', plain, '400 backup owner check failed!'],
    ['alice@pbs', '/api2/json/reader?backup-id=none&backup-time=5&backup-type=host&store=main', '400 snapshot host/none/1970-01-01T00:00:05Z does not exist.'],
    ['admin@pbs', '/api2/json/reader?backup-id=plain&backup-time=5&backup-type=host&store=main', '400 snapshot host/plain/1970-01-01T00:00:05Z does not exist.'],
    ['admin@pbs', '/api2/json/reader?backup-id=none&backup-time=5&backup-type=host&store=main&ns=', '400 snapshot host/none/1970-01-01T00:00:05Z does not exist.'],
    ['admin@pbs', `${plain}&ns=no%2Fsuch`, '400 snapshot host/plain/2025-10-10T08:53:20Z does not exist.'],
  ];
  for (const [as, target, answer, protocol = readerProtocol] of cases) assert.equal(await refused(server, as, target, protocol), answer);
  assert.equal(server.tasks.running().length, 0);
  const owned = await server.upgrade('alice@pbs', '/api2/json/reader?backup-id=alices&backup-time=1760000700&backup-type=host&store=main', readerProtocol);
  assert.ok(owned instanceof Duplex);
});

test('a snapshot that is being written cannot be read; one that is read stays locked until the session ends', async (t) => {
  const server = await readerServer(t, await goldenDatastore());
  const snapshot = { type: 'host', id: 'plain', time: 1760086400 } as const;
  const locks = await server.datastores.use('main', 'lookup', (store) => Promise.resolve(store.locks));
  {
    using _lock = await locks.snapshot('', snapshot, 'exclusive');
    assert.match(await refused(server, 'admin@pbs', plain), /^400 while reading snapshot 'host\/plain\/2025-10-10T08:53:20Z'/);
  }
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
  const socket = await server.upgrade('admin@pbs', plain, readerProtocol);
  assert.ok(socket instanceof Duplex);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 1, write: 0 });
  const [task] = server.tasks.running();
  assert.ok(task !== undefined && task.workerType === 'reader' && task.workerId === 'main:host/plain/68E8C980');
  await assert.rejects(locks.snapshot('', snapshot, 'exclusive'), { code: 'store.locked' });
  const session = await h2ClientOn(socket);
  await h2Request(session, 'GET', '/download?file-name=root.pxar.didx');
  session.close();
  const { result, lines } = await server.ended(task.upid);
  assert.equal(result.state, 'OK');
  const path = await goldenDatastore();
  assert.deepEqual(lines.filter((line) => !line.startsWith('TASK')), [
    `starting new backup reader datastore 'main': "${path}"`,
    'protocol upgrade done',
    `download "${path}/host/plain/2025-10-10T08:53:20Z/root.pxar.didx"`,
    "register chunks in 'root.pxar.didx' as downloadable.",
    'reader finished successfully',
  ]);
  using _after = await locks.snapshot('', snapshot, 'exclusive');
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('an aborted task ends the session and lets the snapshot go', async (t) => {
  const server = await readerServer(t, await goldenDatastore());
  const socket = await server.upgrade('admin@pbs', plain, readerProtocol);
  assert.ok(socket instanceof Duplex);
  const session = await h2ClientOn(socket);
  const [task] = server.tasks.running();
  server.tasks.abort(task!.upid);
  await once(session, 'close');
  assert.equal((await server.ended(task!.upid)).result.state, 'Error');
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('chunks outside of what was downloaded are refused, also those that are there; a missing one says so', async (t) => {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-test-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  await unpackGoldenDatastore(folder);
  const server = await readerServer(t, folder);
  const socket = await server.upgrade('admin@pbs', plain, readerProtocol);
  assert.ok(socket instanceof Duplex);
  const session = await h2ClientOn(socket);
  const own = '62bebb3f344b4ee3172d4699f7e11887cac0199cab5cac65edc1648bb8b60b81';
  const foreign = 'e5946a23533af2ca40122c4fb8aea4f1a4f566ffa0ad72edc9fd70d98c169ac7';
  for (const digest of [own, foreign]) assert.equal((await h2Request(session, 'GET', `/chunk?digest=${digest}`)).status, 401);
  await h2Request(session, 'GET', '/download?file-name=root.pxar.didx');
  assert.equal((await h2Request(session, 'GET', `/chunk?digest=${own}`)).status, 200);
  const refusal = await h2Request(session, 'GET', `/chunk?digest=${foreign}`);
  assert.deepEqual([refusal.status, String(refusal.body)], [401, `download chunk ${foreign} not allowed`]);
  await unlink(join(folder, '.chunks', own.slice(0, 4), own));
  const missing = await h2Request(session, 'GET', `/chunk?digest=${own}`);
  assert.deepEqual([missing.status, String(missing.body)], [400, `reading file "${folder}/.chunks/62be/${own}" failed: No such file or directory (os error 2)`]);
  for (const name of ['none.didx', 'none.blob']) {
    const answer = await h2Request(session, 'GET', `/download?file-name=${name}`);
    assert.equal(answer.status, name === 'none.blob' ? 404 : 400);
  }
  session.close();
});

test('a request that the connection cannot follow leaves nothing behind', async (t) => {
  const server = await readerServer(t, await goldenDatastore());
  // Through `call` nothing is upgraded.
  assert.match(await server.refusal('admin@pbs', 'GET', '/reader', { store: 'main', 'backup-type': 'host', 'backup-id': 'plain', 'backup-time': 1760086400 }), /^400 GET \/reader needs an HTTP connection/);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});
