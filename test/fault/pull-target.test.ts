import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, rm, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { errorChain, errorCode } from '../../src/base/errors.ts';
import { collectGarbage } from '../../src/datastore/garbage-collection.ts';
import { createLockedGroup } from '../../src/datastore/groups.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { pruneNamespaces } from '../../src/datastore/prune-run.ts';
import { listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import { StoreError } from '../../src/base/errors.ts';
import type { ReplicationTarget } from '../../src/replication/ports.ts';
import { RecordingLog } from '../support/datastore.ts';
import { firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { pullInto, syncPair, verifyAll, type SyncPair } from '../support/sync-pair.ts';

async function addSnapshots(store: Datastore, ids: readonly string[], days: number, chunks = 8): Promise<void> {
  for (const id of ids) {
    for (let day = 0; day < days; day += 1) {
      await makeSnapshot(store, '', { type: 'vm', id, time: firstTime + day * 86_400 }, { files: { 'drive-scsi0.img.fidx': noiseChunks(`${id}-${day}`, chunks) } });
    }
  }
}

/** `storeChunk` goes through `work`. */
function storing(work: (store: () => Promise<{ duplicate: boolean }>) => Promise<{ duplicate: boolean }>): (target: ReplicationTarget) => ReplicationTarget {
  return (target) =>
    new Proxy(target, {
      get(inner, name) {
        const member: unknown = Reflect.get(inner, name, inner);
        if (typeof member !== 'function') return member;
        if (name !== 'storeChunk') return member.bind(inner) as unknown;
        return (...args: Parameters<ReplicationTarget['storeChunk']>) => work(() => inner.storeChunk(...args));
      },
    });
}

for (const code of ['store.full', 'store.read-only', 'store.io']) {
  test(`${code} in the middle: the job ends with it, nothing is half, and the next run completes`, async () => {
    await using pair = await syncPair();
    await addSnapshots(pair.source.store, ['1', '2', '3'], 3);
    let stored = 0;
    const { error, log } = await pair.pull({
      wrapTarget: storing(async (store) => {
        stored += 1;
        if (stored > 30) throw new StoreError(code, `scripted: ${code}`);
        return store();
      }),
    });
    assert.match(errorChain(error), new RegExp(`scripted: ${code}`), log.lines.join('\n'));
    if (code !== 'store.io') assert.equal(errorCode(error), code);
    await verifyAll(pair.target);
    assert.equal((await listSnapshotInfos(pair.target, '')).filter((info) => info.size === undefined).length, 0);
    const report = await pair.pulled();
    assert.ok(report.fetchedChunks <= 72 - 30, 'what was stored is not fetched again');
    assert.equal(await verifyAll(pair.target), 9);
  });
}

/** A small file system of its own, unmounted at the end; null where the test may not mount. */
async function smallDisk(t: TestContext, folder: string, bytes: number): Promise<({ path: string } & Disposable) | null> {
  const path = join(folder, 'disk');
  await mkdir(path);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'tmpfs', path]);
  if (mounted.status !== 0) {
    t.diagnostic('a file system cannot be mounted here: the full disk is only scripted');
    return null;
  }
  return { path, [Symbol.dispose]: () => void spawnSync('umount', ['-l', path]) };
}

test('a disk that is really full, then larger, and one that is read-only', async (t) => {
  await using pair = await syncPair();
  await addSnapshots(pair.source.store, ['1', '2'], 3);
  using disk = await smallDisk(t, pair.folder, 1536 * 1024);
  if (disk === null) return;
  const path = join(disk.path, 'main');
  await mkdir(join(path, '.chunks'), { recursive: true });
  await writeFile(join(path, '.lock'), '');
  const withStore = async <T>(work: (store: Datastore) => Promise<T>): Promise<T> => {
    using store = await Datastore.open({ name: 'small', path, locksRoot: join(pair.folder, 'small-locks') });
    return await work(store);
  };
  const pull = () => withStore((store) => pullInto(store, join(pair.folder, 'small'), pair.source.endpoint()));
  const remount = (options: string): void => assert.equal(spawnSync('mount', ['-o', `remount,${options}`, disk.path]).status, 0);
  const full = await pull();
  assert.equal(errorCode(full.error), 'store.full', full.log.lines.join('\n'));
  await withStore(verifyAll);
  remount('size=64m');
  const { report, log } = await pull();
  assert.ok(report !== null, log.lines.join('\n'));
  assert.equal(await withStore(verifyAll), 6);
  await addSnapshots(pair.source.store, ['1', '2'], 4);
  remount('ro');
  const readOnly = await pull();
  remount('rw');
  assert.equal(errorCode(readOnly.error), 'store.read-only', errorChain(readOnly.error));
  assert.equal((await pull()).error, null);
  assert.equal(await withStore(verifyAll), 8);
});

/** Something that runs again and again while `work` does. */
async function alongside<T>(again: () => Promise<unknown>, work: Promise<T>): Promise<{ result: T; times: number }> {
  const running = new AbortController();
  let times = 0;
  const loop = (async () => {
    for (; !running.signal.aborted; times += 1) await again();
  })();
  try {
    return { result: await work, times };
  } finally {
    running.abort();
    await loop;
  }
}

