import assert from 'node:assert/strict';
import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { apiGround, testServer, type TestServer } from '../../../test/support/api-ground.ts';
import { goldenDatastore } from '../../../test/support/golden.ts';
import { aclFile } from '../../config/acl-config.ts';
import { freshnessTable } from '../../config/freshness-config.ts';
import { syncJobTable } from '../../config/job-config.ts';
import type { InstallationPaths } from '../../config/home.ts';
import type { Judged } from '../../freshness/watch.ts';
import { freshnessStatusEndpoints } from '../status/freshness.ts';
import { freshnessConfigEndpoints } from './freshness.ts';

const now = 1_600_000_000;
const list = '/config/freshness';

/** main: sync@pbs may audit, owner@pbs modify; alice@pbs only makes backups there. */
async function ground(t: TestContext): Promise<{ data: TestServer['data']; refusal: TestServer['refusal']; paths: InstallationPaths }> {
  const made = await apiGround(t, 'source', { main: await goldenDatastore(), other: await goldenDatastore() });
  await aclFile(made.paths).update((tree) => {
    tree.insert({ path: '/datastore/main', subject: 'owner@pbs', role: 'DatastoreAdmin', propagate: true });
  });
  const contracts = freshnessTable(made.paths);
  const jobs = syncJobTable(made.paths);
  const judge = async (given: readonly Judged['contract'][]): Promise<Judged[]> =>
    given.map((contract) => ({ contract, judgement: { state: 'stale', age: Number.POSITIVE_INFINITY, newest: null, text: 'made up' }, raised: now }));
  const { access } = made;
  const server = await testServer(t, made, [
    ...freshnessConfigEndpoints({ contracts, jobs, access, clock: { now: () => now * 1000 } }),
    ...freshnessStatusEndpoints({ contracts, watch: { judge }, access }),
  ]);
  return { data: (...given) => server.data(...given), refusal: (...given) => server.refusal(...given), paths: made.paths };
}

test('contracts are made, changed and removed by who may modify the datastore', async (t) => {
  const { data, refusal, paths } = await ground(t);
  await data('owner@pbs', 'POST', list, { id: 'nightly', store: 'main', ns: 'site-a', 'max-age': '26h' });
  assert.deepEqual(await data('owner@pbs', 'GET', `${list}/nightly`), { id: 'nightly', store: 'main', ns: 'site-a', 'max-age': '26h', since: now });
  await data('owner@pbs', 'PUT', `${list}/nightly`, { 'max-age': '3d', 'every-group': true, delete: ['ns'] });
  assert.deepEqual(await data('sync@pbs', 'GET', list), [{ id: 'nightly', store: 'main', 'max-age': '3d', 'every-group': true, since: now }]);
  for (const as of ['sync@pbs', 'alice@pbs']) {
    assert.match(await refusal(as, 'POST', list, { id: 'another', store: 'main', 'max-age': '1d' }), /^403 permission check failed - missing Datastore\.Modify on \/datastore\/main/);
  }
  assert.match(await refusal('sync@pbs', 'PUT', `${list}/nightly`, { disable: true }), /^403 .*Datastore\.Modify/);
  assert.match(await refusal('sync@pbs', 'DELETE', `${list}/nightly`), /^403 .*Datastore\.Modify/);
  assert.match(await refusal('owner@pbs', 'PUT', `${list}/nightly`, { store: 'other' }), /^403 .* \/datastore\/other/, 'nor moved to a datastore of others');
  assert.equal((await stat(join(paths.config, 'freshness.cfg'))).mode & 0o777, 0o600);
  await data('owner@pbs', 'DELETE', `${list}/nightly`);
  assert.equal((await readFile(join(paths.config, 'freshness.cfg'), 'utf8')).trim(), '');
});

