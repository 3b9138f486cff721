import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { cpSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test, type TestContext } from 'node:test';
import { bytesEqual, toHex } from '../../src/base/bytes.ts';
import { DigestSet } from '../../src/base/digest-set.ts';
import { errorChain } from '../../src/base/errors.ts';
import { formatFingerprint, type CryptConfig } from '../../src/crypto/crypt-config.ts';
import { openIndexFile } from '../../src/datastore/index-file.ts';
import { listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import { setVerifyState } from '../../src/datastore/snapshots.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { archiveKind, parseSnapshot } from '../../src/format/backup-path.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { decodeBlob, encodeBlob } from '../../src/format/data-blob.ts';
import { decodeManifestBlob, encodeManifestBlob, type Manifest } from '../../src/format/manifest.ts';
import { parseGroupFilter } from '../../src/replication/group-filter.ts';
import { goldenArchive, goldenChunk, goldenFile, goldenFiles, goldenKey } from '../support/golden.ts';
import { startLyingSource, type Lies } from '../support/lying-source.ts';
import { hastyRetry, pullInto, syncPair, verifyAll, type SyncPair } from '../support/sync-pair.ts';

const times = [...new Set(goldenFiles().map(({ name }) => /^host\/crypt\/([^/]+Z)\//.exec(name)?.[1]).filter((time) => time !== undefined))].toSorted();
const newest = times.at(-1)!;
const cryptOnly = { groupFilters: [parseGroupFilter('group:host/crypt')] };

let crypt: CryptConfig;
let other: CryptConfig;

before(async () => {
  crypt = await goldenKey('kdf-scrypt');
  other = await goldenKey('kdf-none');
});

async function fresh(t: TestContext): Promise<SyncPair> {
  const pair = await syncPair({ golden: true });
  t.after(async () => pair[Symbol.asyncDispose]());
  return pair;
}

function manifestOf(store: Datastore, time: string): Manifest {
  return decodeManifestBlob(readFileSync(join(store.path, 'host/crypt', time, 'index.json.blob')));
}

/** Plain content of an archive of the copy, read without a key. */
async function archiveOf(store: Datastore, time: string, name: string): Promise<Buffer> {
  await using index = await openIndexFile(join(store.path, 'host/crypt', time, name));
  const parts: Buffer[] = [];
  for await (const { digest } of index.entries()) parts.push(decodeBlob(await store.chunks.read(digest), { digest }));
  return Buffer.concat(parts);
}

test('what is pulled with its key is plain, equal and sound; nothing of it needs the key any more', async (t) => {
  const pair = await fresh(t);
  const report = await pair.pulled({ ...cryptOnly, decryptionKeys: [other, crypt] });
  assert.equal(report.snapshots, times.length);
  for (const time of times) {
    const source = decodeManifestBlob(goldenFile(`host/crypt/${time}/index.json.blob`));
    const copy = manifestOf(pair.target, time);
    assert.deepEqual(copy.files.map(({ filename, cryptMode }) => [filename, cryptMode]), source.files.map(({ filename }) => [filename, 'none']));
    assert.equal(copy.signature, null);
    assert.equal(copy.unprotected['sync-source-signature'], formatFingerprint(Buffer.from(source.signature!, 'hex')));
    for (const gone of ['key-fingerprint', 'verify_state']) assert.ok(!(gone in copy.unprotected), gone);
    for (const { filename, size, csum } of copy.files) {
      const path = `host/crypt/${time}/${filename}`;
      if (filename.endsWith('.blob')) {
        const bytes = readFileSync(join(pair.target.path, path));
        assert.deepEqual([bytes.byteLength, createHash('sha256').update(bytes).digest('hex')], [size, csum]);
        assert.deepEqual(decodeBlob(bytes), decodeBlob(goldenFile(path), { crypt }));
      } else {
        assert.deepEqual(await archiveOf(pair.target, time, filename), goldenArchive(path, crypt));
      }
    }
  }
  assert.equal(await verifyAll(pair.target), times.length);
});

test('a second run asks for no chunk, also for a new snapshot and after everything but the chunks is lost', async (t) => {
  const pair = await fresh(t);
  await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  const again = await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  assert.deepEqual([again.fetchedChunks, again.snapshots], [0, 0]);
  rmSync(join(pair.target.path, 'host/crypt'), { recursive: true });
  const restored = await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  assert.deepEqual([restored.fetchedChunks, restored.snapshots], [0, times.length]);
  assert.equal(await verifyAll(pair.target), times.length);
});

test('without its key, or with another, it stays encrypted, byte for byte', async (t) => {
  const pair = await fresh(t);
  const { error, log } = await pair.pull({ ...cryptOnly, decryptionKeys: [other] });
  assert.equal(error, null);
  assert.ok(log.lines.some((line) => line.includes(`no key with fingerprint ${formatFingerprint(crypt.fingerprint)}`)), log.lines.join('\n'));
  assert.deepEqual(log.warnings, []);
  assert.deepEqual(readFileSync(join(pair.target.path, 'host/crypt', newest, 'index.json.blob')), goldenFile(`host/crypt/${newest}/index.json.blob`));
  // The key comes later: what is there stays as it is.
  const later = await pair.pull({ ...cryptOnly, decryptionKeys: [crypt] });
  assert.equal(later.error, null);
  assert.deepEqual(readFileSync(join(pair.target.path, 'host/crypt', newest, 'index.json.blob')), goldenFile(`host/crypt/${newest}/index.json.blob`));
});

test('a decrypted copy is not overwritten by an encrypted one when the job has lost its key', async (t) => {
  const pair = await fresh(t);
  await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  const before = readFileSync(join(pair.target.path, 'host/crypt', newest, 'index.json.blob'));
  // Something changes at the source, so that the copy is looked at again.
  await setVerifyState(pair.source.store, '', parseSnapshot(`host/crypt/${newest}`), 'ok', 'UPID:x:00000001:00000001:00000001:00000001:verify:main:root@pam:');
  const { error, log } = await pair.pull({ ...cryptOnly, decryptionKeys: [] });
  assert.ok(error !== null);
  assert.ok(log.lines.some((line) => line.includes(`no key with fingerprint ${formatFingerprint(crypt.fingerprint)}`)), log.lines.join('\n'));
  assert.deepEqual(readFileSync(join(pair.target.path, 'host/crypt', newest, 'index.json.blob')), before);
  const again = await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  assert.equal(again.fetchedChunks, 0);
  assert.deepEqual(readFileSync(join(pair.target.path, 'host/crypt', newest, 'index.json.blob')), before);
});

test('a run that was cut fetches nothing twice', async (t) => {
  const pair = await fresh(t);
  const reference = await fresh(t);
  const { fetchedChunks: total } = await reference.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  const abort = new AbortController();
  let stored = 0;
  const cut = await pair.pull({
    ...cryptOnly,
    decryptionKeys: [crypt],
    signal: abort.signal,
    wrapTarget: (real) =>
      new Proxy(real, {
        get: (of, name) => {
          const member: unknown = Reflect.get(of, name);
          if (typeof member !== 'function') return member;
          if (name !== 'storeChunk') return member.bind(of) as unknown;
          return async (...given: unknown[]): Promise<unknown> => {
            const result: unknown = await member.apply(of, given);
            stored += 1;
            if (stored === 3) abort.abort();
            return result;
          };
        },
      }),
  });
  assert.ok(cut.error !== null && stored < total, `${stored} of ${total}`);
  const rest = await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  assert.equal(rest.fetchedChunks, total - stored);
  assert.equal(await verifyAll(pair.target), times.length);
});

/** Pulls the newest snapshot of host/crypt, decrypting, from a source that lies; the error, once nothing of it has appeared. */
async function lied(t: TestContext, body: NonNullable<Lies['body']>): Promise<{ text: string; pair: SyncPair }> {
  const pair = await fresh(t);
  const snapshot = parseSnapshot(`host/crypt/${times[0]!}`);
  const snapshots = (await listSnapshotInfos(pair.source.store, '')).filter((info) => info['backup-id'] === snapshot.id && info['backup-time'] === snapshot.time);
  await using source = await startLyingSource(pair.source.store, snapshot, { body, listing: { snapshots } });
  const options = { groupFilters: [parseGroupFilter('group:host/crypt')], decryptionKeys: [crypt], retry: { ...hastyRetry, attemptsWithoutProgress: 3 } };
  const { error, log } = await pullInto(pair.target, pair.folder, source.endpoint, options);
  assert.ok(error !== null, log.lines.join('\n'));
  assert.deepEqual(await listSnapshotInfos(pair.target, ''), []);
  await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  assert.equal(await verifyAll(pair.target), times.length);
  return { text: errorChain(error), pair };
}

/** Any two chunks of the archive that differ. */
function twoChunks(): [Buffer, Buffer] {
  const index = ChunkIndex.parse('fixed', goldenFile(`host/crypt/${times[0]!}/data.img.fidx`));
  const first = index.digest(0);
  const other = [...index.entries()].find(({ digest }) => !bytesEqual(digest, first))!;
  return [first as Buffer, other.digest as Buffer];
}

test('a chunk that decrypts, but to something else than its digest says, is refused', async (t) => {
  const [first, second] = twoChunks().map((digest) => toHex(digest));
  const { text } = await lied(t, (name, honest) => (name === first ? goldenChunk(second!) : honest));
  assert.match(text, /arrived damaged.*digest/);
});

test('a chunk that is not encrypted in an encrypted archive is refused', async (t) => {
  const [first] = twoChunks();
  const { text } = await lied(t, (name, honest) => (name === toHex(first) ? encodeBlob(decodeBlob(honest!, { crypt }), { compress: true }) : honest));
  assert.match(text, /arrived damaged.*the chunk is not encrypted/);
});

test('a chunk encrypted with another key is refused', async (t) => {
  const [first] = twoChunks();
  const { text } = await lied(t, (name, honest) => (name === toHex(first) ? encodeBlob(decodeBlob(honest!, { crypt }), { compress: true, crypt: other }) : honest));
  assert.match(text, /arrived damaged.*wrong key or damaged data/);
});

test('an encrypted chunk that decompresses to 100 MiB is refused', async (t) => {
  const [first] = twoChunks();
  const { text } = await lied(t, (name, honest) => (name === toHex(first) ? encodeBlob(Buffer.alloc(100 * 1024 * 1024), { compress: true, crypt }) : honest));
  assert.match(text, /arrived damaged.*larger than 4194304/);
});

test('a source that orders the chunks of a signed snapshot anew is found out by the signature', async (t) => {
  const filename = 'data.img.fidx';
  const index = goldenFile(`host/crypt/${times[0]!}/${filename}`);
  const { text } = await lied(t, (name, honest) => {
    const changed = Buffer.from(index);
    index.copy(changed, 4096, 4096 + 32, 4096 + 64);
    index.copy(changed, 4096 + 32, 4096, 4096 + 32);
    if (name === filename) return changed;
    if (name !== 'index.json.blob') return honest;
    const manifest = decodeManifestBlob(honest!);
    const csum = createHash('sha256').update(changed.subarray(4096)).digest('hex');
    return encodeManifestBlob({ ...manifest, files: manifest.files.map((file) => (file.filename === filename ? { ...file, csum } : file)) });
  });
  assert.match(text, /wrong signature in manifest/);
});

test('a source that takes the signature away is refused', async (t) => {
  const { text } = await lied(t, (name, honest) => (name === 'index.json.blob' ? encodeManifestBlob({ ...decodeManifestBlob(honest!), signature: null }) : honest));
  assert.match(text, /has no signature/);
});

test('a copy found damaged is repaired from the encrypted source', async (t) => {
  const pair = await fresh(t);
  await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt] });
  const { files } = manifestOf(pair.target, newest);
  await using index = await openIndexFile(join(pair.target.path, 'host/crypt', newest, files.find(({ filename }) => filename.endsWith('.didx'))!.filename));
  const { value } = await index.entries().next();
  const hex = toHex(value!.digest);
  const path = join(pair.target.path, '.chunks', hex.slice(0, 4), hex);
  const bytes = readFileSync(path);
  bytes[20]! ^= 1;
  writeFileSync(path, bytes);
  await setVerifyState(pair.target, '', parseSnapshot(`host/crypt/${newest}`), 'failed', 'UPID:x:00000001:00000001:00000001:00000001:verify:main:root@pam:');
  const report = await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt], resyncCorrupt: true });
  assert.deepEqual([report.fetchedChunks, report.repairedChunks], [1, 1]);
  assert.equal(await verifyAll(pair.target), times.length);
});

