import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AbortedError, HttpError, NetworkError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { LineRetry } from './line-retry.ts';

const policy = { firstPauseMs: 1, longestPauseMs: 2, attemptsWithoutProgress: 3 };
const reset = (): NetworkError => new NetworkError('net.reset', 'connection reset');

test('tries again after a broken line, and gives up when nothing arrives', async () => {
  const retry = new LineRetry(silentLog, undefined, policy);
  let calls = 0;
  assert.equal(await retry.run('x', () => (++calls < 3 ? Promise.reject(reset()) : Promise.resolve('there'))), 'there');
  calls = 0;
  await assert.rejects(retry.run('x', () => Promise.reject(((calls += 1), reset()))), (e: unknown) => e instanceof NetworkError && e.code === 'net.reset');
  assert.equal(calls, 3);
});

test('progress anywhere starts the count anew', async () => {
  const retry = new LineRetry(silentLog, undefined, policy);
  let calls = 0;
  const result = await retry.run('x', () => {
    calls += 1;
    if (calls === 10) return Promise.resolve('there');
    retry.progress();
    return Promise.reject(reset());
  });
  assert.equal(result, 'there');
});

test('what another attempt cannot mend is not tried again', async () => {
  for (const error of [new HttpError(403, 'permission check failed'), new NetworkError('net.fingerprint', 'differs'), new Error('bug')]) {
    const retry = new LineRetry(silentLog, undefined, policy);
    let calls = 0;
    await assert.rejects(retry.run('x', () => Promise.reject(((calls += 1), error))), error);
    assert.equal(calls, 1);
  }
});

test('an abort ends the pause', async () => {
  const abort = new AbortController();
  const retry = new LineRetry(silentLog, abort.signal, { ...policy, firstPauseMs: 60_000, longestPauseMs: 60_000 });
  const running = retry.run('x', () => Promise.reject(reset()));
  setTimeout(() => abort.abort(), 10);
  await assert.rejects(running, AbortedError);
});

test('one line per interruption, however many requests were in flight', async () => {
  const lines: string[] = [];
  const retry = new LineRetry({ ...silentLog, info: (line) => lines.push(line) }, undefined, policy);
  let failed = 0;
  const request = async (): Promise<void> => {
    let first = true;
    await retry.run('chunk', () => {
      if (!first) return Promise.resolve();
      first = false;
      failed += 1;
      return Promise.reject(reset());
    });
  };
  await Promise.all([request(), request(), request()]);
  assert.equal(failed, 3);
  assert.equal(lines.length, 1);
});
