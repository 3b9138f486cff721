import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { constants, createZstdCompress, zstdCompressSync } from 'node:zlib';
import { FormatError } from '../base/errors.ts';
import { compress, compressAsync, decompress, decompressAsync } from './zstd-payload.ts';

const mebibyte = 1024 * 1024;
const text = Buffer.from('farshore '.repeat(20_000));
const level = (n: number, more: Record<number, number> = {}) => ({ params: { [constants.ZSTD_c_compressionLevel]: n, ...more } });

/** Both variants, which must agree. */
async function bothDecode(frames: Buffer, maxSize: number): Promise<Buffer> {
  const sync = decompress(frames, maxSize);
  assert.ok(sync.equals(await decompressAsync(frames, maxSize)));
  return sync;
}

async function bothReject(frames: Buffer, maxSize: number, code: string): Promise<void> {
  const wanted = (e: unknown): boolean => e instanceof FormatError && e.code === code;
  assert.throws(() => decompress(frames, maxSize), wanted);
  await assert.rejects(decompressAsync(frames, maxSize), wanted);
}

test('frames of any level, with checksum, without content size, several in a row, skippable ones between', async () => {
  const streamed = await buffer(Readable.from([text.subarray(0, 1000), text.subarray(1000)]).pipe(createZstdCompress()));
  const skippable = Buffer.from('5f2a4d1803000000abcdef', 'hex');
  for (const frames of [zstdCompressSync(text, level(1)), zstdCompressSync(text, level(19, { [constants.ZSTD_c_checksumFlag]: 1 })), zstdCompressSync(text, level(22)), streamed, Buffer.concat([skippable, streamed, skippable])]) {
    assert.ok((await bothDecode(frames, text.length)).equals(text));
  }
  const twice = Buffer.concat([zstdCompressSync(text), skippable, zstdCompressSync(text)]);
  assert.ok((await bothDecode(twice, 2 * text.length)).equals(Buffer.concat([text, text])));
  assert.equal((await bothDecode(zstdCompressSync(Buffer.alloc(0)), 0)).length, 0);
});

test('what is behind the last frame, or missing at its end, is noticed', async () => {
  const frame = zstdCompressSync(text.subarray(0, 2000), level(1, { [constants.ZSTD_c_checksumFlag]: 1 }));
  for (const tail of ['00', '78', '28b52ffd', '28b52ffd20', '502a4d1805000000ff', '0000000000000000']) await bothReject(Buffer.concat([frame, Buffer.from(tail, 'hex')]), mebibyte, 'format.zstd');
  for (let length = 0; length < frame.length; length += 1) await bothReject(frame.subarray(0, length), mebibyte, 'format.zstd');
});

test('the bound holds to the byte', async () => {
  const streamed = await buffer(Readable.from([text.subarray(0, 1000), text.subarray(1000)]).pipe(createZstdCompress()));
  for (const frames of [zstdCompressSync(text), streamed]) {
    assert.equal((await bothDecode(frames, text.length)).length, text.length);
    await bothReject(frames, text.length - 1, 'format.too-large');
    await bothReject(frames, 0, 'format.too-large');
  }
});

/** A frame without content size: run-length blocks of 128 KiB zeros, four bytes each. */
function bomb(bytes: number): Buffer {
  const blocks = Math.ceil(bytes / (128 * 1024));
  const header = Buffer.from('28b52ffd0088', 'hex');
  const body = Buffer.alloc(blocks * 4);
  for (let i = 0; i < blocks; i += 1) body.writeUIntLE(((128 * 1024) << 3) | 2 | (i === blocks - 1 ? 1 : 0), i * 4, 3);
  return Buffer.concat([header, body]);
}

test('a bomb costs no more memory than the bound', async () => {
  assert.equal((await bothDecode(bomb(mebibyte), mebibyte)).length, mebibyte);
  const before = process.resourceUsage().maxRSS;
  for (let i = 0; i < 4; i += 1) await bothReject(bomb(4096 * mebibyte), 16 * mebibyte, 'format.too-large');
  // A header alone that announces 100 MiB in one segment, or a window of 128 MiB.
  await bothReject(Buffer.from('28b52ffda000004006010000', 'hex'), 16 * mebibyte, 'format.too-large');
  await bothReject(Buffer.from('28b52ffd0088010000', 'hex').subarray(0, 8), 16 * mebibyte, 'format.zstd');
  const grownKib = process.resourceUsage().maxRSS - before;
  assert.ok(grownKib < 160 * 1024, `grew by ${grownKib} KiB`);
});

test('compression: one frame with content size, none for tiny or incompressible data', async () => {
  assert.equal(compress(Buffer.alloc(24)), null);
  assert.equal(compress(Buffer.alloc(0)), null);
  assert.equal(compress(Buffer.alloc(48))?.toString('hex'), '28b52ffd203045000010000001009b000b');
  assert.equal(compress(randomBytes(1000)), null);
  assert.equal(await compressAsync(randomBytes(100_000)), null);
  const frame = compress(text)!;
  assert.ok(frame.equals((await compressAsync(text))!));
  assert.ok(decompress(frame, text.length).equals(text));
});
