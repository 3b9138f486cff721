import assert from 'node:assert/strict';
import { appendFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { contentServer } from '../../../../test/support/content-server.ts';
import { readFixture } from '../../../../test/support/golden.ts';
import { encodeBlob } from '../../../format/data-blob.ts';

interface RecordedReply {
  status: number;
  contentType: string | null;
  body: unknown;
}

const recorded = (side: 'source' | 'target'): Array<[string, RecordedReply]> => Object.entries(JSON.parse(readFixture(`api/admin-${side}.json`).toString('utf8')) as Record<string, RecordedReply>);

/** Lists whose order is that of a directory, and numbers that are this machine's. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map((one) => comparable(one)).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== 'object' || value === null) return value;
  const object = value as Record<string, unknown>;
  const keys = Object.keys(object).toSorted();
  return Object.fromEntries(keys.map((key) => [key, ['total', 'used', 'avail'].includes(key) ? typeof object[key] : comparable(object[key])]));
}

// Of later issues.
const notYet = new Set(['mount', 'rrd', 's3-refresh', 'unmount']);

test('the recorded reads get the recorded replies', async (t) => {
  const server = await contentServer(t);
  const gc = { finished: { upid: 'UPID:third:00007002:000BE896:00000014:6B04EF43:garbage_collection:main:root@pam:', state: { OK: { endtime: 1795485509 } }, updated: null } };
  await mkdir(server.paths.jobStates, { recursive: true });
  await writeFile(join(server.paths.jobStates, 'garbage_collection-main.json'), JSON.stringify(gc));
  for (const [request, reply] of recorded('source')) {
    const answer = await server.http('admin@pbs', 'GET', `/api2/json${request.replace('GET ', '')}`);
    assert.deepEqual([answer.status, answer.headers['content-type']], [reply.status, reply.contentType], request);
    if (typeof reply.body === 'string') {
      assert.equal(String(answer.body), reply.body, request);
      continue;
    }
    const expected = comparable(reply.body) as { data: Array<{ subdir?: string }> };
    if (request === 'GET /admin/datastore/main') expected.data = expected.data.filter(({ subdir }) => !notYet.has(subdir!));
    assert.deepEqual(comparable(JSON.parse(String(answer.body))), expected, request);
  }
  assert.deepEqual(server.complaints, []);
});

test('job lists of the recorded target', async (t) => {
  const server = await contentServer(t, { golden: 'target' });
  await mkdir(server.paths.jobStates, { recursive: true });
  // As when the job was made: the recorded next run is the next event after that.
  await writeFile(join(server.paths.jobStates, 'prunejob-offsite-prune.json'), '{"created":{"time":1795485423}}');
  for (const [request, reply] of recorded('target').filter(([name]) => name !== 'GET /admin/gc')) {
    const answer = await server.http('admin@pbs', 'GET', `/api2/json${request.replace('GET ', '')}`);
    assert.deepEqual(comparable(JSON.parse(String(answer.body))), comparable(reply.body), request);
  }
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/admin/prune', { store: 'pushed' }), []);
});

const plain = { 'backup-type': 'host', 'backup-id': 'plain' };
const first = { ...plain, 'backup-time': 1760000000 };
const alices = { 'backup-type': 'host', 'backup-id': 'alices' };
const base = '/admin/datastore/main';

test('notes, protection and the client log, as recorded', async (t) => {
  const server = await contentServer(t);
  const query = 'backup-id=plain&backup-time=1760000000&backup-type=host';
  const text = async (method: string, target: string, body?: Buffer): Promise<string> => {
    const answer = await server.http('admin@pbs', method, `/api2/json${base}/${target}`, body);
    return `${answer.status} ${String(answer.body)}`;
  };
  assert.equal(await text('PUT', `notes?${query}&notes=other+line%0Asecond+line+%E2%9C%93`), '200 {"data":null}');
  assert.equal(await text('GET', `notes?${query}`), '200 {"data":"other line\\nsecond line ✓"}');
  assert.equal(await text('PUT', `protected?${query}&protected=false`), '200 {"data":null}');
  assert.equal(await text('GET', `protected?${query}`), '200 {"data":false}');
  assert.equal(await text('GET', `protected?${query.replace('1760000000', '1')}`), '200 {"data":false}');
  assert.equal(await text('PUT', `protected?${query.replace('1760000000', '1')}&protected=1`), '400 snapshot host/plain/1970-01-01T00:00:01Z does not exist!');
  const notLoaded = `unable to load blob '"${server.path}/host/plain/1970-01-01T00:00:01Z/index.json.blob"' - No such file or directory (os error 2)`;
  const gone = query.replace('1760000000', '1');
  assert.equal(await text('PUT', `notes?${gone}&notes=x`), `400 unable to update manifest blob - ${notLoaded}`);
  assert.equal(await text('GET', `notes?${gone}`), `400 ${notLoaded}`);
  assert.equal(await text('GET', `files?${gone}`), '400 ENOENT: No such file or directory');
  await mkdir(join(server.path, 'host/plain/1970-01-01T00:00:01Z'));
  assert.equal(await text('GET', `files?${gone}`), "400 manifest not found for snapshot 'host/plain/1970-01-01T00:00:01Z'");
  await rm(join(server.path, 'host/plain/1970-01-01T00:00:01Z'), { recursive: true });

  const log = Buffer.from('Qqs4B76DcKG5FWetc29tZSBsb2cK', 'base64');
  assert.equal(await text('POST', `upload-backup-log?${query}`, log), '400 backup already contains a log.');
  await rm(join(server.path, 'host/plain/2025-10-09T08:53:20Z/client.log.blob'));
  const damaged = Buffer.from(log);
  damaged[15]! ^= 1;
  assert.match(await text('POST', `upload-backup-log?${query}`, damaged), /^400 /);
  assert.equal(await text('POST', `upload-backup-log?${query}`, log), '200 {"data":null}');
  assert.deepEqual(await readFile(join(server.path, 'host/plain/2025-10-09T08:53:20Z/client.log.blob')), log);
  // Reading and verifying go on while it comes.
  await rm(join(server.path, 'host/plain/2025-10-09T08:53:20Z/client.log.blob'));
  const locks = await server.datastores.use('main', 'lookup', (store) => Promise.resolve(store.locks));
  using _reading = await locks.snapshot('', { type: 'host', id: 'plain', time: 1760000000 }, 'shared');
  assert.equal(await text('POST', `upload-backup-log?${query}`, encodeBlob(Buffer.from('other'), { compress: false })), '200 {"data":null}');
  // The owner alone: no privilege replaces that.
  assert.equal(String((await server.http('root@pam', 'POST', `/api2/json${base}/upload-backup-log?${query}`, log)).body), 'backup owner check failed (root@pam != admin@pbs)');
});

test('snapshots of a namespace that is not there: an error, but for one group an empty list', async (t) => {
  const server = await contentServer(t);
  assert.equal(await server.refusal('admin@pbs', 'GET', `${base}/snapshots`, { ns: 'nowhere' }), '400 ENOENT: No such file or directory');
  assert.equal(await server.refusal('admin@pbs', 'GET', `${base}/snapshots`, { ns: 'nowhere', 'backup-type': 'host' }), '400 ENOENT: No such file or directory');
  assert.deepEqual(await server.data('admin@pbs', 'GET', `${base}/snapshots`, { ns: 'nowhere', ...plain }), []);
});

test('notes of groups', async (t) => {
  const server = await contentServer(t);
  assert.equal(await server.data('admin@pbs', 'PUT', `${base}/group-notes`, { ...plain, notes: 'one\ntwo' }), null);
  assert.equal(await server.data('admin@pbs', 'GET', `${base}/group-notes`, plain), 'one\ntwo');
  const groups = (await server.data('admin@pbs', 'GET', `${base}/groups`)) as Array<Record<string, unknown>>;
  assert.equal(groups.find((group) => group['backup-id'] === 'plain')!['comment'], 'one\n');
  const locks = await server.datastores.use('main', 'lookup', (store) => Promise.resolve(store.locks));
  using _backup = await locks.group('', { type: 'host', id: 'plain' });
  assert.match(await server.refusal('admin@pbs', 'PUT', `${base}/group-notes`, { ...plain, notes: '' }), /^400 failed to set group notes - failed to lock backup group: unable to acquire backup group lock "/);
});

test('namespaces come and go', async (t) => {
  const server = await contentServer(t);
  assert.equal(await server.data('admin@pbs', 'POST', `${base}/namespace`, { name: 'site-a', parent: '' }), 'site-a');
  assert.equal(await server.data('admin@pbs', 'POST', `${base}/namespace`, { name: 'new', parent: 'site-a' }), 'site-a/new');
  assert.match(await server.refusal('admin@pbs', 'POST', `${base}/namespace`, { name: 'x', parent: 'nosuch' }), /^400 cannot create new namespace, parent nosuch doesn't already exists$/);
  assert.deepEqual(await server.data('admin@pbs', 'GET', `${base}/namespace`, { parent: 'site-a' }), [{ ns: 'site-a' }, { ns: 'site-a/dept-b' }, { ns: 'site-a/new' }]);
  assert.deepEqual(await server.data('admin@pbs', 'GET', `${base}/namespace`, { parent: 'nosuch' }), [{ ns: 'nosuch' }]);
  assert.equal(await server.refusal('nobody@pbs', 'GET', `${base}/namespace`), '403 permission check failed - missing Datastore.Audit|Datastore.Modify|Datastore.Read|Datastore.Backup on /datastore/main');
  assert.equal(await server.refusal('alice@pbs', 'POST', `${base}/namespace`, { name: 'mine' }), '403 permission check failed - missing Datastore.Modify on /datastore/main');
  assert.equal(await server.refusal('admin@pbs', 'DELETE', `${base}/namespace`, { ns: '' }), '400 Cannot create/delete root namespace!');
  const nothing = { 'protected-snapshots': 0, 'removed-groups': 0, 'removed-snapshots': 0 };
  assert.deepEqual(await server.data('admin@pbs', 'DELETE', `${base}/namespace`, { ns: 'site-a/new' }), nothing);
  assert.equal(await server.refusal('admin@pbs', 'DELETE', `${base}/namespace`, { ns: 'site-a' }), '400 only partially deleted due to existing groups but `delete-groups` not true');
  assert.deepEqual(await server.data('admin@pbs', 'DELETE', `${base}/namespace`, { ns: 'site-a', 'error-on-protected': false }), nothing);
  await server.data('admin@pbs', 'PUT', `${base}/protected`, { ns: 'site-a', 'backup-type': 'ct', 'backup-id': '200', 'backup-time': 1760000500, protected: true });
  assert.equal(await server.refusal('admin@pbs', 'DELETE', `${base}/namespace`, { ns: 'site-a', 'delete-groups': true }), '400 group only partially deleted due to protected snapshots');
  await server.data('admin@pbs', 'PUT', `${base}/protected`, { ns: 'site-a', 'backup-type': 'ct', 'backup-id': '200', 'backup-time': 1760000500, protected: false });
  assert.deepEqual(await server.data('admin@pbs', 'DELETE', `${base}/namespace`, { ns: 'site-a', 'delete-groups': true }), { 'protected-snapshots': 0, 'removed-groups': 1, 'removed-snapshots': 1 });
  assert.deepEqual(await server.data('admin@pbs', 'GET', `${base}/namespace`), [{ ns: '' }]);
});

test('snapshots and groups are removed, protected ones stay', async (t) => {
  const server = await contentServer(t);
  assert.equal(await server.refusal('admin@pbs', 'DELETE', `${base}/snapshots`, first), '400 failed to delete snapshot - cannot remove protected snapshot');
  const text = await server.refusal('admin@pbs', 'DELETE', `${base}/snapshots`, { ...first, 'backup-time': 1 });
  assert.equal(text.replace(server.path, '/srv/main'), '400 failed to delete snapshot - removing backup snapshot "/srv/main/host/plain/1970-01-01T00:00:01Z" failed - No such file or directory (os error 2)');
  assert.equal(await server.data('admin@pbs', 'DELETE', `${base}/snapshots`, { 'backup-type': 'vm', 'backup-id': '100', 'backup-time': 1760000400 }), null);
  assert.equal(await server.refusal('admin@pbs', 'DELETE', `${base}/groups`, plain), '400 group only partially deleted due to protected snapshots');
  assert.deepEqual(await server.data('admin@pbs', 'DELETE', `${base}/groups`, { ...plain, 'error-on-protected': false }), { 'protected-snapshots': 1, 'removed-groups': 0, 'removed-snapshots': 0 });
  assert.deepEqual(await server.data('admin@pbs', 'DELETE', `${base}/groups`, { 'backup-type': 'vm', 'backup-id': '100' }), { 'protected-snapshots': 0, 'removed-groups': 1, 'removed-snapshots': 1 });
  assert.equal((await server.refusal('admin@pbs', 'DELETE', `${base}/groups`, { 'backup-type': 'vm', 'backup-id': '100' })).replace(server.path, '/srv/main'), '400 read dir "/srv/main/vm/100" - ENOENT: No such file or directory');
  assert.equal(await server.refusal('sync@pbs', 'DELETE', `${base}/groups`, alices), '403 permission check failed - missing Datastore.Modify|Datastore.Prune on /datastore/main');
});

test('who sees what', async (t) => {
  const server = await contentServer(t);
  const ids = async (as: string, what: string): Promise<string[]> => ((await server.data(as, 'GET', `${base}/${what}`)) as Array<Record<string, string>>).map((one) => one['backup-id']!);
  assert.deepEqual(await ids('alice@pbs', 'groups'), ['alices']);
  assert.deepEqual(await ids('alice@pbs', 'snapshots'), ['alices']);
  assert.equal((await ids('sync@pbs!offsite', 'groups')).length, 6);
  for (const what of ['groups', 'snapshots']) {
    assert.equal(await server.refusal('nobody@pbs', 'GET', `${base}/${what}`), '403 permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/main');
    assert.match(await server.refusal('admin@pbs', 'GET', `${base}/${what}`, { ns: 'nosuch' }), /^400 ENOENT: No such file or directory/);
  }
  assert.equal(await server.refusal('alice@pbs', 'GET', `${base}/files`, first), '400 backup owner check failed (alice@pbs != admin@pbs)');
  assert.equal(await server.refusal('alice@pbs', 'GET', `${base}/notes`, first), '400 backup owner check failed (alice@pbs != admin@pbs)');
  assert.deepEqual(await server.data('nobody@pbs', 'GET', '/admin/datastore'), []);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/admin/datastore'), [{ store: 'main', comment: null, 'mount-status': 'nonremovable', 'backend-type': 'filesystem' }]);
  assert.equal(await server.refusal('nobody@pbs', 'GET', `${base}/status`), '403 permission check failed');
  assert.equal(await server.refusal('nobody@pbs', 'GET', '/admin/datastore/other/status'), '403 permission check failed');
  assert.equal(await server.refusal('nobody@pbs', 'GET', '/admin/gc/main'), "400 missing permissions 'Datastore.Audit' on '/datastore/main'");
});

test('privileges on a namespace only: the datastore is there by name, and what is below', async (t) => {
  const server = await contentServer(t);
  await appendFile(join(server.paths.config, 'acl.cfg'), 'acl:1:/datastore/main/site-a:bob@pbs:DatastoreAudit\n');
  await writeFile(join(server.paths.config, 'datastore.cfg'), `datastore: main\n\tcomment secret\n\tpath ${server.path}\n`);
  assert.deepEqual(await server.data('bob@pbs', 'GET', '/admin/datastore'), [{ store: 'main', comment: null, 'mount-status': 'nonremovable', 'backend-type': 'filesystem' }]);
  assert.deepEqual(await server.data('bob@pbs', 'GET', `${base}/namespace`), [{ ns: 'site-a' }, { ns: 'site-a/dept-b' }]);
  const counts = { ct: { groups: 1, snapshots: 1 }, host: { groups: 1, snapshots: 1 }, vm: null, other: null };
  assert.deepEqual(await server.data('bob@pbs', 'GET', `${base}/status`, { verbose: true }), { total: 0, used: 0, avail: 0, 'backend-type': 'filesystem', counts });
  assert.equal(((await server.data('bob@pbs', 'GET', `${base}/groups`, { ns: 'site-a' })) as unknown[]).length, 1);
  assert.equal(await server.refusal('bob@pbs', 'GET', `${base}/groups`), '403 permission check failed - missing Datastore.Audit|Datastore.Backup on /datastore/main');
  assert.equal(await server.refusal('bob@pbs', 'GET', `${base}/gc`), '403 permission check failed');
  assert.equal(((await server.data('admin@pbs', 'GET', '/admin/datastore')) as Array<Record<string, unknown>>)[0]!['comment'], 'secret');
});

test('change of owner', async (t) => {
  const server = await contentServer(t);
  const change = `${base}/change-owner`;
  assert.equal(await server.refusal('alice@pbs', 'POST', change, { ...alices, 'new-owner': 'admin@pbs' }), "401 alice@pbs does not have permission to change owner of backup group 'host/alices' to admin@pbs");
  assert.equal(await server.refusal('alice@pbs', 'POST', change, { ...plain, 'new-owner': 'alice@pbs' }), "401 alice@pbs does not have permission to change owner of backup group 'host/plain' to alice@pbs");
  assert.equal(await server.refusal('alice@pbs', 'POST', change, { ...alices, 'new-owner': 'alice@pbs!none' }), "400 API token 'alice@pbs!none' is inactive or non-existent");
  assert.equal(await server.refusal('admin@pbs', 'POST', change, { ...alices, 'new-owner': 'ghost@pbs' }), "400 user 'ghost@pbs' is inactive or non-existent");
  assert.equal(await server.data('alice@pbs', 'POST', change, { ...alices, 'new-owner': 'alice@pbs' }), null);
  assert.equal(await server.data('admin@pbs', 'POST', change, { ...alices, 'new-owner': 'sync@pbs!offsite' }), null);
  assert.equal(await readFile(join(server.path, 'host/alices/owner'), 'utf8'), 'sync@pbs!offsite\n');
  // A broken owner file is mended by whoever may modify everything.
  await writeFile(join(server.path, 'host/alices/owner'), '???');
  assert.equal(await server.data('admin@pbs', 'POST', change, { ...alices, 'new-owner': 'alice@pbs' }), null);
  assert.equal(await readFile(join(server.path, 'host/alices/owner'), 'utf8'), 'alice@pbs\n');
  assert.match(await server.refusal('admin@pbs', 'POST', change, { ...alices, 'backup-id': 'none', 'new-owner': 'alice@pbs' }), /^400 unable to read ".*\/host\/none\/owner" - No such file or directory \(os error 2\)$/);
});
