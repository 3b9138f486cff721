import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { archiveEvents, encodeEvents, readerOf } from '../../test/support/archive-events.ts';
import { goldenArchive, goldenKey } from '../../test/support/golden.ts';
import { FormatError } from '../base/errors.ts';
import { ArchiveAccessor, ArchiveDirectory, type ArchiveChild } from './archive-accessor.ts';
import { ArchiveDecoder, type ArchiveEvent } from './archive-decoder.ts';
import { ArchiveEncoder } from './archive-encoder.ts';
import { emptyAcl, plainMetadata, sameMetadata, type EntryMetadata } from './entry-metadata.ts';
import { itemRules } from './item.ts';
import { searchTreeOrder } from './goodbye-table.ts';
import { RandomPayload, SequentialPayload } from './payload-source.ts';
import { nameHash, sipHash24 } from './sip-hash.ts';

const seconds = (time: bigint): bigint => time * 1_000_000_000n;
const root = (mode = 0o40755): EntryMetadata => plainMetadata({ mode, uid: 0, gid: 0, mtimeNs: seconds(1_700_000_000n) });
const user = (mode: number, mtimeNs = seconds(1_700_000_000n)): EntryMetadata => plainMetadata({ mode, uid: 1000, gid: 1000, mtimeNs });

/** Spec pxar 11. */
const exampleV1 = Buffer.from(
  [
    'efac88e5746495d53800000000000000ed410000000000000000000000000000000000000000000000f15365000000000000000000000000b317390621117016',
    '12000000000000006100efac88e5746495d53800000000000000a4810000000000000000000000000000e8030000e803000000f1536500000000f40100000000',
    '0000251a7c0b1b7a1428130000000000000068690ab317390621117016120000000000000062007572bd22849c26511a000000000000005d0000000000000061',
    '00b31739062111701612000000000000006c00efac88e5746495d53800000000000000ffa10000000000000000000000000000e8030000e803000000f1536500',
    '00000000000000000000005fdcf5dbe771f927120000000000000061001d73d542a64fec2f700000000000000033c7e812f5a31d4d88000000000000002c0000',
    '0000000000cf7b2c7c06e9260ce5000000000000005d00000000000000592517c9460472535c000000000000005c0000000000000055153e755bed5eef1d0100',
    '00000000007000000000000000',
  ].join(''),
  'hex',
);

test('hashes of names and of the item types\' labels', () => {
  const hex = (text: string): string => {
    const { high, low } = nameHash(Buffer.from(text));
    return high.toString(16).padStart(8, '0') + low.toString(16).padStart(8, '0');
  };
  assert.deepEqual(
    ['', 'a', 'b', 'l', 'file.txt', 'lost+found'].map(hex),
    ['76614015f8d1bb6c', '0c26e9067c2c7bcf', '4d1da3f512e8c733', '53720446c9172559', '967764f630c3da14', 'edc93cb8247896c7'],
  );
  const labels: Array<[keyof typeof itemRules, string]> = [['entry', 'ENTRY_V2'], ['hardlink', 'HARDLINK'], ['payloadTail', 'PXAR_PAYLOAD_TAIL_MARKER'], ['goodbye', 'GOODBYE'], ['aclDefaultGroup', 'ACL_DEFAULT_GROUP']];
  for (const [kind, label] of labels) {
    const { high, low } = sipHash24({ high: 0x83ac3f1c, low: 0xfbb450db }, { high: 0xaa4f1b68, low: 0x79369fbd }, Buffer.from(`__PROXMOX_FORMAT_${label}__`));
    assert.equal((BigInt(high) << 32n) | BigInt(low), itemRules[kind].type, label);
  }
});

test('order of the search tree', () => {
  assert.deepEqual([2, 3, 4, 5, 10, 1, 0].map((count) => [...searchTreeOrder(count)]), [[1, 0], [1, 0, 2], [2, 1, 3, 0], [3, 1, 4, 0, 2], [6, 3, 8, 1, 5, 7, 9, 0, 2, 4], [0], []]);
});