test('garbage collection in the middle takes nothing that the pull has or reuses', async () => {
  await using pair = await syncPair();
  await addSnapshots(pair.source.store, ['1', '2', '3'], 4);
  await pair.pulled();
  // Garbage now, unused for long, and delivered by this source: the next pull may use it or find it gone.
  await rm(join(pair.target.path, 'vm'), { recursive: true });
  const longAgo = new Date(Date.now() - 5 * 86_400_000);
  for (const entry of await readdir(join(pair.target.path, '.chunks'), { recursive: true, withFileTypes: true })) if (entry.isFile()) await utimes(join(entry.parentPath, entry.name), longAgo, longAgo);
  await addSnapshots(pair.source.store, ['4'], 4);
  let looked = 0;
  const collections: Array<Promise<number>> = [];
  const collect = async (): Promise<number> => (await collectGarbage(pair.target, { upid: null, log: new RecordingLog() })).removedChunks;
  const report = await pair.pulled({
    wrapTarget: (target) =>
      new Proxy(target, {
        get(inner, name) {
          const member: unknown = Reflect.get(inner, name, inner);
          if (typeof member !== 'function') return member;
          if (name !== 'touchChunk') return member.bind(inner) as unknown;
          return async (...args: Parameters<ReplicationTarget['touchChunk']>) => {
            looked += 1;
            if (looked === 20) collections.push(collect());
            if (looked > 20) await collections[0];
            return inner.touchChunk(...args);
          };
        },
      }),
  });
  assert.ok((await collections[0])! > 0, 'the collection met chunks that were not in use yet');
  assert.ok(report.reusedChunks >= 10 && report.reusedChunks < 3 * 4 * 8, `${report.reusedChunks} reused`);
  await collect();
  assert.equal(await verifyAll(pair.target), 16);
});

test('prune at the same time: the pull ends well or says that a snapshot was in use, and everything that is there is sound', async () => {
  await using pair = await syncPair();
  await addSnapshots(pair.source.store, ['1', '2'], 2);
  await pair.pulled();
  await addSnapshots(pair.source.store, ['1', '2'], 8);
  const log = new RecordingLog();
  const { result } = await alongside(() => pruneNamespaces(pair.target, {}, { keep: { 'keep-last': 2 }, timeZone: 'UTC', log }), pair.pull());
  if (result.error !== null) assert.match(errorChain(result.error), /locked|in use|lock/);
  await verifyAll(pair.target);
  await pair.pulled();
  await pruneNamespaces(pair.target, {}, { keep: { 'keep-last': 2 }, timeZone: 'UTC', log });
  assert.equal(await verifyAll(pair.target), 4);
});

test('a group that somebody else writes into is an error of that group alone', async () => {
  await using pair = await syncPair();
  await addSnapshots(pair.source.store, ['1', '2'], 2);
  {
    await using _held = await createLockedGroup(pair.target, '', { type: 'vm', id: '2' }, 'root@pam');
    const { error } = await pair.pull();
    assert.match(errorChain(error), /sync of group vm\/2 failed - .*lock/);
    assert.equal(await verifyAll(pair.target), 2);
  }
  await pair.pulled();
  assert.equal(await verifyAll(pair.target), 4);
});

test('two jobs into the same groups: between them everything arrives, sound', async () => {
  await using pair = await syncPair();
  await addSnapshots(pair.source.store, ['1', '2', '3', '4'], 3);
  const outcomes = await Promise.all([pair.pull(), pair.pull({ remote: { name: 'again', endpoint: pair.source.endpoint() } })]);
  for (const { error } of outcomes) if (error !== null) assert.match(errorChain(error), /group vm\/\d failed - .*lock/);
  assert.ok(outcomes.some(({ log }) => log.warnings.some((line) => line.includes('lock'))), 'they met');
  assert.equal(await verifyAll(pair.target), 12);
});

async function abortedPull(pair: SyncPair, when: (pair: SyncPair) => boolean): Promise<void> {
  const controller = new AbortController();
  const watch = setInterval(() => {
    if (when(pair)) controller.abort(new Error('enough'));
  }, 1);
  const { error } = await pair.pull({ signal: controller.signal });
  clearInterval(watch);
  assert.equal(errorCode(error), 'aborted', errorChain(error));
}

test('an abort in the middle ends the job and leaves the target sound; nobody holds a lock afterwards', async () => {
  await using pair = await syncPair({ line: { rate: 4 * 1024 * 1024 } });
  await addSnapshots(pair.source.store, ['1', '2', '3'], 4);
  for (const bytes of [1, 1024 * 1024, 2 * 1024 * 1024]) {
    const from = pair.proxy.delivered.down;
    await abortedPull(pair, ({ proxy }) => proxy.delivered.down >= from + bytes);
    assert.equal(pair.target.processLock.writerCount, 0);
    await verifyAll(pair.target);
  }
  // While nothing moves at all.
  pair.proxy.stall();
  const startedMs = performance.now();
  await abortedPull(pair, () => performance.now() > startedMs + 200);
  assert.ok(performance.now() - startedMs < 10_000);
  pair.proxy.stall(false);
  await pair.pulled();
  assert.equal(await verifyAll(pair.target), 12);
});
