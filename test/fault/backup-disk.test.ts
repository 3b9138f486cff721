import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { encodeBlob } from '../../src/format/data-blob.ts';
import { BackupClient, ok } from '../support/backup-client.ts';
import { backupServer, type BackupServer } from '../support/backup-server.ts';
import { temporaryFolder } from '../support/golden.ts';
import { noise, noiseChunks } from '../support/made-snapshots.ts';
import { verifyAll } from '../support/sync-pair.ts';

const MiB = 1024 * 1024;

/** A small file system of its own, unmounted at the end; null where the test may not mount. */
async function smallDisk(t: TestContext, size: string): Promise<string | null> {
  const folder = await temporaryFolder();
  const path = join(folder.path, 'disk');
  await mkdir(path);
  const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${size}`, 'tmpfs', path]).status === 0;
  if (!mounted) t.diagnostic('a file system cannot be mounted here: nothing is tested');
  t.after(async () => {
    if (mounted) spawnSync('umount', ['-l', path]);
    await folder[Symbol.asyncDispose]();
  });
  return mounted ? path : null;
}

async function idle(server: BackupServer): Promise<void> {
  while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 2));
}

test('on a full disk the call says so, nothing half is left, what was there stays, and with room it works again', async (t) => {
  const disk = await smallDisk(t, '3m');
  if (disk === null) return;
  const path = join(disk, 'main');
  await mkdir(join(path, '.chunks'), { recursive: true });
  await writeFile(join(path, '.lock'), '');
  const server = await backupServer(t, { path });
  const first = await BackupClient.open(server, { snapshot: { type: 'host', id: 'x', time: 1000 } });
  await first.archive('root.pxar.didx', noiseChunks('first', 4));
  ok(await first.manifest());
  ok(await first.finish());
  await first.end();
  await idle(server);

  // A chunk that does not fit; one that does goes on.
  const second = await BackupClient.open(server, { snapshot: { type: 'host', id: 'x', time: 2000 } });
  ok(await second.call('POST', '/dynamic_index?archive-name=root.pxar.didx'));
  assert.match(await second.chunk('dynamic', 1, noise('large', 3 * MiB)), /^400 .*no space left on device/i);
  ok(await second.chunk('dynamic', 1, noise('small', 1000)));
  await second.end();
  await idle(server);
  assert.ok(!existsSync(join(path, 'host/x/1970-01-01T00:33:20Z')));

  // The disk fills up just before the end.
  const third = await BackupClient.open(server, { snapshot: { type: 'host', id: 'x', time: 3000 } });
  ok(await third.blob('x.conf.blob', encodeBlob(Buffer.from('x'), { compress: false })));
  ok(await third.manifest());
  spawnSync('dd', ['if=/dev/zero', `of=${join(disk, 'ballast')}`, 'bs=4k']);
  assert.match(await third.finish(), /^400 unable to update manifest blob - .*no space left on device/i);
  assert.equal(await third.finish(), '400 backup is already in the process of finishing.');
  await third.end();
  await idle(server);
  assert.ok(!existsSync(join(path, 'host/x/1970-01-01T00:50:00Z')));
  assert.equal(await server.datastores.use('main', 'read', verifyAll), 1);

  spawnSync('rm', [join(disk, 'ballast')]);
  const fourth = await BackupClient.open(server, { snapshot: { type: 'host', id: 'x', time: 4000 } });
  await fourth.archive('root.pxar.didx', noiseChunks('fourth', 4));
  ok(await fourth.manifest());
  ok(await fourth.finish());
  await fourth.end();
  await idle(server);
  assert.equal(await server.datastores.use('main', 'read', verifyAll), 2);
});
