import assert from 'node:assert/strict';
import { readFile, readdir, rename, rm, stat, writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { errorChain } from '../../src/base/errors.ts';
import { createLockedGroup } from '../../src/datastore/groups.ts';
import { listNamespaces } from '../../src/datastore/namespaces.ts';
import { removeSnapshot } from '../../src/datastore/removal.ts';
import { listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import { isProtected, loadManifest, setProtected, setSnapshotNotes, setVerifyState } from '../../src/datastore/snapshots.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { parseSnapshot, snapshotText, type BackupSnapshot } from '../../src/format/backup-path.ts';
import { manifestNotes, verifyState } from '../../src/format/manifest.ts';
import { RateLimiter } from '../../src/protocol/rate-limit.ts';
import { parseGroupFilter } from '../../src/replication/group-filter.ts';
import type { ReplicationSource } from '../../src/replication/ports.ts';
import { emptyStore } from '../support/datastore.ts';
import { digestOf, firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { pullInto, syncPair, verifyAll, type PullOptions, type SyncPair } from '../support/sync-pair.ts';

const ownUpid = 'UPID:offsite:00000001:00000001:00000001:00000001:verify:main:root@pam:';

/** Snapshots that are visible, `namespace:type/id/time`. */
async function visible(store: Datastore): Promise<string[]> {
  const found: string[] = [];
  for (const namespace of await listNamespaces(store)) {
    for (const info of await listSnapshotInfos(store, namespace)) {
      if (info.size !== undefined) found.push(`${namespace}:${snapshotText({ type: info['backup-type'], id: info['backup-id'], time: info['backup-time'] })}`);
    }
  }
  return found.toSorted();
}

function at(id: string, day: number): BackupSnapshot {
  return { type: 'vm', id, time: firstTime + day * 86_400 };
}

/** `days` snapshots of vm/`id`, each with a disk of four chunks, one of them new, and a blob. */
async function makeGroup(store: Datastore, namespace: string, id: string, days: number): Promise<void> {
  for (let day = 0; day < days; day += 1) {
    const chunks = [...noiseChunks(`${namespace}-${id}`, 3), ...noiseChunks(`${namespace}-${id}-${day}`, 1)];
    await makeSnapshot(store, namespace, at(id, day), { files: { 'drive-scsi0.img.fidx': chunks, 'qemu-server.conf.blob': [Buffer.from(`name: ${id}`)] } });
  }
}

async function days(store: Datastore, id: string): Promise<number[]> {
  const infos = await listSnapshotInfos(store, '', { type: 'vm', id });
  return infos.map((info) => (info['backup-time'] - firstTime) / 86_400);
}

async function contentFiles(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .filter((name) => !/(^|\/)(\.lock|\.gc-status|owner|notes|\.protected)$/.test(name))
    .toSorted();
}

async function failure(pair: SyncPair, options: PullOptions): Promise<string> {
  const { error, log } = await pair.pull(options);
  assert.notEqual(error, null, log.lines.join('\n'));
  return errorChain(error);
}

test('the copy is the source byte for byte, chunks included, and verifies; the second run asks for nothing but the listings', async () => {
  await using pair = await syncPair({ golden: true });
  const first = await pair.pulled();
  assert.deepEqual([first.groups, first.snapshots, first.fetchedChunks], [8, 12, 37]);
  const names = await contentFiles(pair.source.store.path);
  assert.deepEqual(await contentFiles(pair.target.path), names);
  for (const name of names) assert.ok((await readFile(join(pair.source.store.path, name))).equals(await readFile(join(pair.target.path, name))), name);
  assert.equal(await verifyAll(pair.target), 12);
  assert.equal(await readFile(join(pair.target.path, 'host/alices/owner'), 'utf8'), 'root@pam\n');
  // Verified on arrival by us: the states are ours now, and the source has not changed.
  const asked = pair.source.requests.length;
  const second = await pair.pulled();
  assert.deepEqual([second.snapshots, second.fetchedChunks, second.unchangedSnapshots], [0, 0, 0]);
  const requests = pair.source.requests.slice(asked);
  assert.ok(requests.length === 1 + 2 * 3 && requests.every((url) => url.startsWith('/api2/json/admin/datastore/main/')), requests.join('\n'));
});

for (const workerThreads of [1, 8]) {
  test(`${workerThreads} worker threads: many groups, no chunk twice`, async () => {
    await using pair = await syncPair();
    for (let group = 0; group < 12; group += 1) await makeGroup(pair.source.store, group % 2 === 0 ? '' : 'a', `${100 + group}`, 3);
    const shared = noiseChunks('shared', 8);
    for (let group = 0; group < 12; group += 1) await makeSnapshot(pair.source.store, '', at(`${200 + group}`, 0), { files: { 'drive-scsi0.img.fidx': shared } });
    const running = { now: 0, most: 0 };
    const report = await pair.pulled({
      workerThreads,
      wrapTarget: (target) =>
        new Proxy(target, {
          get(inner, name) {
            const member: unknown = Reflect.get(inner, name, inner);
            if (typeof member !== 'function') return member;
            if (name !== 'openGroup') return member.bind(inner) as unknown;
            return async (...args: Parameters<typeof target.openGroup>) => {
              running.now += 1;
              running.most = Math.max(running.most, running.now);
              const session = await inner.openGroup(...args);
              const close = session.close.bind(session);
              session.close = async () => {
                await close();
                running.now -= 1;
              };
              return session;
            };
          },
        }),
    });
    assert.equal(report.snapshots, 12 * 3 + 12);
    assert.equal(report.fetchedChunks, 12 * (3 + 3) + 8);
    assert.ok(workerThreads === 1 ? running.most === 1 : running.most > 1 && running.most <= 8, `${running.most} at a time`);
    assert.equal(await verifyAll(pair.target), 48);
  });
}

test('namespaces: anchor, depth and mapping', async (t) => {
  const cases: Array<[name: string, options: PullOptions, expected: string[]]> = [
    ['only the root', { maxDepth: 0 }, ['']],
    ['one level', { maxDepth: 1, targetNamespace: 'in' }, ['in', 'in/a', 'in/other']],
    ['below an anchor', { sourceNamespace: 'a', targetNamespace: 'from-a' }, ['from-a', 'from-a/b', 'from-a/b/c']],
    ['below an anchor, one level', { sourceNamespace: 'a/b', maxDepth: 1, targetNamespace: 'deep' }, ['deep', 'deep/c']],
    ['to the root', { sourceNamespace: 'a/b/c' }, ['']],
    ['all', {}, ['', 'a', 'a/b', 'a/b/c', 'other']],
  ];
  await using pair = await syncPair();
  for (const namespace of ['', 'a', 'a/b', 'a/b/c', 'other']) await makeGroup(pair.source.store, namespace, '1', 1);
  for (const [name, options, expected] of cases) {
    await t.test(name, async () => {
      await using other = await emptyStore();
      const { error, log } = await pullInto(other.store, other.folder, pair.source.endpoint(), options);
      assert.equal(error, null, log.lines.join('\n'));
      assert.deepEqual(await visible(other.store), expected.map((namespace) => `${namespace}:vm/1/2025-10-09T09:00:00Z`).toSorted());
    });
  }
  assert.match(await failure(pair, { targetNamespace: 'a/b/c/d/e' }), /more than 7/);
  await failure(pair, { sourceNamespace: 'no-such' });
  assert.deepEqual(await visible(pair.target), []);
});

test('what was mapped to another namespace is not fetched again', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 2);
  assert.equal((await pair.pulled({ targetNamespace: 'one' })).fetchedChunks, 5);
  const again = await pair.pulled({ targetNamespace: 'two' });
  assert.deepEqual([again.fetchedChunks, again.snapshots, again.reusedChunks], [0, 2, 5]);
  assert.equal(await verifyAll(pair.target), 4);
});

test('group filters choose groups, and only chosen groups can vanish', async () => {
  await using pair = await syncPair();
  for (const id of ['100', '101', '200']) await makeGroup(pair.source.store, '', id, 1);
  await pair.pulled({ groupFilters: [parseGroupFilter('regex:/1'), parseGroupFilter('exclude:group:vm/101')] });
  assert.deepEqual(await visible(pair.target), [':vm/100/2025-10-09T09:00:00Z']);
  await pair.pulled();
  await rm(join(pair.source.store.path, 'vm/100'), { recursive: true });
  await rm(join(pair.source.store.path, 'vm/200'), { recursive: true });
  const report = await pair.pulled({ removeVanished: true, groupFilters: [parseGroupFilter('group:vm/200')] });
  assert.equal(report.removedGroups, 1);
  assert.deepEqual(await visible(pair.target), [':vm/100/2025-10-09T09:00:00Z', ':vm/101/2025-10-09T09:00:00Z']);
});

test('transfer-last takes the newest ones; later runs go on from there', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 5);
  await pair.pulled({ transferLast: 2 });
  assert.deepEqual(await days(pair.target, '1'), [3, 4]);
  await makeGroup(pair.source.store, '', '1', 6);
  const { report, log } = await pair.pull({ transferLast: 1 });
  assert.notEqual(report, null);
  // As the reference writes it.
  assert.ok(log.lines.includes('[vm/1]: skipped: 4 snapshot(s) (2025-10-09T09:00:00Z .. 2025-10-12T09:00:00Z) - older than the newest snapshot present on sync target'), log.lines.join('\n'));
  assert.deepEqual(await days(pair.target, '1'), [3, 4, 5]);
});

