import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenDatastore, goldenFiles, temporaryFolder } from '../../test/support/golden.ts';
import { bytesEqual } from '../base/bytes.ts';
import { armFailpoint } from '../base/failpoint.ts';
import { ChunkIndex, type IndexEntry } from '../format/chunk-index.ts';
import { indexKindOf, openIndexFile, type IndexFile } from './index-file.ts';
import { DynamicIndexWriter, FixedIndexWriter } from './index-writer.ts';

const digestOf = (n: number): Buffer => createHash('sha256').update(String(n)).digest();
const MiB = 1024 * 1024;

async function entriesOf(index: IndexFile, from = 0): Promise<IndexEntry[]> {
  const entries: IndexEntry[] = [];
  for await (const entry of index.entries(from)) entries.push(entry);
  return entries;
}

test('every golden index reads the same in pieces as in one, and its checksum is right', async () => {
  const base = await goldenDatastore();
  const names = goldenFiles().map((file) => file.name).filter((name) => /\.[fd]idx$/.test(name));
  assert.equal(names.length, 24);
  for (const name of names) {
    const path = join(base, name);
    const whole = ChunkIndex.parse(indexKindOf(path), readFileSync(path));
    await using index = await openIndexFile(path);
    assert.equal(index.count, whole.count);
    assert.equal(index.size, whole.size);
    assert.deepEqual(await index.computeCsum(), index.header.csum);
    const entries = await entriesOf(index);
    assert.deepEqual(entries, [...whole.entries()].map(({ digest, start, end }) => ({ digest: Buffer.from(digest), start, end })));
    const middle = Math.floor(index.count / 2);
    assert.deepEqual(await entriesOf(index, middle), entries.slice(middle));
    assert.deepEqual(await entriesOf(index, index.count), []);
  }
});

test('a long index is read over several batches, from any entry', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'long.didx');
  await using writer = await DynamicIndexWriter.create(path, { sync: false });
  const count = 40_000;
  for (let i = 0; i < count; i += 1) await writer.addChunk(i * 10, 10, digestOf(i));
  const { csum, size } = await writer.close();
  assert.equal(size, count * 10);
  await using index = await openIndexFile(path);
  assert.deepEqual(await index.computeCsum(), csum);
  for (const from of [0, 16_383, 16_384, 39_999]) {
    let n = from;
    for await (const { digest, start, end } of index.entries(from)) {
      assert.ok(start === n * 10 && end === n * 10 + 10 && (n % 997 !== 0 || bytesEqual(digest, digestOf(n))));
      n += 1;
    }
    assert.equal(n, count);
  }
});

test('damage is told: cut, grown, wrong order, wrong kind, not there', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'a.didx');
  const writer = await DynamicIndexWriter.create(path);
  for (let i = 0; i < 3; i += 1) await writer.addChunk(i * 5, 5, digestOf(i));
  await writer.close();
  const good = readFileSync(path);
  for (const bytes of [good.subarray(0, 4095), good.subarray(0, 4096), good.subarray(0, good.length - 1), Buffer.concat([good, Buffer.alloc(1)]), Buffer.alloc(0)]) {
    writeFileSync(path, bytes);
    await assert.rejects(openIndexFile(path), { name: 'FormatError' });
  }
  const disordered = Buffer.from(good);
  disordered.writeBigUInt64LE(5n, 4096 + 40);
  writeFileSync(path, disordered);
  await using index = await openIndexFile(path);
  await assert.rejects(entriesOf(index), { code: 'format.index-order' });
  assert.equal((await entriesOf(index, 2)).length, 1);
  assert.notDeepEqual(await index.computeCsum(), index.header.csum);
  await assert.rejects(openIndexFile(path, 'fixed'), { code: 'format.index-magic' });
  await assert.rejects(openIndexFile(join(folder.path, 'none.didx')), { code: 'store.missing' });
  await assert.rejects(openIndexFile(join(folder.path, 'x.blob')), { name: 'FormatError' });
  truncateSync(path, 4096 + 40);
  await assert.rejects(entriesOf(index), { code: 'format.index-short' });
});

const uuid = Buffer.from('00112233445546778899aabbccddeeff', 'hex');
const clock = { now: () => 1_700_000_000_000 };
const zeros4 = createHash('sha256').update(Buffer.alloc(4 * MiB)).digest();
const zeros2 = createHash('sha256').update(Buffer.alloc(2 * MiB)).digest();
const sha256Of = (path: string): string => createHash('sha256').update(readFileSync(path)).digest('hex');

test('the worked examples of the specification, whether the size is known or not and in any order', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'drive.img.fidx');
  for (const size of [6 * MiB, undefined]) {
    for (const order of [[0, 1], [1, 0]]) {
      await using writer = await FixedIndexWriter.create(path, { uuid, clock, size });
      assert.deepEqual(readdirSync(folder.path).filter((name) => name.includes('tmp_')), ['drive.img.tmp_fidx']);
      for (const i of order) await writer.addChunk(i * 4 * MiB, i === 0 ? 4 * MiB : 2 * MiB, i === 0 ? zeros4 : zeros2);
      assert.equal(writer.appendedChunks, 2);
      await writer.close();
      assert.equal(sha256Of(path), 'e2afb4bd0af8f624a7fb81d8844614d266dca6e18538790a6a5fa730e27d2508');
      assert.equal(statSync(path).mode & 0o7777, 0o644);
    }
  }
  const dynamic = join(folder.path, 'root.pxar.didx');
  await using writer = await DynamicIndexWriter.create(dynamic, { uuid, clock });
  await writer.addChunk(0, 4 * MiB, zeros4);
  await writer.addChunk(4 * MiB, 11, createHash('sha256').update('hello world').digest());
  assert.deepEqual(readdirSync(folder.path).sort(), ['drive.img.fidx', 'root.pxar.tmp_didx']);
  await writer.close();
  assert.equal(sha256Of(dynamic), 'e73236f5c2a9b5cec8757f5bb7757d049753abf3ca8be507f603feea76e549ee');
});

