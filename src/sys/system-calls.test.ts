import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, statSync, symlinkSync, utimesSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { assert as check, property, uint8Array } from 'fast-check';
import { AbortedError } from '../base/errors.ts';
import { setRecordLock, tryFlock, unlockFlock, waitFlock } from './file-lock.ts';
import { setFileTimes, touchAtime } from './file-times.ts';
import { cString, libc, retryInterrupted, SystemCallError } from './libc.ts';
import { processStartTicks } from './process-start.ts';
import { deviceNumber, makeSpecialFile } from './special-file.ts';
import { syncFilesystem } from './sync-filesystem.ts';
import { lookupUser } from './user.ts';
import { getXattr, listXattrs, setXattr } from './xattr.ts';

const folder = mkdtempSync(join(tmpdir(), 'farshore-sys-'));
after(() => rmSync(folder, { recursive: true, force: true }));

const newFile = (name: string, content = 'x'): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

const lockModule = new URL('./file-lock.ts', import.meta.url).href;

/** A child process that runs `script` (with `lock` = the lock module, `fs`), prints a line and stays until its input ends. */
async function lockingChild(script: string): Promise<{ child: ChildProcess; line: string }> {
  const source = `import * as lock from '${lockModule}'; import * as fs from 'node:fs'; ${script} process.stdin.resume();`;
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', source], { stdio: ['pipe', 'pipe', 'inherit'] });
  const [data] = (await once(child.stdout, 'data')) as [Buffer];
  return { child, line: data.toString().trim() };
}

async function end(child: ChildProcess): Promise<void> {
  child.stdin!.end();
  if (child.exitCode === null) await once(child, 'exit');
}

test('errno is the one of the failed call, also under memory pressure and optimisation', () => {
  const keep: unknown[] = [];
  for (let i = 0; i < 30_000; i += 1) {
    keep.push({ i, text: `${i}` });
    if (keep.length > 2000) keep.length = 0;
    assert.equal(retryInterrupted(() => libc.flock(9999, 2)), -9);
    const missing = cString(join(folder, 'none'));
    if (i % 100 === 0) assert.equal(retryInterrupted(() => libc.llistxattr(missing, Buffer.alloc(1), 1n)), -2);
  }
  assert.throws(() => tryFlock(9999, 'shared'), (e) => e instanceof SystemCallError && e.code === 'EBADF' && e.syscall === 'flock');
  assert.throws(() => setFileTimes(join(folder, 'none'), { atime: 1n, mtime: 1n }), { code: 'ENOENT', message: /utimensat '.*none'/ });
  assert.throws(() => cString('a\0b'), { code: 'EINVAL' });
});

test('flock: shared by many, exclusive for one, between descriptors of one process', async () => {
  const path = newFile('flock');
  const [a, b] = [openSync(path, 'r+'), openSync(path, 'r+')];
  assert.ok(tryFlock(a, 'shared') && tryFlock(b, 'shared'));
  assert.equal(tryFlock(a, 'exclusive'), false);
  unlockFlock(b);
  assert.ok(tryFlock(a, 'exclusive'));
  assert.equal(tryFlock(b, 'shared'), false);
  assert.equal(await waitFlock(b, 'shared', 30), false);
  const waiting = waitFlock(b, 'exclusive', 60_000);
  unlockFlock(a);
  assert.equal(await waiting, true);
  const stop = new AbortController();
  const aborted = waitFlock(a, 'shared', 60_000, stop.signal);
  stop.abort();
  await assert.rejects(aborted, AbortedError);
  closeSync(b);
  assert.ok(tryFlock(a, 'shared'));
  closeSync(a);
});

test('flock holds against another process and ends with it', async () => {
  const path = newFile('flock-process');
  const { child, line } = await lockingChild(`console.log(lock.tryFlock(fs.openSync(${JSON.stringify(path)}, 'r+'), 'exclusive'));`);
  assert.equal(line, 'true');
  const fd = openSync(path, 'r+');
  assert.equal(tryFlock(fd, 'shared'), false);
  await end(child);
  assert.ok(tryFlock(fd, 'exclusive'));
  closeSync(fd);
});

