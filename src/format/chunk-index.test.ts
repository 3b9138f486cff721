import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import {
  checkIndexSummary,
  ChunkIndex,
  encodeDynamicIndex,
  encodeFixedIndex,
  IndexCsum,
  IndexEntryDecoder,
  indexFileLength,
  parseIndexHeader,
  type IndexEntry,
  type IndexKind,
  type IndexSummary,
} from './chunk-index.ts';

const uuid = Buffer.from('00112233445546778899aabbccddeeff', 'hex');
const ctime = 1_700_000_000;
const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();
const zeros = (size: number): Buffer => sha256(Buffer.alloc(size));
const mebibyte = 1024 * 1024;
const refuses = (code: string) => (e: unknown): boolean => e instanceof FormatError && e.code === `format.index-${code}`;

const fixedExample = encodeFixedIndex({ uuid, ctime, size: 6 * mebibyte, chunkSize: 4 * mebibyte, digests: [zeros(4 * mebibyte), zeros(2 * mebibyte)] });
const dynamicExample = encodeDynamicIndex({
  uuid,
  ctime,
  entries: [
    { end: 4 * mebibyte, digest: zeros(4 * mebibyte) },
    { end: 4 * mebibyte + 11, digest: sha256(Buffer.from('hello world')) },
  ],
});

/** Streams `bytes` in pieces of `step`. */
function stream(kind: IndexKind, bytes: Uint8Array, step: number): { entries: IndexEntry[]; summary: IndexSummary } {
  const decoder = new IndexEntryDecoder(kind);
  const entries: IndexEntry[] = [];
  for (let at = 0; at < bytes.length; at += step) entries.push(...decoder.push(bytes.subarray(at, at + step)));
  return { entries, summary: decoder.finish() };
}

test('the worked examples', () => {
  assert.equal(sha256(fixedExample).toString('hex'), 'e2afb4bd0af8f624a7fb81d8844614d266dca6e18538790a6a5fa730e27d2508');
  assert.equal(sha256(dynamicExample).toString('hex'), 'e73236f5c2a9b5cec8757f5bb7757d049753abf3ca8be507f603feea76e549ee');
  assert.deepEqual([fixedExample.length, dynamicExample.length], [indexFileLength('fixed', 2), indexFileLength('dynamic', 2)]);
});

test('header, entries, lookup', () => {
  const fixed = ChunkIndex.parse('fixed', fixedExample);
  assert.deepEqual([fixed.count, fixed.size, fixed.header.chunkSize, fixed.header.ctime], [2, 6 * mebibyte, 4 * mebibyte, ctime]);
  assert.ok(fixed.header.uuid.equals(uuid));
  assert.deepEqual([...fixed.entries()].map(({ start, end }) => [start, end]), [[0, 4 * mebibyte], [4 * mebibyte, 6 * mebibyte]]);
  assert.deepEqual([fixed.find(0), fixed.find(4 * mebibyte - 1), fixed.find(4 * mebibyte), fixed.find(6 * mebibyte - 1)], [0, 0, 1, 1]);
  const dynamic = ChunkIndex.parse('dynamic', dynamicExample);
  assert.deepEqual([dynamic.count, dynamic.size, dynamic.header.size], [2, 4 * mebibyte + 11, undefined]);
  assert.deepEqual([dynamic.find(4 * mebibyte - 1), dynamic.find(4 * mebibyte)], [0, 1]);
  assert.throws(() => dynamic.find(4 * mebibyte + 11), { code: 'ERR_ASSERTION' });
  assert.throws(() => dynamic.entry(2), { code: 'ERR_ASSERTION' });
});

const dynamicIndexes = fc
  .array(fc.tuple(fc.integer({ min: 1, max: 2 ** 40 }), fc.uint8Array({ minLength: 32, maxLength: 32 })), { minLength: 1, maxLength: 40 })
  .map((chunks) => {
    let end = 0;
    return chunks.map(([length, digest]) => ({ end: (end += length), digest }));
  });

test('dynamic: whole and streamed in any pieces agree, every offset is found in its chunk', () => {
  fc.assert(
    fc.property(dynamicIndexes, fc.integer({ min: 1, max: 5000 }), fc.nat(), (entries, step, pick) => {
      const bytes = encodeDynamicIndex({ uuid, ctime, entries });
      const index = ChunkIndex.parse('dynamic', bytes);
      const whole = [...index.entries()];
      assert.deepEqual(whole.map(({ end, digest }) => ({ end, digest: new Uint8Array(digest) })), entries);
      const { entries: streamed, summary } = stream('dynamic', bytes, step);
      assert.deepEqual(streamed, whole);
      assert.deepEqual(summary, { count: index.count, size: index.size, csum: index.csum });
      assert.deepEqual(index.computeCsum(), index.csum);
      const offset = pick % index.size;
      const { start, end } = index.entry(index.find(offset));
      assert.ok(start <= offset && offset < end);
    }),
    { numRuns: 60 },
  );
});

