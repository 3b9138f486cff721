import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { setTimeout as pause } from 'node:timers/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { Peer } from '../support/peer.ts';
import { adminAccount, makeBackups, makeReaderToken } from '../support/peer-backups.ts';
import { randomImage, testSeed } from '../support/random-tree.ts';
import { storedFiles } from '../support/stored-files.ts';

/** The two servers share the datastore's folder and its `.lock`; lock files of groups and snapshots each has of its own here. */
const busy = /unable to get exclusive lock - EAGAIN: Try again/;

/** The writer is at work: it takes part in the lock before it makes anything. */
async function appeared(path: string): Promise<void> {
  while (!existsSync(path)) await pause(20);
}

test('garbage collection of either server keeps out of a datastore that the other one writes', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  await makeBackups(peer, work, seed);
  const secret = await makeReaderToken(peer, 'main', 'sync@pbs', 'offsite');
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  const copy = join(peer.dataFolder, 'offsite');
  await farshore.manager('datastore', 'create', 'offsite', copy);
  await farshore.manager('remote', 'create', 'pbs-hq', '--host', peer.host, '--auth-id', 'sync@pbs!offsite', '--password', secret, '--fingerprint', peer.fingerprint);
  // Slow enough that the other server has its turn in the middle.
  await farshore.manager('sync-job', 'create', 'slow', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite', '--rate-in', '4MiB');
  await peer.manager('datastore', 'create', 'offsite', '/data/offsite', '--reuse-datastore', 'true');

  await t.test('the reference waits for our pull, and ends what it cannot have', async () => {
    const pull = farshore.manager('sync-job', 'run', 'slow');
    await appeared(join(copy, 'host'));
    const collection = await peer.tryManager(['garbage-collection', 'start', 'offsite']);
    assert.match(collection.stdout + collection.stderr, busy);
    assert.match(await pull, /TASK OK\n$/);
    assert.match(await peer.manager('garbage-collection', 'start', 'offsite'), /TASK OK\n$/);
  });

  await t.test('nothing that was pulled is missing afterwards', async () => {
    assert.deepEqual(storedFiles(copy), storedFiles(join(peer.dataFolder, 'main')));
    assert.match(await peer.manager('verify', 'offsite'), /TASK OK\n$/);
  });

  await t.test('we keep out of what the reference writes', async () => {
    const image = join(work, 'image');
    await writeFile(image, randomImage(seed + 7, 6, 0));
    const backup = peer.client(peer.target(adminAccount.authId, adminAccount.password, 'offsite'), ['backup', `disk.img:${image}`, '--backup-id', 'late', '--rate', '4MiB']);
    await appeared(join(copy, 'host/late'));
    const collection = await farshore.tryManager(['garbage-collection', 'start', 'offsite']);
    assert.match(collection.stdout + collection.stderr, busy);
    await backup;
    assert.match(await farshore.manager('garbage-collection', 'start', 'offsite'), /TASK OK\n$/);
    assert.match(await farshore.manager('verify', 'offsite'), /TASK OK\n$/);
  });
});
