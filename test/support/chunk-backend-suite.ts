import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { toHex, type Digest } from '../../src/base/bytes.ts';
import { AbortedError } from '../../src/base/errors.ts';
import type { ChunkBackend, SweepStatistics } from '../../src/datastore/chunk-backend.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import { CryptConfig } from '../../src/crypto/crypt-config.ts';

/** A backend under test and what the suite needs to look behind it. */
export interface BackendUnderTest {
  backend: ChunkBackend;
  /** Names of everything that is stored: 64 hex digits, `.N.bad` copies, leftovers. */
  names: () => Promise<string[]>;
  /** Puts bytes under a name, as a crash or a bad disk would leave them. */
  plant: (name: string, bytes: Uint8Array) => Promise<void>;
  /** Sets when a stored name was last used (seconds since the epoch). */
  setUsed: (name: string, seconds: number) => Promise<void>;
  /** Seconds since the epoch of its last use. */
  used: (name: string) => Promise<number>;
}

export interface Chunk {
  digest: Digest;
  blob: Buffer;
}

const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();

/** A chunk of random or of very compressible content. */
export function makeChunk(size: number, options: { compressible?: boolean; compress?: boolean } = {}): Chunk {
  const data = options.compressible === true ? Buffer.alloc(size, randomBytes(16).toString('hex')) : randomBytes(size);
  return { digest: sha256(data), blob: encodeBlob(data, { compress: options.compress ?? false }) };
}

const emptyStatistics: SweepStatistics = { removedChunks: 0, removedBytes: 0, pendingChunks: 0, pendingBytes: 0, diskChunks: 0, diskBytes: 0, removedBad: 0, stillBad: 0 };
const longAgo = 1_000_000;

/** The contract of ChunkBackend as tests; `make` gives a new, empty backend, which is removed by `Symbol.asyncDispose`. */
export function chunkBackendSuite(name: string, make: () => Promise<BackendUnderTest & AsyncDisposable>): void {
  const check = (what: string, body: (under: BackendUnderTest) => Promise<void>): void => {
    test(`${name}: ${what}`, async () => {
      await using under = await make();
      await body(under);
    });
  };
  storing(check);
  precedence(check);
  settingAside(check);
  sweeping(check);
}

type Check = (what: string, body: (under: BackendUnderTest) => Promise<void>) => void;

function storing(check: Check): void {
  check('what was inserted is read back byte for byte, of any size', async ({ backend, names }) => {
    const chunks = [0, 1, 4096, 4 * 1024 * 1024].map((size) => makeChunk(size));
    for (const { digest, blob } of chunks) assert.deepEqual(await backend.insert(digest, blob), { duplicate: false, storedSize: blob.byteLength });
    for (const { digest, blob } of chunks) {
      assert.ok((await backend.read(digest)).equals(blob));
      assert.equal(await backend.size(digest), blob.byteLength);
      assert.notEqual(await backend.readingOrder(digest), null);
    }
    assert.deepEqual((await names()).sort(), chunks.map(({ digest }) => toHex(digest)).sort());
  });

  check('a missing chunk', async ({ backend }) => {
    const { digest } = makeChunk(10);
    await assert.rejects(backend.read(digest), { name: 'StoreError', code: 'store.chunk-missing' });
    assert.equal(await backend.size(digest), null);
    assert.equal(await backend.touch(digest), false);
    assert.equal(await backend.readingOrder(digest), null);
    assert.equal(await backend.markCorrupt(digest), null);
    await backend.touchBad(digest);
  });

  check('inserting and touching mark as used now, reading the size does not', async ({ backend, setUsed, used }) => {
    const { digest, blob } = makeChunk(100);
    const started = Math.floor(Date.now() / 1000) - 1;
    await backend.insert(digest, blob);
    assert.ok((await used(toHex(digest))) >= started);
    await setUsed(toHex(digest), longAgo);
    assert.equal(await backend.size(digest), blob.byteLength);
    assert.equal(await used(toHex(digest)), longAgo);
    assert.equal(await backend.touch(digest), true);
    assert.ok((await used(toHex(digest))) >= started);
    await setUsed(toHex(digest), longAgo);
    assert.deepEqual(await backend.insert(digest, blob), { duplicate: true, storedSize: blob.byteLength });
    assert.ok((await used(toHex(digest))) >= started);
  });

  check('many insert the same chunk at once: it is stored once', async ({ backend, names }) => {
    const { digest, blob } = makeChunk(300_000);
    await Promise.all(Array.from({ length: 12 }, () => backend.insert(digest, blob)));
    assert.deepEqual(await names(), [toHex(digest)]);
    assert.ok((await backend.read(digest)).equals(blob));
  });

  check('what is no blob, or larger than any chunk, is refused', async ({ backend, names }) => {
    const { digest } = makeChunk(1);
    await assert.rejects(backend.insert(digest, Buffer.alloc(100)), { name: 'FormatError' });
    await assert.rejects(backend.insert(digest, encodeBlob(Buffer.alloc(16 * 1024 * 1024 + 100), { compress: false })), { name: 'FormatError' });
    await assert.rejects(backend.replace(digest, Buffer.alloc(3)), { name: 'FormatError' });
    assert.deepEqual(await names(), []);
  });
}

