import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { faultyFileCalls } from '../../test/support/faulty-files.ts';
import { fileOwner } from './file-owner.ts';
import { isTemporaryName, removeStaleTempFiles, replaceFile } from './replace-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'farshore-replace-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('replaces content, with mode and owner whatever they were', async () => {
  const path = join(folder, 'file');
  writeFileSync(path, 'old', { mode: 0o600 });
  await replaceFile(path, Buffer.alloc(3_000_000, 7));
  assert.equal(statSync(path).size, 3_000_000);
  assert.equal(statSync(path).mode & 0o7777, 0o644);
  assert.equal(statSync(path).uid, fileOwner()?.uid ?? process.getuid!());
  const umask = process.umask(0o077);
  try {
    await replaceFile(path, 'new', { mode: 0o640, owner: null, sync: false });
  } finally {
    process.umask(umask);
  }
  assert.equal(readFileSync(path, 'utf8'), 'new');
  assert.equal(statSync(path).mode & 0o7777, 0o640);
  assert.equal(statSync(path).uid, process.getuid!());
  assert.deepEqual(readdirSync(folder), ['file']);
});

test('whichever file call fails, the old content or the new one is there, whole, and nothing else', async () => {
  const codes = { ENOSPC: 'store.full', EROFS: 'store.read-only', EIO: 'store.io' };
  for (const [errno, code] of Object.entries(codes)) {
    const directory = mkdtempSync(join(folder, 'fault-'));
    const path = join(directory, 'file');
    writeFileSync(path, 'old');
    let passed = false;
    for (let at = 1; !passed; at += 1) {
      const faults = faultyFileCalls({ failAt: at, errno });
      try {
        await replaceFile(path, 'new content', { files: faults.calls });
        passed = !faults.fired();
      } catch (e) {
        assert.equal((e as { code: string }).code, code);
        assert.ok(faults.fired());
      }
      assert.ok(['old', 'new content'].includes(readFileSync(path, 'utf8')));
      assert.deepEqual(readdirSync(directory), ['file']);
      if (!passed) writeFileSync(path, 'old');
      assert.ok(at < 30);
    }
    assert.equal(readFileSync(path, 'utf8'), 'new content');
  }
});

test('leftovers are known by their names and removed when they are old enough', async () => {
  const directory = mkdtempSync(join(folder, 'stale-'));
  const names = ['index.json.blob.tmp_Ab12xY', 'index.json.tmp_abcdef', 'x.tmp_12345', 'root.pxar.tmp_didx', 'x.tmp_1234567', 'index.json.blob'];
  assert.deepEqual(names.map(isTemporaryName), [true, true, false, false, false, false]);
  for (const name of names) writeFileSync(join(directory, name), '');
  assert.equal(await removeStaleTempFiles(directory, Date.now() - 60_000), 0);
  assert.equal(await removeStaleTempFiles(directory, Date.now() + 60_000), 2);
  assert.deepEqual(readdirSync(directory).sort(), names.slice(2).sort());
  await assert.rejects(removeStaleTempFiles(join(directory, 'none'), 0), { code: 'store.missing' });
});