test('encrypted-only and verified-only take only those', async () => {
  await using pair = await syncPair({ golden: true });
  await pair.pulled({ encryptedOnly: true });
  assert.deepEqual(await visible(pair.target), [':host/crypt/2025-10-09T08:56:40Z', ':host/crypt/2025-10-10T08:56:40Z']);

  await using other = await syncPair();
  await makeGroup(other.source.store, '', '1', 3);
  await setVerifyState(other.source.store, '', at('1', 0), 'ok', ownUpid);
  await setVerifyState(other.source.store, '', at('1', 1), 'failed', ownUpid);
  await other.pulled({ verifiedOnly: true });
  assert.deepEqual(await days(other.target, '1'), [0]);
  // A state that is lost at the source hides the snapshot, which is no reason to remove its copy.
  await setVerifyState(other.source.store, '', at('1', 0), 'failed', ownUpid);
  await other.pulled({ verifiedOnly: true, removeVanished: true });
  assert.deepEqual(await days(other.target, '1'), [0]);
});

test('remove-vanished: snapshots, groups and namespaces go, protected snapshots stay', async () => {
  await using pair = await syncPair();
  for (const [namespace, id, count] of [['', '1', 4], ['', '2', 2], ['', '3', 2], ['gone', '1', 2], ['gone/deeper', '1', 1], ['kept', '1', 2]] as const) await makeGroup(pair.source.store, namespace, id, count);
  await pair.pulled();
  await setProtected(pair.target, '', at('1', 1), true);
  await setProtected(pair.target, '', at('3', 0), true);
  await setProtected(pair.target, 'kept', at('1', 0), true);
  for (const day of [0, 1, 2]) await removeSnapshot(pair.source.store, '', at('1', day));
  for (const path of ['vm/2', 'vm/3', 'ns/gone', 'ns/kept']) await rm(join(pair.source.store.path, path), { recursive: true });
  const report = await pair.pulled({ removeVanished: true });
  assert.deepEqual(await visible(pair.target), [':vm/1/2025-10-10T09:00:00Z', ':vm/1/2025-10-12T09:00:00Z', ':vm/3/2025-10-09T09:00:00Z', 'kept:vm/1/2025-10-09T09:00:00Z']);
  assert.ok(await isProtected(pair.target, '', at('1', 1)));
  assert.deepEqual([report.removedGroups, report.removedNamespaces], [1, 2]);
  assert.deepEqual(await listNamespaces(pair.target), ['', 'kept']);
  assert.equal(await verifyAll(pair.target), 4);
});

