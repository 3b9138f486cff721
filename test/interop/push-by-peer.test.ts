import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { hostAddress, Peer } from '../support/peer.ts';
import { adminAccount, makeBackups, restoredDifferences } from '../support/peer-backups.ts';
import { testSeed } from '../support/random-tree.ts';

test('what the reference pushes to Farshore verifies there and is restored from there', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  const { snapshots } = await makeBackups(peer, work, seed);
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  await farshore.manager('datastore', 'create', 'copy', join(work, 'copy'));
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  await peer.manager('remote', 'create', 'offsite', '--host', hostAddress, '--port', String(farshore.port), '--auth-id', adminAccount.authId, '--password', adminAccount.password, '--fingerprint', farshore.fingerprint);
  await peer.manager('sync-job', 'create', 'out', '--sync-direction', 'push', '--remote', 'offsite', '--remote-store', 'copy', '--store', 'main');

  assert.match(await peer.manager('sync-job', 'run', 'out'), /TASK OK/);
  assert.match(await farshore.manager('verify', 'copy'), /TASK OK/);
  const again = await peer.manager('sync-job', 'run', 'out');
  assert.match(again, /TASK OK/);
  assert.match(again, /no new data to push|0 chunks/);

  const target = farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'copy');
  // The reference pushes crypt mode `none` in place of `sign-only`, which its own client rejects afterwards: nothing that the target could mend.
  const signed = snapshots.find(({ snapshot }) => snapshot.startsWith('host/signed/'))!;
  const restored = await peer.tryClient(target, ['restore', signed.snapshot, 'root.pxar', join(work, 'signed'), '--keyfile', signed.keyFile!]);
  assert.match(restored.stderr, /wrong signature in manifest/);
  const readable = snapshots.filter((one) => one !== signed);
  assert.equal(readable.length, snapshots.length - 1);
  assert.deepEqual(await restoredDifferences(peer, target, readable, join(work, 'restored')), []);
});
