import assert from 'node:assert/strict';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { ProgressLog } from '../base/log.ts';
import { silentLog } from '../base/log.ts';
import { startJob } from './job-run.ts';
import { JobStates } from './job-states.ts';
import { Scheduler } from './scheduler.ts';
import type { JobSource, ScheduledJob, SchedulerOptions, SchedulerPass } from './scheduler.ts';
import { WorkerTasks } from './worker-tasks.ts';

interface Bench {
  clock: ManualClock;
  states: JobStates;
  tasks: WorkerTasks;
  /** `{type} {id} {time}` of the jobs that ran. */
  runs: string[];
  started: Array<Promise<void>>;
  logged: string[];
  log: ProgressLog;
}

async function bench(path: string, time: string): Promise<Bench> {
  const clock = new ManualClock(time);
  await mkdir(join(path, 'tasks'));
  await mkdir(join(path, 'jobstates'));
  const tasks = new WorkerTasks({ folder: { path: join(path, 'tasks'), owner: null }, node: 'n', clock, log: silentLog, timeZone: 'UTC' });
  const states = new JobStates({ path: join(path, 'jobstates'), owner: null }, tasks, clock);
  const logged: string[] = [];
  const log = { ...silentLog, error: (text: string) => void logged.push(text), warn: (text: string) => void logged.push(text) };
  return { clock, states, tasks, runs: [], started: [], logged, log };
}

interface TestJob {
  id: string;
  schedule: string;
  disabled?: boolean;
  /** Runs beyond the return of `run` when given. */
  body?: () => Promise<void>;
}

/** A source of jobs that run as real worker tasks. */
function source(on: Bench, jobType: string, jobs: TestJob[]): JobSource {
  const run = async ({ id, schedule, body }: TestJob): Promise<void> => {
    const started = await startJob(on, {
      job: { jobType, id },
      task: { workerType: jobType, workerId: id, authId: 'root@pam' },
      schedule,
      waitMs: 0,
      body: async () => {
        on.runs.push(`${jobType} ${id} ${new Date(on.clock.ms).toISOString().slice(11, 16)}`);
        await body?.();
      },
    });
    if (body === undefined) await started.finished;
  };
  const toJob = (job: TestJob): ScheduledJob => ({
    id: job.id,
    schedule: job.schedule,
    disabled: job.disabled ?? false,
    run: () => {
      const running = run(job);
      on.started.push(running);
      return running;
    },
  });
  return { jobType, list: () => Promise.resolve(jobs.map(toJob)) };
}

function scheduler(on: Bench, sources: JobSource[], more: Partial<SchedulerOptions> = {}): Scheduler {
  return new Scheduler({ sources, states: on.states, clock: on.clock, log: on.log, timeZone: 'UTC', ...more });
}

/** A pass, and the end of the jobs that it started. */
async function passAt(on: Bench, of: Scheduler, time: string): Promise<void> {
  on.clock.set(time);
  await of.pass();
  await Promise.allSettled(on.started);
}

test('a job runs when its event is reached, once', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T01:59:10Z');
  const one = scheduler(on, [source(on, 'syncjob', [{ id: 'night', schedule: '02:00' }])]);
  await passAt(on, one, '2026-11-24T01:59:00Z');
  await passAt(on, one, '2026-11-24T02:00:00Z');
  await passAt(on, one, '2026-11-24T02:01:00Z');
  await passAt(on, one, '2026-11-25T01:59:00Z');
  assert.deepEqual(on.runs, ['syncjob night 02:00']);
  await passAt(on, one, '2026-11-25T02:00:00Z');
  assert.equal(on.runs.length, 2);
});

test('a missed run happens once, at the next pass', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-20T12:00:00Z');
  const sources = [source(on, 'syncjob', [{ id: 'hourly', schedule: 'hourly' }])];
  await on.states.create({ jobType: 'syncjob', id: 'hourly' });
  // Four days later, a new process.
  await passAt(on, scheduler(on, sources), '2026-11-24T12:34:00Z');
  await passAt(on, scheduler(on, sources), '2026-11-24T12:35:00Z');
  assert.deepEqual(on.runs, ['syncjob hourly 12:34']);
  await passAt(on, scheduler(on, sources), '2026-11-24T13:00:00Z');
  assert.equal(on.runs.length, 2);
});

test('a job that never ran and has no state gets one, so that its event is not missed later', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:00Z');
  const sources = [source(on, 'prunejob', [{ id: 'daily', schedule: 'daily' }])];
  await passAt(on, scheduler(on, sources), '2026-11-24T23:58:00Z');
  await passAt(on, scheduler(on, sources), '2026-11-25T00:07:00Z');
  assert.deepEqual(on.runs, ['prunejob daily 00:07']);
});

test('types run in the order of the reference, disabled jobs and those without schedule do not', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:10Z');
  const types = ['logrotate', 'other', 'verificationjob', 'syncjob', 'prunejob', 'garbage_collection'];
  const sources = types.map((type) => source(on, type, [{ id: 'a', schedule: '12:00' }, { id: 'b', schedule: '' }, { id: 'c', schedule: '12:00', disabled: true }]));
  let pass: SchedulerPass | undefined;
  await passAt(on, scheduler(on, sources, { onPass: (seen) => void (pass = seen) }), '2026-11-24T12:00:10Z');
  assert.deepEqual(pass?.started, ['garbage_collection a', 'prunejob a', 'syncjob a', 'verificationjob a', 'logrotate a', 'other a']);
  assert.equal(on.runs.length, 6);
});

