import assert from 'node:assert/strict';
import { appendFile, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { contentServer, type ContentServer } from '../../test/support/content-server.ts';
import { readFixture } from '../../test/support/golden.ts';
import { parseUpid } from '../format/upid.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { snapshotText } from '../format/backup-path.ts';
import type { JobSource } from '../schedule/scheduler.ts';

const base = '/admin/datastore/main';
const plain = { 'backup-type': 'host', 'backup-id': 'plain' };
const vm = { 'backup-type': 'vm', 'backup-id': '100' };

async function run(server: ContentServer, as: string, path: string, parameters: Record<string, unknown> = {}): Promise<{ name: string; state: string; message: string | null; lines: string[] }> {
  const upid = (await server.data(as, 'POST', path, parameters)) as string;
  const { result, lines } = await server.ended(upid);
  const { workerType, workerId, authId } = parseUpid(upid);
  return { name: `${workerType} ${workerId} ${authId}`, state: result.state, message: result.state === 'Error' ? result.message : null, lines: lines.map((line) => line.replaceAll(server.path, '/srv/main')) };
}

/** Starts the one due job of a source, as the scheduler does, and waits for its end. */
async function runScheduled(server: ContentServer, source: JobSource, id: string): Promise<string[]> {
  const job = (await source.list()).find((one) => one.id === id);
  assert.ok(job !== undefined);
  // A job is free a moment after its task has ended.
  (await server.ground.states.tryLock({ jobType: source.jobType, id }, 5000))!.release();
  await job.run();
  for (;;) {
    const state = await server.ground.states.read({ jobType: source.jobType, id });
    if (state?.state === 'finished') return (await server.ended(state.upid)).lines.concat(parseUpid(state.upid).authId);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The reference reads a chunk that an index names twice sometimes once and sometimes twice, so that its amounts say little. */
const timeless = (line: string): string => line.replace(/verified [\d.]+\/[\d.]+ MiB in \d+\.\d\d seconds, speed [\d.]+\/[\d.]+ MiB/, 'verified r/d MiB in s seconds, speed r/d MiB');

test('prune of one group: the three ways', async (t) => {
  const server = await contentServer(t);
  const dry = await server.data('admin@pbs', 'POST', `${base}/prune`, { ...vm, 'keep-last': 1, 'dry-run': true });
  const decided = [
    { ...vm, 'backup-time': 1760000400, keep: false, protected: false },
    { ...vm, 'backup-time': 1760086800, keep: true, protected: false },
  ];
  assert.deepEqual(dry, decided);
  assert.deepEqual(await server.data('admin@pbs', 'POST', `${base}/prune`, { ns: 'site-a', 'backup-type': 'ct', 'backup-id': '200', 'dry-run': true }), [
    { 'backup-type': 'ct', 'backup-id': '200', 'backup-time': 1760000500, keep: true, protected: false, ns: 'site-a' },
  ]);
  assert.equal(server.tasks.running().length, 0);
  assert.deepEqual(await server.data('admin@pbs', 'POST', `${base}/prune`, { ...vm, 'keep-last': 1 }), decided);
  const task = await run(server, 'admin@pbs', `${base}/prune`, { ...plain, 'keep-last': 1, 'use-task': true });
  assert.deepEqual([task.name, task.state], ['prune main::host/plain admin@pbs', 'OK']);
  assert.deepEqual(task.lines.slice(0, -1), [
    'retention options: --keep-last 1',
    'Starting prune on datastore \'main\', root namespace group "host/plain"',
    'host/plain/2025-10-09T08:53:20Z protected',
    'host/plain/2025-10-10T08:53:20Z keep',
  ]);
  assert.equal(await server.refusal('admin@pbs', 'POST', `${base}/prune`, { ...vm, 'backup-id': '999', 'keep-last': 1 }), '400 ENOENT: No such file or directory');
  assert.equal(await server.refusal('admin@pbs', 'POST', `${base}/prune`, { ...vm, ns: 'nosuch', 'keep-last': 1 }), '400 ENOENT: No such file or directory');
  assert.equal(await server.refusal('alice@pbs', 'POST', `${base}/prune`, { ...vm, 'keep-last': 1 }), '403 permission check failed - missing Datastore.Modify|Datastore.Prune on /datastore/main');
  assert.equal(await server.refusal('admin@pbs', 'POST', `${base}/prune`, { ...vm, 'keep-last': 0 }), "400 parameter verification failed - 'keep-last': value must have a minimum value of 1 (got 0)");
});

test('prune of a datastore prunes what the caller may prune', async (t) => {
  const server = await contentServer(t);
  assert.equal(await server.refusal('sync@pbs', 'POST', `${base}/prune-datastore`, { 'keep-last': 1 }), "400 missing permissions 'Datastore.Modify|Datastore.Prune' on '/datastore/main'");
  await appendFile(join(server.paths.config, 'acl.cfg'), 'acl:1:/datastore/main:alice@pbs:DatastorePowerUser\n');
  const own = await run(server, 'alice@pbs', `${base}/prune-datastore`, { 'keep-last': 1, 'dry-run': true });
  assert.deepEqual([own.name, own.lines.slice(0, -1)], [
    'prune main: alice@pbs',
    ["Starting datastore prune on datastore 'main', root namespace, down to full depth", '(dry test run)', 'retention options: --keep-last 1', 'Pruning group :"host/alices"', 'would keep host/alices/2025-10-09T09:05:00Z'],
  ]);
  const all = await run(server, 'admin@pbs', `${base}/prune-datastore`, { 'keep-last': 1, ns: 'site-a', 'max-depth': 0 });
  assert.deepEqual([all.name, all.lines.slice(0, -1)], [
    'prune main:site-a admin@pbs',
    ["Starting datastore prune on datastore 'main', namespace 'site-a', non-recursive", 'retention options: --ns site-a --max-depth 0 --keep-last 1', 'Pruning group site-a:"ct/200"', 'keep ct/200/2025-10-09T09:01:40Z'],
  ]);
});

test('a prune job by hand and by schedule', async (t) => {
  const server = await contentServer(t);
  await server.pruneJobs.create({ id: 'p-1', store: 'main', schedule: 'daily', 'keep-last': 1, disable: true });
  const upid = (await server.data('admin@pbs', 'POST', '/admin/prune/p-1/run')) as string;
  const { lines } = await server.ended(upid);
  assert.deepEqual(lines.slice(0, 3), ["prune job 'p-1'", "Starting datastore prune on datastore 'main', root namespace, down to full depth", 'retention options: --keep-last 1']);
  assert.ok(lines.includes(`removing backup snapshot "${server.path}/vm/100/2025-10-09T09:00:00Z"`));
  assert.deepEqual([parseUpid(upid).workerType, parseUpid(upid).workerId], ['prunejob', 'main']);
  const [listed] = (await server.data('admin@pbs', 'GET', '/admin/prune')) as Array<Record<string, unknown>>;
  assert.deepEqual([listed!['last-run-upid'], listed!['last-run-state'], listed!['next-run']], [upid, 'OK', undefined]);
  assert.deepEqual((await server.prunes.jobSource().list()).map(({ id, disabled, schedule }) => ({ id, disabled, schedule })), [{ id: 'p-1', disabled: true, schedule: 'daily' }]);
  const again = await runScheduled(server, server.prunes.jobSource(), 'p-1');
  assert.ok(again.length > 0);
  assert.equal(await server.refusal('sync@pbs', 'POST', '/admin/prune/p-1/run'), "400 missing permissions 'Datastore.Modify' on '/datastore/main'");
  assert.equal(await server.refusal('admin@pbs', 'POST', '/admin/prune/none/run'), "400 no such prune 'none'");
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/admin/prune'), []);
});

test('verify of everything writes the log of the reference', async (t) => {
  const server = await contentServer(t);
  const task = await run(server, 'admin@pbs', `${base}/verify`, { 'ignore-verified': false });
  assert.deepEqual([task.name, task.state], ['verify main admin@pbs', 'OK']);
  const expected = readFixture('tasks/verify-main.txt').toString('utf8').trimEnd().split('\n');
  // Lines beyond the reference's name the namespace.
  assert.deepEqual(task.lines.filter((line) => !line.startsWith('  in namespace')).map(timeless), expected.map(timeless));
});

test('which snapshots are verified again: not those verified here, but those whose state came with a copy', async (t) => {
  const asked: string[] = [];
  const foreign = (store: string, namespace: string, snapshot: BackupSnapshot, upid: string): boolean => {
    asked.push(`${store} ${namespace} ${snapshotText(snapshot)} ${upid}`);
    return snapshot.type === 'vm' && snapshot.time === 1760086800;
  };
  const server = await contentServer(t, { isForeignVerification: foreign });
  const task = await run(server, 'admin@pbs', `${base}/verify`, vm);
  assert.equal(task.name, 'verify_group main:/vm/100 admin@pbs');
  assert.deepEqual(task.lines.filter((line) => line.includes('verify main:')), ['verify main:vm/100/2025-10-10T09:00:00Z', 'SKIPPED: verify main:vm/100/2025-10-09T09:00:00Z (recently verified)']);
  assert.ok(asked.includes('main  vm/100/2025-10-10T09:00:00Z UPID:third:00007002:000BE896:00000013:6B04EF42:verify:main:root@pam:'));
  const one = await run(server, 'admin@pbs', `${base}/verify`, { ns: 'site-a', 'backup-type': 'ct', 'backup-id': '200', 'backup-time': 1760000500 });
  assert.deepEqual([one.name, one.lines[0]], ['verify_snapshot main:ns/site-a/ct/200/68E779F4 admin@pbs', 'SKIPPED: verify main:ct/200/2025-10-09T09:01:40Z (recently verified)']);
});

test('who may verify what', async (t) => {
  const server = await contentServer(t);
  assert.equal(await server.refusal('admin@pbs', 'POST', `${base}/verify`, { 'backup-type': 'vm' }), '400 parameters do not specify a backup group or snapshot');
  assert.equal(await server.refusal('nobody@pbs', 'POST', `${base}/verify`), '403 permission check failed - missing Datastore.Verify|Datastore.Backup on /datastore/main');
  assert.equal(await server.refusal('alice@pbs', 'POST', `${base}/verify`, plain), '400 backup owner check failed (alice@pbs != admin@pbs)');
  const own = await run(server, 'alice@pbs', `${base}/verify`, { 'ignore-verified': false });
  assert.deepEqual(own.lines.slice(0, 6), ['verify datastore main', 'limiting to backups owned by alice@pbs', 'found 1 groups', 'using 1 read and 4 verify thread(s)', 'verify group main:host/alices (1 snapshots)', 'verify main:host/alices/2025-10-09T09:05:00Z']);
});

test('a verify job that finds damage fails; by schedule it says so', async (t) => {
  const server = await contentServer(t);
  const chunk = join(server.path, '.chunks/62be/62bebb3f344b4ee3172d4699f7e11887cac0199cab5cac65edc1648bb8b60b81');
  const bytes = await readFile(chunk);
  bytes[bytes.length >> 1]! ^= 1;
  await writeFile(chunk, bytes);
  await server.verifyJobs.create({ id: 'v-1', store: 'main', schedule: 'daily', 'ignore-verified': false, 'max-depth': 0 });
  const lines = await runScheduled(server, server.verifications.jobSource(), 'v-1');
  assert.deepEqual(lines.slice(0, 3), ["Starting datastore verify job 'main:v-1'", "task triggered by schedule 'daily'", 'verify datastore main']);
  assert.deepEqual(lines.slice(-2), ['TASK ERROR: verification failed - please check the log for details', 'root@pam']);
  const [job] = (await server.data('admin@pbs', 'GET', '/admin/verify')) as Array<Record<string, unknown>>;
  assert.equal(job!['last-run-state'], 'verification failed - please check the log for details');
  assert.ok(typeof job!['next-run'] === 'number');
  const upid = (await server.data('admin@pbs', 'POST', '/admin/verify/v-1/run')) as string;
  server.tasks.abort(upid);
  const { result } = await server.ended(upid);
  assert.deepEqual([result.state, result.state === 'Error' ? result.message : ''], ['Error', 'verification failed - job aborted']);
  assert.equal(await server.refusal('alice@pbs', 'POST', '/admin/verify/v-1/run'), "400 missing permissions 'Datastore.Verify' on '/datastore/main'");
});

test('verification of a new snapshot', async (t) => {
  const server = await contentServer(t);
  const task = await server.verifications.startNew('main', '', { type: 'host', id: 'alices', time: 1760000700 }, 'alice@pbs');
  const { result, lines } = await server.ended(task.upid);
  assert.equal(result.state, 'OK');
  assert.equal(parseUpid(task.upid).workerId, 'main:host/alices/68E77ABC');
  assert.deepEqual(lines.slice(0, 2), ['Automatically verifying newly added snapshot', 'verify main:host/alices/2025-10-09T09:05:00Z']);
});

test('garbage collection by hand, twice at once, and by schedule', async (t) => {
  const server = await contentServer(t);
  // An old chunk that nothing refers to.
  const orphan = join(server.path, '.chunks/62be/62be000000000000000000000000000000000000000000000000000000000000');
  await writeFile(orphan, await readFile(join(server.path, '.chunks/62be/62bebb3f344b4ee3172d4699f7e11887cac0199cab5cac65edc1648bb8b60b81')));
  await utimes(orphan, 1, 1);
  const task = await run(server, 'admin@pbs', `${base}/gc`);
  assert.deepEqual([task.name, task.state], ['garbage_collection main admin@pbs', 'OK']);
  assert.equal(task.lines[0], 'starting garbage collection on store main');
  assert.ok(task.lines.includes('Removed chunks: 1'));
  await assert.rejects(readFile(orphan), { code: 'ENOENT' });
  const status = (await server.data('admin@pbs', 'GET', `${base}/gc`)) as Record<string, unknown>;
  assert.deepEqual([status['store'], status['removed-chunks'], status['disk-chunks'], status['index-file-count'], status['last-run-state']], ['main', 1, 37, 24, 'OK']);
  assert.ok(typeof status['duration'] === 'number' && status['duration'] < 60 && !('schedule' in status));
  assert.equal(await server.refusal('sync@pbs', 'POST', `${base}/gc`), '403 permission check failed');
  {
    const lock = await server.ground.states.tryLock({ jobType: 'garbage_collection', id: 'main' }, 5000);
    assert.ok(lock !== null);
    const job = (await server.collections.jobSource().list())[0]!;
    await assert.rejects(job.run(), { code: 'store.job-running' });
    assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
    setTimeout(() => lock.release(), 50);
    // By hand it waits for the one that runs.
    assert.equal((await run(server, 'admin@pbs', `${base}/gc`)).state, 'OK');
  }
  await writeFile(join(server.paths.config, 'datastore.cfg'), `datastore: main\n\tgc-schedule daily\n\tpath ${server.path}\n\tcomment x\n`);
  const lines = await runScheduled(server, server.collections.jobSource(), 'main');
  assert.ok(lines.length > 2);
  const scheduled = (await server.data('admin@pbs', 'GET', '/admin/gc')) as Array<Record<string, unknown>>;
  assert.equal(scheduled[0]!['schedule'], 'daily');
  assert.ok(typeof scheduled[0]!['next-run'] === 'number');
});

test('nothing starts in a datastore under maintenance, and no task says it did', async (t) => {
  const server = await contentServer(t);
  await server.pruneJobs.create({ id: 'p-1', store: 'main', schedule: 'daily', 'keep-last': 1 });
  await server.verifyJobs.create({ id: 'v-1', store: 'main', schedule: 'daily' });
  await writeFile(join(server.paths.config, 'datastore.cfg'), `datastore: main\n\tpath ${server.path}\n\tmaintenance-mode offline,message=swap\n`);
  const text = "datastore 'main' is unavailable: offline maintenance mode: swap";
  for (const [path, parameters] of [['/admin/prune/p-1/run'], ['/admin/verify/v-1/run'], [`${base}/gc`], [`${base}/prune-datastore`, { 'keep-last': 1 }], [`${base}/prune`, { ...vm, 'keep-last': 1 }], [`${base}/verify`]] as Array<[string, Record<string, unknown>?]>) {
    assert.equal(await server.refusal('admin@pbs', 'POST', path, parameters ?? {}), `400 ${text}`);
  }
  for (const source of [server.prunes.jobSource(), server.verifications.jobSource(), server.collections.jobSource()]) {
    await assert.rejects((await source.list())[0]!.run(), { message: text });
  }
  assert.equal(server.tasks.running().length, 0);
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/admin/gc'), []);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
  const [listed] = (await server.data('admin@pbs', 'GET', '/admin/datastore')) as Array<Record<string, unknown>>;
  assert.equal(listed!['maintenance'], 'offline,message=swap');
});