function precedence(check: Check): void {
  check('of two plain forms of a chunk the smaller one stays', async ({ backend }) => {
    const data = Buffer.alloc(50_000, 'abc');
    const digest = sha256(data);
    const [small, large] = [encodeBlob(data, { compress: true }), encodeBlob(data, { compress: false })];
    assert.deepEqual(await backend.insert(digest, large), { duplicate: false, storedSize: large.byteLength });
    assert.deepEqual(await backend.insert(digest, small), { duplicate: false, storedSize: small.byteLength });
    assert.deepEqual(await backend.insert(digest, large), { duplicate: true, storedSize: small.byteLength });
    assert.ok((await backend.read(digest)).equals(small));
  });

  check('an empty, cut or zeroed file does not pass for the chunk', async ({ backend, plant }) => {
    const { digest, blob } = makeChunk(5000);
    for (const damaged of [Buffer.alloc(0), blob.subarray(0, 3000), blob.subarray(0, 3), Buffer.alloc(blob.byteLength), Buffer.alloc(9000, 1)]) {
      await plant(toHex(digest), damaged);
      assert.deepEqual(await backend.insert(digest, blob), { duplicate: false, storedSize: blob.byteLength });
      assert.ok((await backend.read(digest)).equals(blob));
    }
  });

  check('encrypted and plain chunks are never mixed under one digest', async ({ backend }) => {
    const crypt = new CryptConfig(Buffer.alloc(32, 3));
    const data = Buffer.alloc(40_000, 'xyz');
    const plain = encodeBlob(data, { compress: true });
    const encrypted = encodeBlob(data, { compress: false, crypt });
    const [a, b] = [makeChunk(1).digest, makeChunk(1).digest];
    await backend.insert(a, plain);
    await assert.rejects(backend.insert(a, encrypted), { code: 'store.chunk-mode' });
    await backend.insert(b, encrypted);
    await assert.rejects(backend.insert(b, plain), { code: 'store.chunk-mode' });
    await assert.rejects(backend.insert(b, encodeBlob(data.subarray(1), { compress: false, crypt })), { code: 'store.chunk-mode' });
    // Compressed or not depends on the client: the one that is there stays, whichever is smaller.
    const smaller = encodeBlob(data, { compress: true, crypt });
    assert.deepEqual(await backend.insert(b, smaller), { duplicate: true, storedSize: encrypted.byteLength });
    assert.ok((await backend.read(a)).equals(plain));
    assert.ok((await backend.read(b)).equals(encrypted));
  });

  check('replace overwrites whatever is there', async ({ backend, plant }) => {
    const { digest, blob } = makeChunk(2000);
    const damaged = Buffer.from(blob);
    damaged[1000]! ^= 1;
    await plant(toHex(digest), damaged);
    assert.deepEqual(await backend.insert(digest, blob), { duplicate: true, storedSize: blob.byteLength });
    assert.deepEqual(await backend.replace(digest, blob), { duplicate: false, storedSize: blob.byteLength });
    assert.ok((await backend.read(digest)).equals(blob));
  });
}

