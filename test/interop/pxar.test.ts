import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, statSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { extractArchive } from '../../src/archive/extract-archive.ts';
import { createArchive } from '../../src/archive/create-archive.ts';
import { toHex } from '../../src/base/bytes.ts';
import { silentLog } from '../../src/base/log.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { decodeBlob } from '../../src/format/data-blob.ts';
import { ArchiveAccessor } from '../../src/pxar/archive-accessor.ts';
import { MatchPattern } from '../../src/pxar/match-pattern.ts';
import { SequentialPayload } from '../../src/pxar/payload-source.ts';
import { readerOf } from '../support/archive-events.ts';
import { makeAdmin } from '../support/peer-backups.ts';
import { Peer, succeeded } from '../support/peer.ts';
import { changeRandomTree, describeTree, SeededRandom, testSeed, writeRandomTree } from '../support/random-tree.ts';
import { writeSpecialKinds } from '../support/special-kinds.ts';
import { createSplitArchive, createUnifiedArchive, inPieces, SplitArchive } from '../support/split-archive.ts';

const patterns = ['*.o', 'dir-2/', '!file-1', 'file-[1-3]?'];

/** Index and plain content of an archive in a datastore on this side. */
function stored(datastore: string, name: string): { index: ChunkIndex; content: Buffer } {
  const index = ChunkIndex.parse('dynamic', readFileSync(join(datastore, name)));
  const chunks = [...index.entries()].map(({ digest }) => {
    const hex = toHex(digest);
    return decodeBlob(readFileSync(join(datastore, '.chunks', hex.slice(0, 4), hex)), { digest });
  });
  return { index, content: Buffer.concat(chunks) };
}

test('archives of pxar and of the client', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  const tree = join(work, 'tree');
  mkdirSync(tree);
  writeRandomTree(tree, seed);
  writeSpecialKinds(tree, new SeededRandom(seed + 1));
  await using peer = await Peer.start();
  const pxar = async (...argv: string[]): Promise<string> => succeeded(await peer.exec(['pxar', ...argv]), `pxar ${argv.join(' ')}`);
  const excluded = patterns.flatMap((pattern) => ['--exclude', pattern]);
  const ours = { patterns: patterns.map((pattern) => MatchPattern.parse(pattern, 'exclude')) };
  const [unified, metadata, payload] = ['t.pxar', 't.mpxar', 't.ppxar'].map((name) => join(work, name)) as [string, string, string];

  await t.test('pxar makes the same bytes', async () => {
    await pxar('create', unified, tree, ...excluded);
    assert.ok((await createUnifiedArchive(tree, ours)).equals(readFileSync(unified)));
    await pxar('create', metadata, tree, '--payload-output', payload, ...excluded);
    const { split } = await createSplitArchive(tree, new Map(), ours);
    assert.ok(split.archive.equals(readFileSync(metadata)));
    assert.ok(split.payload.equals(readFileSync(payload)));
  });

  await t.test('what it extracts, we extract, whole and in part', async () => {
    await pxar('extract', unified, join(work, 'theirs'));
    await extractArchive({ archive: inPieces(readFileSync(unified)), target: join(work, 'ours'), log: silentLog });
    assert.deepEqual(describeTree(join(work, 'ours')), describeTree(join(work, 'theirs')));
    const selection = ['**/file-*', '!/dir-1', 'by-default'];
    await pxar('extract', metadata, join(work, 'their-part'), '--payload-input', payload, ...selection.flatMap((pattern) => ['--pattern', pattern]));
    await extractArchive({
      archive: inPieces(readFileSync(metadata)),
      payload: new SequentialPayload(inPieces(readFileSync(payload))),
      target: join(work, 'our-part'),
      patterns: selection.map((pattern) => MatchPattern.parse(pattern, 'include')),
      log: silentLog,
    });
    assert.deepEqual(describeTree(join(work, 'our-part')), describeTree(join(work, 'their-part')));
  });

  await t.test('its client reuses the same files from the previous archive', async () => {
    await peer.manager('datastore', 'create', 'main', '/data/main');
    const admin = await makeAdmin(peer, 'main');
    const backUp = (time: number): Promise<string> => peer.client(admin, ['backup', `root.pxar:${tree}`, '--backup-id', 'tree', '--backup-time', String(time), '--change-detection-mode', 'metadata', '--chunk-size', '64']);
    await backUp(1_760_000_000);
    changeRandomTree(tree, seed);
    await backUp(1_760_086_400);
    const folder = join(peer.dataFolder, 'main');
    const [first, second] = ['2025-10-09T08:53:20Z', '2025-10-10T08:53:20Z'].map((time) => `host/tree/${time}/root`) as [string, string];
    const archive = stored(folder, `${first}.mpxar.didx`).content;
    const previous = { accessor: new ArchiveAccessor(readerOf(archive), archive.length), payloadIndex: stored(folder, `${first}.ppxar.didx`).index };
    const split = new SplitArchive(new Map(), 64 * 1024);
    const summary = await createArchive({ source: tree, sinks: split.sinks, previous, log: silentLog });
    split.finish();
    assert.ok(summary.reusedFiles > 20, `${summary.reusedFiles} files reused`);
    const theirs = stored(folder, `${second}.mpxar.didx`).content;
    assert.ok(split.archive.equals(theirs));
    assert.equal(split.size, stored(folder, `${second}.ppxar.didx`).index.size);
    assert.ok(statSync(join(folder, `${second}.ppxar.didx`)).size > 4096);
  });
});
