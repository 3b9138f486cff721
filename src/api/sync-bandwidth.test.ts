import assert from 'node:assert/strict';
import { test } from 'node:test';
import { BusyStream, Timeline } from '../../test/support/timeline.ts';
import { ConfigError } from '../base/errors.ts';
import { SyncBandwidth, type LimitedJob } from './sync-bandwidth.ts';

const mb = 1_000_000;

interface Ground {
  time: Timeline;
  /** Moves both clocks to so many seconds after the start. */
  runTo: (seconds: number) => void;
  texts: { shared?: string; jobs: Record<string, string> };
  complaints: string[];
  bandwidth: SyncBandwidth;
  /** Streams of a job's run that read as fast as they may; bytes of all of them. */
  pull: (job: LimitedJob, streams: number) => () => number;
}

/** Begins on a Wednesday at 07:59:00. */
function ground(texts: Ground['texts']): Ground {
  const time = new Timeline();
  const start = Date.parse('2026-11-25T07:59:00Z');
  const complaints: string[] = [];
  const bandwidth = new SyncBandwidth({
    timetables: { of: (id) => texts.jobs[id], shared: () => texts.shared },
    clock: { now: () => start + time.ms },
    log: { error: (line) => void complaints.push(line) },
    timeZone: 'UTC',
    buckets: time.options,
  });
  return {
    time,
    texts,
    complaints,
    bandwidth,
    runTo: (seconds) => time.runTo(seconds * 1000),
    pull: (job, count) => {
      const limiter = bandwidth.limiterOf(job);
      const streams = Array.from({ length: count }, () => {
        const { incoming } = limiter.tolls();
        assert.ok(incoming !== undefined);
        return new BusyStream(incoming, 20_000);
      });
      for (const stream of streams) stream.go();
      return () => streams.reduce((sum, { moved }) => sum + moved, 0);
    },
  };
}

function about(found: number, wanted: number): void {
  assert.ok(Math.abs(found - wanted) <= wanted * 0.05, `${found}, wanted about ${wanted}`);
}

test('a timetable re-rates a job while it runs, and where it says nothing the rates of the job hold', () => {
  const { pull, runTo } = ground({ jobs: { nightly: 'mon..fri 8-18=1MB' } });
  const moved = pull({ id: 'nightly', 'rate-in': '10 MB' }, 3);
  runTo(60);
  const before = moved();
  about(before, 600 * mb);
  runTo(62);
  const atChange = moved();
  runTo(162);
  about(moved() - atChange, 100 * mb);
});

test('an edited timetable reaches a running job; one that cannot be read leaves the last rate and is said once', () => {
  const { pull, runTo, texts, complaints } = ground({ jobs: { nightly: 'else 1MB' } });
  const moved = pull({ id: 'nightly' }, 1);
  runTo(100);
  about(moved(), 100 * mb);
  texts.jobs['nightly'] = 'else 5MB';
  runTo(102);
  let before = moved();
  runTo(202);
  about(moved() - before, 500 * mb);
  texts.jobs['nightly'] = 'rubbish';
  runTo(204);
  before = moved();
  runTo(304);
  about(moved() - before, 500 * mb);
  assert.equal(complaints.length, 1);
  assert.match(complaints[0]!, /^the bandwidth timetable of sync job 'nightly' cannot be read/);
});

test('jobs share the bandwidth of all jobs equally, whatever their connections; a narrower limit of one is room for the others', () => {
  const { pull, runTo } = ground({ shared: 'else 4MB', jobs: { slow: 'else 500KB' } });
  const moved = [pull({ id: 'one' }, 1), pull({ id: 'many' }, 16), pull({ id: 'slow' }, 4)];
  runTo(100);
  const [one, many, slow] = moved.map((bytes) => bytes());
  about(slow!, 50 * mb);
  about(one!, 175 * mb);
  about(many!, 175 * mb);
});

test('without any limit a line is the socket itself; a timetable that cannot be read starts no run', () => {
  const { bandwidth } = ground({ jobs: { bad: '8-18' } });
  assert.deepEqual(bandwidth.limiterOf({ id: 'free' }).tolls(), { incoming: undefined, outgoing: undefined });
  const { incoming, outgoing } = bandwidth.limiterOf({ 'rate-out': '1MB' }).tolls();
  assert.ok(incoming === undefined && outgoing !== undefined);
  assert.throws(() => bandwidth.limiterOf({ id: 'bad' }), ConfigError);
});