test('record locks: conflicts only between processes, shown by the kernel as POSIX locks', async () => {
  const path = newFile('record');
  const fd = openSync(path, 'r+');
  assert.ok(setRecordLock(fd, 'shared'));
  const { ino } = statSync(path);
  const shown = readFileSync('/proc/locks', 'utf8').split('\n').find((text) => text.includes(`:${ino} `));
  assert.match(shown!, new RegExp(`POSIX +ADVISORY +READ +${process.pid} .*:${ino} 0 EOF`));
  const reader = await lockingChild(
    `const fd = fs.openSync(${JSON.stringify(path)}, 'r+'); console.log(lock.setRecordLock(fd, 'exclusive'), lock.setRecordLock(fd, 'shared'));`,
  );
  assert.equal(reader.line, 'false true');
  assert.equal(setRecordLock(fd, 'exclusive'), false);
  assert.ok(setRecordLock(fd, 'shared'));
  await end(reader.child);
  assert.ok(setRecordLock(fd, 'exclusive'));
  const other = await lockingChild(`console.log(lock.setRecordLock(fs.openSync(${JSON.stringify(path)}, 'r+'), 'shared'));`);
  assert.equal(other.line, 'false');
  await end(other.child);
  assert.ok(setRecordLock(fd, 'none'));
  assert.ok(!readFileSync('/proc/locks', 'utf8').includes(`:${ino} `));
  closeSync(fd);
});

test('touch sets atime to now and keeps mtime to the nanosecond', async () => {
  const path = newFile('touch');
  setFileTimes(path, { atime: 1_000_000_001n, mtime: 1_234_567_890_123_456_789n });
  const before = statSync(path, { bigint: true });
  assert.equal(before.atimeNs, 1_000_000_001n);
  assert.equal(before.mtimeNs, 1_234_567_890_123_456_789n);
  writeFileSync(join(folder, 'clock'), '');
  assert.equal(await touchAtime(path), true);
  const after = statSync(path, { bigint: true });
  assert.equal(after.mtimeNs, before.mtimeNs);
  assert.ok(after.atimeNs >= statSync(join(folder, 'clock'), { bigint: true }).mtimeNs);
  assert.equal(await touchAtime(join(folder, 'none')), false);
  const link = join(folder, 'touched-link');
  symlinkSync(path, link);
  utimesSync(path, 5, 5);
  await touchAtime(link);
  assert.equal(statSync(path).atimeMs, 5000);
});

test('file times: now, kept, before the epoch', () => {
  const path = newFile('times');
  setFileTimes(path, { atime: 7n, mtime: -1n });
  assert.equal(statSync(path, { bigint: true }).mtimeNs, -1n);
  setFileTimes(path, { atime: 'keep', mtime: 'now' });
  const stat = statSync(path, { bigint: true });
  assert.equal(stat.atimeNs, 7n);
  assert.ok(stat.mtimeNs > 1_600_000_000_000_000_000n);
});

test('extended attributes are bytes and come back as they were set', () => {
  const path = newFile('attributes');
  check(
    property(uint8Array({ maxLength: 700 }), (value) => {
      setXattr(path, 'user.value', value);
      assert.deepEqual(getXattr(path, 'user.value'), Buffer.from(value));
    }),
  );
  for (let i = 0; i < 40; i += 1) setXattr(Buffer.from(path), `user.name-${i}`, Buffer.from([i]));
  const names = listXattrs(path).map(String);
  assert.equal(names.filter((name) => name.startsWith('user.')).length, 41);
  assert.ok(names.includes('user.name-39'));
  assert.equal(getXattr(path, 'user.none'), null);
  assert.throws(() => listXattrs(join(folder, 'none')), { code: 'ENOENT' });
});

test('special files', () => {
  const path = join(folder, 'fifo');
  makeSpecialFile(path, 0o010600);
  assert.ok(statSync(path).isFIFO());
  assert.throws(() => makeSpecialFile(path, 0o010600), { code: 'EEXIST' });
  assert.equal(deviceNumber(8, 17), 0x811n);
  // Bits as the kernel documents them: low 8 of minor, low 12 of major, rest of minor from bit 20, rest of major from bit 44.
  assert.equal(deviceNumber(0x12345, 0x54321), 0x21n | (0x345n << 8n) | (0x543n << 20n) | (0x12n << 44n));
});

test('syncfs writes back, and fails for what is not there', async () => {
  await syncFilesystem(folder);
  await assert.rejects(syncFilesystem(join(folder, 'none')), { code: 'ENOENT' });
});

test('users are looked up in a passwd file', () => {
  const passwd = newFile('passwd', 'root:x:0:0:root:/root:/bin/sh\nbroken\nbackup:x:34:35:backup:/var/backups:/bin/false\nbad:x::7:::\n');
  assert.deepEqual(lookupUser('backup', passwd), { uid: 34, gid: 35 });
  assert.equal(lookupUser('backu', passwd), null);
  assert.equal(lookupUser('bad', passwd), null);
  assert.equal(lookupUser('root', join(folder, 'none')), null);
});

test('the start of a process, or none', async () => {
  const own = processStartTicks(process.pid);
  assert.ok(own !== null && own > 0 && own === processStartTicks(process.pid));
  const child = spawn(process.execPath, ['-e', ''], { stdio: 'ignore' });
  const pid = child.pid!;
  assert.ok(processStartTicks(pid)! >= own);
  await once(child, 'exit');
  assert.equal(processStartTicks(pid), null);
});
