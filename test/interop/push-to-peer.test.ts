import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { hostAddress, Peer } from '../support/peer.ts';
import { adminAccount, backUpEverything, makeAdmin, restoredDifferences } from '../support/peer-backups.ts';
import { testSeed } from '../support/random-tree.ts';

test('what Farshore pushes to the reference verifies there and is restored from there, signed snapshots and the log too', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  await farshore.manager('datastore', 'create', 'main', join(work, 'main'));
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  const snapshots = await backUpEverything(peer, farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'main'), work, seed);

  await peer.manager('datastore', 'create', 'copy', '/data/copy');
  const target = await makeAdmin(peer, 'copy');
  await farshore.manager('remote', 'create', 'offsite', '--host', target.host, '--port', String(target.port), '--auth-id', target.authId, '--password', target.secret, '--fingerprint', target.fingerprint);
  await farshore.manager('sync-job', 'create', 'out', '--sync-direction', 'push', '--remote', 'offsite', '--remote-store', 'copy', '--store', 'main', '--remove-vanished', 'true');

  const first = await farshore.manager('sync-job', 'run', 'out');
  assert.match(first, /TASK OK/);
  assert.match(first, /Summary: sync job pushed /);
  assert.match(await peer.manager('verify', 'copy'), /TASK OK/);
  const again = await farshore.manager('sync-job', 'run', 'out');
  assert.match(again, /TASK OK/);
  assert.match(again, /no new data to push/);
  assert.doesNotMatch(again, /start sync|removed vanished/);

  assert.deepEqual(await restoredDifferences(peer, target, snapshots, join(work, 'restored')), []);
  const logged = snapshots[0]!.snapshot;
  const list = await peer.client(target, ['snapshot', 'list', '--output-format', 'json']);
  const listed = JSON.parse(list) as Array<{ 'backup-id': string; 'backup-time': number; comment?: string; files: Array<{ filename: string }> }>;
  const entry = listed.find((one) => logged === `host/${one['backup-id']}/${new Date(one['backup-time'] * 1000).toISOString().replace('.000', '')}`)!;
  assert.equal(entry.comment, 'before the move');
  assert.ok(entry.files.some((file) => file.filename === 'client.log.blob'));
  // Byte for byte: the reference wraps the log once more when it pushes.
  assert.deepEqual(await readFile(join(peer.dataFolder, 'copy', logged, 'client.log.blob')), await readFile(join(work, 'main', logged, 'client.log.blob')));

  // The ad-hoc push, into a namespace that is made for it; nothing there belongs to anybody else.
  await farshore.manager('push', 'main', 'offsite', 'copy', '--ns', 'a', '--remote-ns', 'deep/down');
  const deep = await peer.client(target, ['snapshot', 'list', '--ns', 'deep/down', '--output-format', 'json']);
  assert.equal((JSON.parse(deep) as unknown[]).length, 2);
});
