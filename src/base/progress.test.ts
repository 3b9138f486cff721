import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Progress } from './progress.ts';

class ManualClock {
  ms = 1_000_000;
  now(): number {
    return this.ms;
  }
}

const MiB = 1024 * 1024;

test('share, rate and time left', () => {
  const clock = new ManualClock();
  const progress = new Progress(clock);
  assert.equal(progress.text(), '0 B');
  for (let second = 1; second <= 4; second += 1) {
    clock.ms += 1000;
    progress.update(second * 100 * MiB, 1000 * MiB);
  }
  assert.equal(progress.rate(), 100 * MiB);
  assert.equal(progress.secondsLeft(), 6);
  assert.equal(progress.text(), '40.0% (400 MiB of 1000 MiB), 100 MiB/s, 6s left');
});

test('the rate follows the recent past, not the whole run', () => {
  const clock = new ManualClock();
  const progress = new Progress(clock);
  let done = 0;
  const move = (seconds: number, rate: number): void => {
    for (let i = 0; i < seconds * 10; i += 1) {
      clock.ms += 100;
      done += rate / 10;
      progress.update(done, 0);
    }
  };
  move(60, 100 * MiB);
  assert.equal(Math.round(progress.rate()! / MiB), 100);
  move(20, 10 * MiB);
  assert.equal(Math.round(progress.rate()! / MiB), 10);
});

test('a stall lowers the rate although nobody calls update', () => {
  const clock = new ManualClock();
  const progress = new Progress(clock);
  clock.ms += 1000;
  progress.update(10 * MiB, 20 * MiB);
  assert.equal(progress.secondsLeft(), 1);
  clock.ms += 9000;
  assert.equal(progress.rate(), MiB);
  assert.equal(progress.secondsLeft(), 10);
});

test('100% is said only when all is done, and then nothing is left', () => {
  const clock = new ManualClock();
  const progress = new Progress(clock);
  clock.ms += 1000;
  progress.update(9_999_999, 10_000_000);
  assert.match(progress.text(), /^99\.9% /);
  progress.update(10_000_000, 10_000_000);
  assert.equal(progress.text(), '100.0% (9.537 MiB of 9.537 MiB), 9.537 MiB/s');
});

test('a clock set back, a restart of the count and unknown totals are no trouble', () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.integer({ min: -5000, max: 5000 }), fc.nat(1e9), fc.nat(1e9)), { maxLength: 60 }), (steps) => {
      const clock = new ManualClock();
      const progress = new Progress(clock);
      for (const [deltaMs, done, total] of steps) {
        clock.ms += deltaMs;
        progress.update(done, total);
        const rate = progress.rate();
        assert.ok(rate === null || (Number.isFinite(rate) && rate >= 0));
        const left = progress.secondsLeft();
        assert.ok(left === null || (Number.isFinite(left) && left >= 0));
        assert.doesNotMatch(progress.text(), /NaN|Infinity|-/);
      }
    }),
  );
});