function settingAside(check: Check): void {
  check('corrupt chunks get the first free name of ten, the last one is overwritten', async ({ backend, names, setUsed, used }) => {
    const { digest, blob } = makeChunk(50);
    const hex = toHex(digest);
    for (let n = 0; n < 12; n += 1) {
      await backend.insert(digest, blob);
      await setUsed(hex, longAgo + n);
      assert.equal(await backend.markCorrupt(digest), `${hex}.${Math.min(n, 9)}.bad`);
      assert.equal(await backend.size(digest), null);
    }
    assert.equal((await names()).length, 10);
    assert.equal(await used(`${hex}.9.bad`), longAgo + 11);
    await backend.touchBad(digest);
    for (const name of await names()) assert.ok((await used(name)) > longAgo + 100);
    await backend.insert(digest, blob);
    assert.ok((await backend.read(digest)).equals(blob));
  });
}

function sweeping(check: Check): void {
  check('sweep: removed, pending and used by last use, in whole seconds and strictly before', async ({ backend, names, setUsed }) => {
    const chunks = Array.from({ length: 6 }, (_, i) => makeChunk(100 + i));
    const ages = [499, 500, 999, 1000, 499, 999];
    for (const [i, { digest, blob }] of chunks.entries()) {
      await backend.insert(digest, blob);
      const bad = i >= 4 ? await backend.markCorrupt(digest) : null;
      await setUsed(bad ?? toHex(digest), ages[i]!);
    }
    const size = (i: number): number => chunks[i]!.blob.byteLength;
    const progress: Array<[number, number]> = [];
    const before = await backend.sweep(500, 1000, { dryRun: true });
    assert.ok(before.removedChunks > 0);
    assert.deepEqual(await backend.sweep(500, 1000, { dryRun: true }), before, 'a dry run removes nothing');
    assert.deepEqual(await backend.sweep(500, 1000, { onProgress: (percent, handled) => progress.push([percent, handled]) }), {
      removedChunks: 1,
      removedBytes: size(0) + size(4),
      pendingChunks: 2,
      pendingBytes: size(1) + size(2) + size(5),
      diskChunks: 1,
      diskBytes: size(3),
      removedBad: 1,
      stillBad: 1,
    });
    assert.equal((await names()).length, 4);
    assert.ok(progress.every(([percent, handled], i) => percent > (progress[i - 1]?.[0] ?? 0) && percent < 100 && handled >= (progress[i - 1]?.[1] ?? 0)));
    assert.ok(progress.length > 0);
    const again = await backend.sweep(500, 1000);
    assert.equal(again.removedChunks + again.removedBad + again.removedBytes, 0);
  });

  check('sweep of nothing, and an aborted one', async ({ backend, setUsed }) => {
    assert.deepEqual(await backend.sweep(1, 2), emptyStatistics);
    const { digest, blob } = makeChunk(10);
    await backend.insert(digest, blob);
    await setUsed(toHex(digest), 5);
    await assert.rejects(backend.sweep(10, 10, { signal: AbortSignal.abort() }), AbortedError);
    assert.ok((await backend.read(digest)).equals(blob));
    await assert.rejects(backend.sweep(11, 10), { code: 'ERR_ASSERTION' });
  });

  check('what is used while the sweep runs is kept, or honestly gone', async ({ backend, setUsed }) => {
    const chunks = Array.from({ length: 40 }, () => makeChunk(64));
    for (const { digest, blob } of chunks) {
      await backend.insert(digest, blob);
      await setUsed(toHex(digest), 5);
    }
    const sweep = backend.sweep(1000, 1000);
    const kept: Chunk[] = [];
    for (const [i, chunk] of chunks.entries()) {
      if (i % 3 === 0) kept.push(chunk);
      // Either the touch comes first and the chunk stays, or it says that there is nothing; an insert brings it back.
      if (i % 3 === 0 && !(await backend.touch(chunk.digest))) await backend.insert(chunk.digest, chunk.blob);
      if (i % 3 === 1) await backend.insert(chunk.digest, chunk.blob).then(() => kept.push(chunk));
    }
    await sweep;
    for (const { digest, blob } of kept) assert.ok((await backend.read(digest)).equals(blob));
  });

  check('the access time check passes and leaves the chunk of zeros', async ({ backend }) => {
    await backend.checkAccessTimes({});
    const digest = sha256(Buffer.alloc(4 * 1024 * 1024));
    assert.notEqual(await backend.size(digest), null);
  });
}
