import assert from 'node:assert/strict';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { chunkCount, storedFiles } from '../support/stored-files.ts';
import { Peer, type ClientTarget } from '../support/peer.ts';
import { makeBackups, makeReaderToken, restoredDifferences } from '../support/peer-backups.ts';
import { randomImage, testSeed } from '../support/random-tree.ts';

const namespaces = ['', 'a', 'a/b'];

/** Runs the job; how many chunks came, by its own account. */
async function runJob(farshore: FarshoreServer, id: string): Promise<number> {
  const log = await farshore.manager('sync-job', 'run', id);
  assert.match(log, /TASK OK\n$/);
  if (log.includes('Summary: sync job found no new data to pull')) return 0;
  return Number(/Summary: sync job pulled \S+ \S+ in (\d+) chunks/.exec(log)?.[1]);
}

test('what the reference holds is pulled whole, opened by the reference, verified and restored by it', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  const { admin, snapshots } = await makeBackups(peer, work, seed);
  const secret = await makeReaderToken(peer, 'main', 'sync@pbs', 'offsite');
  const sourceFolder = join(peer.dataFolder, 'main');
  const copyFolder = join(peer.dataFolder, 'offsite');
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  await farshore.manager('datastore', 'create', 'offsite', copyFolder);
  await farshore.manager('remote', 'create', 'pbs-hq', '--host', peer.host, '--auth-id', 'sync@pbs!offsite', '--password', secret, '--fingerprint', peer.fingerprint);
  await farshore.manager('sync-job', 'create', 'nightly', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite');

  await t.test('the first pull copies every file byte for byte, each chunk once', async () => {
    const fetched = await runJob(farshore, 'nightly');
    const source = storedFiles(sourceFolder);
    assert.deepEqual(storedFiles(copyFolder), source);
    assert.equal(fetched, chunkCount(source));
  });

  await t.test('the second pull fetches no chunk', async () => {
    assert.equal(await runJob(farshore, 'nightly'), 0);
  });

  const copy = { ...admin, store: 'offsite' };
  await t.test('the reference opens the copy, lists and verifies it', async () => {
    await peer.manager('datastore', 'create', 'offsite', '/data/offsite', '--reuse-datastore', 'true');
    for (const namespace of namespaces) assert.deepEqual(await listing(peer, copy, namespace), await listing(peer, admin, namespace));
    assert.equal(await peer.client(copy, ['snapshot', 'notes', 'show', snapshots[0]!.snapshot]), 'before the move\nkeep it\n');
    await verifiedByReference(peer, copy, snapshots.length);
  });

  await t.test('after that only what is new is pulled, and its verifications stay', async () => {
    await writeFile(join(work, 'more'), randomImage(seed + 2, 1, 100_000));
    await peer.client(admin, ['backup', `disk.img:${join(work, 'more')}`, '--backup-type', 'vm', '--backup-id', '100', '--ns', 'a']);
    const before = chunkCount(storedFiles(copyFolder));
    const fetched = await runJob(farshore, 'nightly');
    const chunks = chunkCount(storedFiles(copyFolder));
    assert.equal(chunks, chunkCount(storedFiles(sourceFolder)));
    assert.equal(fetched, chunks - before);
    await verifiedByReference(peer, copy, snapshots.length + 1, { skipped: snapshots.length });
  });

  await t.test('what its client restores from the copy is what was backed up', async () => {
    assert.deepEqual(await restoredDifferences(peer, copy, snapshots, join(work, 'restored')), []);
  });
});

type Item = Record<string, unknown> & { 'backup-type': string; 'backup-id': string; 'backup-time': number; verification?: { state: string } };

async function listed(peer: Peer, target: ClientTarget, namespace: string): Promise<Item[]> {
  const argv = ['snapshot', 'list', '--output-format', 'json', ...(namespace === '' ? [] : ['--ns', namespace])];
  return JSON.parse(await peer.client(target, argv)) as Item[];
}

/** What the client lists, in one order and without what belongs to each datastore itself. */
async function listing(peer: Peer, target: ClientTarget, namespace: string): Promise<unknown[]> {
  const items = await listed(peer, target, namespace);
  return items
    .map(({ owner: _owner, protected: _protected, ...item }) => item)
    .toSorted((a, b) => a['backup-time'] - b['backup-time']);
}

/** The reference verifies the whole datastore, and each snapshot is recorded as good afterwards. `skipped`: how many it takes as verified before. */
async function verifiedByReference(peer: Peer, target: ClientTarget, count: number, { skipped = 0 } = {}): Promise<void> {
  const log = await peer.manager('verify', target.store);
  assert.match(log, /TASK OK/);
  assert.equal(log.match(/^SKIPPED: verify .*recently verified/gm)?.length ?? 0, skipped, log);
  const states: Array<string | undefined> = [];
  for (const namespace of namespaces) for (const item of await listed(peer, target, namespace)) states.push(item.verification?.state);
  assert.deepEqual(states, Array.from({ length: count }, () => 'ok'));
}
