import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '../base/bytes.ts';
import { CryptConfig } from '../crypto/crypt-config.ts';
import { ChunkIndex, encodeDynamicIndex, encodeFixedIndex } from '../format/chunk-index.ts';
import { encodeBlob } from '../format/data-blob.ts';
import { ChunkSource, type Piece } from './chunk-source.ts';

const chunkSize = 4096;
const crypt = new CryptConfig(Buffer.alloc(32, 7));

/** A server's end that answers in any order and counts. */
class ChunkServer {
  readonly chunks = new Map<string, Buffer>();
  readonly asked: string[] = [];
  underWay = 0;
  mostUnderWay = 0;

  async chunk(digest: Uint8Array): Promise<Buffer> {
    const hex = toHex(digest);
    this.asked.push(hex);
    this.underWay += 1;
    this.mostUnderWay = Math.max(this.mostUnderWay, this.underWay);
    // Later requests are answered first.
    for (let turns = 40 - (this.asked.length % 40); turns > 0; turns -= 1) await Promise.resolve();
    this.underWay -= 1;
    const found = this.chunks.get(hex);
    if (found === undefined) throw new Error(`no chunk ${hex}`);
    return found;
  }
}

function image(contents: readonly Buffer[], options: { key?: CryptConfig } = {}): { index: ChunkIndex; server: ChunkServer } {
  const server = new ChunkServer();
  const digests = contents.map((content) => {
    const digest = options.key?.digest(content) ?? createHash('sha256').update(content).digest();
    server.chunks.set(toHex(digest), encodeBlob(content, { compress: true, crypt: options.key }));
    return digest;
  });
  const size = contents.reduce((sum, content) => sum + content.length, 0);
  return { server, index: ChunkIndex.parse('fixed', encodeFixedIndex({ uuid: Buffer.alloc(16), ctime: 1, size, chunkSize, digests })) };
}

async function read(source: ChunkSource, index: ChunkIndex): Promise<Piece[]> {
  const pieces: Piece[] = [];
  for await (const piece of source.pieces(index)) pieces.push(piece);
  return pieces;
}

function content(pieces: readonly Piece[]): Buffer {
  return Buffer.concat(pieces.map(({ bytes, length }) => bytes ?? Buffer.alloc(length)));
}

test('pieces come in order, many chunks at a time but not more, plain and encrypted', async () => {
  const contents = Array.from({ length: 100 }, (_, i) => (i === 99 ? randomBytes(100) : randomBytes(chunkSize)));
  for (const key of [undefined, crypt]) {
    const { index, server } = image(contents, key === undefined ? {} : { key });
    const pieces = await read(new ChunkSource({ reader: server, crypt: key, cryptMode: key === undefined ? 'none' : 'encrypt' }), index);
    assert.ok(content(pieces).equals(Buffer.concat(contents)));
    assert.equal(server.asked.length, 100);
    assert.ok(server.mostUnderWay > 4 && server.mostUnderWay <= 16, `${server.mostUnderWay}`);
  }
});

test('zeros are told as such and fetched once; what comes again soon is fetched once', async () => {
  const zero = Buffer.alloc(chunkSize);
  const same = randomBytes(chunkSize);
  const { index, server } = image([zero, same, same, ...Array.from({ length: 60 }, () => zero), same, Buffer.alloc(10)]);
  const pieces = await read(new ChunkSource({ reader: server, crypt: undefined, cryptMode: 'none' }), index);
  assert.deepEqual(pieces.map(({ bytes }) => bytes === null).filter((isZero) => !isZero).length, 3);
  assert.ok(content(pieces).equals(Buffer.concat([zero, same, same, Buffer.alloc(60 * chunkSize), same, Buffer.alloc(10)])));
  assert.equal(server.asked.length, 3);
});

test('nothing of a chunk that is not what its index names is given out, and nothing after it', async () => {
  const contents = Array.from({ length: 40 }, () => randomBytes(chunkSize));
  const plain = (data: Buffer): Buffer => encodeBlob(data, { compress: false });
  const cases: Array<[name: string, code: string, encrypted: boolean, wrong: (good: Buffer, data: Buffer) => Buffer]> = [
    ['another content', 'format.digest', false, () => plain(randomBytes(chunkSize))],
    ['a flipped bit', 'format.blob-crc', false, (good) => flipped(good)],
    ['too long', 'format.too-large', false, (_, data) => plain(Buffer.concat([data, data]))],
    ['too short', 'format.digest', false, (_, data) => plain(data.subarray(1))],
    ['no blob', 'format.blob-short', false, () => Buffer.alloc(3)],
    ['encrypted in a plain archive', 'format.crypt-mode', false, (_, data) => encodeBlob(data, { compress: false, crypt })],
    ['plain in an encrypted archive', 'format.crypt-mode', true, (_, data) => plain(data)],
    ['encrypted with another key', 'format.auth-tag', true, (_, data) => encodeBlob(data, { compress: false, crypt: new CryptConfig(Buffer.alloc(32, 8)) })],
  ];
  for (const [name, code, encrypted, wrong] of cases) {
    const { index, server } = image(contents, encrypted ? { key: crypt } : {});
    const hex = toHex(index.digest(20));
    server.chunks.set(hex, wrong(server.chunks.get(hex)!, contents[20]!));
    const given: Piece[] = [];
    const failure = await (async () => {
      for await (const piece of new ChunkSource({ reader: server, crypt: encrypted ? crypt : undefined, cryptMode: encrypted ? 'encrypt' : 'none' }).pieces(index)) given.push(piece);
    })().catch((e: unknown) => e as Error);
    assert.ok(failure instanceof Error, name);
    assert.equal(failure.message, `chunk ${hex} is not what the index names`);
    assert.equal((failure.cause as { code: string }).code, code, name);
    assert.ok(content(given).equals(Buffer.concat(contents.slice(0, 20))), name);
  }
});

function flipped(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy[copy.length - 1]! ^= 1;
  return copy;
}

test('an index that gives one chunk two lengths', async () => {
  for (const data of [randomBytes(100), Buffer.alloc(100)]) {
    const server = new ChunkServer();
    const digest = createHash('sha256').update(data).digest();
    server.chunks.set(toHex(digest), encodeBlob(data, { compress: false }));
    for (const ends of [[100, 150], [100, 300], [100, 2 ** 40]]) {
      const index = ChunkIndex.parse('dynamic', encodeDynamicIndex({ uuid: Buffer.alloc(16), ctime: 1, entries: ends.map((end) => ({ end, digest })) }));
      await assert.rejects(read(new ChunkSource({ reader: server, crypt: undefined, cryptMode: 'none' }), index), { code: 'format.chunk' });
    }
  }
});

test('an encrypted archive without a key', async () => {
  const { index, server } = image([randomBytes(chunkSize)], { key: crypt });
  await assert.rejects(read(new ChunkSource({ reader: server, crypt: undefined, cryptMode: 'encrypt' }), index), { code: 'format.key-missing' });
});
