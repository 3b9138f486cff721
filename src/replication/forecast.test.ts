import assert from 'node:assert/strict';
import { test } from 'node:test';
import { forecastWindow } from './forecast.ts';
import type { RememberedRun } from './job-memory.ts';

const day = 86_400;
const hours8 = 8 * 3600;
const mib = 1024 * 1024;

/** A first sync of a terabyte, then a run a day. */
function runs(...bytes: number[]): RememberedRun[] {
  return [2 ** 40, ...bytes].map((amount, i) => ({ start: 1_760_000_000 + i * day, seconds: 1, bytes: amount, ok: true }));
}

test('the first sync says nothing of a day; without a run or a rate nothing is said', () => {
  assert.equal(forecastWindow([], mib, hours8).verdict, 'unknown');
  assert.equal(forecastWindow(runs(), mib, hours8).bytesPerDay, null);
  assert.deepEqual(forecastWindow(runs(100), null, hours8), { bytesPerDay: 100, secondsPerDay: null, verdict: 'unknown', daysUntilFull: null });
});

test('fits up to six of eight hours, is tight up to eight, then is too small', () => {
  const verdict = (hours: number): string => forecastWindow(runs(hours * 3600 * mib), mib, hours8).verdict;
  assert.deepEqual([5, 6, 7, 8, 9].map(verdict), ['fits', 'fits', 'tight', 'tight', 'too small']);
});

test('growth is foretold, a single large day bends nothing, decline and steady days say nothing', () => {
  const gib = 1024 * mib;
  // 10 MiB/s for eight hours are 281 GiB; ten more a day from 100.
  const rising = [100, 110, 120, 130, 140, 150].map((n) => n * gib);
  assert.equal(forecastWindow(runs(...rising), 10 * mib, hours8).daysUntilFull, 14);
  assert.equal(forecastWindow(runs(...rising.slice(0, 3), 900 * gib, ...rising.slice(4)), 10 * mib, hours8).daysUntilFull, 14);
  assert.equal(forecastWindow(runs(...rising.toReversed()), 10 * mib, hours8).daysUntilFull, null);
  assert.equal(forecastWindow(runs(100, 100, 100, 100, 100), mib, hours8).daysUntilFull, null);
  assert.equal(forecastWindow(runs(...rising.slice(0, 3)), 10 * mib, hours8).daysUntilFull, null, 'three days are no trend');
});

test('several runs of a day count together', () => {
  const twice = runs(50, 60).map((run, i) => (i === 2 ? { ...run, start: run.start - day } : run));
  assert.equal(forecastWindow(twice, 1, hours8).bytesPerDay, 110);
});
