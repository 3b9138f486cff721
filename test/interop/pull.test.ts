import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { RateLimiter } from '../../src/protocol/rate-limit.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import { LocalTarget } from '../../src/replication/local-target.ts';
import { PossessionJournal } from '../../src/replication/possession-journal.ts';
import { RemoteSource } from '../../src/replication/remote-source.ts';
import type { ReplicationReport } from '../../src/replication/report.ts';
import { replicate } from '../../src/replication/run.ts';
import { Peer, type ClientTarget } from '../support/peer.ts';
import { makeBackups, makeReaderToken, restoredDifferences } from '../support/peer-backups.ts';
import { randomImage, testSeed } from '../support/random-tree.ts';

const namespaces = ['', 'a', 'a/b'];

interface Puller {
  pull(): Promise<ReplicationReport>;
}

/** Pulls everything from the reference's datastore `main` into `store`, as one job with its journal. */
function puller(store: Datastore, source: ClientTarget, folder: string): Puller {
  return {
    pull: async () => {
      const flight = new FlightControl(systemClock);
      const { signal } = new AbortController();
      const endpoint = new RemoteEndpoint({ host: source.host, port: source.port, authId: source.authId, secret: source.secret, fingerprint: source.fingerprint });
      const remote = new RemoteSource({ endpoint, remote: 'hq', store: source.store, namespace: '', flight, limiter: new RateLimiter({}), signal });
      const journal = PossessionJournal.open({ path: join(folder, 'journal.sqlite'), identity: 'hq', bootId: 'b', log: silentLog });
      try {
        return await replicate({
          source: remote,
          target: new LocalTarget(store),
          policy: { sourceNamespace: '', targetNamespace: '', maxDepth: undefined, owner: 'root@pam', groupFilters: [], removeVanished: false, transferLast: undefined, encryptedOnly: false, verifiedOnly: false, resyncCorrupt: false, workerThreads: undefined },
          journal,
          permissions: { write: () => null, createNamespace: () => null, removeNamespace: () => null },
          log: silentLog,
          signal,
          flight,
        });
      } finally {
        await remote.close();
        journal.close();
      }
    },
  };
}

/** SHA-256 of every file below a datastore, but for locks, owners, the chunks' bookkeeping and what is never copied (spec sync 4.5). */
function storedFiles(root: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || ['.lock', 'owner', '.protected', '.gc-status', '.bad'].includes(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(root.length + 1), createHash('sha256').update(readFileSync(path)).digest('hex'));
  }
  return files;
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
  await mkdir(copyFolder);
  const store = await Datastore.create({ name: 'offsite', path: copyFolder, locksRoot: join(work, 'locks') });
  t.after(() => store.close());
  const job = puller(store, peer.target('sync@pbs!offsite', secret, 'main'), work);

  const chunksOf = (files: Map<string, string>): number => [...files.keys()].filter((name) => name.startsWith('.chunks/')).length;
  await t.test('the first pull copies every file byte for byte, each chunk once', async () => {
    const report = await job.pull();
    const source = storedFiles(sourceFolder);
    assert.deepEqual(storedFiles(copyFolder), source);
    assert.equal(report.snapshots, snapshots.length);
    assert.equal(report.fetchedChunks, chunksOf(source));
  });

  await t.test('the second pull fetches no chunk', async () => {
    const report = await job.pull();
    assert.deepEqual([report.fetchedChunks, report.snapshots, report.errors], [0, 0, []]);
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
    const before = chunksOf(storedFiles(copyFolder));
    const report = await job.pull();
    const chunks = chunksOf(storedFiles(copyFolder));
    assert.equal(chunks, chunksOf(storedFiles(sourceFolder)));
    assert.deepEqual([report.fetchedChunks, report.errors], [chunks - before, []]);
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