test('nobody sees contracts of datastores that he may not audit', async (t) => {
  const { data, refusal } = await ground(t);
  await data('admin@pbs', 'POST', list, { id: 'on-main', store: 'main', 'max-age': '1d' });
  await data('admin@pbs', 'POST', list, { id: 'on-other', store: 'other', 'max-age': '1d' });
  const ids = async (as: string, path: string): Promise<string[]> => ((await data(as, 'GET', path)) as Array<{ id: string }>).map(({ id }) => id);
  for (const path of [list, '/status/freshness']) {
    assert.deepEqual(await ids('admin@pbs', path), ['on-main', 'on-other']);
    assert.deepEqual(await ids('sync@pbs', path), ['on-main']);
    assert.deepEqual(await ids('alice@pbs', path), []);
  }
  const missing = await refusal('sync@pbs', 'GET', `${list}/nosuch`);
  for (const [method, path] of [['GET', `${list}/on-other`], ['PUT', `${list}/on-other`], ['DELETE', `${list}/on-other`]] as const) {
    assert.equal(await refusal('sync@pbs', method, path), missing.replace('nosuch', 'on-other'));
  }
  assert.equal(await refusal('sync@pbs', 'GET', '/status/freshness', { id: 'on-other' }), missing.replace('nosuch', 'on-other'));
  assert.deepEqual(await data('sync@pbs', 'GET', '/status/freshness'), [{ id: 'on-main', store: 'main', state: 'stale', text: 'made up', raised: now }]);
});

test('heartbeats are set by administrators, and only they see the address', async (t) => {
  const { data, refusal } = await ground(t);
  const heartbeat = 'https://beats.example/ping/0123-secret';
  assert.match(await refusal('owner@pbs', 'POST', list, { id: 'nightly', store: 'main', 'max-age': '1d', heartbeat }), /^403 .*Sys\.Modify/);
  await data('admin@pbs', 'POST', list, { id: 'nightly', store: 'main', 'max-age': '1d', heartbeat });
  const seenBy = async (as: string): Promise<unknown> => ((await data(as, 'GET', `${list}/nightly`)) as { heartbeat: string }).heartbeat;
  assert.deepEqual([await seenBy('admin@pbs'), await seenBy('owner@pbs')], [heartbeat, 'https://beats.example/']);
  await data('owner@pbs', 'PUT', `${list}/nightly`, { 'max-age': '2d' });
  assert.equal(await seenBy('admin@pbs'), heartbeat, 'who changes something else keeps it');
  assert.match(await refusal('owner@pbs', 'PUT', `${list}/nightly`, { heartbeat: 'http://localhost/' }), /^403/);
  assert.match(await refusal('owner@pbs', 'PUT', `${list}/nightly`, { delete: ['heartbeat'] }), /^403/);
});

test('a contract on a job is of its datastore', async (t) => {
  const { data, refusal } = await ground(t);
  await data('owner@pbs', 'POST', list, { id: 'pushed', job: 'push1', 'max-age': '1d' });
  assert.deepEqual(await data('owner@pbs', 'GET', `${list}/pushed`), { id: 'pushed', store: 'main', job: 'push1', 'max-age': '1d', since: now });
  assert.equal(await refusal('owner@pbs', 'POST', list, { id: 'other', job: 'nosuch', 'max-age': '1d' }), "400 no such sync job 'nosuch'");
  assert.equal(await refusal('alice@pbs', 'POST', list, { id: 'other', job: 'push1', 'max-age': '1d' }), "400 no such sync job 'push1'", 'as missing to who may not know');
  assert.match(await refusal('admin@pbs', 'POST', list, { id: 'other', job: 'push1', store: 'other', 'max-age': '1d' }), /^400 job: sync job 'push1' is not of datastore 'other'/);
});

test('what makes no sense is refused', async (t) => {
  const { refusal } = await ground(t);
  const refused = (given: Record<string, unknown>): Promise<string> => refusal('admin@pbs', 'POST', list, { id: 'nightly', store: 'main', 'max-age': '1d', ...given });
  assert.match(await refused({ 'max-age': '10s' }), /^400 max-age/);
  assert.match(await refused({ 'max-age': '50y' }), /^400 max-age/);
  assert.match(await refused({ 'max-age': 'soon' }), /^400 unable to parse time span/);
  assert.match(await refused({ 'backup-id': '100' }), /^400 backup-id/);
  assert.match(await refused({ heartbeat: 'file:///etc/passwd' }), /^400 /);
  assert.match(await refused({ heartbeat: 'https://%%/' }), /^400 heartbeat/);
  assert.match(await refusal('admin@pbs', 'POST', list, { id: 'nightly', 'max-age': '1d' }), /^400 store/);
});
