import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { FuseRefusal, type FuseFileSystem } from './file-system.ts';
import { ListingBody, type NodeAttributes } from './reply.ts';
import { decodeRequest, maxRequestLength } from './request.ts';
import { FuseSession, type FuseChannel } from './session.ts';

/** The protocol without a kernel: bytes in, bytes out. */

const attributes: NodeAttributes = { node: 0x8000_0000_0000_0052n, mode: 0o100644, nlink: 1, uid: 1000, gid: 100, size: 1025, mtimeNs: 1_577_934_245_123_456_789n, device: null };

function request(opcode: number, body: Buffer | string = '', { unique = 7n, node = 1n } = {}): Buffer {
  const bytes = Buffer.concat([Buffer.alloc(40), typeof body === 'string' ? Buffer.from(body, 'hex') : body]);
  bytes.writeUInt32LE(bytes.length, 0);
  bytes.writeUInt32LE(opcode, 4);
  bytes.writeBigUInt64LE(unique, 8);
  bytes.writeBigUInt64LE(node, 16);
  return bytes;
}

/** As Linux 6.x sends it: version 7.45, 128 KiB of readahead, flags, and the second flags of FUSE_INIT_EXT. */
const init = request(26, `07000000 2d000000 00000200 fbff fff3 ${'00'.repeat(48)}`.replaceAll(' ', ''), { unique: 2n, node: 0n });

const files: FuseFileSystem = {
  lookup: (_parent, name) => Promise.resolve(name.equals(Buffer.from([0x61, 0xff])) ? attributes : null),
  attributes: () => Promise.resolve(attributes),
  readlink: () => Promise.resolve(Buffer.from('../there')),
  read: (_node, offset, length) => (offset >= 4096 ? Promise.reject(new FormatError('format.chunk', 'chunk 12ab is not what the index names')) : Promise.resolve([Buffer.from('0123456789').subarray(offset, offset + length)])),
  list: async function* (_node, offset) {
    if (offset < 1) yield { name: Buffer.from('a'), node: attributes.node, mode: attributes.mode, attributes, next: 1 };
    if (offset < 2) yield { name: Buffer.from('..'), node: 0xffff_ffffn, mode: 0o40000, attributes: null, next: 2 };
  },
  xattrs: () => Promise.resolve([{ name: Buffer.from('user.k'), value: Buffer.from('val') }]),
  totals: () => ({ bytes: 10_000 }),
  shown: () => '"/a"',
};

/** Replies in hexadecimal, in order, and what was logged. */
async function replies(requests: readonly Buffer[], system: FuseFileSystem = files): Promise<{ replies: string[]; log: string[] }> {
  const out: string[] = [];
  const log: string[] = [];
  const channel: FuseChannel = {
    requests: async function* () {
      for (const bytes of requests) yield [bytes];
    },
    reply: (parts) => void out.push(Buffer.concat(parts).toString('hex')),
  };
  const session = new FuseSession(channel, system, (line) => log.push(line));
  await session.run();
  return { replies: out, log };
}

/** The reply to one request after the handshake. */
async function reply(bytes: Buffer): Promise<string> {
  const { replies: all } = await replies([init, bytes]);
  assert.equal(all.length, 2);
  return all[1]!;
}

function header(length: number, errno = 0, unique = 7): string {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(length, 0);
  bytes.writeInt32LE(-errno, 4);
  bytes.writeUInt32LE(unique, 8);
  return bytes.toString('hex');
}

/** struct fuse_attr of `attributes`. */
const attr = [
  '5200000000000080',
  '0104000000000000',
  '0300000000000000',
  'a55d0d5e00000000'.repeat(3),
  '15cd5b07'.repeat(3),
  'a4810000 01000000 e8030000 64000000 00000000 00100000 00000000'.replaceAll(' ', ''),
].join('');
const valid = '8051010000000000';
const entry = `5200000000000080${'00'.repeat(8)}${valid}${valid}${'00'.repeat(8)}${attr}`;

