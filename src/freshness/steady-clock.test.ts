import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { SteadyClock } from './steady-clock.ts';

const hourMs = 3_600_000;
const start = Date.parse('2020-01-01T00:00:00Z');

function ground(floorMs: number): { wall: ManualClock; steady: SteadyClock; pass: (ms: number) => void } {
  const wall = new ManualClock('2020-01-01T00:00:00Z');
  let monotonic = 1000;
  return {
    wall,
    steady: new SteadyClock(wall, () => monotonic, floorMs),
    pass: (ms) => {
      monotonic += ms;
      wall.ms += ms;
    },
  };
}

test('follows the wall clock, also over small corrections and forward', () => {
  const { wall, steady, pass } = ground(0);
  assert.deepEqual(steady.read(), { now: start / 1000, behind: 0 });
  pass(hourMs);
  wall.ms -= 60_000;
  assert.deepEqual(steady.read(), { now: (start + hourMs - 60_000) / 1000, behind: 0 });
  wall.ms += 1000 * hourMs;
  assert.deepEqual(steady.read(), { now: wall.ms / 1000, behind: 0 });
});

test('goes on where the wall clock was set back, until it has stayed so for a day', () => {
  const { wall, steady, pass } = ground(0);
  steady.read();
  wall.ms -= 48 * hourMs;
  pass(hourMs);
  assert.deepEqual(steady.read(), { now: (start + hourMs) / 1000, behind: 48 * 3600 });
  pass(23 * hourMs);
  assert.deepEqual(steady.read(), { now: (start + 24 * hourMs) / 1000, behind: 48 * 3600 });
  pass(hourMs);
  assert.deepEqual(steady.read(), { now: wall.ms / 1000, behind: 0 });
  pass(hourMs);
  assert.deepEqual(steady.read(), { now: wall.ms / 1000, behind: 0 });
});

test('a clock that comes up with a time long gone is not believed, and is when it is right again', () => {
  const { wall, steady, pass } = ground(start + 10 * hourMs);
  pass(hourMs);
  assert.deepEqual(steady.read(), { now: (start + 11 * hourMs) / 1000, behind: 10 * 3600 });
  wall.ms = start + 50 * hourMs;
  assert.deepEqual(steady.read(), { now: wall.ms / 1000, behind: 0 });
  assert.equal(steady.floorMs, wall.ms);
});
