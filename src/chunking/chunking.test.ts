import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import fc from 'fast-check';
import { readFixture } from '../../test/support/golden.ts';
import { BuzhashScanner, chunkSizes } from './buzhash-scanner.ts';
import { buzhashTable } from './buzhash-table.ts';
import { PayloadChunker, type InjectedChunk, type PayloadPiece } from './payload-chunker.ts';
import { BuzhashChunker, FixedChunker, type StreamChunker } from './stream-chunker.ts';

const KiB = 1024;
const MiB = KiB * KiB;

interface Vector {
  average: number;
  ends: number[];
  input: { kind: 'sha256-counter'; seed: string; length: number } | { kind: 'constant'; byte: number; length: number } | { kind: 'repeat'; seed: string; unit: number; length: number };
}

/** SHA-256(prefix ‖ counter) for counter 0, 1, 2 ... */
function counterStream(prefix: string, counterSize: 4 | 8, length: number): Buffer {
  const out = Buffer.alloc(Math.ceil(length / 32) * 32);
  const counter = Buffer.alloc(counterSize);
  for (let at = 0, i = 0; at < length; at += 32, i += 1) {
    counter.writeUInt32LE(i);
    createHash('sha256').update(prefix).update(counter).digest().copy(out, at);
  }
  return out.subarray(0, length);
}

function xorshift(length: number): Buffer {
  const out = Buffer.alloc(length);
  let x = 1;
  for (let i = 0; i < length; i += 1) {
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    out[i] = x & 0xff;
  }
  return out;
}

function littleEndianCounter(length: number): Buffer {
  const out = Buffer.alloc(length);
  for (let i = 0; i < length / 4; i += 1) out.writeUInt32LE(i, i * 4);
  return out;
}

function inputOf({ input }: Vector): Buffer {
  if (input.kind === 'constant') return Buffer.alloc(input.length, input.byte);
  if (input.kind === 'sha256-counter') return counterStream(input.seed, 8, input.length);
  return Buffer.alloc(input.length, counterStream(input.seed, 8, input.unit));
}

/** Chunks of `stream` pushed in pieces whose sizes `pieceSize` says. */
function chunksOf(chunker: StreamChunker, stream: Buffer, pieceSize: () => number): Buffer[] {
  const chunks: Buffer[] = [];
  for (let at = 0; at < stream.length; ) {
    const size = pieceSize();
    chunks.push(...chunker.push(stream.subarray(at, at + size)));
    at += size;
  }
  const last = chunker.finish();
  return last === null ? chunks : [...chunks, last];
}

const lengths = (chunks: readonly Buffer[]): number[] => chunks.map(({ length }) => length);
const whole = (): number => 1024 * MiB;

test('the table is the reference\'s', () => {
  const bytes = Buffer.from(buzhashTable.buffer);
  assert.equal(createHash('sha256').update(bytes).digest('hex'), '5b52080d38287da9d2e278466e3e0db7ec98e5e8b226f50612a56fa012b1f660');
});

test('recorded cut points, in one piece and in odd pieces', () => {
  const vectors = JSON.parse(readFixture('vectors/chunker.json').toString()) as Vector[];
  assert.equal(vectors.length, 8);
  for (const vector of vectors) {
    const stream = inputOf(vector);
    for (const pieceSize of [whole, (): number => 65_537]) {
      const chunks = chunksOf(new BuzhashChunker(vector.average), stream, pieceSize);
      let end = 0;
      assert.deepEqual(chunks.map(({ length }) => (end += length)), vector.ends);
      assert.ok(Buffer.concat(chunks).equals(stream));
    }
  }
});

