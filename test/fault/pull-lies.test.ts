import assert from 'node:assert/strict';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { errorChain } from '../../src/base/errors.ts';
import { listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import { decodeManifestBlob, encodeManifestBlob, type Manifest } from '../../src/format/manifest.ts';
import { startLyingSource, type Lies } from '../support/lying-source.ts';
import { digestOf, firstTime, madeIndex, makeSnapshot, noise } from '../support/made-snapshots.ts';
import { hastyRetry, pullInto, syncPair, verifyAll, type SyncPair } from '../support/sync-pair.ts';

const snapshot = { type: 'vm', id: '1', time: firstTime } as const;
const disk = 'drive-scsi0.img.fidx';
const chunks = ['a', 'b', 'c'].map((seed) => noise(seed, 64 * 1024));
const [first] = chunks.map((chunk) => toHex(digestOf(chunk)));
const isChunk = (name: string): boolean => name.length === 64;

async function honestPair(): Promise<SyncPair> {
  const pair = await syncPair();
  await makeSnapshot(pair.source.store, '', snapshot, { files: { [disk]: chunks, 'log.didx': [noise('d', 30_000)], 'qemu-server.conf.blob': [Buffer.from('name: x')] } });
  return pair;
}

function manifestWith(change: (manifest: Manifest) => Manifest): NonNullable<Lies['body']> {
  return (name, honest) => (name === 'index.json.blob' ? encodeManifestBlob(change(decodeManifestBlob(honest!))) : honest);
}

function fileWith(filename: string, change: (honest: Buffer) => Buffer): NonNullable<Lies['body']> {
  return (name, honest) => (name === filename ? change(honest!) : honest);
}

function flipped(bytes: Buffer, at: number): Buffer {
  const copy = Buffer.from(bytes);
  copy[at]! ^= 1;
  return copy;
}

const hugeIndex = (): Buffer => {
  const { bytes } = madeIndex(disk, chunks, 1);
  // The logical size: 8 EiB, and nearly as much.
  bytes.fill(0xff, 64, 71);
  return bytes;
};

const cases: Array<[name: string, lies: Lies, message: RegExp]> = [
  ['a chunk body that is cut short', { onStream: (stream, name, body) => isChunk(name) && (stream.respond({ ':status': 200, 'content-length': body!.length }), stream.write(body!.subarray(0, 1000)), setTimeout(() => stream.close(2), 5), true) }, /cut an answer off|break/],
  ['a chunk body that never ends', { onStream: (stream, name) => isChunk(name) && (stream.respond({ ':status': 200 }), endless(stream), true) }, /more than 16777260 bytes/],
  ['an index body that never ends', { onStream: (stream, name) => name === 'qemu-server.conf.blob' && (stream.respond({ ':status': 200 }), endless(stream), true) }, /more than/],
  ['a chunk with a content-length that lies', { onStream: (stream, name, body) => isChunk(name) && (stream.respond({ ':status': 200, 'content-length': body!.length + 7 }), stream.end(body), true) }, /content-length|announced|cut an answer off/],
  ['a chunk with a huge content-length', { onStream: (stream, name) => isChunk(name) && (stream.respond({ ':status': 200, 'content-length': 2 ** 40 }), true) }, /more than 16777260 bytes/],
  ['an empty chunk', { body: (name, honest) => (isChunk(name) ? Buffer.alloc(0) : honest) }, /arrived damaged/],
  ['the wrong content under a digest', { body: (name, honest) => (name === first ? encodeBlob(noise('other', 64 * 1024), { compress: false }) : honest) }, /arrived damaged.*digest/],
  ['a chunk with a flipped bit', { body: (name, honest) => (name === first ? flipped(honest!, 5000) : honest) }, /arrived damaged/],
  ['a chunk shorter than its index says', { body: (name, honest) => (name === first ? encodeBlob(chunks[0]!.subarray(1), { compress: true }) : honest) }, /arrived damaged/],
  ['a chunk that decompresses to 100 MiB', { body: (name, honest) => (name === first ? encodeBlob(Buffer.alloc(100 * 1024 * 1024), { compress: true }) : honest) }, /arrived damaged.*holds more/],
  ['a chunk that is missing', { body: (name, honest) => (name === first ? null : honest) }, /missing at the source|not there/],
  ['an archive that is missing', { body: (name, honest) => (name === disk ? null : honest) }, /missing at the source/],
  ['the manifest of another snapshot', { body: manifestWith((manifest) => ({ ...manifest, backupId: '2' })) }, /is that of vm\/2/],
  ['the manifest of another time', { body: manifestWith((manifest) => ({ ...manifest, backupTime: firstTime + 1 })) }, /is that of/],
  ['a manifest that is none', { body: (name, honest) => (name === 'index.json.blob' ? encodeBlob(Buffer.from('[]'), { compress: false }) : honest) }, /manifest/],
  ['a manifest with a flipped bit', { body: fileWith('index.json.blob', (honest) => flipped(honest, 30)) }, /CRC|crc|checksum/],
  ['a manifest that names a file twice', { body: manifestWith((manifest) => ({ ...manifest, files: [...manifest.files, manifest.files[0]!] })) }, /twice|duplicate/],
  ['a manifest that names a file outside', { body: manifestWith((manifest) => ({ ...manifest, files: [{ ...manifest.files[0]!, filename: '../../../outside.fidx' }] })) }, /name|manifest/],
  ['an index with another checksum', { body: fileWith(disk, (honest) => flipped(honest, 4096)) }, /wrong index checksum/],
  ['an index that is cut short', { body: fileWith(disk, (honest) => honest.subarray(0, 4096 + 32)) }, /index/],
  ['an index that claims exabytes', { body: fileWith(disk, hugeIndex) }, /index/],
  [
    'an index that names chunks with wrong sizes',
    {
      body: (name, honest) => {
        if (name === 'log.didx') return madeIndexWithSize(20_000);
        return manifestWith((manifest) => ({ ...manifest, files: manifest.files.map((file) => (file.filename === 'log.didx' ? { ...file, size: 20_000, csum: sizedCsum(20_000) } : file)) }))(name, honest);
      },
    },
    /arrived damaged.*(30000 bytes instead of 20000|holds more bytes instead of 20000)/,
  ],
  ['a manifest that claims another size', { body: manifestWith((manifest) => ({ ...manifest, files: manifest.files.map((file) => ({ ...file, size: Number.MAX_SAFE_INTEGER })) })) }, /wrong size|its manifest says/],
  ['a blob with other content', { body: (name, honest) => (name.endsWith('.conf.blob') ? encodeBlob(Buffer.from('name: y'), { compress: false }) : honest) }, /does not match its manifest/],
];

function sizedIndex(size: number): { bytes: Buffer; csum: string } {
  // The digest of the 30,000 bytes, with another end.
  const { bytes } = madeIndex('log.didx', [noise('d', 30_000)], 1);
  const copy = Buffer.from(bytes);
  copy.writeBigUInt64LE(BigInt(size), 4096);
  return { bytes: copy, csum: toHex(digestOf(copy.subarray(4096))) };
}

const madeIndexWithSize = (size: number): Buffer => sizedIndex(size).bytes;
const sizedCsum = (size: number): string => sizedIndex(size).csum;

function endless(stream: { write(bytes: Buffer): boolean; once(event: 'drain', go: () => void): unknown; destroyed: boolean }): void {
  const piece = Buffer.alloc(1024 * 1024);
  const more = (): void => {
    if (stream.destroyed) return;
    stream.write(piece);
    setImmediate(more);
  };
  more();
}

for (const [name, lies, message] of cases) {
  test(`${name}: refused by name, nothing appears, and an honest source is taken afterwards`, async () => {
    await using pair = await honestPair();
    {
      await using source = await startLyingSource(pair.source.store, snapshot, lies);
      const { error, log } = await pullInto(pair.target, pair.folder, source.endpoint, { retry: { ...hastyRetry, attemptsWithoutProgress: 3 } });
      assert.match(errorChain(error), message, log.lines.join('\n'));
      assert.deepEqual(await listSnapshotInfos(pair.target, ''), []);
    }
    const report = await pair.pulled();
    assert.equal(report.snapshots, 1);
    assert.equal(await verifyAll(pair.target), 1);
  });
}

const listed = (change: Record<string, unknown>): Lies => ({ listing: { groups: [], snapshots: [{ 'backup-type': 'vm', 'backup-id': '1', 'backup-time': firstTime, size: 1, files: [], owner: 'x@pbs', protected: false, ...change }] } });
const badListings: Array<[name: string, lies: Lies]> = [
  ['a group above the datastore', listed({ 'backup-id': '../../x' })],
  ['a group with a line feed', listed({ 'backup-id': 'a\nb' })],
  ['a group with a NUL', listed({ 'backup-id': 'a\0b' })],
  ['a group of no type', listed({ 'backup-type': '../vm' })],
  ['an empty id', listed({ 'backup-id': '' })],
  ['a time that is none', listed({ 'backup-time': 1e300 })],
  ['a negative time', listed({ 'backup-time': -5 })],
  ['no list', { listing: { snapshots: { a: 1 } } }],
  ['a list of nothings', { listing: { snapshots: [null] } }],
  ['a namespace above the datastore', { listing: { namespace: [{ ns: '' }, { ns: '../x' }] } }],
  ['a namespace with control characters', { listing: { namespace: [{ ns: 'a\u0001' }] } }],
];

for (const [name, lies] of badListings) {
  test(`a listing with ${name} is refused`, async () => {
    await using pair = await honestPair();
    await using source = await startLyingSource(pair.source.store, snapshot, lies);
    const { error } = await pullInto(pair.target, pair.folder, source.endpoint);
    assert.match(errorChain(error), /listing has|namespace|backup/);
    assert.deepEqual(await listSnapshotInfos(pair.target, ''), []);
    assert.deepEqual(source.asked, []);
  });
}

test('a listing of 100,000 snapshots in progress and one whole: the whole one is taken', async () => {
  await using pair = await honestPair();
  const [whole] = await listSnapshotInfos(pair.source.store, '');
  const many = Array.from({ length: 100_000 }, (_, i) => ({ 'backup-type': 'host', 'backup-id': `h${i % 1000}`, 'backup-time': 1 + i, files: [], owner: 'x@pbs', protected: false }));
  await using source = await startLyingSource(pair.source.store, snapshot, { listing: { snapshots: [...many, whole] } });
  const { report, log } = await pullInto(pair.target, pair.folder, source.endpoint);
  assert.equal(report?.snapshots, 1, log.lines.slice(-3).join('\n'));
  assert.equal((await listSnapshotInfos(pair.target, '')).length, 1);
});

test('a digest that the target has from another remote is no proof: the source must deliver it, and fails when it cannot', async () => {
  await using pair = await honestPair();
  await pair.pulled();
  // The thief knows the digests (from a leaked index) and has none of the chunks.
  const thief = { ...snapshot, id: '9' } as const;
  await makeSnapshot(pair.source.store, '', thief, { files: { [disk]: chunks } });
  await using source = await startLyingSource(pair.source.store, thief, { listing: { groups: [], snapshots: (await listSnapshotInfos(pair.source.store, '')).filter((info) => info['backup-id'] === '9') }, body: (name, honest) => (isChunk(name) ? null : honest) });
  const remote = { name: 'thief', endpoint: source.endpoint };
  const { error } = await pullInto(pair.target, pair.folder, source.endpoint, { remote, targetNamespace: '' });
  assert.match(errorChain(error), /group vm\/9 failed/);
  assert.ok(source.asked.some((name) => isChunk(name)));
  assert.deepEqual((await listSnapshotInfos(pair.target, '')).map((info) => info['backup-id']), ['1']);

  // One that has them delivers them, every one, although they are stored already.
  await using owner = await startLyingSource(pair.source.store, thief, { listing: { groups: [], snapshots: (await listSnapshotInfos(pair.source.store, '')).filter((info) => info['backup-id'] === '9') } });
  const { report } = await pullInto(pair.target, pair.folder, owner.endpoint, { remote: { name: 'owner', endpoint: owner.endpoint } });
  assert.deepEqual([report?.fetchedChunks, report?.reusedChunks, report?.snapshots], [chunks.length, 0, 1]);
});