test('a fixed index accepts what fits its raster and image, nothing else', async () => {
  await using folder = await temporaryFolder();
  await using writer = await FixedIndexWriter.create(join(folder.path, 'a.fidx'), { size: 10, chunkSize: 4 });
  const d = digestOf(1);
  for (const [start, length] of [[0, 5], [0, 0], [2, 4], [0, 3], [8, 4], [8, 1], [12, 4], [-4, 4], [1e300, 4], [0, 1.5], [NaN, 4]] as const) {
    await assert.rejects(writer.addChunk(start, length, d), { code: 'format.index-append' });
  }
  await writer.addChunk(8, 2, d);
  await writer.addChunk(8, 2, d);
  await writer.addChunk(0, 4, d);
  await assert.rejects(writer.close(), { code: 'format.index-incomplete' });
  assert.deepEqual(readdirSync(folder.path), []);
  await using growing = await FixedIndexWriter.create(join(folder.path, 'a.fidx'), { chunkSize: 4 });
  await growing.addChunk(4, 4, d);
  await growing.addChunk(0, 4, d);
  await growing.addChunk(8, 3, d);
  // A short chunk ends the image.
  await assert.rejects(growing.addChunk(12, 4, d), { code: 'format.index-append' });
  assert.equal((await growing.close()).size, 11);
  await assert.rejects(FixedIndexWriter.create(join(folder.path, 'b.fidx'), { size: 0 }), { code: 'format.index-empty' });
  await assert.rejects(FixedIndexWriter.create(join(folder.path, 'b.fidx'), { size: 2 ** 52 }), { code: 'format.index-size' });
});

test('digests of an older index are taken over and overwritten', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'a.fidx');
  await using first = await FixedIndexWriter.create(path, { size: 20_000 * 4 - 1, chunkSize: 4 });
  for (let i = 0; i < 20_000; i += 1) await first.addChunk(i * 4, i === 19_999 ? 3 : 4, digestOf(i));
  await first.close();
  await using older = await openIndexFile(path);
  await using next = await FixedIndexWriter.create(join(folder.path, 'b.fidx'), { size: 20_000 * 4 - 2, chunkSize: 4 });
  await next.copyDigests(older);
  await next.addChunk(17_000 * 4, 4, digestOf(-1));
  await next.close();
  await using index = await openIndexFile(join(folder.path, 'b.fidx'));
  const digests = (await entriesOf(index)).map((entry) => entry.digest);
  for (const i of [0, 16_383, 16_384, 16_999, 17_001, 19_999]) assert.deepEqual(digests[i], digestOf(i));
  assert.deepEqual(digests[17_000], digestOf(-1));
  await using other = await FixedIndexWriter.create(join(folder.path, 'c.fidx'), { size: 4, chunkSize: 4 });
  await assert.rejects(other.copyDigests(older), { code: 'format.index-reuse' });
});

test('a dynamic index accepts only what follows', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'a.didx');
  const empty = await DynamicIndexWriter.create(path);
  await assert.rejects(empty.close(), { code: 'format.index-empty' });
  await using writer = await DynamicIndexWriter.create(path);
  await writer.addChunk(0, 5, digestOf(0));
  for (const [start, length] of [[0, 5], [6, 5], [5, 0], [5, 17 * MiB], [5, -1], [5, 0.5]] as const) {
    await assert.rejects(writer.addChunk(start, length, digestOf(0)), { code: 'format.index-append' });
  }
  await assert.rejects(writer.close(Buffer.alloc(32)), { code: 'format.index-csum' });
  assert.deepEqual(readdirSync(folder.path), []);
});

test('nothing appears under the final name before close, and nothing is left after abort or failure', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'a.didx');
  writeFileSync(path, 'old');
  {
    await using writer = await DynamicIndexWriter.create(path);
    for (let i = 0; i < 3000; i += 1) await writer.addChunk(i, 1, digestOf(i));
    assert.equal(readFileSync(path, 'utf8'), 'old');
  }
  assert.deepEqual(readdirSync(folder.path), ['a.didx']);
  const failing = await DynamicIndexWriter.create(path);
  await failing.addChunk(0, 1, digestOf(0));
  armFailpoint('index.publish', 'error');
  await assert.rejects(failing.close());
  await failing.abort();
  assert.equal(readFileSync(path, 'utf8'), 'old');
  assert.deepEqual(readdirSync(folder.path), ['a.didx']);
  await assert.rejects(FixedIndexWriter.create(join(folder.path, 'none', 'a.fidx')), { code: 'store.missing' });
});
