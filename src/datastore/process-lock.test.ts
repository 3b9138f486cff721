import assert from 'node:assert/strict';
import { spawn, type ChildProcessByStdio } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { Readable, Writable } from 'node:stream';
import { after, test } from 'node:test';
import { ProcessLock } from './process-lock.ts';

const folder = mkdtempSync(join(tmpdir(), 'farshore-process-lock-'));
after(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
function newLockFile(): string {
  count += 1;
  const path = join(folder, `lock-${count}`);
  writeFileSync(path, '');
  return path;
}

class OtherProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;

  constructor(path: string) {
    const module = new URL('./process-lock.ts', import.meta.url).href;
    const script = `
      import { ProcessLock } from '${module}';
      import { createInterface } from 'node:readline';
      const lock = ProcessLock.open(${JSON.stringify(path)});
      const holds = [];
      for await (const line of createInterface({ input: process.stdin })) {
        try {
          if (line === 'release') holds.pop().release();
          else holds.push(line === 'shared' ? lock.shared() : lock.exclusive());
          console.log('ok');
        } catch (e) { console.log(e.message); }
      }`;
    this.#child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script], { stdio: ['pipe', 'pipe', 'inherit'] });
  }

  async say(line: 'shared' | 'exclusive' | 'release'): Promise<string> {
    this.#child.stdin.write(`${line}\n`);
    const [answer] = (await once(this.#child.stdout, 'data')) as [Buffer];
    return answer.toString().trim();
  }

  async kill(): Promise<void> {
    if (this.#child.signalCode !== null) return;
    this.#child.kill('SIGKILL');
    await once(this.#child, 'exit');
  }
}

/** Kernel's view: READ, WRITE or null. */
function kernelLock(path: string): string | null {
  const { ino } = statSync(path);
  const line = readFileSync('/proc/locks', 'utf8').split('\n').find((text) => text.includes(`:${ino} `));
  return line === undefined ? null : (/POSIX +ADVISORY +(READ|WRITE) +[0-9]+ \S+ 0 EOF$/.exec(line)?.[1] ?? 'other');
}

test('the kernel lock follows the holders: first shared takes it, last drops it, exclusive goes back to shared', () => {
  const path = newLockFile();
  using lock = ProcessLock.open(path);
  assert.equal(kernelLock(path), null);
  const [a, b] = [lock.shared(), lock.shared()];
  assert.equal(kernelLock(path), 'READ');
  a.release();
  a.release();
  assert.equal(kernelLock(path), 'READ');
  const alone = lock.exclusive();
  assert.equal(kernelLock(path), 'WRITE');
  assert.throws(() => lock.exclusive(), { code: 'store.gc-running', message: 'Start GC failed - (already running/locked)' });
  const c = lock.shared();
  assert.equal(kernelLock(path), 'WRITE');
  alone.release();
  assert.equal(kernelLock(path), 'READ');
  b.release();
  assert.equal(kernelLock(path), 'READ');
  c.release();
  assert.equal(kernelLock(path), null);
  assert.equal(lock.heldAlone, false);
});

test('every file is opened once, by whatever path, and stays open until the last user closes', () => {
  const path = newLockFile();
  const link = join(folder, 'link');
  symlinkSync(path, link);
  const first = ProcessLock.open(path);
  const second = ProcessLock.open(link);
  const hold = first.shared();
  assert.equal(second.writerCount, 1);
  second.close();
  second.close();
  assert.equal(kernelLock(path), 'READ');
  assert.throws(() => first.close(), /closed while it is held/);
  hold.release();
  first.close();
  assert.throws(() => first.shared(), /is closed/);
  using again = ProcessLock.open(path);
  using _ = again.exclusive();
  assert.equal(kernelLock(path), 'WRITE');
});

test('the oldest writer is the earliest start of those that still run', () => {
  let seconds = 1000;
  using lock = ProcessLock.open(newLockFile(), { now: () => seconds * 1000 + 999 });
  assert.equal(lock.oldestWriter(), null);
  const a = lock.shared();
  seconds = 2000;
  const b = lock.shared();
  assert.equal(lock.oldestWriter(), 1000);
  a.release();
  assert.equal(lock.oldestWriter(), 2000);
  b.release();
  assert.equal(lock.oldestWriter(), null);
});

test('between processes writers and garbage collection exclude each other', async () => {
  const path = newLockFile();
  const other = new OtherProcess(path);
  try {
    const lock = ProcessLock.open(path);
    const writer = lock.shared();
    assert.equal(await other.say('shared'), 'ok');
    assert.throws(() => lock.exclusive(), { code: 'store.locked', message: 'unable to get exclusive lock - EAGAIN: Try again' });
    // The failed attempt must not have cost us our share.
    assert.equal(await other.say('release'), 'ok');
    assert.equal(await other.say('exclusive'), 'unable to get exclusive lock - EAGAIN: Try again');
    writer.release();
    assert.equal(await other.say('exclusive'), 'ok');
    assert.throws(() => lock.shared(), { code: 'store.locked', message: 'unable to get shared lock - EAGAIN: Try again' });
    assert.throws(() => lock.exclusive(), { code: 'store.locked' });
    assert.equal(lock.oldestWriter(), null);
    await other.kill();
    lock.exclusive().release();
    lock.close();
  } finally {
    await other.kill();
  }
});

test('a missing lock file is an error', () => {
  assert.throws(() => ProcessLock.open(join(folder, 'none')), { code: 'store.missing' });
});
