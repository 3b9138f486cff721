import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { SyncPlanReply } from '../../src/api/sync-plan-reply.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { removeSnapshot } from '../../src/datastore/removal.ts';
import { addEmptyDatastore, addRemote, adminToken, assertFailed, datastoreFolder, FarshoreHost } from '../support/farshore-host.ts';
import { firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';

const day = 86_400;

async function fill(folder: string, work: (store: Datastore) => Promise<void>): Promise<void> {
  using store = await Datastore.open({ name: 'main', path: join(folder, 'main'), locksRoot: join(folder, 'locks'), tuning: { syncLevel: 'none' } });
  await work(store);
}

test('a plan of a push says what then moves and what is removed; a dry run says the same and changes nothing; rate, threads and filters hold over the real program', async () => {
  await using folder = await datastoreFolder();
  await using far = new FarshoreHost(join(folder.path, 'far'));
  await addEmptyDatastore(far, 'copy', join(folder.path, 'copy'));
  await far.start();
  const secret = await adminToken(far);
  await using host = new FarshoreHost(join(folder.path, 'home'));
  await addEmptyDatastore(host, 'main', join(folder.path, 'main'));
  const shared = noiseChunks('shared', 3);
  const verified = { verify_state: { upid: 'UPID:test:00000001:00000001:00000001:00000001:verify:main:root@pam:', state: 'ok' } };
  await fill(folder.path, async (store) => {
    for (const id of ['a', 'b']) await makeSnapshot(store, '', { type: 'host', id, time: firstTime }, { files: { 'root.pxar.didx': [...noiseChunks(id, 5), ...shared] }, owner: 'root@pam', unprotected: verified });
    await makeSnapshot(store, '', { type: 'host', id: 'a', time: firstTime + day }, { files: { 'root.pxar.didx': [...noiseChunks('a', 5), ...noiseChunks('a2', 2)] }, owner: 'root@pam' });
  });
  await host.start();
  await addRemote(host, 'offsite', far, secret);
  const plan = async (): Promise<SyncPlanReply> => (await host.json('sync-job', 'plan', 'out')) as SyncPlanReply;
  const copied = async (): Promise<string> => host.ok('sync-job', 'run', 'out');
  await host.ok('sync-job', 'create', 'out', '--sync-direction', 'push', '--store', 'main', '--remote', 'offsite', '--remote-store', 'copy', '--remove-vanished', 'true', '--rate-out', '16MiB', '--worker-threads', '1', '--verified-only', 'true');

  // One snapshot is not verified.
  const first = await plan();
  assert.deepEqual([first.direction, first.source, first.target, first.basis, first.chunks, first['rate-source']], ['push', 'main', 'offsite/copy', 'exact', 13, 'rate-out']);
  assert.match(await host.ok('sync-job', 'run', 'out', '--dry-run', 'true'), /would push datastore 'main' to 'offsite\/copy'[^]*To move: [^\n]* in 13 chunks/);
  assert.match(await copied(), /in 13 chunks/, 'the dry run moved nothing');
  assert.equal((await plan()).chunks, 0);

  // Everything, and what has vanished goes.
  await host.ok('sync-job', 'update', 'out', '--delete', 'verified-only');
  await fill(folder.path, (store) => removeSnapshot(store, '', { type: 'host', id: 'b', time: firstTime }));
  const second = await plan();
  assert.equal(second.chunks, 2);
  assert.deepEqual(second.remove.map((one) => [one['backup-id'], one['backup-time']]), [['b', firstTime]]);
  assert.match(await host.ok('sync-job', 'run', 'out', '--dry-run', 'true'), /remove host\/b\//);
  assert.equal(((await far.json('datastore', 'list')) as unknown[]).length, 1);
  const run = await copied();
  assert.match(run, /in 2 chunks/);
  assert.match(run, /delete vanished group 'host\/b'/);
  assert.deepEqual([(await plan()).chunks, (await plan()).remove], [0, []]);

  // Only what is encrypted, of which there is nothing.
  await fill(folder.path, async (store) => {
    await makeSnapshot(store, '', { type: 'host', id: 'a', time: firstTime + 2 * day }, { files: { 'root.pxar.didx': noiseChunks('a3', 2) }, owner: 'root@pam' });
  });
  await host.ok('sync-job', 'update', 'out', '--encrypted-only', 'true');
  assert.equal((await plan()).chunks, 0);
  assert.match(await copied(), /not encrypted/);

  assertFailed(await host.run(['sync-job', 'run', 'out', '--dry-run', 'true', '--adopted-from', 'offsite/copy']), /once it has been said without --dry-run/);
  await far.ok('acl', 'update', '/datastore/copy', 'DatastoreAudit', '--auth-id', 'sync@pbs');
  const preview = await far.ok('datastore', 'remove', 'copy', '--destroy-data', 'true', '--dry-run', 'true');
  assert.match(preview, /would remove datastore 'copy'/);
  assert.match(preview, /would delete all data in "[^"]*": 2 snapshots of 1 groups in 1 namespaces, and all chunks/);
  assert.match(preview, /would remove 1 access control entries at and below \/datastore\/copy/);
  assert.equal(((await far.json('datastore', 'list')) as unknown[]).length, 1, 'it is still there');
  assert.match(await host.ok('datastore', 'remove', 'main', '--dry-run', 'true'), /would remove 1 sync job\(s\): out\nwould keep all data/);
});
