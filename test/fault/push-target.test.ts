import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { errorChain, errorCode } from '../../src/base/errors.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { parseGroupFilter } from '../../src/replication/group-filter.ts';
import { temporaryFolder } from '../support/golden.ts';
import { digestOf, firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';
import { pushPair, type PushPair } from '../support/push-pair.ts';
import { verifyAll } from '../support/sync-pair.ts';

const chunkSize = 256 * 1024;
const day = 86_400;

function chunksOf(id: string, count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => noise(`${id}-${i}`, chunkSize));
}

async function backUp(store: Datastore, id: string, age: number, chunks: Buffer[]): Promise<void> {
  await makeSnapshot(store, '', { type: 'host', id, time: firstTime + age * day }, { files: { 'root.pxar.didx': chunks } });
}

function chunkPath(pair: PushPair, chunk: Buffer): string {
  const hex = toHex(digestOf(chunk));
  return join(pair.copyPath, '.chunks', hex.slice(0, 4), hex);
}

async function verified(pair: PushPair): Promise<number> {
  await using copy = await pair.copy();
  return await verifyAll(copy.store);
}

async function published(pair: PushPair): Promise<number> {
  return (await readdir(pair.copyPath, { recursive: true })).filter((path) => path.endsWith('index.json.blob')).length;
}

test('a target that is really full ends the push with the reason; with room the next one sends only the rest', async (t) => {
  await using folder = await temporaryFolder();
  const disk = join(folder.path, 'disk');
  await mkdir(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=3m', 'tmpfs', disk]).status !== 0) {
    t.diagnostic('a file system cannot be mounted here: nothing is tested');
    return;
  }
  using _mounted = { [Symbol.dispose]: () => void spawnSync('umount', ['-l', disk]) };
  await using pair = await pushPair({ copyPath: join(disk, 'copy') });
  for (let i = 0; i < 3; i += 1) await backUp(pair.source, 'a', i, chunksOf(`a${i}`, 6));
  const full = await pair.push();
  assert.equal(errorCode(full.error), 'store.full', full.log.lines.join('\n'));
  assert.match(errorChain(full.error), /the remote has no space left/);
  assert.equal(await verified(pair), await published(pair));
  assert.ok((await published(pair)) < 3);

  assert.equal(spawnSync('mount', ['-o', 'remount,size=64m', disk]).status, 0);
  const report = await pair.pushed();
  assert.ok(report.fetchedChunks <= 18 - 6, `${report.fetchedChunks} of 18 chunks are sent again`);
  assert.equal(await verified(pair), 3);
});

test('pruning and garbage collection at the target all the while: the pushes get through, and everything that is there is sound', async () => {
  await using pair = await pushPair();
  const common = chunksOf('common', 4);
  for (const id of ['a', 'b']) await backUp(pair.source, id, 0, [...common, ...chunksOf(`${id}0`, 2)]);
  await pair.pushed();
  for (let i = 1; i < 5; i += 1) for (const id of ['a', 'b']) await backUp(pair.source, id, i, [...common, ...chunksOf(`${id}${i}`, 4)]);
  const over = new AbortController();
  let rounds = 0;
  const cleaning = (async () => {
    while (!over.signal.aborted) {
      // Of the group whose new backup is on its way the last one is what that builds upon.
      await pair.server.run(['prune-job', 'run', 'all']);
      await pair.server.run(['garbage-collection', 'start', 'copy']);
      rounds += 1;
    }
  })();
  try {
    await pair.server.ok('prune-job', 'create', 'all', '--store', 'copy', '--schedule', 'daily', '--keep-last', '1');
    // A base that was pruned in the middle fails its snapshot, and the next push has another base.
    for (let attempt = 0; ; attempt += 1) {
      const { report, error, log } = await pair.push();
      if (report !== null) break;
      assert.ok(attempt < 20 && /removed during backup|lock/.test(errorChain(error)), log.lines.join('\n'));
    }
  } finally {
    over.abort();
    await cleaning;
  }
  assert.ok(rounds > 0);
  await pair.server.ok('prune-job', 'run', 'all');
  await pair.server.ok('garbage-collection', 'start', 'copy');
  assert.equal(await verified(pair), 2, 'the newest of each');
});

test('chunks that the target lost: once it has noticed, the next push sends them again, and the older backup is whole, too', async () => {
  await using pair = await pushPair();
  const old = chunksOf('old', 5);
  await backUp(pair.source, 'a', 0, old);
  await pair.pushed();
  await rm(chunkPath(pair, old[1]!));
  await writeFile(chunkPath(pair, old[3]!), Buffer.alloc(100));
  const checked = await pair.server.run(['verify', 'copy']);
  assert.notEqual(checked.code, 0, checked.stdout);

  await backUp(pair.source, 'a', 1, [...old, ...chunksOf('new', 2)]);
  const report = await pair.pushed();
  assert.equal(report.fetchedChunks, 2 + 2, 'the two new ones, the lost one and the bad one, which verify has set aside');
  await pair.server.ok('verify', 'copy', '--ignore-verified', 'true');
});

test('an index at the target that is not what its manifest says is not built upon', async () => {
  await using pair = await pushPair();
  const old = chunksOf('old', 3);
  const foreign = chunksOf('foreign', 2);
  await backUp(pair.source, 'a', 0, old);
  await backUp(pair.source, 'x', 0, foreign);
  await pair.pushed();
  // The index of another backup lies in its place: it names chunks that the group never had.
  const time = new Date(firstTime * 1000).toISOString().replace('.000', '');
  const place = (id: string): string => join(pair.copyPath, 'host', id, time, 'root.pxar.didx');
  assert.equal(spawnSync('cp', [place('x'), place('a')]).status, 0);
  for (const chunk of [...old, ...foreign]) await rm(chunkPath(pair, chunk));
  await backUp(pair.source, 'a', 1, [...old, ...foreign]);
  const { report, log } = await pair.push({ groupFilters: [parseGroupFilter('group:host/a')] });
  assert.ok(report !== null, log.lines.join('\n'));
  assert.match(log.lines.join('\n'), /root\.pxar\.didx of the previous backup cannot be used, more is sent/);
  assert.equal(report.fetchedChunks, 5);
});