test('without remove-vanished nothing goes', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 3);
  await pair.pulled();
  await removeSnapshot(pair.source.store, '', at('1', 0));
  await pair.pulled();
  assert.deepEqual(await days(pair.target, '1'), [0, 1, 2]);
});

test('resync-corrupt heals missing and damaged chunks, indexes and manifests, also of older snapshots', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 3);
  await pair.pulled();
  const [bad, missing] = [...noiseChunks('-1', 1), ...noiseChunks('-1-0', 1)].map((chunk) => toHex(digestOf(chunk)));
  const chunkPath = (hex: string): string => join(pair.target.path, '.chunks', hex.slice(0, 4), hex);
  const damaged = await readFile(chunkPath(bad!));
  damaged[100]! ^= 1;
  await writeFile(chunkPath(bad!), damaged);
  await rm(chunkPath(missing!));
  await rm(join(pair.target.snapshotPath('', at('1', 1)), 'drive-scsi0.img.fidx'));
  await writeFile(join(pair.target.snapshotPath('', at('1', 2)), 'index.json.blob'), 'nothing');
  for (const day of [0, 1]) await setVerifyState(pair.target, '', at('1', day), 'failed', ownUpid);
  await assert.rejects(verifyAll(pair.target));

  const report = await pair.pulled({ resyncCorrupt: true });
  assert.deepEqual([report.snapshots, report.fetchedChunks], [3, 2]);
  assert.equal(await verifyAll(pair.target), 3);
});

