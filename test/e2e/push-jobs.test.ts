import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { Datastore } from '../../src/datastore/datastore.ts';
import { addRemote, assertFailed, datastoreFolder, FarshoreHost, secretIn } from '../support/farshore-host.ts';
import { firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';

/** A server with the datastores `site-a`, `site-b`, each with host/same and a group of its own, and `copy`, which a remote called `self` leads to. */
async function configure(host: FarshoreHost, folder: string): Promise<void> {
  await host.start();
  for (const name of ['site-a', 'site-b', 'copy']) await host.ok('datastore', 'create', name, join(folder, name));
  for (const name of ['site-a', 'site-b']) {
    const store = await Datastore.open({ name, path: join(folder, name), locksRoot: join(folder, 'locks'), tuning: { syncLevel: 'none' } });
    for (const id of ['same', `only-${name}`]) await makeSnapshot(store, '', { type: 'host', id, time: firstTime }, { files: { 'root.pxar.didx': [noise(`${name}-${id}`, 65536)] } });
    store.close();
  }
  await host.ok('user', 'create', 'sync@pbs');
  const secret = secretIn(await host.ok('user', 'generate-token', 'sync@pbs', 'offsite'));
  for (const authId of ['sync@pbs', 'sync@pbs!offsite']) await host.ok('acl', 'update', '/datastore/copy', 'DatastoreAdmin', '--auth-id', authId);
  await addRemote(host, 'self', host, secret);
}

const pushJob = (id: string, store: string, ...words: string[]): string[] => ['sync-job', 'create', id, '--sync-direction', 'push', '--store', store, '--remote', 'self', '--remote-store', 'copy', ...words];

test('push jobs and pushes run; two that would mix up or remove each other\'s backups are refused with the reason', async () => {
  await using folder = await datastoreFolder();
  await using host = new FarshoreHost(join(folder.path, 'home'));
  await configure(host, folder.path);
  await host.ok(...pushJob('one', 'site-a'));
  const first = await host.ok('sync-job', 'run', 'one');
  assert.match(first, /Summary: sync job pushed .* in 2 chunks/);
  assert.match(first, /TASK OK/);
  assert.match(await host.ok('sync-job', 'run', 'one'), /no new data to push/);

  // Both have host/same.
  await host.ok(...pushJob('two', 'site-b'));
  assertFailed(await host.run(['sync-job', 'run', 'two']), /sync job 'one' brings 1 group\(s\) of the same names from 'site-a' to the same place, e\.g\. 'host\/same'/, /Mend it with: give each job a target namespace of its own/);
  await host.ok('sync-job', 'update', 'two', '--group-filter', 'exclude:group:host/same');
  assert.match(await host.ok('sync-job', 'run', 'two'), /TASK OK/);

  assertFailed(await host.run(['sync-job', 'update', 'two', '--remove-vanished', 'true']), /sync job 'two' has remove-vanished and would remove what sync job 'one' brings to the same place/);
  assertFailed(await host.run(pushJob('three', 'site-b', '--remove-vanished', 'true')), /would remove what sync job 'one' brings/);
  assertFailed(await host.run(['push', 'site-b', 'self', 'copy', '--remove-vanished', 'true']), /this push has remove-vanished and would remove what sync job 'one' brings/);
  await host.ok('sync-job', 'update', 'two', '--remove-vanished', 'true', '--remote-ns', 'from-b');
  assert.match(await host.ok('sync-job', 'run', 'two'), /TASK OK/);

  // What is wrong with the remote is said at once.
  await host.ok('remote', 'update', 'self', '--password', 'wrong-secret');
  assertFailed(await host.run(['push', 'site-a', 'self', 'copy']), /remote 'self'/);
});