suite('golden requests and replies', () => {
  test('the handshake: our version, what we can', async () => {
    const { replies: all } = await replies([init]);
    // 7.31, readahead as the kernel has it; async reads, readdirplus, parallel listings, ACLs, long reads, cached links.
    assert.deepEqual(all, [`${header(80, 0, 2)}070000001f000000000002000160d400400030000010000001000000000100${'00'.repeat(34)}`.slice(0, 160)]);
  });

  test('another version', async () => {
    assert.deepEqual((await replies([request(26, '08000000000000000000000000000000', { unique: 2n })])).replies, [`${header(80, 0, 2)}070000001f000000${'00'.repeat(56)}`]);
    const old = request(26, '07000000160000000000000000000000');
    await assert.rejects(replies([old]), { code: 'store.fuse', message: 'the kernel speaks FUSE 7.22, needed is 7.23 or newer' });
  });

  test('nothing before the handshake', async () => {
    assert.deepEqual((await replies([request(3)])).replies, [header(16, 5)]);
  });

  test('each operation', async () => {
    assert.equal(await reply(request(1, '61ff00')), `${header(144)}${entry}`, 'lookup of a name that is no text');
    assert.equal(await reply(request(1, '6200')), `${header(144)}${'00'.repeat(16)}${valid}${'00'.repeat(104)}`, 'no such name');
    assert.equal(await reply(request(3, '00'.repeat(16))), `${header(120)}${valid}${'00'.repeat(8)}${attr}`, 'getattr');
    assert.equal(await reply(request(5)), `${header(24)}${Buffer.from('../there').toString('hex')}`, 'readlink');
    assert.equal(await reply(request(14, '00'.repeat(8))), `${header(32)}${'00'.repeat(8)}0200000000000000`, 'open');
    assert.equal(await reply(request(27, '00'.repeat(8))), `${header(32)}${'00'.repeat(8)}0a00000000000000`, 'opendir');
    assert.equal(await reply(request(15, `${'00'.repeat(8)}030000000000000004000000${'00'.repeat(20)}`)), `${header(20)}33343536`, 'read');
    assert.equal(await reply(request(17)), `${header(96)}0300000000000000${'00'.repeat(32)}00100000ff00000000100000${'00'.repeat(28)}`, 'statfs');
    assert.equal(await reply(request(22, `0000000000000000${Buffer.from('user.k\0').toString('hex')}`)), `${header(24)}0300000000000000`, 'size of an attribute');
    assert.equal(await reply(request(22, `ff00000000000000${Buffer.from('user.k\0').toString('hex')}`)), `${header(19)}76616c`, 'an attribute');
    assert.equal(await reply(request(22, `0200000000000000${Buffer.from('user.k\0').toString('hex')}`)), header(16, 34), 'no room for an attribute');
    assert.equal(await reply(request(22, `ff00000000000000${Buffer.from('user.x\0').toString('hex')}`)), header(16, 61), 'no such attribute');
    assert.equal(await reply(request(23, 'ff00000000000000')), `${header(23)}${Buffer.from('user.k\0').toString('hex')}`, 'attributes');
    assert.equal(await reply(request(34, '0400000000000000')), header(16), 'access to read');
    assert.equal(await reply(request(34, '0200000000000000')), header(16, 30), 'access to write');
    for (const opcode of [18, 20, 25, 29, 30, 38]) assert.equal(await reply(request(opcode, '00'.repeat(24))), header(16), `opcode ${opcode}`);
    for (const opcode of [4, 6, 8, 9, 10, 11, 12, 13, 16, 21, 24, 35, 43, 45, 47, 51]) assert.equal(await reply(request(opcode, '00'.repeat(40))), header(16, 30), `opcode ${opcode}`);
    for (const opcode of [0, 7, 31, 39, 46, 52, 4096, 0xffff_ffff]) assert.equal(await reply(request(opcode, '00'.repeat(40))), header(16, 38), `opcode ${opcode}`);
  });

  test('listings, with and without attributes, from the start and from within', async () => {
    const dirent = (node: string, next: number, name: string, type: number): string => `${node}0${next}00000000000000${Buffer.from([name.length]).toString('hex')}0000000${type}000000${Buffer.from(name).toString('hex').padEnd(16, '0')}`;
    const [a, dots] = [dirent('5200000000000080', 1, 'a', 8), dirent('ffffffff00000000', 2, '..', 4)];
    const body = (offset: number, size: number): string => `${'00'.repeat(8)}0${offset}00000000000000${Buffer.from(Uint32Array.of(size).buffer).toString('hex')}${'00'.repeat(20)}`;
    assert.equal(await reply(request(28, body(0, 4096))), `${header(16 + 64)}${a}${dots}`);
    assert.equal(await reply(request(28, body(1, 4096))), `${header(16 + 32)}${dots}`);
    assert.equal(await reply(request(28, body(2, 4096))), header(16));
    assert.equal(await reply(request(28, body(0, 63))), `${header(16 + 32)}${a}`);
    assert.equal(await reply(request(44, body(0, 4096))), `${header(16 + 320)}${entry}${a}${'00'.repeat(128)}${dots}`);
  });

  test('forgetting is not answered', async () => {
    assert.equal((await replies([init, request(2, '0100000000000000'), request(42, '0000000000000000')])).replies.length, 1);
  });
});

