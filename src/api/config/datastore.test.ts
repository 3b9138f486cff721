import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { mkdir, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { configApi, grant, type ConfigApi } from '../../../test/support/config-api.ts';
import { temporaryFolder, unpackGoldenDatastore } from '../../../test/support/golden.ts';
import { silentLog } from '../../base/log.ts';
import type { TaskStarter } from '../../schedule/worker-task.ts';
import { DatastoreCreations } from '../datastore-creation.ts';

const admin = 'admin@pbs';
const digest = '0'.repeat(64);

type Ended = Awaited<ReturnType<ConfigApi['ended']>>;

async function run(made: ConfigApi, method: 'POST' | 'DELETE', path: string, parameters: Record<string, unknown>): Promise<Ended> {
  const upid = await made.server.data(admin, method, path, parameters);
  assert.match(String(upid), /^UPID:/);
  return made.ended(String(upid));
}

/** How a task failed. */
function failure({ result }: Ended): string {
  assert.equal(result.state, 'Error', JSON.stringify(result));
  return result.state === 'Error' ? result.message : '';
}

async function create(made: ConfigApi, fields: Record<string, unknown>): Promise<Ended> {
  return run(made, 'POST', '/config/datastore', fields);
}

// Texts, log lines and stored values as a reference server 4.2.3 answered them.
// Makes, checks and removes 65,536 folders, which takes a while on a busy machine.
test('a datastore is created, removed, taken over again and destroyed', { timeout: 240_000 }, async (t) => {
  await using folder = await temporaryFolder();
  const made = await configApi(t, 'target', {});
  const { server, paths } = made;
  const path = join(folder.path, 'no', 'such', 'parent');
  const settings = { comment: ' Copy of HQ ', 'gc-schedule': 'sat 18:15', 'verify-new': true, notify: 'gc=error,verify=always', 'maintenance-mode': 'message=moving,type=read-only' };
  const created = await create(made, { name: 'xyz', path, ...settings, 'keep-daily': 7, 'prune-schedule': 'daily' });
  assert.equal(created.result.state, 'OK', created.lines.join('\n'));
  assert.deepEqual(created.lines.slice(0, 99), Array.from({ length: 99 }, (_, i) => `Chunkstore create: ${i + 1}%`));
  const [checked, pruneLine, ok] = created.lines.slice(99);
  assert.deepEqual([checked, ok], ['Access time update check successful.', 'TASK OK']);
  const jobId = /^Prune job created: (default-xyz-[0-9a-f-]{20})$/.exec(pruneLine!)?.[1];
  assert.ok(jobId !== undefined, String(pruneLine));
  assert.deepEqual(await server.data(admin, 'GET', `/config/prune/${jobId}`), { id: jobId, store: 'xyz', schedule: 'daily', 'keep-daily': 7 });
  assert.deepEqual(await server.data(admin, 'GET', '/config/datastore/xyz'), { name: 'xyz', path, ...settings, comment: 'Copy of HQ', 'maintenance-mode': 'read-only,message=moving' });
  assert.match(readFileSync(join(paths.jobStates, 'garbage_collection-xyz.json'), 'utf8'), /^\{"created":/);
  assert.ok(existsSync(join(paths.jobStates, `prunejob-${jobId}.json`)));
  assert.equal(await server.refusal(admin, 'POST', '/config/datastore', { name: 'xyz', path: '/data/x' }), "400 parameter verification failed - 'name': datastore 'xyz' already exists.");

  const removed = await run(made, 'DELETE', '/config/datastore/xyz', {});
  assert.deepEqual(removed.lines, ['Removing datastore from config...', 'TASK OK']);
  assert.deepEqual(await server.data(admin, 'GET', '/config/datastore'), []);
  assert.deepEqual(made.pruneJobs.list().records.filter(({ store }) => store === 'xyz'), []);
  for (const state of [`prunejob-${jobId}`, 'garbage_collection-xyz']) assert.equal(existsSync(join(paths.jobStates, `${state}.json`)), false, state);
  assert.deepEqual(made.removed, ['xyz']);

  await mkdir(join(path, 'host'));
  assert.equal(failure(await create(made, { name: 'xyz', path })), 'datastore path not empty');
  const taken = await create(made, { name: 'xyz', path, 'reuse-datastore': true, tuning: 'gc-atime-safety-check=false' });
  assert.deepEqual(taken.lines, ['Access time update check skipped.', 'TASK OK']);
  const destroyed = await run(made, 'DELETE', '/config/datastore/xyz', { 'destroy-data': true });
  assert.deepEqual(destroyed.lines, ['Deleting datastore data...', 'Removing datastore from config...', 'Finished deleting data.', 'Removed empty datastore directory.', 'TASK OK']);
  assert.equal(existsSync(path), false);
});

test('what a new datastore is refused for before anything is made', async (t) => {
  const { server, acl } = await configApi(t, 'target', {});
  const refused = async (fields: Record<string, unknown>, as = admin): Promise<string> => server.refusal(as, 'POST', '/config/datastore', { name: 'other', path: '/data/other', ...fields });
  const uuid = '11111111-2222-3333-4444-555555555555';
  const fault = (name: string, text: string): string => `400 parameter verification failed - '${name}': ${text}`;
  assert.equal(await refused({ path: 'rel' }), fault('path', "expected an absolute path, 'rel' is not"));
  assert.equal(await refused({ 'backing-device': uuid }), fault('path', "expected a relative on-device path, '/data/other' is not"));
  assert.equal(await refused({ 'gc-on-unmount': true }), fault('gc-on-unmount', 'only supported on removable datastores'));
  assert.match(await refused({ path: 'rel', 'backing-device': uuid }), /'backing-device': this version has no removable datastores/);
  assert.match(await refused({ backend: 'type=s3,client=abc,bucket=bbb' }), /'backend': this version has no S3 datastores/);
  assert.match(await refused({ backend: 'bogus' }), /'backend': .*'bogus' is not defined in the enumeration/);
  assert.match(await refused({ tuning: 'sync-level=bogus' }), /'tuning': .*'bogus' is not defined in the enumeration/);
  assert.match(await refused({ 'gc-schedule': 'foo' }), /'gc-schedule': unable to parse calendar event at 'foo'/);
  assert.equal(await refused({}, 'low@pbs'), '403 permission check failed');
  await grant(acl, 'low@pbs', '/datastore', 'Admin');
  assert.equal(await refused({ path: 'rel', 'backing-device': uuid }, 'low@pbs'), "400 missing permissions 'Sys.Modify' on '/system/disks'");
});

test('no datastore in another one, nor in the root, by whatever name', async (t) => {
  await using folder = await temporaryFolder();
  const main = join(folder.path, 'outer', 'main');
  await mkdir(main, { recursive: true });
  await mkdir(join(folder.path, 'deep'));
  await symlink(main, join(folder.path, 'link'));
  const made = await configApi(t, 'target', { main });
  const nested = `parameter verification failed - 'path': nested datastores not allowed: 'main' already in "${main}"`;
  for (const path of [main, `${main}/`, `${main}/sub`, join(folder.path, 'outer'), `${folder.path}/deep/../outer/main/x`, join(folder.path, 'link', 'x')]) assert.equal(failure(await create(made, { name: 'other', path })), nested, path);
  for (const path of ['/', '//', '/..']) assert.equal(failure(await create(made, { name: 'other', path })), 'cannot create datastore in root path');
  assert.equal(existsSync(join(main, 'sub')), false);
  assert.match(failure(await create(made, { name: 'other', path: join(folder.path, 'nope'), 'reuse-datastore': true })), /^unable to open existing chunk store path ".*\/nope" - /);
  assert.equal(existsSync(join(folder.path, 'nope')), false);
  // A neighbour whose name begins alike is none of them.
  await writeFile(join(folder.path, 'outer', 'file'), '');
  await mkdir(`${main}-2`);
  await writeFile(join(`${main}-2`, 'file'), '');
  assert.equal(failure(await create(made, { name: 'other', path: `${main}-2` })), 'datastore path not empty');
  assert.deepEqual(readdirSync(`${main}-2`), ['file']);
});

test('two creations at the same time do not get in each other', async (t) => {
  await using folder = await temporaryFolder();
  const made = await configApi(t, 'target', {});
  const path = join(folder.path, 'a');
  await mkdir(join(path, 'x'), { recursive: true });
  // Tasks whose turn comes when the test says so.
  const bodies = new Map<string, () => Promise<void>>();
  const tasks: TaskStarter = {
    start: (task, body) => {
      bodies.set(task.workerId, () => body({ upid: task.workerId, log: silentLog, signal: new AbortController().signal }));
      return Promise.resolve({ upid: task.workerId, finished: new Promise(() => {}) });
    },
  };
  const creations = new DatastoreCreations({ ...made, states: made.ground.states, tasks });
  const start = (name: string, at: string): Promise<string> => creations.start({ record: { name, path: at }, reuse: false, prune: {} }, admin);
  await start('aaa', path);
  await assert.rejects(start('aaa', '/elsewhere'), { message: "parameter verification failed - 'name': datastore 'aaa' already exists." });
  await start('bbb', join(path, 'b'));
  await assert.rejects(bodies.get('bbb')!(), { message: `parameter verification failed - 'path': nested datastores not allowed: 'aaa' already in "${path}"` });
  await assert.rejects(bodies.get('aaa')!(), { message: 'datastore path not empty' });
  // What failed is no longer in the way.
  await start('aaa', path);
  await start('bbb', '/');
  await assert.rejects(bodies.get('bbb')!(), { message: 'cannot create datastore in root path' });
});

test('changes: stored values and refusals', async (t) => {
  const made = await configApi(t, 'target');
  const { server } = made;
  const change = async (fields: Record<string, unknown>): Promise<unknown> => server.data(admin, 'PUT', '/config/datastore/offsite', fields);
  const refused = async (fields: Record<string, unknown>): Promise<string> => server.refusal(admin, 'PUT', '/config/datastore/offsite', fields);
  const base = { name: 'offsite', path: '/srv/offsite' };
  assert.equal(await change({ 'maintenance-mode': 'type=read-only,message="moving house"', notify: 'verify=never,gc=error', tuning: 'sync-level=file,gc-atime-cutoff=30', 'gc-schedule': 'sat 18:15', comment: ' x ' }), null);
  assert.deepEqual(await server.data(admin, 'GET', '/config/datastore/offsite'), {
    ...base, 'maintenance-mode': 'read-only,message=moving house', notify: 'verify=never,gc=error', tuning: 'sync-level=file,gc-atime-cutoff=30', 'gc-schedule': 'sat 18:15', comment: 'x',
  });
  await change({ notify: '', comment: '', delete: ['tuning', 'maintenance-mode', 'gc-schedule', 'keep-last'] });
  assert.deepEqual(await server.data(admin, 'GET', '/config/datastore/offsite'), base);

  assert.equal(await refused({ 'prune-schedule': 'daily', 'keep-last': 3 }), "400 parameter verification failed - 'keep-last': datastore prune settings have been replaced by prune jobs");
  assert.equal(await refused({ 'gc-on-unmount': true }), "400 parameter verification failed - 'gc-on-unmount': only supported on removable datastores");
  assert.match(await refused({ 'maintenance-mode': 'frozen' }), /^400 parameter verification failed - 'maintenance-mode': .*'frozen' is not defined in the enumeration/);
  assert.match(await refused({ 'maintenance-mode': '' }), /^400 parameter verification failed - 'maintenance-mode': parameter verification failed - 'type': /);
  assert.match(await refused({ notify: 'vrify=never' }), /^400 parameter verification failed - 'notify': parameter verification failed - 'vrify': schema does not allow additional properties/);
  assert.match(await refused({ tuning: 'gc-atime-cutoff=0' }), /^400 .*'tuning': .*'gc-atime-cutoff': .*value must have a minimum value of 1 \(got 0\)/);
  assert.match(await refused({ path: '/x' }), /^400 parameter verification failed - 'path': schema does not allow additional properties/);
  assert.match(await refused({ comment: 'x', digest }), /^400 detected modified configuration/);
  assert.equal(await server.refusal(admin, 'PUT', '/config/datastore/nosuch', { comment: 'x' }), "400 no such datastore 'nosuch'");
  assert.equal(await server.refusal('low@pbs', 'PUT', '/config/datastore/offsite', { comment: 'x' }), '403 permission check failed');
  await grant(made.acl, 'low@pbs', '/datastore/offsite', 'DatastoreAudit');
  assert.equal(((await server.data('low@pbs', 'GET', '/config/datastore')) as unknown[]).length, 1);
  assert.equal(await server.refusal('low@pbs', 'PUT', '/config/datastore/offsite', { comment: 'x' }), '403 permission check failed');
  assert.equal(await server.refusal('low@pbs', 'GET', '/config/datastore/pushed'), '403 permission check failed');

  await change({ 'maintenance-mode': 'delete' });
  for (const fields of [{ delete: ['maintenance-mode'] }, { 'maintenance-mode': 'offline' }]) assert.equal(await refused(fields), '400 datastore is being deleted');
  await change({ comment: 'x', 'maintenance-mode': 'delete' });
});

test('a changed schedule of garbage collection counts from now on', async (t) => {
  const { server, paths } = await configApi(t, 'target');
  const created = (): number => (JSON.parse(readFileSync(join(paths.jobStates, 'garbage_collection-offsite.json'), 'utf8')) as { created: { time: number } }).created.time;
  await server.data(admin, 'PUT', '/config/datastore/offsite', { comment: 'x' });
  assert.equal(created(), 1_795_485_471);
  const before = Math.floor(Date.now() / 1000);
  await server.data(admin, 'PUT', '/config/datastore/offsite', { 'gc-schedule': 'daily' });
  assert.ok(created() >= before);
});

/** A copy of the golden datastore with a job of each kind and an ACL entry. */
async function furnished(t: TestContext, folder: string): Promise<ConfigApi> {
  const main = join(folder, 'main');
  await mkdir(main);
  await unpackGoldenDatastore(main);
  const made = await configApi(t, 'source', { main });
  await made.syncJobs.create({ id: 'from', store: 'other', 'remote-store': 'main' });
  await made.syncJobs.create({ id: 'into', store: 'main', remote: 'to-b', 'remote-store': 'other' });
  await made.pruneJobs.create({ id: 'prune', store: 'main', schedule: 'daily' });
  await made.verifyJobs.create({ id: 'verify', store: 'main', ns: 'a' });
  await grant(made.acl, 'low@pbs', '/datastore/main/a', 'DatastoreAdmin');
  return made;
}

function leftOf({ syncJobs, pruneJobs, verifyJobs, acl, table }: ConfigApi): unknown {
  const ids = (table_: { list(): { records: unknown[] } }): string[] => table_.list().records.map((job) => (job as { id: string }).id).sort();
  return { sync: ids(syncJobs), prune: ids(pruneJobs), verify: ids(verifyJobs), acl: acl.load().value.entries().some(({ path }) => path === '/datastore/main/a'), mode: table.find('main')?.['maintenance-mode'] };
}

const untouched = { sync: ['from', 'into', 'push1'], prune: ['prune'], verify: ['verify'], acl: true, mode: undefined };

test('a datastore in use keeps everything: mode, jobs, rights and data', async (t) => {
  await using folder = await temporaryFolder();
  const made = await furnished(t, folder.path);
  const { datastores } = made;
  {
    using _lease = await datastores.open('main', 'read');
    assert.equal(failure(await run(made, 'DELETE', '/config/datastore/main', { 'destroy-data': true })), 'datastore is currently in use');
  }
  assert.deepEqual(leftOf(made), untouched);
  await datastores.use('main', 'write', async () => {});
  assert.ok(existsSync(join(folder.path, 'main', 'host', 'plain')));
});

test('what is opened while the mode is stored is refused: after that nobody is missed by a look at who uses the datastore', async (t) => {
  await using folder = await temporaryFolder();
  const { datastores, paths } = await furnished(t, folder.path);
  const file = join(paths.config, 'datastore.cfg');
  const opening = datastores.open('main', 'write');
  writeFileSync(file, `${readFileSync(file, 'utf8')}\tmaintenance-mode delete\n`);
  await assert.rejects(opening, { status: 400, message: "datastore 'main' is unavailable: datastore is being deleted" });
  assert.deepEqual(datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('removal takes the jobs and rights on the datastore along, unless they are to stay; its files stay', async (t) => {
  await using folder = await temporaryFolder();
  for (const keep of [false, true]) {
    const path = join(folder.path, String(keep));
    await mkdir(path);
    const made = await furnished(t, path);
    await made.datastores.use('main', 'read', async () => {});
    assert.equal((await run(made, 'DELETE', '/config/datastore/main', { 'keep-job-configs': keep })).result.state, 'OK');
    assert.deepEqual(leftOf(made), keep ? untouched : { sync: ['from'], prune: [], verify: [], acl: false, mode: undefined });
    assert.ok(existsSync(join(path, 'main', '.chunks')) && existsSync(join(path, 'main', 'host', 'plain')));
    await assert.rejects(made.datastores.open('main', 'read'), { message: "no such datastore 'main'" });
  }
});

test('data is destroyed but for what is not of the datastore', async (t) => {
  await using folder = await temporaryFolder();
  const made = await furnished(t, folder.path);
  await writeFile(join(folder.path, 'main', 'precious'), '');
  const { result, lines } = await run(made, 'DELETE', '/config/datastore/main', { 'destroy-data': true });
  assert.deepEqual(lines.slice(0, -1), ['Deleting datastore data...', 'Removing datastore from config...', 'Finished deleting data.', 'Datastore directory not empty, not deleting.']);
  assert.equal(result.state, 'Warning');
  assert.deepEqual(readdirSync(join(folder.path, 'main')), ['precious']);
});

test('data that is not there now is not said to be destroyed', async (t) => {
  const made = await configApi(t, 'target', { main: '/nonexistent/main' });
  assert.match(failure(await run(made, 'DELETE', '/config/datastore/main', { 'destroy-data': true })), /^the data cannot be destroyed, "\/nonexistent\/main" is not there/);
  assert.equal(made.table.get('main')['maintenance-mode'], undefined);
  assert.equal((await run(made, 'DELETE', '/config/datastore/main', {})).result.state, 'OK');
});

test('removal: what is refused at once', async (t) => {
  const { server, acl } = await configApi(t, 'target');
  assert.equal(await server.refusal(admin, 'DELETE', '/config/datastore/nosuch'), "404 datastore 'nosuch' does not exist.");
  assert.match(await server.refusal(admin, 'DELETE', '/config/datastore/offsite', { digest }), /^400 detected modified configuration/);
  await grant(acl, 'low@pbs', '/datastore/offsite', 'DatastoreAdmin');
  assert.equal(await server.refusal('low@pbs', 'DELETE', '/config/datastore/offsite'), '403 permission check failed');
});
