import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { crc32 } from 'node:zlib';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { CryptConfig } from '../crypto/crypt-config.ts';
import { blobKind, checkBlobCrc, decodeBlob, decodeBlobAsync, encodeBlob, encodeBlobAsync, isEncryptedKind, maxBlobPlainSize, verifyChunk, withFreshCrc } from './data-blob.ts';

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const crypt = new CryptConfig(key);
const hello = Buffer.from('hello world');
const sha256 = (data: Uint8Array): Buffer => createHash('sha256').update(data).digest();
const refuses = (code: string) => (e: unknown): boolean => e instanceof FormatError && e.code === code;

test('the worked examples', () => {
  const plain = Buffer.from('42ab3807be8370a185114a0d68656c6c6f20776f726c64', 'hex');
  assert.ok(encodeBlob(hello, { compress: false }).equals(plain));
  assert.equal(sha256(plain).toString('hex'), '3bdccd0090d8014594050a55d53cb2d69289582bae045616426c67122f6276e4');
  const zeros = Buffer.from('31b958426fb6a37f79764cf328b52ffd203045000010000001009b000b', 'hex');
  assert.ok(encodeBlob(Buffer.alloc(48), { compress: true }).equals(zeros));
  const encrypted = Buffer.from('7b6785be222d4cf01b848646a0a1a2a3a4a5a6a7a8a9aaabacadaeaf6c0dac36f9bea7961c827f8008ed20e942c64fd077edba19b1f27b', 'hex');
  assert.equal(checkBlobCrc(encrypted), 'encrypted');
  assert.ok(decodeBlob(encrypted, { crypt, digest: crypt.digest(hello) }).equals(hello));
});

test('every kind survives, whichever content', async () => {
  const contents = fc.oneof(fc.uint8Array({ maxLength: 3000 }), fc.nat(100_000).map((size) => new Uint8Array(size)));
  const property = fc.asyncProperty(contents, fc.boolean(), fc.boolean(), async (data, compress, encrypt) => {
    const options = { compress, ...(encrypt ? { crypt } : {}) };
    for (const blob of [encodeBlob(data, options), await encodeBlobAsync(data, options)]) {
      const kind = checkBlobCrc(blob);
      assert.equal(isEncryptedKind(kind), encrypt);
      assert.ok(blob.length <= data.length + (encrypt ? 44 : 12));
      const digest = encrypt ? crypt.digest(data) : sha256(data);
      assert.ok(decodeBlob(blob, { crypt, digest, maxSize: data.length }).equals(data));
      assert.ok((await decodeBlobAsync(blob, { crypt, digest, maxSize: data.length })).equals(data));
      if (data.length > 0) await verifyChunk(blob, digest, data.length, { crypt });
    }
  });
  await fc.assert(property, { numRuns: 60 });
});

test('kinds: what compresses is compressed, what does not is kept as it is', () => {
  const cases = [
    [Buffer.alloc(1000), true, 'compressed', 'encr_compr'],
    [Buffer.alloc(24), true, 'uncompressed', 'encrypted'],
    [Buffer.alloc(0), true, 'uncompressed', 'encrypted'],
    [randomBytes(1000), true, 'uncompressed', 'encrypted'],
    [Buffer.alloc(1000), false, 'uncompressed', 'encrypted'],
  ] as const;
  for (const [data, compress, plain, encrypted] of cases) {
    assert.equal(blobKind(encodeBlob(data, { compress })), plain);
    assert.equal(blobKind(encodeBlob(data, { compress, crypt })), encrypted);
  }
});

test('two encryptions differ, digests do not', () => {
  assert.ok(!encodeBlob(hello, { compress: true, crypt }).equals(encodeBlob(hello, { compress: true, crypt })));
});

test('short, foreign and damaged blobs are refused', () => {
  for (const data of [Buffer.alloc(0), Buffer.alloc(11)]) assert.throws(() => blobKind(data), refuses('format.blob-short'));
  assert.throws(() => blobKind(Buffer.alloc(12)), refuses('format.blob-magic'));
  const encrypted = encodeBlob(hello, { compress: false, crypt });
  assert.throws(() => blobKind(encrypted.subarray(0, 43)), refuses('format.blob-short'));
  assert.equal(blobKind(encrypted.subarray(0, 44)), 'encrypted');
  assert.throws(() => checkBlobCrc(encrypted.subarray(0, 44)), refuses('format.blob-crc'));
});

