import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { CatalogEncoder, CatalogReader, decodeCatalogBlock, encodeCatalogBlock, type CatalogEntry } from './catalog.ts';
import { encodeUnsigned } from './varint.ts';

const example = Buffer.from(
  '91fd60f9c46758d51001660670617373776 4d20980e2cfaa060c026c0362696e64036574631112 01640e726f6f742e707861722e646964780d2600000000000000'.replaceAll(' ', ''),
  'hex',
);

function reader(bytes: Uint8Array): CatalogReader {
  return new CatalogReader((offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)), bytes.length);
}

/** Text of every entry below `position`. */
async function listing(bytes: Uint8Array): Promise<string[]> {
  const catalog = reader(bytes);
  const lines: string[] = [];
  for await (const { path, entry } of catalog.walk(await catalog.root())) {
    const extra = entry.type === 'f' ? ` ${entry.size} ${entry.mtime}` : '';
    lines.push(`${entry.type} ${path.map((name) => name.toString('hex')).join('/')}${extra}`);
  }
  return lines;
}

test('the worked example both ways', async () => {
  const parts: Buffer[] = [];
  const encoder = new CatalogEncoder((bytes) => parts.push(bytes));
  encoder.startDirectory(Buffer.from('root.pxar.didx'));
  encoder.add('l', Buffer.from('bin'));
  encoder.startDirectory(Buffer.from('etc'));
  encoder.addFile(Buffer.from('passwd'), 1234, 1_700_000_000);
  encoder.endDirectory();
  encoder.endDirectory();
  encoder.finish();
  assert.ok(Buffer.concat(parts).equals(example));

  const catalog = reader(example);
  assert.equal(await catalog.root(), 38);
  assert.deepEqual(await catalog.lookup(Buffer.from('/root.pxar.didx/etc/passwd')), { type: 'f', name: Buffer.from('passwd'), size: 1234, mtime: 1_700_000_000 });
  assert.equal((await catalog.lookup(Buffer.from('root.pxar.didx/bin')))?.type, 'l');
  assert.equal(await catalog.lookup(Buffer.from('/')), null);
  for (const path of ['/etc', '/root.pxar.didx/', '/root.pxar.didx/bin/x', '//root.pxar.didx']) {
    await assert.rejects(catalog.lookup(Buffer.from(path)), { code: 'format.catalog-path' });
  }
});

interface Tree {
  name: Uint8Array;
  node: { type: 'f'; size: number; mtime: number } | { type: 'l' | 'h' | 'b' | 'c' | 'p' | 's' } | { type: 'd'; children: Tree[] };
}

const { tree } = fc.letrec<{ tree: Tree; node: Tree['node'] }>((tie) => ({
  tree: fc.record({ name: fc.uint8Array({ maxLength: 40 }), node: tie('node') }),
  node: fc.oneof(
    { maxDepth: 5 },
    fc.record({ type: fc.constant('f' as const), size: fc.maxSafeNat(), mtime: fc.maxSafeInteger() }),
    fc.record({ type: fc.constantFrom('l' as const, 'h' as const, 'b' as const, 'c' as const, 'p' as const, 's' as const) }),
    fc.record({ type: fc.constant('d' as const), children: fc.array(tie('tree'), { maxLength: 4 }) }),
  ),
}));

function encodeTree(encoder: CatalogEncoder, trees: Tree[], prefix: string, lines: string[]): void {
  for (const { name, node } of trees) {
    const path = prefix + Buffer.from(name).toString('hex');
    lines.push(`${node.type} ${path}${node.type === 'f' ? ` ${node.size} ${node.mtime}` : ''}`);
    if (node.type === 'f') encoder.addFile(name, node.size, node.mtime);
    else if (node.type === 'd') {
      encoder.startDirectory(name);
      encodeTree(encoder, node.children, `${path}/`, lines);
      encoder.endDirectory();
    } else encoder.add(node.type, name);
  }
}

test('any tree survives', async () => {
  const property = fc.asyncProperty(fc.array(tree, { maxLength: 5 }), async (trees) => {
    const parts: Buffer[] = [];
    const lines: string[] = [];
    const encoder = new CatalogEncoder((bytes) => parts.push(bytes));
    encodeTree(encoder, trees, '', lines);
    encoder.finish();
    assert.deepEqual(await listing(Buffer.concat(parts)), lines);
  });
  await fc.assert(property, { numRuns: 60 });
});

function withRoot(blocks: Buffer[], root: number): Buffer {
  const pointer = Buffer.alloc(8);
  pointer.writeBigUInt64LE(BigInt(root));
  return Buffer.concat([example.subarray(0, 8), ...blocks, pointer]);
}

test('broken catalogs are refused', async () => {
  const empty = encodeCatalogBlock([], 8);
  assert.equal(empty.toString('hex'), '0100');
  assert.deepEqual(await listing(withRoot([empty], 8)), []);
  const bad: Buffer[] = [
    Buffer.alloc(0),
    example.subarray(0, 17),
    example.subarray(1),
    withRoot([empty], 0),
    withRoot([empty], 10),
    withRoot([empty], 2 ** 40),
    withRoot([Buffer.from('00', 'hex'), empty], 8),
    withRoot([Buffer.from('020000', 'hex')], 8),
    withRoot([Buffer.from('0101', 'hex')], 8),
    withRoot([Buffer.from('7f00', 'hex')], 8),
    withRoot([Buffer.from('03017a00', 'hex')], 8),
    withRoot([Buffer.from('0401640000', 'hex')], 8),
    withRoot([Buffer.from('0401640001', 'hex')], 8),
    withRoot([Buffer.from('04016c0261', 'hex')], 8),
    withRoot([Buffer.concat([Buffer.from('a220', 'hex'), Buffer.from('016c', 'hex'), encodeUnsigned(4096), Buffer.alloc(4096)])], 8),
  ];
  for (const bytes of bad) await assert.rejects(listing(bytes), FormatError, bytes.toString('hex'));
  await assert.rejects(reader(withRoot([empty], 8)).directory(9), FormatError);
});

test('a child lies before its parent, behind the magic', () => {
  const block = (position: number): Buffer => encodeCatalogBlock([{ type: 'd', name: Buffer.from('x'), position }], 100);
  assert.deepEqual(decodeCatalogBlock(block(8), 100), [{ type: 'd', name: Buffer.from('x'), position: 8 }]);
  for (const position of [100, 7, 0]) assert.throws(() => decodeCatalogBlock(block(position), 100), /back pointer \d+ out of range/);
});

test('a false count costs no memory', () => {
  const body = encodeUnsigned(2 ** 50);
  assert.throws(() => decodeCatalogBlock(Buffer.concat([encodeUnsigned(body.length), body]), 8), FormatError);
});

test('directories that are listed many times do not make a walk endless', async () => {
  // Thirty levels, each naming the one below twice: a billion entries in 300 bytes.
  const blocks: Buffer[] = [encodeCatalogBlock([], 8)];
  let child = 8;
  let position = 10;
  for (let level = 0; level < 30; level += 1) {
    const entry: CatalogEntry = { type: 'd', name: Buffer.from('x'), position: child };
    const block = encodeCatalogBlock([entry, entry], position);
    blocks.push(block);
    child = position;
    position += block.length;
  }
  await assert.rejects(listing(withRoot(blocks, child)), /listed more than once/);
});
