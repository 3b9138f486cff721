import assert from 'node:assert/strict';
import { lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { makeFolders } from './make-folders.ts';

test('makes the levels that are missing, and says whether it made the last', async (t) => {
  const base = mkdtempSync(join(tmpdir(), 'farshore-folders-'));
  t.after(() => rmSync(base, { recursive: true }));
  const deep = join(base, 'a', 'b', 'c');
  assert.equal(await makeFolders(deep, 0o700), true);
  assert.equal(lstatSync(deep).mode & 0o777, 0o700);
  assert.equal(await makeFolders(deep, 0o755), false);
  assert.equal(lstatSync(deep).mode & 0o777, 0o700, 'an existing folder is left as it is');
  writeFileSync(join(base, 'file'), '');
  await assert.rejects(makeFolders(join(base, 'file'), 0o700), { code: 'EEXIST' });
  await assert.rejects(makeFolders(join(base, 'file', 'below'), 0o700), { code: 'ENOTDIR' });
});

test('a file system that has no room for folders is an error, not a wait without end', async () => {
  await assert.rejects(makeFolders('/proc/farshore/below', 0o700), { code: 'ENOENT' });
});
