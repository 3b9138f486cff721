import assert from 'node:assert/strict';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { errorChain, errorCode } from '../../src/base/errors.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { digestOf, firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';
import { pushPair, type PushPair } from '../support/push-pair.ts';
import { seeded } from '../support/seeded.ts';
import { hastyRetry, verifyAll } from '../support/sync-pair.ts';

const chunkSize = 512 * 1024;
const day = 86_400;

/** `groups` groups of two snapshots with `chunks` chunks of their own each, and one that all share. */
async function fill(store: Datastore, groups: number, chunks: number): Promise<void> {
  const shared = noise('shared', chunkSize);
  for (let group = 0; group < groups; group += 1) {
    for (let step = 0; step < 2; step += 1) {
      const own = Array.from({ length: chunks }, (_, i) => noise(`${group}-${step}-${i}`, chunkSize));
      await makeSnapshot(store, '', { type: 'host', id: `h${group}`, time: firstTime + step * day }, { files: { 'root.pxar.didx': [...own, shared], 'a.conf.blob': [Buffer.from('x')] } });
    }
  }
}

async function verified(pair: PushPair): Promise<number> {
  await using copy = await pair.copy();
  return await verifyAll(copy.store);
}

/** Manifests in the copy: a session that has just been cut may not be cleaned up yet, but is no backup. */
async function published(pair: PushPair): Promise<string[]> {
  return (await readdir(pair.copyPath, { recursive: true }).catch(() => [])).filter((path) => path.endsWith('index.json.blob'));
}

for (const seed of [1, 20_251_009]) {
  test(`the line is cut at random bytes while a push sends (seed ${seed}): one run completes, and what arrived is not sent again`, async () => {
    await using pair = await pushPair();
    await fill(pair.source, 2, 12);
    const random = seeded(seed);
    const total = 2 * 2 * 12 * chunkSize;
    pair.proxy.cutAfterSent(...Array.from({ length: 8 }, (_, i) => Math.floor(((i + random()) * total) / 8)));
    const report = await pair.pushed({ retry: { ...hastyRetry, firstPauseMs: 50, longestPauseMs: 200, attemptsWithoutProgress: 30 } });
    assert.ok(pair.proxy.cuts >= 6, `${pair.proxy.cuts} cuts`);
    assert.equal(report.snapshots, 4);
    assert.equal(await verified(pair), 4);
    // Each cut costs at most what was on its way in the two sessions.
    assert.ok(pair.proxy.delivered.up < total + pair.proxy.cuts * 12 * 1024 * 1024, `${pair.proxy.delivered.up} of ${total} bytes`);
    const before = pair.proxy.delivered.up;
    const again = await pair.pushed();
    assert.deepEqual([again.snapshots, again.fetchedChunks], [0, 0]);
    assert.ok(pair.proxy.delivered.up - before < 64 * 1024);
  });
}

test('a push that failed for good left no half snapshot, and the next one sends only the rest', async () => {
  await using pair = await pushPair();
  await fill(pair.source, 1, 24);
  pair.proxy.cutAfterSent(6 * 1024 * 1024);
  const failed = await pair.push({ retry: { ...hastyRetry, attemptsWithoutProgress: 1 } });
  assert.equal(failed.report, null);
  assert.deepEqual(await published(pair), []);
  const before = pair.proxy.delivered.up;
  const report = await pair.pushed({ retry: { ...hastyRetry, firstPauseMs: 50, attemptsWithoutProgress: 30 } });
  assert.equal(report.snapshots, 2);
  // The shared chunk comes twice at most; at least four of the chunks were there.
  assert.ok(report.fetchedChunks <= 49 - 4, `${report.fetchedChunks} chunks`);
  assert.ok(pair.proxy.delivered.up - before < 46 * chunkSize);
  assert.equal(await verified(pair), 2);
});

test('the target is killed in the middle and started again: the push goes on, and everything is sound', async () => {
  await using pair = await pushPair();
  await fill(pair.source, 2, 16);
  const { port } = pair.server;
  const killed = Promise.withResolvers<void>();
  const watch = setInterval(() => {
    if (pair.proxy.delivered.up < 4 * 1024 * 1024) return;
    clearInterval(watch);
    pair.server
      .stop('SIGKILL')
      .then(() => pair.server.start(['--listen', `127.0.0.1:${port}`]))
      .then(killed.resolve, killed.reject);
  }, 5);
  try {
    const report = await pair.pushed({ retry: { firstPauseMs: 100, longestPauseMs: 1000, attemptsWithoutProgress: 60 } });
    assert.equal(report.snapshots, 4);
  } finally {
    clearInterval(watch);
  }
  await killed.promise;
  assert.equal(await verified(pair), 4);
});

test('a line that has gone silent is given up, and the push goes on over another one', async () => {
  await using pair = await pushPair();
  await fill(pair.source, 1, 12);
  let connections = 0;
  const watch = setInterval(() => {
    if (connections === 0 && pair.proxy.delivered.up > 2 * 1024 * 1024) {
      connections = pair.proxy.connections;
      pair.proxy.stall();
    } else if (connections > 0 && pair.proxy.connections > connections) {
      pair.proxy.stall(false);
      clearInterval(watch);
    }
  }, 5);
  try {
    const report = await pair.pushed({ stallTimeoutMs: 1000, retry: { ...hastyRetry, firstPauseMs: 50, attemptsWithoutProgress: 60 } });
    assert.equal(report.snapshots, 2);
  } finally {
    clearInterval(watch);
  }
  assert.ok(connections > 0 && pair.proxy.connections > connections, 'the line was silent');
  assert.equal(await verified(pair), 2);
});

test('garbage collection at the target while a push runs takes nothing of it', async () => {
  await using pair = await pushPair();
  await fill(pair.source, 3, 8);
  const push = pair.pushed();
  let collections = 0;
  const ended = push.then(() => true);
  const collected = async (): Promise<boolean> => {
    await pair.server.run(['garbage-collection', 'start', 'copy']);
    collections += 1;
    return false;
  };
  do await collected();
  while (!(await Promise.race([ended, collected()])));
  assert.equal((await push).snapshots, 6);
  assert.ok(collections > 0);
  await pair.server.ok('garbage-collection', 'start', 'copy');
  assert.equal(await verified(pair), 6);
});

test('a damaged chunk of the source is named and does not arrive', async () => {
  await using pair = await pushPair();
  const manifest = await makeSnapshot(pair.source, '', { type: 'host', id: 'bad', time: firstTime }, { files: { 'root.pxar.didx': [noise('a', chunkSize), noise('b', chunkSize)] } });
  assert.equal(manifest.files.length, 1);
  const digest = digestOf(noise('b', chunkSize));
  const other = await pair.source.chunks.read(digestOf(noise('a', chunkSize)));
  await pair.source.chunks.replace(digest, other);
  const { report, error } = await pair.push();
  assert.equal(report, null);
  assert.equal(errorCode(error), 'sync.errors');
  assert.match(errorChain(error), new RegExp(`chunk ${digest.toString('hex')} of root\\.pxar\\.didx arrived damaged`));
  assert.deepEqual(await published(pair), []);
});
