import assert from 'node:assert/strict';
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenDatastore, goldenFiles, temporaryFolder, unpackGoldenDatastore } from './golden.ts';

test('the golden datastore unpacks with all of its chunk folders', async () => {
  await using folder = await temporaryFolder();
  await unpackGoldenDatastore(folder.path, { chunkFolders: 'all' });
  const folders = await readdir(join(folder.path, '.chunks'));
  assert.equal(folders.length, 65_536);
  const protectedMarker = await stat(join(folder.path, 'host/plain/2025-10-09T08:53:20Z/.protected'));
  assert.equal(protectedMarker.size, 0);
});

test('the shared golden datastore has every file as recorded', async () => {
  const base = await goldenDatastore();
  assert.equal(await goldenDatastore(), base);
  assert.equal(goldenFiles().length, 89);
  for (const file of goldenFiles()) {
    assert.deepEqual(await readFile(join(base, file.name)), file.content);
    const info = await stat(join(base, file.name));
    assert.deepEqual([info.mode & 0o777, Math.floor(info.mtimeMs / 1000)], [file.mode, file.mtime], file.name);
  }
});
