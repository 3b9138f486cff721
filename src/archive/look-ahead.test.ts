import assert from 'node:assert/strict';
import { linkSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { archiveEvents, readerOf } from '../../test/support/archive-events.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { describeTree, SeededRandom } from '../../test/support/random-tree.ts';
import { createSplitArchive, inPieces, type ChunkStore, type SplitArchive } from '../../test/support/split-archive.ts';
import { silentLog } from '../base/log.ts';
import { ArchiveAccessor } from '../pxar/archive-accessor.ts';
import { ArchiveEncoder } from '../pxar/archive-encoder.ts';
import type { ArchiveEntry } from '../pxar/archive-entry.ts';
import { RandomPayload, SequentialPayload } from '../pxar/payload-source.ts';
import { extractArchive } from './extract-archive.ts';

const KiB = 1024;

async function restore(split: SplitArchive, target: string, sequential: boolean): Promise<void> {
  const { payload } = split;
  const source = sequential ? new SequentialPayload(inPieces(payload)) : new RandomPayload(readerOf(payload), payload.length);
  await extractArchive({ archive: inPieces(split.archive), payload: source, target, log: silentLog });
}

/** Files of 1 byte to 100 KiB in some folders, symlinks and hard links between them. */
function writeFiles(root: string, random: SeededRandom): void {
  for (let i = 0; i < 8; i += 1) mkdirSync(join(root, `dir-${i}`, 'sub'), { recursive: true });
  for (let i = 0; i < 120; i += 1) {
    const folder = join(root, `dir-${random.below(8)}`, random.below(3) === 0 ? 'sub' : '');
    writeFileSync(join(folder, `f-${i}`), random.noise(random.below(4) === 0 ? 100 * KiB : random.below(8 * KiB)));
    if (random.below(10) === 0) linkSync(join(folder, `f-${i}`), join(root, `dir-${random.below(8)}`, `h-${i}`));
    if (random.below(10) === 0) symlinkSync('x', join(folder, `l-${i}`));
  }
}

/** Some files change, go, come or move. */
function change(root: string, random: SeededRandom, share: number): void {
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || random.below(share) !== 0) continue;
    const path = join(entry.parentPath, entry.name);
    const kind = random.below(4);
    if (kind === 0) rmSync(path);
    else if (kind === 1) writeFileSync(path, random.noise(random.below(20 * KiB)));
    else if (kind === 2) renameSync(path, `${path}.moved`);
    else writeFileSync(`${path}.new`, random.noise(random.below(20 * KiB)));
  }
}

test('generations that build upon each other, whatever changes: each restores to what it was', async () => {
  let [reused, partial] = [0, 0];
  for (let seed = 1; seed <= 6; seed += 1) {
    await using folder = await temporaryFolder();
    const random = new SeededRandom(seed);
    const tree = join(folder.path, 'tree');
    mkdirSync(tree);
    writeFiles(tree, random);
    const store: ChunkStore = new Map();
    let { split } = await createSplitArchive(tree, store, { averageChunk: 16 * KiB });
    for (let generation = 0; generation < 5; generation += 1) {
      change(tree, random, [15, 60, 4, 2, 1000][generation]!);
      const expected = describeTree(tree);
      const limit = [512, 3, 1, 20, 7][generation]!;
      const next = await createSplitArchive(tree, store, { averageChunk: 16 * KiB, previous: split.previous, lookAheadLimit: limit });
      const distant = await createSplitArchive(tree, store, { averageChunk: 16 * KiB, previous: split.distantPrevious, lookAheadLimit: limit, walkAhead: false });
      assert.ok(next.split.archive.equals(distant.split.archive) && next.split.payload.equals(distant.split.payload), 'what is in memory makes no difference');
      assert.deepEqual(next.summary, distant.summary);
      split = next.split;
      reused += next.summary.reusedFiles;
      partial += next.summary.padding.chunks;
      const target = join(folder.path, `to-${generation}`);
      await restore(split, target, generation % 2 === 0);
      assert.deepEqual(describeTree(target), expected, `seed ${seed}, generation ${generation}`);
    }
  }
  assert.ok(reused > 1000 && partial > 20, `${reused} files reused, ${partial} chunks in part`);
});

test('an unchanged tree uploads next to nothing, a changed file only itself', async () => {
  await using folder = await temporaryFolder();
  const random = new SeededRandom(42);
  for (let i = 0; i < 50; i += 1) writeFileSync(join(folder.path, `f-${String(i).padStart(2, '0')}`), random.noise(50 * KiB));
  const store: ChunkStore = new Map();
  const first = await createSplitArchive(folder.path, store);
  const second = await createSplitArchive(folder.path, store, { previous: first.split.previous });
  // Start and tail marker.
  assert.deepEqual([second.split.uploaded, second.summary.reusedFiles, second.summary.encodedFiles], [2, 50, 0]);
  // The markers of the first archive come with its first and last chunk.
  assert.equal(second.split.size, first.split.size + 32);
  assert.equal(archiveEvents(second.split.archive).flatMap((event) => (event.kind === 'entry' && event.entry.type === 'file' ? [event.entry.payload] : []))[0], 32);
  writeFileSync(join(folder.path, 'f-25'), 'changed');
  const third = await createSplitArchive(folder.path, store, { previous: second.split.previous });
  assert.deepEqual([third.summary.reusedFiles, third.summary.encodedFiles], [49, 1]);
  assert.ok(third.split.uploaded <= 4, `${third.split.uploaded} uploaded`);
});

