import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { BusyStream, Timeline } from '../../test/support/timeline.ts';
import { allTolls, FairBucket } from './fair-bucket.ts';

test('jobs get equal shares of one limit, however many connections each has', () => {
  const time = new Timeline();
  const bucket = new FairBucket({ rate: 1_000_000, burst: 1_000_000 }, time.options);
  const jobs = [1, 16, 4].map((streams) => {
    const party = bucket.party();
    return Array.from({ length: streams }, () => new BusyStream(party.toll(), 10_000));
  });
  for (const stream of jobs.flat()) stream.go();
  time.runTo(30_000);
  const moved = jobs.map((streams) => streams.reduce((sum, { moved: bytes }) => sum + bytes, 0));
  for (const bytes of moved) assert.ok(Math.abs(bytes - 10_000_000) <= 200_000, moved.join(' '));
});

test('what one job does not use is the others\', and who comes later does not catch up on the time before', () => {
  const time = new Timeline();
  const bucket = new FairBucket({ rate: 1_000_000, burst: 0 }, time.options);
  const first = new BusyStream(bucket.toll(), 10_000);
  first.go();
  time.runTo(10_000);
  assert.ok(Math.abs(first.moved - 10_000_000) <= 20_000, `${first.moved}`);
  const second = new BusyStream(bucket.toll(), 10_000);
  second.go();
  time.runTo(20_000);
  assert.ok(Math.abs(second.moved - 5_000_000) <= 30_000, `${second.moved}`);
  second.stop();
  const before = first.moved;
  time.runTo(30_000);
  assert.ok(Math.abs(first.moved - before - 10_000_000) <= 30_000, `${first.moved - before}`);
});

test('a changed rate reaches those that wait', () => {
  const time = new Timeline();
  const bucket = new FairBucket({ rate: 1, burst: 0 }, time.options);
  const gone: string[] = [];
  bucket.toll().pay(1_000_000, () => gone.push('a'));
  bucket.toll().pay(1_000_000, () => gone.push('b'));
  time.runTo(60_000);
  assert.deepEqual(gone, []);
  bucket.retune({ rate: 0, burst: 0 });
  assert.deepEqual(gone, ['a', 'b']);
  assert.equal(bucket.toll().pay(1, () => {}), null);
  assert.equal(bucket.total, 2_000_001);
});

test('a rate that depends on the time is looked at again within a second, also for those that wait', () => {
  const time = new Timeline();
  const rateNow = (): { rate: number; burst: number } => (time.ms < 10_500 ? { rate: 1000, burst: 1000 } : { rate: 0, burst: 0 });
  const bucket = new FairBucket({ rate: 0, burst: 0 }, { ...time.options, rateNow });
  let at = -1;
  bucket.toll().pay(1_000_000, () => (at = time.ms));
  time.runTo(100_000);
  assert.ok(at >= 10_500 && at <= 11_500, `${at}`);
});

test('who ends before it is paid for is not let go, and its traffic counts', () => {
  const time = new Timeline();
  const bucket = new FairBucket({ rate: 1000, burst: 0 }, time.options);
  const gone: string[] = [];
  const [first, second] = ['first', 'second'].map((name) => bucket.toll().pay(10_000, () => gone.push(`${name} ${time.ms}`)));
  bucket.toll().pay(10_000, () => gone.push(`third ${time.ms}`));
  first!();
  second!();
  time.runTo(100_000);
  assert.deepEqual(gone, ['third 30000']);
});

test('two limits at once: the narrower one counts, and all pieces go on exactly once', () => {
  const time = new Timeline();
  const wide = new FairBucket({ rate: 1_000_000, burst: 0 }, time.options);
  const narrow = new FairBucket({ rate: 100_000, burst: 0 }, time.options);
  const stream = new BusyStream(allTolls([wide.toll(), narrow.toll()]), 10_000);
  stream.go();
  time.runTo(10_000);
  assert.ok(Math.abs(stream.moved - 1_000_000) <= 20_000, `${stream.moved}`);
  assert.equal(allTolls([]).pay(1, () => assert.fail('not asked')), null);
});

test('whatever comes, changes and leaves: nobody is forgotten, and the line carries no more than its rate', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1000, max: 1_000_000 }),
      fc.array(fc.record({ pauseMs: fc.integer({ min: 0, max: 500 }), bytes: fc.integer({ min: 1, max: 65_536 }), party: fc.integer({ min: 0, max: 3 }), leaves: fc.boolean() }), { minLength: 1, maxLength: 40 }),
      (rate, events) => {
        const time = new Timeline();
        const bucket = new FairBucket({ rate, burst: rate }, time.options);
        const parties = Array.from({ length: 4 }, () => bucket.party());
        let waiting = 0;
        let bytes = 0;
        let lastMs = 0;
        for (const event of events) {
          time.runTo(time.ms + event.pauseMs);
          bytes += event.bytes;
          const wait = parties[event.party]!.toll().pay(event.bytes, () => {
            waiting -= 1;
            lastMs = time.ms;
          });
          if (wait === null) continue;
          if (event.leaves) wait();
          else waiting += 1;
        }
        const sentMs = time.ms;
        time.runTo(10_000_000);
        assert.equal(waiting, 0);
        assert.ok(lastMs === 0 || lastMs <= sentMs + (bytes / rate) * 1000 + 1001, `${lastMs}`);
      },
    ),
  );
});
