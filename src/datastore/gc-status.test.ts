import assert from 'node:assert/strict';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenFile, temporaryFolder } from '../../test/support/golden.ts';
import { emptyGcStatus, encodeGcStatus, parseGcStatus, readGcStatus, writeGcStatus } from './gc-status.ts';

test('the recorded status file is read and written byte for byte', async () => {
  const recorded = goldenFile('.gc-status').toString('utf8');
  const status = parseGcStatus(recorded);
  assert.equal(status.indexFileCount, 24);
  assert.deepEqual(status.cacheStats, { hits: 20, misses: 37 });
  assert.equal(encodeGcStatus(status), recorded);
  await using folder = await temporaryFolder();
  assert.deepEqual(await readGcStatus(folder.path), emptyGcStatus());
  await writeGcStatus(folder.path, status);
  assert.equal(readFileSync(join(folder.path, '.gc-status'), 'utf8'), recorded);
  assert.equal(statSync(join(folder.path, '.gc-status')).mode & 0o7777, 0o644);
  assert.deepEqual(await readGcStatus(folder.path), status);
});

test('null upid, no cache figures; damaged files are told', async () => {
  const text = encodeGcStatus(emptyGcStatus());
  assert.equal(
    text,
    '{"upid":null,"index-file-count":0,"index-data-bytes":0,"disk-bytes":0,"disk-chunks":0,"removed-bytes":0,"removed-chunks":0,"pending-bytes":0,"pending-chunks":0,"removed-bad":0,"still-bad":0}',
  );
  assert.deepEqual(parseGcStatus(text), emptyGcStatus());
  await using folder = await temporaryFolder();
  for (const bad of ['', '{}', '[]', 'null', text.replace('"still-bad":0', '"still-bad":-1'), text.replace('"upid":null', '"upid":5'), text.replace('}', ',"cache-stats":{}}')]) {
    writeFileSync(join(folder.path, '.gc-status'), bad);
    await assert.rejects(readGcStatus(folder.path), { code: 'format.gc-status' });
  }
});
