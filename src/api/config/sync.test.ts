import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { configApi, grant, type ConfigApi } from '../../../test/support/config-api.ts';

const admin = 'admin@pbs';
const job = { id: 'job1', store: 'main', remote: 'rrr', 'remote-store': 'main' };
const wrongDigest = '0'.repeat(64);

async function api(t: TestContext): Promise<ConfigApi> {
  const made = await configApi(t, 'source');
  await made.server.data(admin, 'POST', '/config/remote', { name: 'rrr', host: '192.0.2.1', 'auth-id': 'x@pbs!y', password: 'abc' });
  return made;
}

async function read(made: ConfigApi, id: string): Promise<unknown> {
  return made.server.data(admin, 'GET', `/config/sync/${id}`);
}

// Texts and stored values as a reference server 4.2.3 answered them.
test('what a new job is refused for, in the order of the reference', async (t) => {
  const { server } = await api(t);
  const refused = async (fields: Record<string, unknown>, as = admin): Promise<string> => server.refusal(as, 'POST', '/config/sync', { ...job, ...fields });
  const depth = (ns: string): string => `400 namespace '${ns}'s depth and recursion depth exceed limit: 7 + 1 > 7`;
  assert.equal(await refused({ ns: 'a/b/c/d/e/f/g', 'max-depth': 1 }), depth('a/b/c/d/e/f/g'));
  assert.equal(await refused({ 'remote-ns': 'a/b/c/d/e/f/h', 'max-depth': 1 }), depth('a/b/c/d/e/f/h'));
  assert.equal(await refused({ 'sync-direction': 'push', 'resync-corrupt': false }), '400 push jobs do not support resync-corrupt option');
  assert.equal(await refused({ 'active-encryption-key': 'kkk' }), "400 'active-encryption-key' only applies to push sync jobs");
  assert.equal(await refused({ id: 'low' }, 'low@pbs'), '400 permission check failed');
  const local = { id: 'job1', store: 'main', 'remote-store': 'main' };
  assert.equal(await server.refusal(admin, 'POST', '/config/sync', local), "400 source and target datastore can't be the same");
  assert.equal(await server.refusal('low@pbs', 'POST', '/config/sync', local), '400 permission check failed');
  assert.equal(await server.refusal(admin, 'POST', '/config/sync', { ...local, 'remote-store': 'offs', 'sync-direction': 'push' }), '400 permission check failed');
  await server.data(admin, 'POST', '/config/sync', job);
  assert.equal(await refused({}), "400 parameter verification failed - 'id': job 'job1' already exists.");
});

test('values with a grammar say what is wrong with them', async (t) => {
  const { server } = await api(t);
  const refused = async (pair: string): Promise<string> => {
    const answer = await server.http(admin, 'POST', `/api2/json/config/sync?id=job1&store=main&remote=rrr&remote-store=main&${pair}`);
    return `${answer.status} ${answer.body.toString('utf8')}`;
  };
  assert.equal(await refused('group-filter=foo'), "400 parameter verification failed - 'group-filter': group filter 'foo': expected 'type:', 'group:' or 'regex:'");
  assert.match(await refused('group-filter=regex%3A((&group-filter=type%3Avm'), /^400 parameter verification failed - 'group-filter': group filter 'regex:\(\(': the regular expression does not parse: .*\)/);
  assert.match(await refused('group-filter=exclude%3Agroup%3Avm%2F'), /'vm\/' is not a group like vm\/100/);
  assert.equal(await refused('rate-in=fast'), "400 parameter verification failed - 'rate-in': byte-size parse error for 'fast': invalid float literal");
  assert.match(await refused('schedule=foo'), /^400 parameter verification failed - 'schedule': unable to parse calendar event at 'foo'/);
  assert.match(await refused('schedule='), /^400 parameter verification failed - 'schedule': unable to parse calendar event at ''/);
  assert.match(await refused('ns=a%2Fb%2Fc%2Fd%2Fe%2Ff%2Fg%2Fh'), /^400 parameter verification failed - 'ns': /);
});