test('of an encrypted copy that was carried here the chunks are decrypted, not fetched; bad ones are fetched', async (t) => {
  const pair = await fresh(t);
  cpSync(join(pair.source.store.path, '.chunks'), join(pair.target.path, '.chunks'), { recursive: true });
  const adopted = new DigestSet();
  for (const time of times) {
    for (const { filename } of decodeManifestBlob(goldenFile(`host/crypt/${time}/index.json.blob`)).files) {
      const kind = archiveKind(filename);
      if (kind === 'blob') continue;
      const index = ChunkIndex.parse(kind, goldenFile(`host/crypt/${time}/${filename}`));
      for (let i = 0; i < index.count; i += 1) adopted.add(index.digest(i));
    }
  }
  // One of them is not what its name says.
  const [bad] = [...adopted.values()].map((digest) => toHex(digest));
  const path = join(pair.target.path, '.chunks', bad!.slice(0, 4), bad!);
  const bytes = readFileSync(path);
  bytes[bytes.length - 1]! ^= 1;
  writeFileSync(path, bytes);
  const report = await pair.pulled({ ...cryptOnly, decryptionKeys: [crypt], adopted });
  assert.equal(report.snapshots, times.length);
  assert.equal(report.fetchedChunks, 1);
  assert.ok(report.reusedChunks > 0);
  for (const time of times) for (const { filename } of manifestOf(pair.target, time).files) if (filename.endsWith('.didx')) assert.deepEqual(await archiveOf(pair.target, time, filename), goldenArchive(`host/crypt/${time}/${filename}`, crypt));
  assert.equal(await verifyAll(pair.target), times.length);
  // Without its being said whose they are, everything is fetched.
  const other = await fresh(t);
  cpSync(join(other.source.store.path, '.chunks'), join(other.target.path, '.chunks'), { recursive: true });
  assert.equal((await other.pulled({ ...cryptOnly, decryptionKeys: [crypt] })).fetchedChunks, adopted.size);
});
