import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { hostAddress, Peer, type ClientTarget } from '../support/peer.ts';
import { adminAccount, backUpEverything, restoredDifferences } from '../support/peer-backups.ts';
import { randomImage, testSeed } from '../support/random-tree.ts';

const namespaces = ['', 'a', 'a/b'];

type Item = Record<string, unknown> & { 'backup-id': string; 'backup-time': number; verification?: { state: string } };

async function listed(peer: Peer, target: ClientTarget): Promise<Item[]> {
  const items: Item[] = [];
  for (const namespace of namespaces) {
    const argv = ['snapshot', 'list', '--output-format', 'json', ...(namespace === '' ? [] : ['--ns', namespace])];
    items.push(...(JSON.parse(await peer.client(target, argv)) as Item[]).toSorted((a, b) => a['backup-time'] - b['backup-time'] || (a['backup-id'] < b['backup-id'] ? -1 : 1)));
  }
  return items;
}

test("what the reference's client backs up to Farshore is restored by it, and verified by the reference", async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  await farshore.manager('datastore', 'create', 'main', join(peer.dataFolder, 'main'));
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  const target = farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'main');
  const snapshots = await backUpEverything(peer, target, work, seed);

  await t.test('its tasks ended well', async () => {
    const tasks = JSON.parse(await farshore.manager('task', 'list', '--all', '--output-format', 'json')) as Array<{ worker_type: string; status: string }>;
    const states = tasks.filter((task) => task.worker_type === 'backup').map((task) => task.status);
    assert.deepEqual(states, Array.from({ length: snapshots.length }, () => 'OK'));
  });

  await t.test('an image that has not changed is not sent again, also under a token of the owner', async () => {
    await writeFile(join(work, 'same'), randomImage(seed + 5, 3, 1000));
    const backUp = (time: number, as: ClientTarget) => peer.tryClient(as, ['backup', `disk.img:${join(work, 'same')}`, '--backup-type', 'vm', '--backup-id', '200', '--backup-time', String(time)]);
    const answer = await farshore.manager('user', 'generate-token', adminAccount.authId, 'nightly');
    const secret = (JSON.parse(answer.slice(answer.indexOf('{'))) as { value: string }).value;
    await farshore.manager('acl', 'update', '/datastore/main', 'DatastoreBackup', '--auth-id', `${adminAccount.authId}!nightly`);
    const token = farshore.target(hostAddress, `${adminAccount.authId}!nightly`, secret, 'main');
    const first = await backUp(1_760_000_000, token);
    assert.equal(first.status, 0, first.stderr);
    // A user goes on with the groups of the own tokens.
    const second = await backUp(1_760_086_400, target);
    assert.match(second.stderr + second.stdout, /disk\.img: had to backup 0 B of/);
    // The other way round is refused.
    await peer.client(target, ['backup', `disk.img:${join(work, 'same')}`, '--backup-type', 'vm', '--backup-id', '201']);
    const refused = await peer.tryClient(token, ['backup', `disk.img:${join(work, 'same')}`, '--backup-type', 'vm', '--backup-id', '201']);
    assert.notEqual(refused.status, 0);
    assert.match(refused.stderr, /backup owner check failed \(op@pbs!nightly != op@pbs\)/);
    const older = await backUp(1_760_000_001, target);
    assert.match(older.stderr, /backup timestamp is older than last backup\./);
  });

  await t.test('what the client restores is what was backed up', async () => {
    assert.deepEqual(await restoredDifferences(peer, target, snapshots, join(work, 'restored')), []);
  });

  await t.test('the benchmark leaves nothing', async () => {
    const ran = await peer.tryClient(target, ['benchmark', '--output-format', 'json']);
    assert.equal(ran.status, 0, ran.stderr);
    assert.ok((JSON.parse(ran.stdout) as { tls: { speed: number } }).tls.speed > 0);
    assert.equal((await listed(peer, target)).filter((item) => item['backup-id'] === 'benchmark').length, 0);
  });

  await t.test('the reference opens the datastore, lists the same and verifies all of it', async () => {
    const ours = await listed(peer, target);
    await peer.manager('datastore', 'create', 'main', '/data/main', '--reuse-datastore', 'true');
    await peer.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
    await peer.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
    const theirs = peer.target(adminAccount.authId, adminAccount.password, 'main');
    const files = (items: Item[]): unknown[] => items.map((item) => ({ ...item, files: (item['files'] as Array<{ filename: string }>).toSorted((a, b) => (a.filename < b.filename ? -1 : 1)) }));
    assert.deepEqual(files(ours), files(await listed(peer, theirs)));
    assert.match(await peer.manager('verify', 'main'), /TASK OK/);
    const verified = await listed(peer, theirs);
    assert.equal(verified.length, snapshots.length + 3);
    for (const item of verified) assert.equal(item.verification?.state, 'ok', JSON.stringify(item));
  });
});
