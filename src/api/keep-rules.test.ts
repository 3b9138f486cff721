import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { PruneJob } from '../config/job-config.ts';
import { keptByJobs } from './keep-rules.ts';

const day = 86_400;
const candidates = [1, 2, 3, 4, 5, 6].map((n) => ({ time: 1_760_000_000 + n * day, finished: true, protected: n === 1 }));
const days = (jobs: PruneJob[], ns = ''): number[] => [...keptByJobs(jobs, 'main', ns, 'UTC')(candidates)].map((time) => (time - 1_760_000_000) / day).toSorted((a, b) => a - b);
const job = (id: string, change: Partial<PruneJob>): PruneJob => ({ id, store: 'main', schedule: 'daily', ...change });

test('the enabled jobs that cover the namespace decide together; protected snapshots stay; without any, all do', () => {
  assert.deepEqual(days([]), [1, 2, 3, 4, 5, 6]);
  assert.deepEqual(days([job('a', { 'keep-last': 2 })]), [1, 5, 6]);
  assert.deepEqual(days([job('a', { 'keep-daily': 4 }), job('b', { 'keep-last': 3 })]), [1, 4, 5, 6]);
  assert.deepEqual(days([job('a', { 'keep-last': 2, disable: true }), job('b', { 'keep-last': 2, store: 'other' })]), [1, 2, 3, 4, 5, 6]);
  const below = [job('a', { 'keep-last': 2, ns: 'x', 'max-depth': 1 })];
  assert.deepEqual(['', 'xy', 'x', 'x/y', 'x/y/z'].map((ns) => days(below, ns).length), [6, 6, 3, 3, 6]);
});
