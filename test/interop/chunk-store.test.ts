import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../../src/base/log.ts';
import { collectGarbage } from '../../src/datastore/garbage-collection.ts';
import { readGcStatus } from '../../src/datastore/gc-status.ts';
import { LocalChunkBackend } from '../../src/datastore/local-chunk-backend.ts';
import { LockFile } from '../../src/datastore/lock-file.ts';
import { ProcessLock } from '../../src/datastore/process-lock.ts';
import { temporaryFolder } from '../support/golden.ts';
import { Peer } from '../support/peer.ts';
import { writeGoldenFiles } from '../support/peer-backups.ts';

test('a chunk store of ours is taken over by the reference, both keep out of the way of the other, and collect the same', async () => {
  await using peer = await Peer.start();
  await using locksFolder = await temporaryFolder();
  const manager = async (...argv: string[]): Promise<string> => {
    const { stdout, stderr } = await peer.tryManager(argv);
    return stdout + stderr;
  };
  const base = join(peer.dataFolder, 'main');
  const chunks = await LocalChunkBackend.create(base);
  writeGoldenFiles(base);
  assert.match(await manager('datastore', 'create', 'main', '/data/main', '--reuse-datastore', 'true'), /TASK OK/);

  using processLock = ProcessLock.open(join(base, '.lock'));
  const writer = processLock.shared();
  assert.match(await manager('garbage-collection', 'start', 'main'), /unable to get exclusive lock - EAGAIN: Try again/);
  writer.release();

  assert.match(await manager('garbage-collection', 'start', 'main'), /TASK OK/);
  const theirs = await readGcStatus(base);
  const locks = { group: () => LockFile.acquire(join(locksFolder.path, 'group-lock'), { mode: 'exclusive' }) };
  const tuning = { gcAtimeSafetyCheck: true, gcAtimeCutoff: undefined, gcCacheCapacity: 1024 * 1024 };
  const ours = await collectGarbage({ name: 'main', path: base, chunks, processLock, locks, tuning }, { upid: theirs.upid, log: silentLog });
  assert.deepEqual(ours, theirs);
  assert.equal(ours.diskChunks, 37);
  assert.match(await manager('verify', 'main'), /TASK OK/);
  // It reads the status that we wrote.
  assert.match(await manager('garbage-collection', 'status', 'main', '--output-format', 'json'), /"disk-chunks":37/);
});
