import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { temporaryFolder } from '../../../test/support/golden.ts';
import { MappedImages } from './mapped-images.ts';
import { RecentlyUsed } from './recently-used.ts';
import { escapeUnitName, unescapeUnitName } from './unit-name.ts';

const name = 'op@pbs@10.77.0.115:8007:main:host/h/2025-10-09T08:53:20Z/disk.img';
/** As the reference names it. */
const fileName = String.raw`op\x40pbs\x4010.77.0.115\x3a8007\x3amain\x3ahost-h-2025\x2d10\x2d09T08\x3a53\x3a20Z-disk.img`;

test('names as the reference escapes them, and back', () => {
  assert.equal(escapeUnitName(name), fileName);
  assert.equal(unescapeUnitName(fileName), name);
  assert.equal(escapeUnitName('.a'), String.raw`\x2ea`);
  fc.assert(fc.property(fc.string({ unit: 'grapheme', minLength: 1 }), (text) => assert.equal(unescapeUnitName(escapeUnitName(text)), text)));
  assert.throws(() => unescapeUnitName(String.raw`a\y`), { code: 'format.unit-name' });
});

test('a name is mapped once; what nobody maps any more goes', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'loopdev');
  const images = new MappedImages(path);
  assert.deepEqual(await images.list(), []);
  const reserved = await images.reserve(name);
  assert.equal(reserved.path, join(path, fileName));
  const pidFile = `${fileName.replace(/\.img$/, '')}.pid`;
  assert.deepEqual(readdirSync(path).sort(), [fileName, pidFile].sort());
  assert.equal(readFileSync(join(path, pidFile), 'utf8'), String(process.pid));
  await assert.rejects(images.reserve(name), { code: 'config.mapped', message: 'the given archive is already mapped, cannot map twice' });
  assert.deepEqual(await images.list(), [{ name, fileName, pid: process.pid, device: null }]);
  await assert.rejects(images.unmap('other.img'), { message: "no mapping for name 'other.img' found" });
  await assert.rejects(images.unmap('7'), { message: 'nothing mapped to /dev/loop7' });
  const second = await images.reserve(name.replace('host/h', 'host/i'));
  await assert.rejects(images.unmap('disk.img'), { code: 'config.mapped', message: /^'disk\.img' names several images: / });
  second.release();
  reserved.release();
  assert.deepEqual(readdirSync(path), []);
});

test('files without a living process are removed', { skip: process.geteuid?.() === 0 ? false : 'taking mounts away needs root' }, async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'loopdev');
  mkdirSync(path);
  // No process has the largest number that there can be.
  writeFileSync(join(path, 'a.pid'), '4194304');
  writeFileSync(join(path, 'a.img'), '');
  writeFileSync(join(path, 'b.img'), '');
  writeFileSync(join(path, 'c.pid'), 'nonsense');
  assert.deepEqual(await new MappedImages(path).list(), []);
  assert.deepEqual(readdirSync(path), []);
  assert.ok(existsSync(path));
});

test('what was used last is kept, as much as there is room for', () => {
  const kept = new RecentlyUsed<string, number>(10);
  kept.set('a', 1, 4);
  kept.set('b', 2, 4);
  assert.equal(kept.get('a'), 1);
  kept.set('c', 3, 4);
  assert.deepEqual([kept.get('a'), kept.get('b'), kept.get('c'), kept.size], [1, undefined, 3, 2]);
  kept.set('d', 4, 100);
  assert.deepEqual([kept.get('d'), kept.size], [4, 1]);
  kept.set('d', 5, 1);
  kept.set('e', 6, 9);
  assert.deepEqual([kept.get('d'), kept.get('e')], [5, 6]);
});
