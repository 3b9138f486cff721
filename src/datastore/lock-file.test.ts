import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readdirSync, rmSync, statSync, unlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { after, test } from 'node:test';
import { fileOwner } from './file-owner.ts';
import { LockFile } from './lock-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'farshore-lock-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const busy = { name: 'StoreError', code: 'store.locked' };

test('makes file and folders, with mode 0660 for the owner of datastores, and leaves nothing else', async () => {
  const path = join(folder, 'made', 'a:b', 'vm-100');
  using lock = await LockFile.acquire(path, { mode: 'exclusive' });
  const stat = statSync(path);
  assert.equal(stat.mode & 0o7777, 0o660);
  assert.equal(stat.size, 0);
  assert.equal(stat.uid, fileOwner()?.uid ?? process.getuid!());
  assert.equal(statSync(dirname(path)).uid, fileOwner()?.uid ?? process.getuid!());
  assert.deepEqual(readdirSync(dirname(path)), ['vm-100']);
  assert.ok(lock.held);
});

test('shared locks stand beside each other, an exclusive one alone', async () => {
  const path = join(folder, 'modes');
  const first = await LockFile.acquire(path, { mode: 'shared' });
  const second = await LockFile.acquire(path, { mode: 'shared' });
  await assert.rejects(LockFile.acquire(path, { mode: 'exclusive' }), busy);
  first.release();
  await assert.rejects(LockFile.acquire(path, { mode: 'exclusive', timeoutMs: 40 }), busy);
  const waiting = LockFile.acquire(path, { mode: 'exclusive', timeoutMs: 60_000 });
  second.release();
  second.release();
  {
    using exclusive = await waiting;
    assert.equal(exclusive.mode, 'exclusive');
    await assert.rejects(LockFile.acquire(path, { mode: 'shared' }), busy);
  }
  (await LockFile.acquire(path, { mode: 'exclusive' })).release();
});

test('of many who want it at once exactly one gets it, also while the file is being made', async () => {
  for (let round = 0; round < 20; round += 1) {
    const path = join(folder, `race-${round}`, 'lock');
    const results = await Promise.allSettled(Array.from({ length: 8 }, () => LockFile.acquire(path, { mode: 'exclusive' })));
    const got = results.filter((result) => result.status === 'fulfilled');
    assert.equal(got.length, 1);
    got[0]!.value.release();
  }
});

test('a lock on a file that was removed and made anew is not given', async () => {
  const path = join(folder, 'removed');
  const holder = await LockFile.acquire(path, { mode: 'exclusive' });
  // Without a wait the attempt fails; with one it ends with the lock on the new file.
  const waiting = LockFile.acquire(path, { mode: 'exclusive', timeoutMs: 60_000 });
  await new Promise((resolve) => setImmediate(resolve));
  await holder.releaseAndRemove();
  using lock = await waiting;
  assert.ok(existsSync(path));
  assert.ok(lock.held);
  await assert.rejects(LockFile.acquire(path, { mode: 'shared' }), busy);
  unlinkSync(path);
  writeFileSync(path, '');
  using other = await LockFile.acquire(path, { mode: 'exclusive' });
  assert.ok(other.held);
});

test('holds against another process until that one is killed', async () => {
  const path = join(folder, 'process');
  const module = new URL('./lock-file.ts', import.meta.url).href;
  const child = spawn(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', `import { LockFile } from '${module}'; globalThis.lock = await LockFile.acquire(${JSON.stringify(path)}, { mode: 'exclusive' }); console.log('held'); setInterval(() => {}, 1000);`],
    { stdio: ['ignore', 'pipe', 'inherit'] },
  );
  await once(child.stdout, 'data');
  await assert.rejects(LockFile.acquire(path, { mode: 'shared' }), busy);
  child.kill('SIGKILL');
  await once(child, 'exit');
  (await LockFile.acquire(path, { mode: 'exclusive' })).release();
});

test('other failures keep their cause', async () => {
  writeFileSync(join(folder, 'plain'), '');
  await assert.rejects(LockFile.acquire(join(folder, 'plain', 'x'), { mode: 'shared' }), (e) => e instanceof Error && e.name === 'StoreError' && e.cause !== undefined);
});