test('changed notes and verify state at the source arrive; a verification of ours stays ours', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 2);
  await pair.pulled();
  await setSnapshotNotes(pair.source.store, '', at('1', 1), 'from the source');
  await setVerifyState(pair.source.store, '', at('1', 1), 'ok', ownUpid.replace('offsite', 'source'));
  assert.equal((await pair.pulled()).snapshots, 1);
  const sourceBytes = async (): Promise<Buffer> => (await loadManifest(pair.source.store, '', at('1', 1))).raw;
  const target = async () => loadManifest(pair.target, '', at('1', 1));
  assert.ok((await target()).raw.equals(await sourceBytes()));

  await setVerifyState(pair.target, '', at('1', 1), 'failed', ownUpid);
  await setSnapshotNotes(pair.source.store, '', at('1', 1), 'changed again');
  const report = await pair.pulled();
  assert.deepEqual([report.snapshots, report.fetchedChunks], [1, 0]);
  const { manifest } = await target();
  assert.equal(manifestNotes(manifest), 'changed again');
  assert.deepEqual(verifyState(manifest), { state: 'failed', upid: ownUpid });
  assert.equal((await pair.pulled()).snapshots, 0);
});

test('a client log that comes late is fetched, alone', async () => {
  await using pair = await syncPair({ golden: true });
  const snapshot = parseSnapshot('host/plain/2025-10-10T08:53:20Z');
  await pair.pulled();
  const log = await readFile(join(pair.source.store.path, 'host/plain/2025-10-09T08:53:20Z/client.log.blob'));
  await writeFile(join(pair.source.store.snapshotPath('', snapshot), 'client.log.blob'), log);
  const before = await stat(join(pair.target.snapshotPath('', snapshot), 'index.json.blob'));
  const report = await pair.pulled();
  assert.deepEqual([report.snapshots, report.unchangedSnapshots, report.fetchedChunks], [0, 1, 0]);
  assert.ok((await readFile(join(pair.target.snapshotPath('', snapshot), 'client.log.blob'))).equals(log));
  assert.equal((await stat(join(pair.target.snapshotPath('', snapshot), 'index.json.blob'))).ino, before.ino);
  assert.equal((await pair.pulled()).unchangedSnapshots, 0);
});

test('a rate limit limits the bytes on the line', async () => {
  await using pair = await syncPair();
  await makeSnapshot(pair.source.store, '', at('1', 0), { files: { 'drive-scsi0.img.fidx': noiseChunks('rate', 48) } });
  const rate = 2 * 1024 * 1024;
  // The limiter's clock says how long the run should have taken; the real one would make the test a race.
  const limiter = new RateLimiter({ rateIn: rate, burstIn: 64 * 1024 });
  const startedMs = performance.now();
  await pair.pulled({ limiter });
  const seconds = (performance.now() - startedMs) / 1000;
  const mostBytes = rate * seconds + 64 * 1024 + 16 * 64 * 1024;
  assert.ok(pair.proxy.delivered.down >= 48 * 64 * 1024);
  assert.ok(pair.proxy.delivered.down <= mostBytes, `${pair.proxy.delivered.down} bytes in ${seconds} s`);
});