test('the worked example of version 1, byte for byte', () => {
  const parts: Buffer[] = [];
  const encoder = new ArchiveEncoder({ archive: (bytes) => parts.push(bytes) }, root());
  const a = encoder.startFile(Buffer.from('a'), user(0o100644, seconds(1_700_000_000n) + 500n), 3);
  encoder.fileData(Buffer.from('hi\n'));
  encoder.endFile();
  encoder.hardLink(Buffer.from('b'), a, Buffer.from('a'));
  encoder.symlink(Buffer.from('l'), user(0o120777), Buffer.from('a'));
  encoder.finish();
  assert.equal(Buffer.concat(parts).toString('hex'), exampleV1.toString('hex'));
});

test('the worked example of version 2', () => {
  const [parts, payload]: [Buffer[], Buffer[]] = [[], []];
  const prelude = Buffer.from('{"exclude-patterns":"*.tmp\\n"}');
  const encoder = new ArchiveEncoder({ archive: (bytes) => parts.push(bytes), payload: (bytes) => payload.push(bytes) }, root(), prelude);
  assert.equal(encoder.payloadPosition, 16);
  encoder.startFile(Buffer.from('a'), user(0o100644), 3);
  encoder.fileData(Buffer.from('hi\n'));
  encoder.endFile();
  encoder.finish();
  const archive = Buffer.concat(parts);
  assert.equal(archive.length, 296);
  const u64 = (at: number): number => Number(archive.readBigUInt64LE(at));
  assert.deepEqual([u64(208 + 8), u64(208 + 16), u64(248 + 8), u64(248 + 16), u64(272 + 8), u64(272 + 16)], [16, 3, 106, 109, 232, 64]);
  assert.equal(Buffer.concat(payload).toString('hex'), 'd24e4a19c2684c831000000000000000251a7c0b1b7a1428130000000000000068690ab5814c988bb7726c1000000000000000');
});

interface GoldenArchive {
  name: string;
  archive: Buffer;
  payload: Buffer | null;
  isNew: boolean;
}

async function goldenArchives(): Promise<GoldenArchive[]> {
  const crypt = await goldenKey('kdf-scrypt');
  const split = 'host/split/2025-10-09T08:55:00Z/root';
  const splitAgain = 'host/split/2025-10-10T09:53:20Z/root';
  return [
    { name: 'plain', archive: goldenArchive('host/plain/2025-10-10T08:53:20Z/root.pxar.didx'), payload: null, isNew: true },
    { name: 'split', archive: goldenArchive(`${split}.mpxar.didx`), payload: goldenArchive(`${split}.ppxar.didx`), isNew: true },
    { name: 'split again', archive: goldenArchive(`${splitAgain}.mpxar.didx`), payload: goldenArchive(`${splitAgain}.ppxar.didx`), isNew: false },
    { name: 'crypt', archive: goldenArchive('host/crypt/2025-10-10T08:56:40Z/root.pxar.didx', crypt), payload: null, isNew: true },
  ];
}

test('golden archives: decoded and encoded again they are the same bytes', async () => {
  for (const { name, archive, payload, isNew } of await goldenArchives()) {
    const events = archiveEvents(archive);
    if (!isNew) continue;
    const encoded = encodeEvents(events, payload);
    assert.ok(encoded.archive.equals(archive), name);
    if (payload !== null) assert.ok(encoded.payload.equals(payload), name);
  }
});

/** Events with the pieces of a content put together. */
function joined(events: readonly ArchiveEvent[]): ArchiveEvent[] {
  const all: ArchiveEvent[] = [];
  for (const event of events) {
    const last = all.at(-1);
    if (event.kind === 'data' && last?.kind === 'data') last.bytes = Buffer.concat([last.bytes, event.bytes]);
    else all.push(event.kind === 'data' ? { ...event } : event);
  }
  return all;
}

test('events do not depend on how the archive arrives', () => {
  const expected = archiveEvents(exampleV1);
  for (let length = 1; length < exampleV1.length; length += 1) assert.deepEqual(joined(archiveEvents(exampleV1, length)), expected);
});

