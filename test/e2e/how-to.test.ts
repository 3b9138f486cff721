import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { addGoldenDatastore, datastoreFolder, FarshoreHost, secretIn } from '../support/farshore-host.ts';

/** The way of an administrator to a replicated datastore, each line as it is written down for people, on two servers. */
suite('from nothing to an offsite copy, command by command', () => {
  let folder: Awaited<ReturnType<typeof datastoreFolder>>;
  let hq: FarshoreHost;
  let offsite: FarshoreHost;
  let secret = '';

  before(async () => {
    folder = await datastoreFolder();
    hq = new FarshoreHost(join(folder.path, 'hq'));
    offsite = new FarshoreHost(join(folder.path, 'offsite'));
    await addGoldenDatastore(hq, 'main', join(folder.path, 'main'));
    await hq.start();
  });

  after(async () => {
    await hq[Symbol.asyncDispose]();
    await offsite[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  test('at the source: a user, a token, and who may read', async () => {
    assert.equal(await hq.ok('user', 'create', 'sync@pbs', '--comment', 'Offsite Sync'), '');
    const token = await hq.ok('user', 'generate-token', 'sync@pbs', 'offsite', '--comment', 'Pull from offsite PBS');
    assert.match(token, /^Result: \{\n {2}"tokenid": "sync@pbs!offsite",\n {2}"value": "[0-9a-f-]{36}"\n\}\n$/);
    secret = secretIn(token);
    const warned = await hq.run(['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'sync@pbs!offsite']);
    assert.deepEqual([warned.code, warned.stdout], [0, '']);
    assert.match(warned.stderr, /^Warning: a token has at most the privileges of its user, and 'sync@pbs' lacks on \/datastore\/main: Datastore\.Audit, Datastore\.Read, Datastore\.Verify\.\n/);
    const mending = /^ {4}farshore (acl update .*)$/m.exec(warned.stderr)?.[1];
    assert.equal(mending, 'acl update /datastore/main DatastoreReader --auth-id sync@pbs');
    assert.deepEqual(await hq.run(mending.split(' ')), { code: 0, signal: null, stdout: '', stderr: '' });
    assert.match(await hq.ok('user', 'permissions', 'sync@pbs!offsite', '--path', '/datastore/main'), /- Datastore\.Read \(\*\)\n/);
  });

  test('the certificate shows the fingerprint that the server was started with', async () => {
    const info = await hq.ok('cert', 'info');
    assert.equal(/^Fingerprint \(sha256\): (\S+)$/m.exec(info)?.[1], hq.fingerprint);
  });

  test('at the target, before a server ever ran: the datastore', async () => {
    assert.match(await offsite.ok('datastore', 'create', 'offsite', join(folder.path, 'copy')), /Chunkstore create: 99%\n(?:.*\n)*TASK OK\n$/);
    assert.match(await offsite.ok('datastore', 'list'), /│ offsite │ /);
    await offsite.start();
    assert.deepEqual(((await offsite.json('datastore', 'list')) as Array<{ name: string }>).map(({ name }) => name), ['offsite']);
  });

  test('the remote, and a test of it', async () => {
    await offsite.ok('remote', 'create', 'pbs-hq', '--host', '127.0.0.1', '--port', String(hq.port), '--auth-id', 'sync@pbs!offsite', '--password', secret, '--fingerprint', hq.fingerprint);
    assert.match(await offsite.ok('remote', 'list'), /│ pbs-hq │ 127\.0\.0\.1 │ sync@pbs!offsite │/);
    const [remote] = (await offsite.json('remote', 'list')) as Array<Record<string, unknown>>;
    assert.deepEqual([remote?.['name'], remote?.['port'], 'password' in remote!], ['pbs-hq', hq.port, false]);
    const report = await offsite.ok('remote', 'test', 'pbs-hq');
    assert.match(report, /^ok {5}login +'sync@pbs!offsite' accepted by version /m);
    assert.match(report, /^ok {5}rate +[0-9.]+ [KMG]iB\/s over one connection$/m);
    assert.match(report, /^ok {5}datastores +visible: main$/m);
  });

  test('the jobs', async () => {
    const sync = ['sync-job', 'create', 'offsite-nightly', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite', '--schedule', 'mon..fri 02:30', '--rate-in', '50MiB'];
    const created = await offsite.run([...sync, '--group-filter', 'type:vm', '--group-filter', 'type:ct', '--remove-vanished', 'false', '--comment', 'Nightly pull from HQ']);
    assert.deepEqual(created, { code: 0, signal: null, stdout: '', stderr: '' });
    await offsite.ok('prune-job', 'create', 'offsite-prune', '--store', 'offsite', '--schedule', 'sun 04:00', '--keep-daily', '14', '--keep-weekly', '8', '--keep-monthly', '12');
    assert.match(await offsite.ok('sync-job', 'list'), /│ offsite-nightly │ +│ offsite │ pbs-hq │ main +│ mon\.\.fri 02:30 │/);
    const [job] = (await offsite.json('sync-job', 'list')) as Array<Record<string, unknown>>;
    assert.deepEqual(
      { ...job },
      { id: 'offsite-nightly', remote: 'pbs-hq', 'remote-store': 'main', store: 'offsite', schedule: 'mon..fri 02:30', 'rate-in': '50 MiB', 'group-filter': ['type:vm', 'type:ct'], 'remove-vanished': false, comment: 'Nightly pull from HQ' },
    );
  });

  test('sync-job run follows the task, prints each line once, and the second run moves nothing', async () => {
    const log = await offsite.ok('sync-job', 'run', 'offsite-nightly');
    assert.match(log, /^Starting datastore sync job 'pbs-hq:main:offsite::offsite-nightly'\nsync datastore 'offsite' from 'pbs-hq\/main'\n/);
    assert.match(log, /^Summary: sync job pulled [0-9.]+ MiB in 8 chunks \(average rate: .*\)\n.*\nTASK OK\n$/m);
    const unrepeated = log.split('\n').filter((line) => line !== '' && line !== '----');
    assert.deepEqual(unrepeated, [...new Set(unrepeated)], 'no line twice');
    assert.doesNotMatch(log, /host\//, 'the filters select vm and ct only');
    assert.match(await offsite.ok('sync-job', 'run', 'offsite-nightly'), /^Summary: sync job found no new data to pull\n/m);
    const upid = JSON.parse(await offsite.ok('sync-job', 'run', 'offsite-nightly', '--output-format', 'json')) as string;
    assert.match(upid, /^UPID:[^:]+:.*:syncjob:pbs\\x2dhq\\x3amain\\x3aoffsite\\x3a\\x3aoffsite\\x2dnightly:root@pam:$/);
    assert.match(await offsite.ok('task', 'log', upid), /TASK OK\n$/);
  });

  test('verify, prune, garbage collection', async () => {
    assert.match(await offsite.ok('verify', 'offsite'), /\npercentage done: 100\.00% \(2\/2 groups\)\nTASK OK\n$/);
    assert.match(await offsite.ok('verify', 'offsite'), /(?:SKIPPED|recently verified)[^\n]*\n(?:.*\n)*TASK OK\n$/i, 'what was just verified is not read again');
    assert.match(await offsite.ok('prune-job', 'run', 'offsite-prune'), /\nkeep vm\/100\/2025-10-10T09:00:00Z\n(?:.*\n)*TASK OK\n$/);
    assert.match(await offsite.ok('garbage-collection', 'start', 'offsite'), /\nOn-Disk chunks: 8\n(?:.*\n)*TASK OK\n$/);
    const status = (await offsite.json('garbage-collection', 'status', 'offsite')) as Record<string, unknown>;
    assert.deepEqual([status['disk-chunks'], status['removed-chunks'], status['last-run-state']], [8, 0, 'OK']);
  });

  test('what ran is listed, as a table and as data, and each log can be read', async () => {
    const tasks = (await offsite.json('task', 'list', '--all')) as Array<{ upid: string; status: string; worker_type: string }>;
    const kinds = tasks.map(({ worker_type: type }) => type).toSorted();
    assert.deepEqual(kinds, ['create-datastore', 'garbage_collection', 'prunejob', 'syncjob', 'syncjob', 'syncjob', 'verify', 'verify']);
    assert.ok(tasks.every(({ status }) => status === 'OK'), JSON.stringify(tasks));
    const table = await offsite.ok('task', 'list', '--all');
    for (const { upid } of tasks) assert.ok(table.includes(upid), upid);
    for (const { upid } of tasks) assert.match(await offsite.ok('task', 'log', upid), /TASK OK\n$/);
    assert.deepEqual(await offsite.json('task', 'list'), [], 'none is running');
  });

  test('without a server the commands do the same in their own process', async () => {
    assert.deepEqual(await offsite.stop(), { code: 0, signal: null });
    assert.match(await offsite.ok('datastore', 'list'), /│ offsite │ /);
    assert.deepEqual(((await offsite.json('user', 'list')) as Array<{ userid: string }>).map(({ userid }) => userid), ['root@pam']);
    assert.match(await offsite.ok('pull', 'pbs-hq', 'main', 'offsite', '--group-filter', 'group:host/plain'), /\[host\/plain\]: percentage done: 100\.00% \(2\/2 snapshots\)\n(?:.*\n)*TASK OK\n$/);
    assert.match(await offsite.ok('verify', 'offsite', '--ignore-verified', 'false'), /verify offsite:host\/plain\/(?:.*\n)*TASK OK\n$/);
    await offsite.start();
    const tasks = (await offsite.json('task', 'list', '--all')) as Array<{ worker_type: string; status: string }>;
    assert.ok(tasks.every(({ status }) => status === 'OK'), JSON.stringify(tasks));
    assert.equal(tasks.filter(({ worker_type: type }) => type === 'sync').length, 1, 'a pull in the command’s own process is listed by the server');
  });
});