test('an encrypted blob needs its key, and its tag is checked before anything is handed out', async () => {
  for (const compress of [true, false]) {
    const blob = encodeBlob(Buffer.alloc(1000, 'x'), { compress, crypt });
    assert.throws(() => decodeBlob(blob), refuses('format.key-missing'));
    assert.throws(() => decodeBlob(blob, { crypt: new CryptConfig(randomBytes(32)) }), refuses('format.auth-tag'));
    for (let at = 12; at < blob.length; at += 1) {
      const bad = Buffer.from(blob);
      bad[at]! ^= 0x10;
      await assert.rejects(decodeBlobAsync(withFreshCrc(bad), { crypt }), refuses('format.auth-tag'));
    }
  }
});

test('the digest is keyed for encrypted kinds only', () => {
  const plain = encodeBlob(hello, { compress: false });
  assert.throws(() => decodeBlob(plain, { crypt, digest: crypt.digest(hello) }), refuses('format.digest'));
  assert.ok(decodeBlob(plain, { crypt, digest: sha256(hello) }).equals(hello));
  assert.throws(() => decodeBlob(encodeBlob(hello, { compress: false, crypt }), { crypt, digest: sha256(hello) }), refuses('format.digest'));
});

test('the size bound holds for every kind', async () => {
  const data = Buffer.alloc(100_000);
  for (const options of [{ compress: true }, { compress: false }, { compress: true, crypt }, { compress: false, crypt }]) {
    const blob = encodeBlob(data, options);
    assert.throws(() => decodeBlob(blob, { crypt, maxSize: data.length - 1 }), refuses('format.too-large'));
    await assert.rejects(decodeBlobAsync(blob, { crypt, maxSize: data.length - 1 }), refuses('format.too-large'));
  }
  assert.throws(() => encodeBlob(Buffer.alloc(maxBlobPlainSize + 1), { compress: false }), refuses('format.too-large'));
});

test('a fresh CRC covers exactly the payload', () => {
  for (const options of [{ compress: false }, { compress: false, crypt }]) {
    const blob = encodeBlob(hello, options);
    const spoiled = Buffer.from(blob);
    spoiled.writeUInt32LE(0, 8);
    assert.ok(withFreshCrc(spoiled).equals(blob));
    assert.equal(blob.readUInt32LE(8), crc32(blob.subarray(isEncryptedKind(blobKind(blob)) ? 44 : 12)));
  }
});

test('a chunk is verified against digest and size', async () => {
  const plain = encodeBlob(hello, { compress: false });
  await verifyChunk(plain, sha256(hello), 11);
  await assert.rejects(verifyChunk(plain, sha256(hello), 10), refuses('format.chunk-size'));
  await assert.rejects(verifyChunk(plain, sha256(hello), 12), refuses('format.chunk-size'));
  await assert.rejects(verifyChunk(plain, sha256(Buffer.alloc(11)), 11), refuses('format.digest'));
  await assert.rejects(verifyChunk(plain, sha256(hello), 16 * 1024 * 1024 + 1), refuses('format.chunk-size'));
  await assert.rejects(verifyChunk(encodeBlob(Buffer.alloc(0), { compress: false }), sha256(Buffer.alloc(0)), 0), refuses('format.chunk-size'));

  const secret = encodeBlob(hello, { compress: false, crypt });
  await verifyChunk(secret, crypt.digest(hello), 11, { crypt });
  await assert.rejects(verifyChunk(secret, sha256(hello), 11, { crypt }), refuses('format.digest'));
  // Without the key only the CRC and the length of an uncompressed chunk can be checked.
  await verifyChunk(secret, sha256(hello), 11);
  await assert.rejects(verifyChunk(secret, crypt.digest(hello), 12), refuses('format.chunk-size'));
  const spoiled = Buffer.from(secret);
  spoiled[50]! ^= 1;
  await assert.rejects(verifyChunk(spoiled, crypt.digest(hello), 11), refuses('format.blob-crc'));
});