test('a job is stored as the reference stores it, and gets a state file', async (t) => {
  const made = await api(t);
  const { server, paths } = made;
  const fields = {
    'group-filter': ['include:type:vm', 'exclude:group:vm/100'], schedule: 'daily', comment: ' x ', 'rate-in': '10MiB', ns: '', 'remove-vanished': false, 'sync-direction': 'pull',
  };
  assert.equal(await server.data(admin, 'POST', '/config/sync', { ...job, ...fields }), null);
  const stored = { ...job, ...fields, 'group-filter': ['type:vm', 'exclude:group:vm/100'], comment: 'x', 'rate-in': '10 MiB' };
  assert.deepEqual(await read(made, 'job1'), stored);
  assert.match(
    readFileSync(join(paths.config, 'sync.cfg'), 'utf8'),
    /sync: job1\n\tcomment x\n\tgroup-filter type:vm\n\tgroup-filter exclude:group:vm\/100\n\tns \n\trate-in 10 MiB\n\tremote rrr\n\tremote-store main\n\tremove-vanished false\n\tschedule daily\n\tstore main\n\tsync-direction pull\n/,
  );
  assert.match(readFileSync(join(paths.jobStates, 'syncjob-job1.json'), 'utf8'), /^\{"created":\{"time":[0-9]+\}\}$/);
  // Deletions come first, then sets.
  await server.data(admin, 'PUT', '/config/sync/job1', { ns: 'a', 'remote-ns': '', delete: ['ns', 'group-filter', 'rate-in', 'remove-vanished'], 'burst-in': '1k', comment: ' ' });
  assert.deepEqual(await read(made, 'job1'), { ...job, ns: 'a', 'remote-ns': '', 'burst-in': '1 KB', schedule: 'daily', 'sync-direction': 'pull' });
  assert.equal(await server.data(admin, 'DELETE', '/config/sync/job1'), null);
  assert.equal(existsSync(join(paths.jobStates, 'syncjob-job1.json')), false);
  assert.equal(await server.refusal(admin, 'GET', '/config/sync/job1'), "400 no such sync 'job1'");
});

test('what a change is refused for', async (t) => {
  const made = await api(t);
  const { server } = made;
  await server.data(admin, 'POST', '/config/sync', { ...job, 'unmount-on-done': true });
  const refused = async (fields: Record<string, unknown>): Promise<string> => server.refusal(admin, 'PUT', '/config/sync/job1', fields);
  assert.equal(await refused({ 'unmount-on-done': true }), "400 'unmount-on-done' can only be set when 'run-on-mount' is enabled");
  assert.equal(await refused({ 'sync-direction': 'push', 'resync-corrupt': true }), '400 push jobs do not support resync-corrupt option');
  assert.equal(await refused({ 'max-depth': 7, ns: 'a' }), "400 namespace 'a's depth and recursion depth exceed limit: 1 + 7 > 7");
  assert.equal(await refused({ delete: ['remote'], 'sync-direction': 'push' }), '400 permission check failed');
  assert.equal(await refused({ delete: ['nosuch'] }), "400 parameter verification failed - 'delete/[0]': value 'nosuch' is not defined in the enumeration.");
  assert.match(await refused({ delete: ['resync-corrupt'] }), /is not defined in the enumeration/);
  assert.equal(await refused({ comment: 'x', digest: wrongDigest }), '400 detected modified configuration - file changed by other user? Try again.');
  assert.equal(await server.refusal(admin, 'PUT', '/config/sync/nosuch', { comment: 'x' }), "400 no such sync 'nosuch'");
  assert.equal(await refused({ 'associated-key': ['old'] }), "400 no such key or cannot access key 'old'");
  assert.equal(await refused({ 'sync-direction': 'push', 'active-encryption-key': 'kkk' }), "400 no such key or cannot access key 'kkk'");
  assert.deepEqual(await read(made, 'job1'), { ...job, 'unmount-on-done': true });
  for (const fields of [{ 'resync-corrupt': true }, { 'sync-direction': 'push' }, { 'sync-direction': 'pull', delete: ['remote'], 'remote-store': 'main' }]) assert.equal(await server.data(admin, 'PUT', '/config/sync/job1', fields), null);
});

test('removal: digest first, then what is missing, then who asks', async (t) => {
  const { server } = await api(t);
  await server.data(admin, 'POST', '/config/sync', job);
  const modified = '400 detected modified configuration - file changed by other user? Try again.';
  assert.equal(await server.refusal(admin, 'DELETE', '/config/sync/nosuch', { digest: wrongDigest }), modified);
  assert.equal(await server.refusal(admin, 'DELETE', '/config/sync/job1', { digest: wrongDigest }), modified);
  assert.equal(await server.refusal('low@pbs', 'DELETE', '/config/sync/nosuch'), "404 job 'nosuch' does not exist.");
  assert.equal(await server.refusal('low@pbs', 'DELETE', '/config/sync/job1'), '400 permission check failed');
});

test('a job is hidden from those who may not see it', async (t) => {
  const { server, started } = await api(t);
  await server.data(admin, 'POST', '/config/sync', job);
  for (const path of ['/config/sync', '/admin/sync']) assert.deepEqual(await server.data('low@pbs', 'GET', path, { 'sync-direction': 'all' }), []);
  assert.equal(await server.refusal('low@pbs', 'GET', '/config/sync/job1'), '400 permission check failed');
  assert.equal(await server.refusal('low@pbs', 'GET', '/config/sync/nosuch'), "400 no such sync 'nosuch'");
  assert.equal(await server.refusal('low@pbs', 'PUT', '/config/sync/job1', { comment: 'x' }), '400 permission check failed');
  assert.equal(await server.refusal('low@pbs!t1', 'POST', '/admin/sync/job1/run'), "400 permission check failed, 'low@pbs!t1' is missing access");
  assert.equal(await server.refusal('low@pbs', 'POST', '/admin/sync/nosuch/run'), "400 no such sync 'nosuch'");
  assert.deepEqual(started, []);
  assert.equal(await server.data(admin, 'POST', '/admin/sync/job1/run'), 'UPID:started');
  assert.deepEqual(started, [{ what: 'job1', authId: admin }]);
});

