import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { removeSnapshot } from '../../src/datastore/removal.ts';
import { verifyState } from '../../src/format/manifest.ts';
import { loadManifest, setVerifyState } from '../../src/datastore/snapshots.ts';
import type { BackupSnapshot } from '../../src/format/backup-path.ts';
import { digestOf, firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { syncPair, verifyAll } from '../support/sync-pair.ts';

function at(age: number): BackupSnapshot {
  return { type: 'vm', id: '100', time: firstTime + age * 86_400 };
}

test('backfill over a line mends an older copy that is corrupt, and only it, and fetches one that is gone', async () => {
  await using pair = await syncPair();
  const shared = noiseChunks('shared', 4);
  const own = (age: number): Buffer[] => noiseChunks(`own-${age}`, 2);
  for (let age = 0; age < 4; age += 1) await makeSnapshot(pair.source.store, '', at(age), { files: { 'drive-scsi0.img.fidx': [...shared, ...own(age)] } });
  await pair.pulled();
  const { target } = pair;
  const hex = toHex(digestOf(own(1)[0]!));
  const path = join(target.path, '.chunks', hex.slice(0, 4), hex);
  const bytes = await readFile(path);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(path, bytes);
  await setVerifyState(target, '', at(1), 'failed', 'UPID:x:00000001:00000001:00000001:00000001:verify:main:root@pam:');
  await removeSnapshot(target, '', at(2));

  // Without backfill nobody looks at what is older than the newest copy.
  const before = await pair.pulled();
  assert.deepEqual([before.snapshots, before.fetchedChunks], [0, 0]);
  const report = await pair.pulled({ backfill: () => (snapshots) => new Set(snapshots.map(({ time }) => time)) });
  assert.deepEqual([report.snapshots, report.fetchedChunks, report.repairedChunks], [2, 1, 1]);
  assert.equal(verifyState((await loadManifest(target, '', at(1))).manifest), null, 'nobody has verified the mended copy yet');
  assert.equal(await verifyAll(target), 4);
  const again = await pair.pulled({ backfill: () => (snapshots) => new Set(snapshots.map(({ time }) => time)) });
  assert.deepEqual([again.snapshots, again.fetchedChunks], [0, 0]);
});