test('cut lengths of the specification', () => {
  const cut = (stream: Buffer, average: number): number[] => lengths(chunksOf(new BuzhashChunker(average), stream, () => 12_345));
  assert.deepEqual(cut(littleEndianCounter(MiB), 64 * KiB), [143_377, 262_144, 262_144, 262_144, 118_767]);
  assert.deepEqual(cut(Buffer.alloc(MiB), 64 * KiB), [262_144, 262_144, 262_144, 262_144]);
  const sha = counterStream('', 4, 2 * MiB);
  const shaCut = cut(sha, 64 * KiB);
  assert.deepEqual(shaCut.slice(0, 11), [22_709, 35_469, 159_725, 21_933, 26_149, 23_575, 68_681, 65_884, 29_709, 35_011, 126_678]);
  assert.deepEqual([shaCut.length, shaCut.at(-1)], [38, 4174]);
  assert.deepEqual(cut(sha, 512 * KiB), [265_985, 158_140, 498_826, 680_708, 493_493]);
  assert.deepEqual(cut(xorshift(MiB), 64 * KiB), [118_279, 49_494, 16_621, 62_859, 32_169, 66_228, 67_344, 33_968, 39_993, 27_037, 102_239, 80_474, 46_520, 166_120, 110_721, 28_510]);
  assert.deepEqual(cut(xorshift(64 * MiB), 4 * MiB), [
    1_162_671, 4_850_156, 2_836_501, 8_775_245, 9_503_514, 1_221_476, 6_804_738, 4_307_997, 5_796_479, 1_138_062, 8_171_996, 1_375_249, 2_123_054, 3_336_746, 5_704_980,
  ]);
});

test('sizes', () => {
  assert.deepEqual(chunkSizes(4 * MiB), { min: MiB, max: 16 * MiB });
  assert.throws(() => chunkSizes(3 * MiB));
  assert.throws(() => new FixedChunker(0));
  assert.equal(new BuzhashScanner(64 * KiB).scan(Buffer.alloc(0)), 0);
});

test('boundaries do not depend on the buffers, and a view is taken where a chunk lies in one', () => {
  const stream = counterStream('pieces', 8, 300_000);
  const expected = lengths(chunksOf(new BuzhashChunker(1024), stream, whole));
  assert.ok(expected.length > 200);
  assert.deepEqual(lengths(chunksOf(new BuzhashChunker(1024), stream, () => 1)), expected);
  fc.assert(
    fc.property(fc.infiniteStream(fc.integer({ min: 1, max: 700 })), (sizes) => {
      const chunks = chunksOf(new BuzhashChunker(1024), stream, () => sizes.next().value as number);
      assert.deepEqual(lengths(chunks), expected);
      assert.ok(Buffer.concat(chunks).equals(stream));
    }),
    { numRuns: 30 },
  );
  assert.equal(new BuzhashChunker(1024).push(stream)[0]!.buffer, stream.buffer);
});

test('fixed chunks', () => {
  const stream = counterStream('fixed', 8, 10_000);
  for (const piece of [1, 999, 1000, 1001, 20_000]) {
    const chunks = chunksOf(new FixedChunker(1000), stream, () => piece);
    assert.deepEqual(lengths(chunks), Array.from({ length: 10 }, () => 1000));
    assert.ok(Buffer.concat(chunks).equals(stream));
  }
  assert.deepEqual(lengths(chunksOf(new FixedChunker(4096), stream, whole)), [4096, 4096, 1808]);
  assert.equal(new FixedChunker(5).finish(), null);
});

const size = (piece: PayloadPiece): number => (piece.kind === 'chunk' ? piece.bytes.length : piece.chunks.reduce((sum, chunk) => sum + chunk.size, 0));

function suggestedLengths(stream: Buffer, suggestions: readonly number[]): number[] {
  const chunker = new PayloadChunker(64 * KiB);
  for (const suggestion of suggestions) chunker.suggest(suggestion);
  return [...chunker.push(stream), ...chunker.finish()].map(size);
}

test('suggested boundaries, as recorded', () => {
  assert.deepEqual(suggestedLengths(littleEndianCounter(MiB), [32_768, 32_768, 0, 405_521]), [32_768, 110_609, 262_144, 262_144, 262_144, 118_767]);
  const sha = suggestedLengths(counterStream('', 4, 2 * MiB), [20_000, 100_000, 110_000, 150_000, 500_000, 1_500_000]);
  assert.deepEqual(sha.slice(0, 8), [20_000, 80_000, 50_000, 67_903, 21_933, 260_164, 115_523, 70_035]);
});

test('without suggestions the payload is cut like any stream', () => {
  const stream = counterStream('plain', 8, MiB);
  assert.deepEqual(suggestedLengths(stream, []), lengths(chunksOf(new BuzhashChunker(64 * KiB), stream, whole)));
});