test('a job that runs is left alone in silence, by its state and by its lock', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:00Z');
  const gate = Promise.withResolvers<void>();
  const one = scheduler(on, [source(on, 'syncjob', [{ id: 'long', schedule: 'minutely', body: () => gate.promise }])]);
  await passAt(on, one, '2026-11-24T12:00:00Z');
  await passAt(on, one, '2026-11-24T12:01:00Z');
  await passAt(on, one, '2026-11-24T12:02:00Z');
  assert.deepEqual(on.runs, ['syncjob long 12:00']);
  gate.resolve();
  const lock = await on.states.tryLock({ jobType: 'syncjob', id: 'long' }, 5000);
  await passAt(on, one, '2026-11-24T12:03:00Z');
  assert.deepEqual(on.runs, ['syncjob long 12:00']);
  lock!.release();
  await passAt(on, one, '2026-11-24T12:04:00Z');
  assert.deepEqual(on.runs, ['syncjob long 12:00', 'syncjob long 12:04']);
  assert.deepEqual(on.logged, []);
});

test('a source that fails or hangs, a bad schedule and a job that cannot start leave the others alone', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:00Z');
  const run = (): Promise<void> => Promise.reject(new Error('no room'));
  const sources: JobSource[] = [
    { jobType: 'garbage_collection', list: () => Promise.reject(new Error('no file')) },
    { jobType: 'prunejob', list: () => new Promise(() => {}) },
    { jobType: 'syncjob', list: () => Promise.resolve([{ id: 'bad', schedule: 'whenever', run }, { id: 'full', schedule: 'minutely', run }]) },
    source(on, 'verificationjob', [{ id: 'good', schedule: 'minutely' }]),
  ];
  const one = scheduler(on, sources, { listLimitMs: 5, onPass: () => Promise.reject(new Error('observer')) });
  await passAt(on, one, '2026-11-24T12:00:00Z');
  await passAt(on, one, '2026-11-24T12:01:00Z');
  assert.equal(on.runs.length, 2);
  const count = (part: string): number => on.logged.filter((text) => text.includes(part)).length;
  // What lasts is logged when it begins, not every minute.
  assert.equal(count('unable to list jobs of type garbage_collection: no file'), 1);
  assert.equal(count("unable to schedule syncjob 'bad': unable to parse calendar event at 'whenever'"), 1);
  assert.equal(count('unable to list jobs of type prunejob: no answer'), 1);
  assert.equal(count('unable to start syncjob full: no room'), 2);
  assert.equal(count('observer'), 2);
});

test('a clock that is set back a little re-runs nothing and goes on when it has caught up', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T11:59:00Z');
  const one = scheduler(on, [source(on, 'syncjob', [{ id: 'h', schedule: 'hourly' }])]);
  await passAt(on, one, '2026-11-24T12:00:00Z');
  await passAt(on, one, '2026-11-24T11:30:00Z');
  await passAt(on, one, '2026-11-24T12:00:00Z');
  assert.deepEqual(on.runs, ['syncjob h 12:00']);
  await passAt(on, one, '2026-11-24T13:00:00Z');
  assert.deepEqual(on.runs, ['syncjob h 12:00', 'syncjob h 13:00']);
});

test('runs dated by a clock that was years ahead do not stop a job, nor run it at once', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2036-01-01T11:59:50Z');
  const sources = [source(on, 'syncjob', [{ id: 'h', schedule: 'hourly' }])];
  await passAt(on, scheduler(on, sources), '2036-01-01T12:00:00Z');
  assert.equal(on.runs.length, 1);
  await passAt(on, scheduler(on, sources), '2026-11-24T12:30:00Z');
  await passAt(on, scheduler(on, sources), '2026-11-24T12:31:00Z');
  assert.equal(on.runs.length, 1);
  await passAt(on, scheduler(on, sources), '2026-11-24T13:00:00Z');
  assert.deepEqual(on.runs, ['syncjob h 12:00', 'syncjob h 13:00']);
  assert.equal(on.logged.length, 1);
});

test('the first pass is at the next full minute, then one each minute, until stopped', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:20Z');
  const passes: number[] = [];
  const third = Promise.withResolvers<void>();
  const one = scheduler(on, [], {
    onPass: ({ at }) => {
      passes.push(at);
      if (passes.length === 3) third.resolve();
    },
    sleep: async (milliseconds, signal) => {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      // A timer that comes a little early.
      on.clock.ms += Math.max(1, milliseconds - 1);
    },
  });
  one.start();
  one.start();
  await third.promise;
  await one.stop();
  const first = Date.parse('2026-11-24T12:01:00Z') / 1000;
  assert.deepEqual(passes.slice(0, 3), [first, first + 60, first + 120]);
  const count = passes.length;
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(passes.length, count);
  await one.stop();
});

test('a clock that is set back while waiting does not delay the passes', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:20Z');
  const slept: number[] = [];
  const passed = Promise.withResolvers<number>();
  const one = scheduler(on, [], {
    onPass: ({ at }) => passed.resolve(at),
    sleep: async (milliseconds, signal) => {
      await new Promise((resolve) => setImmediate(resolve));
      signal.throwIfAborted();
      slept.push(milliseconds);
      if (slept.length === 1) on.clock.set('2020-01-01T00:00:30Z');
      else on.clock.ms += milliseconds;
    },
  });
  one.start();
  assert.equal(await passed.promise, Date.parse('2020-01-01T00:01:00Z') / 1000);
  await one.stop();
  assert.deepEqual(slept.slice(0, 2), [40_000, 30_000]);
});

test('with a real timer it stops at once', async () => {
  await using folder = await temporaryFolder();
  const on = await bench(folder.path, '2026-11-24T12:00:20Z');
  const one = scheduler(on, []);
  one.start();
  await one.stop();
});
