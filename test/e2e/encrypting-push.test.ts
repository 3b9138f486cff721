import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { setTimeout } from 'node:timers/promises';
import { toHex } from '../../src/base/bytes.ts';
import { CryptConfig, formatFingerprint } from '../../src/crypto/crypt-config.ts';
import { snapshotText, type BackupSnapshot } from '../../src/format/backup-path.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { decodeBlob } from '../../src/format/data-blob.ts';
import { decodeManifestBlob, encodeManifestBlob, manifestHmac, verifyManifestSignature, type Manifest } from '../../src/format/manifest.ts';
import { digestOf, firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { pushPair, type PushPair } from '../support/push-pair.ts';

const crypt = new CryptConfig(createHash('sha256').update('a key of a test').digest());
const disk = 'disk.pxar.didx';
const root = 'root.pxar.didx';
const settings = 'qemu-server.conf.blob';
const first: BackupSnapshot = { type: 'vm', id: '100', time: firstTime };
const second: BackupSnapshot = { ...first, time: firstTime + 3600 };
const chunks = noiseChunks('disk', 12);
const changed = [...chunks.slice(0, 10), ...noiseChunks('changed', 2)];
const tree = noiseChunks('tree', 3);

async function pair(t: TestContext): Promise<PushPair> {
  const made = await pushPair();
  t.after(async () => made[Symbol.asyncDispose]());
  await makeSnapshot(made.source, '', first, { files: { [disk]: chunks, [root]: tree, [settings]: [Buffer.from('name: x')] }, unprotected: { notes: 'keep' } });
  return made;
}

function copied(made: PushPair, snapshot: BackupSnapshot, filename: string): Buffer {
  return readFileSync(join(made.copyPath, snapshotText(snapshot), filename));
}

function manifestOf(made: PushPair, snapshot: BackupSnapshot): Manifest {
  return decodeManifestBlob(copied(made, snapshot, 'index.json.blob'));
}

/** What the copy holds for an archive, opened with the key. */
function contentOf(made: PushPair, snapshot: BackupSnapshot, filename: string): Buffer {
  const index = ChunkIndex.parse(filename.endsWith('.fidx') ? 'fixed' : 'dynamic', copied(made, snapshot, filename));
  return Buffer.concat(
    [...index.entries()].map(({ digest }) => {
      const hex = toHex(digest);
      return decodeBlob(readFileSync(join(made.copyPath, '.chunks', hex.slice(0, 4), hex)), { crypt, digest });
    }),
  );
}

test('a plain snapshot arrives encrypted and signed, and holds what it held', async (t) => {
  const made = await pair(t);
  await made.pushed({ encryptionKey: crypt });
  const manifest = manifestOf(made, first);
  const source = decodeManifestBlob(readFileSync(join(made.source.path, snapshotText(first), 'index.json.blob')));
  assert.equal(verifyManifestSignature(manifest, crypt), 'valid');
  assert.equal(manifest.unprotected['key-fingerprint'], formatFingerprint(crypt.fingerprint));
  assert.equal(manifest.unprotected['sync-source-signature'], formatFingerprint(manifestHmac(source, crypt)));
  assert.equal(manifest.unprotected['notes'], 'keep');
  assert.deepEqual(manifest.files.map(({ filename, cryptMode, size }) => [filename, cryptMode, filename === settings ? 0 : size]), source.files.map(({ filename, size }) => [filename, 'encrypt', filename === settings ? 0 : size]));
  assert.ok(contentOf(made, first, disk).equals(Buffer.concat(chunks)));
  assert.ok(contentOf(made, first, root).equals(Buffer.concat(tree)));
  assert.ok(decodeBlob(copied(made, first, settings), { crypt }).equals(Buffer.from('name: x')));
  assert.throws(() => decodeBlob(copied(made, first, settings)), { code: 'format.key-missing' });
});

test('the next snapshot sends only what is new, with the journal and without it; a second push nothing', async (t) => {
  const made = await pair(t);
  const started = await made.pushed({ encryptionKey: crypt });
  assert.equal(started.fetchedChunks, chunks.length + tree.length);
  assert.equal((await made.pushed({ encryptionKey: crypt })).snapshots, 0);
  await makeSnapshot(made.source, '', second, { files: { [disk]: changed, [root]: tree } });
  const sent = made.proxy.delivered.up;
  const next = await made.pushed({ encryptionKey: crypt });
  assert.deepEqual([next.snapshots, next.fetchedChunks], [1, 2]);
  assert.ok(made.proxy.delivered.up - sent < 4 * 64 * 1024);
  assert.ok(contentOf(made, second, disk).equals(Buffer.concat(changed)));

  // Without the journal everything is read and encrypted again, to find out that the remote has it.
  rmSync(join(dirname(made.copyPath), 'push.sqlite'));
  const third = { ...first, time: firstTime + 7200 };
  await makeSnapshot(made.source, '', third, { files: { [disk]: chunks.slice(0, 11), [root]: tree } });
  const before = made.proxy.delivered.up;
  await made.pushed({ encryptionKey: crypt });
  assert.ok(made.proxy.delivered.up - before < 3 * 64 * 1024, `${made.proxy.delivered.up - before}`);
  assert.ok(contentOf(made, third, disk).equals(Buffer.concat(chunks.slice(0, 11))));
});

test('what is encrypted in part is left out with a warning; what comes after it is not', async (t) => {
  const made = await pair(t);
  await makeSnapshot(made.source, '', second, { files: { [disk]: changed, [root]: tree } });
  const path = join(made.source.path, snapshotText(first), 'index.json.blob');
  const manifest = decodeManifestBlob(readFileSync(path));
  writeFileSync(path, encodeManifestBlob({ ...manifest, files: manifest.files.map((file) => (file.filename === root ? { ...file, cryptMode: 'encrypt' } : file)) }));
  const { error, log } = await made.push({ encryptionKey: crypt });
  assert.equal(error, null);
  assert.ok(log.warnings.some((line) => line.includes('only a part of it is encrypted')), log.warnings.join('\n'));
  assert.ok(!existsSync(join(made.copyPath, snapshotText(first))));
  assert.equal(verifyManifestSignature(manifestOf(made, second), crypt), 'valid');
});

test('with another key nothing is taken for the same', async (t) => {
  const made = await pair(t);
  await made.pushed({ encryptionKey: crypt });
  await makeSnapshot(made.source, '', second, { files: { [disk]: chunks, [root]: tree } });
  const other = new CryptConfig(createHash('sha256').update('another key').digest());
  const report = await made.pushed({ encryptionKey: other });
  assert.equal(report.fetchedChunks, chunks.length + tree.length);
  assert.equal(verifyManifestSignature(manifestOf(made, second), other), 'valid');
});

test('a bad chunk here is not encrypted and sent on', async (t) => {
  const made = await pair(t);
  const hex = toHex(digestOf(chunks[3]!));
  const path = join(made.source.path, '.chunks', hex.slice(0, 4), hex);
  const bytes = readFileSync(join(made.source.path, '.chunks', toHex(digestOf(chunks[4]!)).slice(0, 4), toHex(digestOf(chunks[4]!))));
  writeFileSync(path, bytes);
  const { error, log } = await made.push({ encryptionKey: crypt });
  assert.ok(error !== null);
  assert.ok(log.lines.some((line) => line.includes(hex) && line.includes('damaged')), log.lines.join('\n'));
  // The remote cleans up after the session has ended.
  while (existsSync(join(made.copyPath, snapshotText(first)))) await setTimeout(20);
});

test('a snapshot that is there is known again, whatever changed in its notes', async (t) => {
  const made = await pair(t);
  await made.pushed({ encryptionKey: crypt });
  const path = join(made.source.path, snapshotText(first), 'index.json.blob');
  writeFileSync(path, encodeManifestBlob({ ...decodeManifestBlob(readFileSync(path)), unprotected: { notes: 'other' } }));
  const report = await made.pushed({ encryptionKey: crypt });
  assert.deepEqual([report.snapshots, report.unchangedSnapshots], [0, 1]);
});
