import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { errorChain, errorCode } from '../../src/base/errors.ts';
import type { ReplicationTarget } from '../../src/replication/ports.ts';
import { startLyingSource } from '../support/lying-source.ts';
import { firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';
import { seeded } from '../support/seeded.ts';
import { hastyRetry, pullInto, syncPair, verifyAll } from '../support/sync-pair.ts';

const snapshot = { type: 'vm', id: '1', time: firstTime } as const;
const largeChunk = 512 * 1024;

/** `groups` groups of three snapshots with `chunks` chunks of their own each, and some that they share. */
async function fill(store: Parameters<typeof makeSnapshot>[0], groups: number, chunks: number): Promise<number> {
  const shared = noise('shared', largeChunk);
  for (let group = 0; group < groups; group += 1) {
    for (let day = 0; day < 3; day += 1) {
      const own = Array.from({ length: chunks }, (_, i) => noise(`${group}-${day}-${i}`, largeChunk));
      await makeSnapshot(store, '', { type: 'vm', id: `${100 + group}`, time: firstTime + day * 86_400 }, { files: { 'drive-scsi0.img.fidx': [...own, shared], 'qemu-server.conf.blob': [Buffer.from('x')] } });
    }
  }
  return groups * 3 * chunks + 1;
}

/** How often each chunk was stored. */
function countStores(counts: Map<string, number>): (target: ReplicationTarget) => ReplicationTarget {
  return (target) =>
    new Proxy(target, {
      get(inner, name) {
        const member: unknown = Reflect.get(inner, name, inner);
        if (typeof member !== 'function') return member;
        if (name !== 'storeChunk') return member.bind(inner) as unknown;
        return (...args: Parameters<ReplicationTarget['storeChunk']>) => {
          const hex = toHex(args[0]);
          counts.set(hex, (counts.get(hex) ?? 0) + 1);
          return inner.storeChunk(...args);
        };
      },
    });
}

for (const seed of [1, 20_251_009]) {
  test(`the line is cut 24 times at random places (seed ${seed}): one run completes, each chunk arrives and is stored once`, async () => {
    await using pair = await syncPair();
    const chunks = await fill(pair.source.store, 4, 10);
    const random = seeded(seed);
    const total = chunks * largeChunk;
    const places = Array.from({ length: 24 }, (_, i) => Math.floor(((i + random()) * total) / 24));
    pair.proxy.cutAfter(...places);
    const stores = new Map<string, number>();
    const report = await pair.pulled({ wrapTarget: countStores(stores), retry: { ...hastyRetry, attemptsWithoutProgress: 30 } });
    assert.ok(pair.proxy.cuts >= 20, `${pair.proxy.cuts} cuts`);
    assert.deepEqual([report.snapshots, report.fetchedChunks], [12, chunks]);
    assert.equal(stores.size, chunks);
    assert.deepEqual([...stores.values()].filter((count) => count !== 1), []);
    // What was thrown away is what was on its way when the line broke: at most the bytes in flight, each time.
    const wasted = pair.proxy.delivered.down - report.fetchedBytes;
    assert.ok(wasted <= pair.proxy.cuts * 12 * 1024 * 1024, `${wasted} bytes arrived in vain`);
    assert.equal(await verifyAll(pair.target), 12);
  });
}

test('a run that dies with its line leaves everything that arrived to the next one', async () => {
  await using pair = await syncPair();
  const chunks = await fill(pair.source.store, 2, 10);
  const stores = new Map<string, number>();
  let runs = 0;
  for (let done = false; !done; runs += 1) {
    assert.ok(runs < 20);
    pair.proxy.refuse = false;
    pair.proxy.cutAfter(6 * 1024 * 1024);
    pair.proxy.refuseAfterCut = true;
    const { report, error } = await pair.pull({ wrapTarget: countStores(stores), retry: { firstPauseMs: 5, longestPauseMs: 5, attemptsWithoutProgress: 2 } });
    done = report !== null;
    if (!done) assert.match(errorChain(error), /sync failed with some errors|closed/);
    if (!done) await verifyAll(pair.target);
  }
  assert.ok(runs > 2, `${runs} runs`);
  assert.equal(stores.size, chunks);
  assert.deepEqual([...stores.values()].filter((count) => count !== 1), [], 'the journal spares what has arrived');
  assert.equal(await verifyAll(pair.target), 6);
});

test('a line that stands still is noticed, given up and opened again', async () => {
  await using pair = await syncPair();
  await fill(pair.source.store, 1, 4);
  let stalls = 0;
  const timer = setInterval(() => {
    if (stalls > 0 || pair.proxy.delivered.down < 2 * 1024 * 1024) return;
    stalls += 1;
    pair.proxy.stall();
    setTimeout(() => pair.proxy.stall(false), 1000).unref();
  }, 1);
  const { report, log } = await pair.pull({ stallTimeoutMs: 300 });
  clearInterval(timer);
  assert.ok(report !== null, log.lines.join('\n'));
  assert.ok(stalls === 1 && log.lines.some((line) => /sent nothing for|line interrupted/.test(line)), log.lines.join('\n'));
  assert.equal(await verifyAll(pair.target), 3);
});

test('a source that takes requests and never answers ends the job with that cause', async () => {
  await using pair = await syncPair();
  await makeSnapshot(pair.source.store, '', snapshot, { files: { 'drive-scsi0.img.fidx': [noise('a', 4096)] } });
  await using source = await startLyingSource(pair.source.store, snapshot, { onStream: (_, name) => name.length === 64 });
  const { error } = await pullInto(pair.target, pair.folder, source.endpoint, { stallTimeoutMs: 200, retry: { firstPauseMs: 1, longestPauseMs: 1, attemptsWithoutProgress: 3 } });
  assert.match(errorChain(error), /sent nothing for 0\.2 s/);
  assert.equal(await verifyAll(pair.target), 0);
});

for (const status of [401, 403, 500, 503]) {
  test(`answer ${status} to the listing ends the job, to a chunk the group; nothing is half`, async () => {
    await using pair = await syncPair();
    await makeSnapshot(pair.source.store, '', snapshot, { files: { 'drive-scsi0.img.fidx': [noise('a', 4096), noise('b', 4096)] } });
    const retry = { firstPauseMs: 1, longestPauseMs: 1, attemptsWithoutProgress: 2 };
    {
      await using source = await startLyingSource(pair.source.store, snapshot, {
        onRequest: (_, response) => {
          response.writeHead(status).end('not today');
          return true;
        },
      });
      const { error } = await pullInto(pair.target, pair.folder, source.endpoint, { retry });
      assert.match(errorChain(error), /not today/);
      assert.equal(errorCode(error), `http.${status}`);
    }
    await using source = await startLyingSource(pair.source.store, snapshot, {
      onStream: (stream, name) => {
        if (name.length !== 64) return false;
        stream.respond({ ':status': status });
        stream.end('not this one');
        return true;
      },
    });
    const { error } = await pullInto(pair.target, pair.folder, source.endpoint, { retry });
    assert.match(errorChain(error), /group vm\/1 failed - .*not this one/);
    assert.equal(await verifyAll(pair.target), 0);
    await pair.pulled();
    assert.equal(await verifyAll(pair.target), 1);
  });
}