test('nobody takes over a job by making it one that he may change', async (t) => {
  const { server, acl } = await api(t);
  await server.data(admin, 'POST', '/config/sync', job);
  const eve = 'eve@pbs';
  await grant(acl, eve, '/datastore/other', 'DatastoreAdmin');
  await grant(acl, eve, '/remote/hers', 'RemoteSyncOperator');
  const theirs = { store: 'other', remote: 'hers', owner: eve };
  assert.equal(await server.refusal(eve, 'PUT', '/config/sync/job1', theirs), '400 permission check failed');
  // She may do the same with a job of her own, but not turn it into one on what is not hers.
  await server.data(eve, 'POST', '/config/sync', { ...job, id: 'hers', ...theirs });
  await server.data(eve, 'PUT', '/config/sync/hers', { comment: 'mine' });
  assert.equal(await server.refusal(eve, 'PUT', '/config/sync/hers', { store: 'main' }), '400 permission check failed');
  assert.equal(await server.refusal(eve, 'PUT', '/config/sync/hers', { remote: 'rrr' }), '400 permission check failed');
});

test('only a changed schedule puts the next run off', async (t) => {
  const { server, paths } = await configApi(t, 'target');
  const state = (): { finished: { updated: number | null } } => JSON.parse(readFileSync(join(paths.jobStates, 'syncjob-offsite-nightly.json'), 'utf8')) as { finished: { updated: number | null } };
  await server.data(admin, 'PUT', '/config/sync/offsite-nightly', { comment: 'other', schedule: 'mon..fri 02:30' });
  assert.equal(state().finished.updated, null);
  await server.data(admin, 'PUT', '/config/sync/offsite-nightly', { schedule: 'mon..fri 02:40' });
  const { updated } = state().finished;
  assert.ok(updated !== null && updated > 1_795_485_513);
});

test('lists show one direction, and of /admin/sync one datastore', async (t) => {
  const { server } = await configApi(t, 'target');
  await server.data(admin, 'POST', '/config/sync', { ...job, id: 'push1', remote: 'pbs-hq', 'sync-direction': 'push' });
  const ids = async (path: string, parameters: Record<string, unknown> = {}): Promise<string[]> => ((await server.data(admin, 'GET', path, parameters)) as Array<{ id: string }>).map(({ id }) => id).sort();
  for (const path of ['/config/sync', '/admin/sync']) {
    assert.deepEqual(await ids(path), ['all', 'offsite-nightly']);
    assert.deepEqual(await ids(path, { 'sync-direction': 'push' }), ['push1']);
    assert.deepEqual(await ids(path, { 'sync-direction': 'all' }), ['all', 'offsite-nightly', 'push1']);
  }
  assert.deepEqual(await ids('/admin/sync', { 'sync-direction': 'all', store: 'main' }), ['push1']);
});

test('a bandwidth timetable belongs to its job, but stands beside sync.cfg, which a reference server reads, too', async (t) => {
  const { server, paths } = await configApi(t, 'source');
  const bandwidth = 'mon..fri 8-18=5MiB, else unlimited';
  await server.data('root@pam', 'POST', '/config/sync', { id: 'timed', store: 'main', 'remote-store': 'other', bandwidth });
  const job = async (): Promise<{ bandwidth?: string }> => (await server.data('root@pam', 'GET', '/config/sync/timed')) as { bandwidth?: string };
  assert.equal((await job()).bandwidth, bandwidth);
  assert.ok(!readFileSync(join(paths.config, 'sync.cfg'), 'utf8').includes('5MiB'));
  assert.match(await server.refusal('root@pam', 'PUT', '/config/sync/timed', { bandwidth: '8-18' }), /^400 parameter verification failed - 'bandwidth': unable to parse bandwidth timetable at '8-18' - expected `=` and a rate/);
  await server.data('root@pam', 'PUT', '/config/sync/timed', { bandwidth: 'else 1MiB' });
  assert.equal((await job()).bandwidth, 'else 1MiB');
  await server.data('root@pam', 'PUT', '/config/sync/timed', { bandwidth: '' });
  assert.equal((await job()).bandwidth, undefined);
  await server.data('root@pam', 'PUT', '/config/sync/timed', { bandwidth });
  await server.data('root@pam', 'DELETE', '/config/sync/timed');
  await server.data('root@pam', 'POST', '/config/sync', { id: 'timed', store: 'main', 'remote-store': 'other' });
  assert.equal((await job()).bandwidth, undefined);
});