test('a group of another owner is an error that names both, and the others are synced', async () => {
  await using pair = await syncPair();
  for (const id of ['1', '2', '3']) await makeGroup(pair.source.store, '', id, 1);
  await makeSnapshot(pair.target, '', at('2', -1), { owner: 'alice@pbs', files: { 'a.blob': [Buffer.from('x')] } });
  assert.match(await failure(pair, {}), /group vm\/2 belongs to alice@pbs, the job's owner is root@pam/);
  assert.deepEqual(await days(pair.target, '1'), [0]);
  assert.deepEqual(await days(pair.target, '2'), [-1]);
  assert.deepEqual(await days(pair.target, '3'), [0]);
});

test('missing rights in the target are named and keep the namespace out', async () => {
  await using pair = await syncPair();
  for (const namespace of ['', 'a', 'b']) await makeGroup(pair.source.store, namespace, '1', 1);
  const text = await failure(pair, {
    permissions: {
      createNamespace: (namespace) => (namespace === 'a' ? "missing permissions 'Datastore.Modify' on '/datastore/main'" : null),
    },
  });
  assert.match(text, /Datastore\.Modify/);
  assert.deepEqual(await visible(pair.target), [':vm/1/2025-10-09T09:00:00Z', 'b:vm/1/2025-10-09T09:00:00Z']);
});

/** Does something between the listing and the opening of a snapshot. */
function beforeOpen(work: (snapshot: BackupSnapshot) => Promise<void>): (source: ReplicationSource) => ReplicationSource {
  return (source) =>
    new Proxy(source, {
      get(inner, name) {
        const member: unknown = Reflect.get(inner, name, inner);
        if (typeof member !== 'function') return member;
        if (name !== 'open') return member.bind(inner) as unknown;
        return async (...args: Parameters<typeof source.open>) => {
          await work(args[1]);
          return inner.open(...args);
        };
      },
    });
}

test('a snapshot that vanishes between listing and opening is skipped', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 3);
  const { report, log } = await pair.pull({
    wrapSource: beforeOpen(async (snapshot) => {
      if (snapshot.time === at('1', 1).time) await removeSnapshot(pair.source.store, '', snapshot);
    }),
  });
  assert.ok(report !== null && log.lines.some((line) => line.includes('vanished since start of sync')), log.lines.join('\n'));
  assert.deepEqual(await days(pair.target, '1'), [0, 2]);
  assert.equal(await verifyAll(pair.target), 2);
});

test('a snapshot whose manifest vanishes after the opening is skipped', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 2);
  const manifest = join(pair.source.store.snapshotPath('', at('1', 1)), 'index.json.blob');
  const { report } = await pair.pull({
    wrapSource: beforeOpen(async (snapshot) => {
      if (snapshot.time === at('1', 1).time) await rename(manifest, `${manifest}.away`);
    }),
  });
  assert.notEqual(report, null);
  assert.deepEqual(await days(pair.target, '1'), [0]);
});

test('a snapshot in progress at the source waits for the next run', async () => {
  await using pair = await syncPair();
  await makeGroup(pair.source.store, '', '1', 2);
  {
    await using group = await createLockedGroup(pair.source.store, '', at('1', 2), 'admin@pbs');
    await using _writer = await group.createSnapshot(at('1', 2).time);
    const { report, log } = await pair.pull();
    assert.ok(report !== null && log.lines.some((line) => line.includes('in progress')), log.lines.join('\n'));
    assert.deepEqual(await days(pair.target, '1'), [0, 1]);
  }
  await makeGroup(pair.source.store, '', '1', 3);
  await pair.pulled();
  assert.deepEqual(await days(pair.target, '1'), [0, 1, 2]);
});
