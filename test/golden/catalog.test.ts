import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CatalogEncoder, CatalogReader } from '../../src/format/catalog.ts';
import { goldenArchive, goldenKey, readFixture } from '../support/golden.ts';
import { goldenIndexes } from '../support/snapshots.ts';

function reader(bytes: Buffer): CatalogReader {
  return new CatalogReader((offset, length) => Promise.resolve(bytes.subarray(offset, offset + length)), bytes.length);
}

async function encodeAgain(catalog: CatalogReader, encoder: CatalogEncoder, position: number): Promise<void> {
  for (const entry of await catalog.directory(position)) {
    if (entry.type === 'f') encoder.addFile(entry.name, entry.size, entry.mtime);
    else if (entry.type === 'd') {
      encoder.startDirectory(entry.name);
      await encodeAgain(catalog, encoder, entry.position);
      encoder.endDirectory();
    } else encoder.add(entry.type, entry.name);
  }
}

test('every catalog decodes and encodes to the same bytes', async () => {
  const crypt = await goldenKey('kdf-scrypt');
  const names = goldenIndexes().map(({ name }) => name).filter((name) => name.endsWith('catalog.pcat1.didx'));
  assert.equal(names.length, 8);
  for (const name of names) {
    const bytes = goldenArchive(name, crypt);
    const catalog = reader(bytes);
    const parts: Buffer[] = [];
    const encoder = new CatalogEncoder((part) => parts.push(part));
    await encodeAgain(catalog, encoder, await catalog.root());
    encoder.finish();
    assert.ok(Buffer.concat(parts).equals(bytes), name);
  }
});

/** Bytes in the reference's debug notation. */
function quoted(name: Buffer): string {
  const text = name.toString('latin1').replaceAll(/(?:[\x80-\xff])+/g, (high) => {
    const bytes = Buffer.from(high, 'latin1');
    return bytes.toString('utf8').includes('\u{fffd}') ? [...bytes].map((byte) => `\\x${byte.toString(16).toUpperCase()}`).join('') : bytes.toString('utf8');
  });
  return text.replaceAll(/\\(?!x[0-9A-F]{2})/g, '\\\\').replaceAll('\n', '\\n').replaceAll('"', '\\"');
}

test('the newest catalog of host/plain lists what the reference lists', async () => {
  const catalog = reader(goldenArchive('host/plain/2025-10-10T08:53:20Z/catalog.pcat1.didx'));
  const lines: string[] = [];
  for await (const { path, entry } of catalog.walk(await catalog.root())) {
    const extra = entry.type === 'f' ? ` ${entry.size} ${new Date(entry.mtime * 1000).toISOString().slice(0, 19)}Z` : '';
    lines.push(`${entry.type} "./${path.map(quoted).join('/')}"${extra}`);
  }
  assert.deepEqual(lines, readFixture('expected/catalog-plain.txt').toString().trimEnd().split('\n'));
});