test('suggestions that come before their bytes give the same cuts however the stream is pushed', () => {
  const stream = counterStream('pushed', 8, 10 * MiB);
  const suggestions = Array.from({ length: 200 }, (_, i) => i * 50_021);
  const expected = suggestedLengths(stream, suggestions);
  assert.ok(expected.length > 100);
  for (const length of [70_001, MiB, 9 * MiB]) {
    const chunker = new PayloadChunker(64 * KiB);
    const found: number[] = [];
    let told = 0;
    for (let at = 0; at < stream.length; at += length) {
      while (told < suggestions.length && suggestions[told]! <= at + length) chunker.suggest(suggestions[told++]!);
      found.push(...chunker.push(stream.subarray(at, at + length)).map(size));
    }
    assert.deepEqual([...found, ...chunker.finish().map(size)], expected);
  }
});

test('a suggestion for less than the smallest chunk, or for what was looked at already, is passed over', () => {
  assert.deepEqual(suggestedLengths(Buffer.alloc(50_000), [16_383]), [50_000]);
  assert.deepEqual(suggestedLengths(Buffer.alloc(50_000), [16_384]), [16_384, 33_616]);
  const chunker = new PayloadChunker(4 * MiB);
  assert.deepEqual(chunker.push(Buffer.alloc(4 * MiB)), []);
  chunker.suggest(2 * MiB);
  chunker.suggest(5 * MiB);
  assert.deepEqual([...chunker.push(Buffer.alloc(4 * MiB)), ...chunker.finish()].map(size), [5 * MiB, 3 * MiB]);
});

const arbitraryStep = fc.oneof(
  fc.record({ kind: fc.constant('bytes' as const), length: fc.integer({ min: 0, max: 5000 }) }),
  fc.record({ kind: fc.constant('suggest' as const) }),
  fc.record({ kind: fc.constant('inject' as const), sizes: fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 3 }) }),
);

test('any sequence of data, suggestions and injections: nothing lost, injections at their place, lawful sizes', () => {
  const content = counterStream('sequence', 8, 256 * KiB);
  fc.assert(
    fc.property(fc.array(arbitraryStep, { maxLength: 50 }), (steps) => {
      const chunker = new PayloadChunker(1024);
      const pieces: PayloadPiece[] = [];
      const injectedAt: Array<{ at: number; chunks: readonly InjectedChunk[] }> = [];
      let [data, position] = [0, 0];
      for (const step of steps) {
        if (step.kind === 'bytes') {
          pieces.push(...chunker.push(content.subarray(data, data + step.length)));
          data += step.length;
          position += step.length;
        } else if (step.kind === 'suggest') chunker.suggest(position);
        else {
          const chunks = step.sizes.map((bytes) => ({ digest: Buffer.alloc(32), size: bytes }));
          injectedAt.push({ at: position, chunks });
          pieces.push(...chunker.inject({ boundary: position, chunks }));
          position += chunks.reduce((sum, chunk) => sum + chunk.size, 0);
        }
        assert.equal(chunker.position, position);
      }
      pieces.push(...chunker.finish());
      assert.ok(Buffer.concat(pieces.flatMap((piece) => (piece.kind === 'chunk' ? [piece.bytes] : []))).equals(content.subarray(0, data)));
      let at = 0;
      const found: typeof injectedAt = [];
      for (const [i, piece] of pieces.entries()) {
        if (piece.kind === 'injected') found.push({ at, chunks: piece.chunks });
        else {
          const isBeforeData = pieces[i + 1]?.kind === 'chunk';
          assert.ok(piece.bytes.length > 0 && piece.bytes.length <= 4096 && (piece.bytes.length >= 256 || !isBeforeData));
        }
        at += size(piece);
      }
      assert.deepEqual(found, injectedAt);
    }),
    { numRuns: 300 },
  );
});

test('an injection for another place is refused', () => {
  const chunks = [{ digest: Buffer.alloc(32, 7), size: 100 }];
  const chunker = new PayloadChunker(1024);
  assert.deepEqual(chunker.push(Buffer.alloc(500)), []);
  for (const boundary of [499, 501]) assert.throws(() => chunker.inject({ boundary, chunks }));
  assert.deepEqual(chunker.inject({ boundary: 500, chunks }).map(size), [500, 100]);
  assert.deepEqual(chunker.inject({ boundary: 600, chunks }).map(size), [100]);
  assert.equal(chunker.position, 700);
});