async function content(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

async function* inPieces(bytes: Buffer, length: number): AsyncGenerator<Buffer, void, undefined> {
  for (let at = 0; at < bytes.length; at += length) yield bytes.subarray(at, at + length);
}

function accessorOf({ archive, payload }: Pick<GoldenArchive, 'archive' | 'payload'>): ArchiveAccessor {
  return new ArchiveAccessor(readerOf(archive), archive.length, payload === null ? null : { readAt: readerOf(payload), length: payload.length });
}

test('the accessor finds every entry by its path, with the same content as the stream', async () => {
  for (const golden of await goldenArchives()) {
    const accessor = accessorOf(golden);
    const sequential = golden.payload === null ? null : new SequentialPayload(inPieces(golden.payload, 70_001));
    const path: Buffer[] = [];
    let files = 0;
    let file: { child: ArchiveChild; data: Buffer[] } | undefined;
    for (const event of joined(archiveEvents(golden.archive))) {
      if (event.kind === 'directory-end') path.pop();
      if (event.kind === 'data') file!.data.push(event.bytes);
      if (event.kind === 'file-end') {
        assert.ok((await content(accessor.content(file!.child))).equals(Buffer.concat(file!.data)));
        files += 1;
      }
      if (event.kind !== 'entry') continue;
      const { entry } = event;
      const full = Buffer.concat([...path, entry.name].flatMap((name) => [Buffer.from('/'), name]));
      const found = await accessor.lookup(full);
      assert.deepEqual(found?.entry, entry);
      if (entry.type === 'directory') path.push(entry.name);
      if (entry.type === 'hardlink') assert.equal((await accessor.follow(entry)).entry.type, 'file');
      if (entry.type !== 'file') continue;
      file = { child: found as ArchiveChild, data: [] };
      if (entry.payload === null) continue;
      assert.ok((await content(accessor.content(file.child))).equals(await content(sequential!.content(entry.payload, entry.size))));
      files += 1;
    }
    assert.ok(files > 400, `${files} files`);
    const top = await accessor.root();
    let children = 0;
    for await (const { entry } of top.children()) children += Number(entry.name.length > 0);
    assert.ok(children > 30);
    assert.equal(await top.lookup(Buffer.from('not there')), null);
  }
});

test('paths in an archive', async () => {
  const accessor = accessorOf({ archive: exampleV1, payload: null });
  for (const path of ['/', '', '.', '//.']) assert.ok((await accessor.lookup(Buffer.from(path))) instanceof ArchiveDirectory);
  assert.equal(((await accessor.lookup(Buffer.from('./a'))) as ArchiveChild).entry.type, 'file');
  for (const path of ['x', 'a/b', 'l/x']) assert.equal(await accessor.lookup(Buffer.from(path)), null);
  await assert.rejects(accessor.lookup(Buffer.from('a/../b')), { code: 'format.pxar-path' });
  const link = (await accessor.lookup(Buffer.from('b'))) as ArchiveChild;
  assert.equal((await content(accessor.content(await accessor.follow(link.entry)))).toString(), 'hi\n');
  assert.equal(await accessor.prelude(), null);
  const { archive } = encodeEvents([{ kind: 'prelude', content: Buffer.from('{}') }, ...archiveEvents(exampleV1)], Buffer.alloc(0));
  assert.equal((await accessorOf({ archive, payload: null }).prelude())?.toString(), '{}');
});

test('all attributes survive', () => {
  const acl = { ...emptyAcl(), users: [{ id: 5, permissions: 4 }, { id: 1000, permissions: 6 }], groups: [{ id: 100, permissions: 5 }], groupObject: 4 };
  const directoryAcl = { ...emptyAcl(), default: { userObject: 7, groupObject: 5, other: null, mask: 7 }, defaultUsers: [{ id: 1000, permissions: 7 }], defaultGroups: [{ id: 4_294_967_295, permissions: 0 }] };
  const xattrs = [{ name: Buffer.from('user.b'), value: Buffer.from('a\0b') }, { name: Buffer.from('user.a'), value: Buffer.alloc(0) }];
  const metadata: EntryMetadata = { mode: 0o40755, flags: 0x400000n, uid: 4_294_967_294, gid: 7, mtimeNs: -305_112_600_001_000_000n, xattrs, acl: directoryAcl, fileCapabilities: null, quotaProjectId: 4_000_000_000 };
  const fileMetadata: EntryMetadata = { ...metadata, mode: 0o100670, acl, fileCapabilities: Buffer.from('0100000200040000000000000000000000000000', 'hex'), mtimeNs: seconds(8_000_000_000n) };
  const events: ArchiveEvent[] = [
    { kind: 'entry', entry: { type: 'directory', name: Buffer.alloc(0), position: 0, metadata } },
    { kind: 'entry', entry: { type: 'file', name: Buffer.from([0xff, 0xfe]), position: 0, metadata: fileMetadata, size: 0, payload: null } },
    { kind: 'file-end' },
    { kind: 'entry', entry: { type: 'device', name: Buffer.from('dev'), position: 0, metadata: user(0o60600), major: 259, minor: 1_048_575 } },
    { kind: 'entry', entry: { type: 'fifo', name: Buffer.from('fifo'), position: 0, metadata: user(0o10644) } },
    { kind: 'entry', entry: { type: 'socket', name: Buffer.from('sock'), position: 0, metadata: user(0o140644) } },
    { kind: 'directory-end' },
  ];
  const decoded = archiveEvents(encodeEvents(events, null).archive).map((event) => (event.kind === 'entry' ? { ...event, entry: { ...event.entry, position: 0 } } : event));
  assert.deepEqual(decoded, events);
  assert.ok(sameMetadata(metadata, { ...metadata, xattrs: xattrs.map(({ name }) => ({ name, value: Buffer.from('other') })) }));
  for (const change of [{ acl: null }, { xattrs: [] }, { quotaProjectId: null }, { fileCapabilities: Buffer.alloc(1) }, { mtimeNs: 0n }, { flags: 0n }, { acl: { ...directoryAcl, defaultGroups: [] } }]) {
    assert.ok(!sameMetadata(metadata, { ...metadata, ...change }), JSON.stringify(Object.keys(change)));
  }
});

const u64 = (value: bigint): Buffer => {
  const bytes = Buffer.alloc(8);
  bytes.writeBigUInt64LE(value);
  return bytes;
};
const item = (kind: keyof typeof itemRules, ...parts: Buffer[]): Buffer => {
  const body = Buffer.concat(parts);
  return Buffer.concat([u64(itemRules[kind].type), u64(BigInt(16 + body.length)), body]);
};
const statOf = (mode: bigint): Buffer => Buffer.concat([u64(mode), Buffer.alloc(32)]);
const rootItem = item('entry', statOf(0o40755n));
const fileItem = item('entry', statOf(0o100644n));
const nameItem = (name: string): Buffer => item('filename', Buffer.from(`${name}\0`));

test('what the grammar does not allow is refused', () => {
  const tail = (start: number): Buffer => item('goodbye', u64(0xef5eed5b753e1555n), u64(BigInt(start)), u64(40n));
  archiveEvents(Buffer.concat([rootItem, tail(rootItem.length)]));
  archiveEvents(Buffer.concat([item('formatVersion', u64(1n)), rootItem, tail(0)]));
  const cases: Record<string, Buffer[]> = {
    'root is a file': [fileItem, item('payload')],
    'no root': [nameItem('a')],
    'version 3': [item('formatVersion', u64(3n)), rootItem],
    'prelude without version': [item('prelude'), rootItem],
    'prelude in version 1': [item('formatVersion', u64(1n)), item('prelude'), rootItem],
    'second prelude': [item('formatVersion', u64(2n)), item('prelude'), item('prelude'), rootItem],
    'version in between': [rootItem, item('formatVersion', u64(2n))],
    'name ..': [rootItem, nameItem('..')],
    'name with slash': [rootItem, nameItem('a/b')],
    'name without end': [rootItem, item('filename', Buffer.from('ab'))],
    'empty name': [rootItem, item('filename', Buffer.from('\0'))],
    'hard link to itself': [rootItem, nameItem('a'), item('hardlink', u64(0n), Buffer.from('a\0'))],
    'hard link before the start': [rootItem, nameItem('a'), item('hardlink', u64(900n), Buffer.from('a\0'))],
    'two names': [rootItem, nameItem('a'), nameItem('b')],
    'file without content': [rootItem, nameItem('a'), fileItem, nameItem('b')],
    'content of a directory': [rootItem, item('payload')],
    'link without target': [rootItem, nameItem('a'), item('entry', statOf(0o120777n)), nameItem('b')],
    'two capabilities': [rootItem, item('fileCapabilities'), item('fileCapabilities')],
    'two project ids': [rootItem, item('quotaProjectId', u64(1n)), item('quotaProjectId', u64(1n))],
    'ACL permissions': [rootItem, item('aclUser', u64(1n), u64(8n))],
    'xattr without name': [rootItem, item('xattr', Buffer.from('\0v'))],
    'mode out of range': [item('entry', statOf(0o40755n | (1n << 40n)))],
    'table of odd length': [rootItem, item('goodbye', Buffer.alloc(25))],
    'bytes behind the end': [rootItem, tail(rootItem.length), Buffer.of(0)],
  };
  for (const [name, parts] of Object.entries(cases)) assert.throws(() => archiveEvents(Buffer.concat(parts)), { code: 'format.pxar' }, name);
  for (let length = 0; length < exampleV1.length; length += 1) assert.throws(() => archiveEvents(exampleV1.subarray(0, length), 100), { code: 'format.pxar' }, `cut at ${length}`);
});

test('the encoder refuses what an archive cannot hold', () => {
  const encoder = new ArchiveEncoder({ archive: () => {} }, root());
  for (const name of ['', '.', '..', 'a/b', 'x'.repeat(4097)]) assert.throws(() => encoder.special(Buffer.from(name), user(0o10644)), FormatError);
  assert.throws(() => encoder.symlink(Buffer.from('a'), user(0o120777), Buffer.alloc(4097, 0x61)), FormatError);
  encoder.startFile(Buffer.from('f'), user(0o100644), 3);
  assert.throws(() => encoder.fileData(Buffer.alloc(4)));
  assert.throws(() => encoder.endFile());
  assert.throws(() => encoder.finish());
});

test('payload sources check what they deliver', async () => {
  const payload = Buffer.concat([item('payloadStart'), item('payload', Buffer.from('one')), Buffer.from('padding'), item('payload', Buffer.from('three')), item('payloadTail')]);
  const [first, second] = [16, 16 + 19 + 7];
  for (const make of [(bytes: Buffer) => new RandomPayload(readerOf(bytes), bytes.length), (bytes: Buffer) => new SequentialPayload(inPieces(bytes, 5))]) {
    const source = make(payload);
    assert.equal((await content(source.content(first, 3))).toString(), 'one');
    assert.equal((await content(source.content(second, 5))).toString(), 'three');
    await assert.rejects(content(make(payload).content(first, 4)), { code: 'format.pxar' });
    await assert.rejects(content(make(payload).content(first + 1, 3)), { code: 'format.pxar' });
    await assert.rejects(content(make(payload).content(900, 3)), { code: 'format.pxar' });
    await assert.rejects(content(make(payload.subarray(16)).content(0, 3)), { code: 'format.pxar' });
    await assert.rejects(content(make(payload.subarray(0, 34)).content(first, 3)), { code: 'format.pxar' });
  }
  const backwards = new SequentialPayload(inPieces(payload, 5));
  for await (const piece of backwards.content(second, 5)) assert.ok(piece.length > 0);
  await assert.rejects(content(backwards.content(first, 3)), { code: 'format.pxar', message: /before/ });
});

test('names are found in tables of any size', async () => {
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.string({ minLength: 1, maxLength: 12 }).filter((name) => !/[/\0]/.test(name) && name !== '.' && name !== '..' && Buffer.from(name).toString() === name), { maxLength: 40 }), async (names) => {
      const events: ArchiveEvent[] = [{ kind: 'entry', entry: { type: 'directory', name: Buffer.alloc(0), position: 0, metadata: root() } }];
      for (const name of names) events.push({ kind: 'entry', entry: { type: 'fifo', name: Buffer.from(name), position: 0, metadata: user(0o10644) } });
      const { archive } = encodeEvents([...events, { kind: 'directory-end' }], null);
      const directory = await accessorOf({ archive, payload: null }).root();
      for (const name of names) assert.equal((await directory.lookup(Buffer.from(name)))?.entry.name.toString(), name);
      assert.equal(await directory.lookup(Buffer.from('absent one/')), null);
    }),
    { numRuns: 100 },
  );
});

test('an unfinished decoder says so', () => {
  const decoder = new ArchiveDecoder();
  assert.equal(decoder.isComplete, false);
  assert.throws(() => decoder.finish(), { code: 'format.pxar' });
});