test('fixed: whole and streamed in any pieces agree', () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5000 }), fc.nat(12), fc.integer({ min: 1, max: 5000 }), (size, log, step) => {
      const chunkSize = 2 ** log;
      const digests = Array.from({ length: Math.ceil(size / chunkSize) }, (_, i) => sha256(Buffer.from([i & 255, i >> 8])));
      const bytes = encodeFixedIndex({ uuid, ctime, size, chunkSize, digests });
      const index = ChunkIndex.parse('fixed', bytes);
      const { entries, summary } = stream('fixed', bytes, step);
      assert.deepEqual(entries, [...index.entries()]);
      assert.deepEqual(summary, { count: digests.length, size, csum: index.csum });
      assert.deepEqual(index.computeCsum(), index.csum);
      assert.equal(index.find(size - 1), index.count - 1);
    }),
    { numRuns: 40 },
  );
});

test('a writer’s running csum is the same', () => {
  const digest = randomBytes(32);
  const dynamic = new IndexCsum('dynamic');
  dynamic.add(7, digest);
  assert.deepEqual(dynamic.digest(), ChunkIndex.parse('dynamic', encodeDynamicIndex({ uuid, ctime, entries: [{ end: 7, digest }] })).csum);
  const fixed = new IndexCsum('fixed');
  fixed.add(7, digest);
  assert.deepEqual(fixed.digest(), sha256(digest));
});

/** Both decoders refuse; the whole one with `code`. */
function bothRefuse(kind: IndexKind, bytes: Uint8Array, code: string): void {
  assert.throws(() => ChunkIndex.parse(kind, bytes), refuses(code));
  assert.throws(() => stream(kind, bytes, 1000), FormatError);
}

function changed(source: Buffer, change: (bytes: Buffer) => void): Buffer {
  const bytes = Buffer.from(source);
  change(bytes);
  return bytes;
}

test('lengths must fit exactly and there is at least one entry', () => {
  for (const [kind, bytes] of [['fixed', fixedExample], ['dynamic', dynamicExample]] as const) {
    bothRefuse(kind, bytes.subarray(0, 4095), 'short');
    bothRefuse(kind, bytes.subarray(0, 4096), 'empty');
    bothRefuse(kind, bytes.subarray(0, -1), 'length');
    bothRefuse(kind, Buffer.concat([bytes, Buffer.alloc(1)]), 'length');
    bothRefuse(kind === 'fixed' ? 'dynamic' : 'fixed', bytes, 'magic');
    assert.throws(() => parseIndexHeader(kind, bytes.subarray(0, 4096), 100), refuses('length'));
  }
  bothRefuse('fixed', fixedExample.subarray(0, -32), 'length');
  bothRefuse('fixed', Buffer.concat([fixedExample, Buffer.alloc(32)]), 'length');
});

test('impossible headers and entries are refused', () => {
  bothRefuse('fixed', changed(fixedExample, (bytes) => bytes.writeBigUInt64LE(0n, 0x48)), 'chunk-size');
  bothRefuse('fixed', changed(fixedExample, (bytes) => bytes.writeBigUInt64LE(3n, 0x48)), 'chunk-size');
  bothRefuse('fixed', changed(fixedExample, (bytes) => bytes.writeBigUInt64LE(2n ** 63n, 0x48)), 'number');
  bothRefuse('fixed', changed(fixedExample, (bytes) => bytes.writeBigUInt64LE(2n ** 60n, 0x40)), 'number');
  bothRefuse('fixed', changed(fixedExample, (bytes) => bytes.writeBigUInt64LE(0n, 0x40)), 'empty');
  bothRefuse('fixed', changed(fixedExample, (bytes) => bytes.writeBigUInt64LE(2n ** 40n, 0x40)), 'length');
  bothRefuse('dynamic', changed(dynamicExample, (bytes) => bytes.writeBigUInt64LE(0n, 4096)), 'order');
  bothRefuse('dynamic', changed(dynamicExample, (bytes) => bytes.writeBigUInt64LE(BigInt(4 * mebibyte), 4136)), 'order');
  bothRefuse('dynamic', changed(dynamicExample, (bytes) => bytes.writeBigUInt64LE(2n ** 60n, 4136)), 'number');
});

test('reserved bytes are ignored, a wrong stored csum is found by recomputing it', () => {
  const reserved = ChunkIndex.parse('dynamic', changed(dynamicExample, (bytes) => bytes.fill(0xff, 0x40, 4096)));
  assert.deepEqual(reserved.computeCsum(), reserved.csum);
  const lying = ChunkIndex.parse('dynamic', changed(dynamicExample, (bytes) => bytes.fill(0, 0x20, 0x40)));
  assert.notDeepEqual(lying.computeCsum(), lying.csum);
  assert.deepEqual(lying.computeCsum(), reserved.csum);
});

test('the summary is compared with the manifest', () => {
  const { summary } = stream('dynamic', dynamicExample, 100);
  checkIndexSummary(summary, { csum: summary.csum, size: summary.size }, 'x.didx');
  assert.throws(() => checkIndexSummary(summary, { csum: summary.csum, size: 1 }, 'x.didx'), refuses('size'));
  assert.throws(() => checkIndexSummary(summary, { csum: Buffer.alloc(32), size: summary.size }, 'x.didx'), refuses('csum'));
});