test('times before 1970 and devices', () => {
  const listing = new ListingBody(4096, true);
  listing.add({ name: Buffer.from('d'), node: 5n, mode: 0o60600, next: 1, attributes: { ...attributes, mtimeNs: -1n, device: { major: 259, minor: 70_000 } } });
  const at = 40;
  assert.deepEqual([listing.bytes.readBigInt64LE(at + 24), listing.bytes.readUInt32LE(at + 48)], [-1n, 999_999_999]);
  // As the kernel's new_encode_dev: 12 bits of the major between 8 and 12 of the minor.
  assert.equal(listing.bytes.readUInt32LE(at + 76), (70_000 & 0xff) | (259 << 8) | ((70_000 & ~0xff) << 12));
});

test('what is damaged is EIO for the one who asks, is logged, and the others go on', async () => {
  const { replies: all, log } = await replies([init, request(15, `${'00'.repeat(8)}001000000000000004000000${'00'.repeat(20)}`), request(5, '', { unique: 8n })]);
  assert.deepEqual(all.slice(1).toSorted(), [header(16, 5), `${header(24, 0, 8)}${Buffer.from('../there').toString('hex')}`].toSorted());
  assert.deepEqual(log, ['"/a": chunk 12ab is not what the index names']);
});

test('a refusal of the file system is no error of ours', async () => {
  const { replies: all, log } = await replies([init, request(5)], { ...files, readlink: () => Promise.reject(new FuseRefusal('EINVAL')) });
  assert.deepEqual([all[1], log], [header(16, 22), []]);
});

test('an interrupted request is answered at once, and once', async () => {
  const fetched = Promise.withResolvers<readonly Buffer[]>();
  const out: string[] = [];
  const channel: FuseChannel = {
    requests: async function* () {
      yield [init];
      yield [request(15, `${'00'.repeat(16)}04000000${'00'.repeat(20)}`, { unique: 9n })];
      yield [request(36, '0900000000000000', { unique: 10n })];
      assert.deepEqual(out.slice(1), [header(16, 4, 9)]);
      fetched.resolve([Buffer.from('late')]);
      await fetched.promise;
      // The request is not there any more; this one neither.
      yield [request(36, '0900000000000000', { unique: 11n }), request(36, 'ff00000000000000', { unique: 12n })];
    },
    reply: (parts) => void out.push(Buffer.concat(parts).toString('hex')),
  };
  await new FuseSession(channel, { ...files, read: () => fetched.promise }, () => {}).run();
  assert.equal(out.length, 2);
});

test('any bytes are a request or refused, and never more', () => {
  const seeds = [init, request(1, '61ff00'), request(15, '00'.repeat(40)), request(22, '0000000000000000757365722e6b00'), request(44, '00'.repeat(40)), request(36, '00'.repeat(8))];
  fc.assert(
    fc.property(fc.constantFrom(...seeds), fc.array(fc.tuple(fc.nat(100), fc.nat(255))), fc.nat(60), (seed, changes, cut) => {
      const bytes = Buffer.from(seed.subarray(0, Math.max(0, seed.length - Math.floor(cut / 10))));
      for (const [at, value] of changes) if (at < bytes.length) bytes[at] = value;
      try {
        decodeRequest(bytes);
      } catch (e) {
        assert.ok(e instanceof FormatError, String(e));
      }
    }),
    { numRuns: 3000 },
  );
  for (const lie of [Buffer.alloc(0), Buffer.alloc(39), request(1, ''), request(1, '00'), request(1, '6161'), request(1, '610061 00'.replace(' ', '')), request(22, '00000000000000'), request(15, '00'.repeat(23)), request(15, `${'00'.repeat(8)}${'ff'.repeat(8)}${'00'.repeat(8)}`), request(15, `${'00'.repeat(16)}ffffffff`), Buffer.concat([request(3), Buffer.alloc(1)]), request(1, `${'61'.repeat(1025)}00`), request(3, Buffer.alloc(maxRequestLength))]) {
    assert.throws(() => decodeRequest(lie), { code: 'format.fuse' });
  }
  const extended = request(3, '00'.repeat(8));
  extended.writeUInt16LE(2, 36);
  assert.throws(() => decodeRequest(extended), { code: 'format.fuse' });
});

test('a request that cannot be read is refused by its number', async () => {
  const { replies: all, log } = await replies([init, request(1, '6161'), Buffer.alloc(12)]);
  assert.deepEqual(all.slice(1), [header(16, 22)]);
  assert.deepEqual(log, ['request of the kernel: a name is not one', 'request of the kernel: 12 bytes']);
});
