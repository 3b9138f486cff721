import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTime } from './async.ts';
import { BackgroundLoop } from './background-loop.ts';

const longMs = 3_600_000;
const never = new Promise<never>(() => {});

test('what is waited for comes, fails, is late, or is given up', async () => {
  const late = (): Error => new Error('late');
  assert.equal(await inTime(Promise.resolve(1), longMs, late), 1);
  await assert.rejects(inTime(Promise.reject(new Error('failed')), longMs, late), /failed/);
  await assert.rejects(inTime(never, 1, late), /late/);
  await assert.rejects(inTime(never, longMs, late, AbortSignal.abort()), { code: 'aborted' });
});

test('a loop runs once at a time, until it is stopped, and may begin again', async () => {
  const loop = new BackgroundLoop();
  const seen: string[] = [];
  const run = (name: string) => async (signal: AbortSignal): Promise<void> => {
    seen.push(name);
    await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    seen.push(`${name} ended`);
  };
  assert.deepEqual([loop.isRunning, loop.signal], [false, null]);
  loop.start(run('a'));
  loop.start(run('b'));
  assert.deepEqual([loop.isRunning, loop.signal?.aborted], [true, false]);
  await loop.stop();
  assert.ok(!loop.isRunning);
  loop.start(run('c'));
  await loop.stop();
  await loop.stop();
  assert.deepEqual(seen, ['a', 'a ended', 'c', 'c ended']);
});