test('very many small files that are unchanged are not read again, although each is a small part of a chunk', async () => {
  await using folder = await temporaryFolder();
  for (let i = 0; i < 2000; i += 1) writeFileSync(join(folder.path, `f-${i}`), `${i}`);
  const store: ChunkStore = new Map();
  const averageChunk = 16 * KiB;
  const first = await createSplitArchive(folder.path, store, { averageChunk });
  const { summary, split } = await createSplitArchive(folder.path, store, { averageChunk, previous: first.split.previous });
  assert.deepEqual([summary.reusedFiles, summary.encodedFiles], [2000, 0]);
  await restore(split, join(folder.path, 'to'), true);
  assert.equal(readFileSync(join(folder.path, 'to/f-1999'), 'utf8'), '1999');
});

test('files that fill too little of their chunks are encoded again', async () => {
  await using folder = await temporaryFolder();
  const random = new SeededRandom(7);
  for (let i = 0; i < 400; i += 1) writeFileSync(join(folder.path, `f-${String(i).padStart(3, '0')}`), random.noise(500));
  const store: ChunkStore = new Map();
  const first = await createSplitArchive(folder.path, store);
  for (let i = 0; i < 400; i += 1) if (i % 3 !== 0) rmSync(join(folder.path, `f-${String(i).padStart(3, '0')}`));
  const { summary, split } = await createSplitArchive(folder.path, store, { previous: first.split.previous });
  assert.deepEqual([summary.reusedFiles, summary.encodedFiles, summary.padding.bytes], [0, 134, 0]);
  await restore(split, join(folder.path, 'to'), true);
  assert.ok(readFileSync(join(folder.path, 'to/f-399')).equals(readFileSync(join(folder.path, 'f-399'))));
});

test('changed metadata alone encodes again; an index that is too short is not believed', async () => {
  await using folder = await temporaryFolder();
  writeFileSync(join(folder.path, 'f'), Buffer.alloc(100 * KiB, 'a'));
  const store: ChunkStore = new Map();
  const first = await createSplitArchive(folder.path, store);
  const { previous } = first.split;
  const short = { ...previous, payloadIndex: { count: 1, size: 50, entry: () => ({ digest: Buffer.alloc(32), start: 0, end: 50 }), find: () => 0 } };
  assert.equal((await createSplitArchive(folder.path, store, { previous: short })).summary.encodedFiles, 1);
  writeFileSync(join(folder.path, 'f'), Buffer.alloc(100 * KiB, 'b'));
  assert.equal((await createSplitArchive(folder.path, store, { previous })).summary.encodedFiles, 1);
});

test('chunks of equal content at several places are told apart', async () => {
  await using folder = await temporaryFolder();
  const tree = join(folder.path, 'tree');
  mkdirSync(tree);
  for (let i = 0; i < 20; i += 1) writeFileSync(join(tree, `f-${String(i).padStart(2, '0')}`), Buffer.alloc(20 * KiB));
  writeFileSync(join(tree, 'z'), 'the last');
  const store: ChunkStore = new Map();
  const first = await createSplitArchive(tree, store, { averageChunk: 16 * KiB });
  const digests = first.split.entries.map(({ digest }) => digest.toString('hex'));
  assert.ok(new Set(digests).size < digests.length / 2);
  // What is held of the files before the gap and what begins behind it have the same digest and are not the same chunk.
  rmSync(join(tree, 'f-12'));
  const { split, summary } = await createSplitArchive(tree, store, { averageChunk: 16 * KiB, previous: first.split.previous });
  assert.deepEqual([summary.reusedFiles, summary.encodedFiles], [20, 0]);
  // All of the first archive, between new markers.
  assert.equal(split.count, first.split.count + 2);
  await restore(split, join(folder.path, 'to'), true);
  assert.deepEqual(describeTree(join(folder.path, 'to')), describeTree(tree));
});

test('a previous archive whose payloads are in another order is not followed backwards', async () => {
  await using folder = await temporaryFolder();
  for (const name of ['a', 'b']) writeFileSync(join(folder.path, name), Buffer.alloc(100 * KiB, name));
  const store: ChunkStore = new Map();
  const { split } = await createSplitArchive(folder.path, store);
  const entries = archiveEvents(split.archive).flatMap((event) => (event.kind === 'entry' ? [event.entry] : []));
  const [root, a, b] = entries as [ArchiveEntry & { type: 'directory' }, ArchiveEntry & { type: 'file' }, ArchiveEntry & { type: 'file' }];
  const parts: Buffer[] = [];
  const encoder = new ArchiveEncoder({ archive: (bytes) => parts.push(bytes), payload: () => {} }, root.metadata);
  encoder.reusedFile(a.name, a.metadata, a.size, b.payload!);
  encoder.reusedFile(b.name, b.metadata, b.size, a.payload!);
  encoder.finish();
  const archive = Buffer.concat(parts);
  const warnings: string[] = [];
  const previous = { accessor: new ArchiveAccessor(readerOf(archive), archive.length), payloadIndex: split };
  const { summary } = await createSplitArchive(folder.path, store, { previous, log: { ...silentLog, warn: (line) => warnings.push(line) } });
  assert.deepEqual(warnings, ['unexpected order of payloads in the previous archive: "b" is encoded again']);
  assert.equal(summary.encodedFiles, 1);
});
