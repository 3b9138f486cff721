import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { FormatError } from '../../src/base/errors.ts';
import type { CryptConfig } from '../../src/crypto/crypt-config.ts';
import { ChunkIndex, checkIndexSummary, IndexEntryDecoder, type IndexKind } from '../../src/format/chunk-index.ts';
import { blobKind, decodeBlob, isEncryptedKind, verifyChunk, withFreshCrc } from '../../src/format/data-blob.ts';
import { canonicalManifest, decodeManifestBlob, parseManifest, serializeManifest, verifyManifestSignature, type Manifest } from '../../src/format/manifest.ts';
import { goldenChunk, goldenFiles } from '../support/golden.ts';
import { goldenChunks, goldenIndexes, goldenSnapshots } from '../support/snapshots.ts';

/** One bit low, one bit high, all bits. */
const masks = [0x01, 0x80, 0xff];

/** Larger files are changed at this many places, spread over the whole. */
const samples = 80;

function places(length: number): number[] {
  if (length <= 2000) return Array.from({ length }, (_, i) => i);
  const head = Array.from({ length: 64 }, (_, i) => i);
  const spread = Array.from({ length: samples }, (_, i) => 64 + Math.floor(((length - 65) * i) / (samples - 1)));
  return [...head, ...spread];
}

/** Calls `check` with `bytes` changed in one byte, for every place and mask; the change is undone afterwards. */
async function eachFlip(bytes: Buffer, check: (changed: Buffer, at: number) => unknown): Promise<number> {
  const changed = Buffer.from(bytes);
  let count = 0;
  for (const at of places(bytes.length)) {
    for (const mask of masks) {
      changed[at]! ^= mask;
      await check(changed, at);
      changed[at]! ^= mask;
      count += 1;
    }
  }
  return count;
}

const isFormatError = (e: unknown): boolean => e instanceof FormatError;

/** True when `work` passes, false when it throws a FormatError; any other error is thrown on. */
async function passes(work: () => unknown): Promise<boolean> {
  try {
    await work();
    return true;
  } catch (e) {
    if (isFormatError(e)) return false;
    throw e;
  }
}

test('one changed byte in a chunk never passes verification', async () => {
  let tried = 0;
  for (const { hex, size, crypt } of await goldenChunks()) {
    const digest = Buffer.from(hex, 'hex');
    tried += await eachFlip(goldenChunk(hex), async (changed, at) => {
      assert.equal(await passes(() => verifyChunk(changed, digest, size, { crypt })), false, `${hex} at ${at}`);
    });
  }
  assert.ok(tried > 10_000);
});

test('nor does it with a CRC that was computed afterwards', async () => {
  for (const { hex, size, crypt } of await goldenChunks()) {
    const raw = goldenChunk(hex);
    // What takes long to decode is left out; its frames are no different.
    if (raw.length > 100_000 || size > 1024 * 1024) continue;
    const digest = Buffer.from(hex, 'hex');
    await eachFlip(raw, async (changed, at) => {
      if (!(await passes(() => blobKind(changed)))) return;
      const mended = withFreshCrc(changed);
      // Harmless only if the content is still the same: the CRC field itself, or bits of a frame that mean nothing.
      if (await passes(() => verifyChunk(mended, digest, size, { crypt }))) {
        const data = decodeBlob(mended, { crypt });
        const actual = crypt === undefined ? createHash('sha256').update(data).digest() : crypt.digest(data);
        assert.ok(actual.equals(digest) && data.length === size, `${hex} at ${at}`);
      }
    });
  }
});

test('without the key a change of an encrypted chunk is noticed behind the header', async () => {
  for (const { hex, size, crypt } of await goldenChunks()) {
    if (crypt === undefined) continue;
    const raw = goldenChunk(hex);
    await eachFlip(raw, async (changed, at) => {
      // IV and tag are outside the CRC (spec formats 1.2): only the holder of the key can tell.
      const isNoticeable = at < 12 || at >= 44;
      assert.equal(await passes(() => verifyChunk(changed, Buffer.from(hex, 'hex'), size)), !isNoticeable, `${hex} at ${at}`);
    });
  }
});

test('one changed byte in a blob file never passes', async () => {
  const blobs = goldenFiles().filter(({ name }) => name.endsWith('.blob'));
  for (const { name, content } of blobs) {
    assert.ok(!isEncryptedKind(blobKind(content)));
    await eachFlip(content, async (changed, at) => {
      assert.equal(await passes(() => decodeBlob(changed)), false, `${name} at ${at}`);
      if (name.endsWith('index.json.blob')) assert.equal(await passes(() => decodeManifestBlob(changed)), false);
    });
  }
});

/** What an index says about the archive. */
function meaning(kind: IndexKind, bytes: Buffer): string {
  return [...ChunkIndex.parse(kind, bytes).entries()].map(({ digest, start, end }) => `${start}-${end} ${toHex(digest)}`).join('\n');
}

test('one changed byte in an index is refused, or does not change what the index says', async () => {
  for (const { name, bytes, index } of goldenIndexes()) {
    const expected = { csum: index.computeCsum(), size: index.size };
    const original = meaning(index.kind, bytes);
    const fields = { refused: 0, harmless: new Set<number>() };
    const changed = Buffer.from(bytes);
    // The header's used part and all entries, not only a sample.
    for (let at = 0; at < bytes.length; at = at === 0x5f ? 4096 : at + 1) {
      for (const mask of masks) {
        changed[at]! ^= mask;
        const streamed = await passes(() => {
          const decoder = new IndexEntryDecoder(index.kind);
          decoder.push(changed);
          checkIndexSummary(decoder.finish(), expected, name);
        });
        const whole = await passes(() => {
          const parsed = ChunkIndex.parse(index.kind, changed);
          checkIndexSummary({ count: parsed.count, size: parsed.size, csum: parsed.computeCsum() }, expected, name);
        });
        assert.equal(streamed, whole, `${name} at ${at}`);
        if (whole) {
          assert.equal(meaning(index.kind, changed), original, `${name} at ${at}`);
          fields.harmless.add(at);
        } else fields.refused += 1;
        changed[at]! ^= mask;
      }
    }
    // uuid, ctime (8 to 31), stored csum (32 to 63), and what is reserved.
    const reserved = index.kind === 'fixed' ? 0x50 : 0x40;
    for (const at of fields.harmless) assert.ok((at >= 8 && at < 0x40) || (at >= reserved && at < 4096), `${name} at ${at}`);
    assert.ok(fields.refused > index.count * 32 * masks.length);
  }
});

test('one changed byte in the text of a signed manifest is refused, or changes nothing that is signed', async () => {
  const signed = (await goldenSnapshots()).filter((snapshot): snapshot is { path: string; manifest: Manifest; crypt: CryptConfig } => snapshot.crypt !== undefined);
  assert.equal(signed.length, 3);
  for (const { path, manifest, crypt } of signed) {
    const original = canonicalManifest(manifest);
    const json = serializeManifest(manifest);
    let refused = 0;
    await eachFlip(Buffer.from(json), async (changed, at) => {
      let parsed: Manifest | undefined;
      const accepted = await passes(() => {
        parsed = parseManifest(changed);
        verifyManifestSignature(parsed, crypt);
      });
      if (accepted) assert.ok(canonicalManifest(parsed!).equals(original), `${path} at ${at}`);
      else refused += 1;
    });
    assert.ok(refused > 500);
  }
});
