import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { goldenTaskFiles, unpackGoldenTasks } from '../../test/support/golden-tasks.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { FormatError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { startJob } from './job-run.ts';
import { formatJobState, jobStatus, lastRunTime, parseJobState, scheduleChanges } from './job-state.ts';
import type { WritableJobState } from './job-state.ts';
import { JobStates } from './job-states.ts';
import type { TaskResult } from './worker-task.ts';
import { WorkerTasks } from './worker-tasks.ts';

const upid = 'UPID:fourth:000070C6:000BF73F:00000003:6B04EF4B:syncjob:pbs\\x2dhq\\x3amain\\x3aoffsite\\x3a\\x3aall:root@pam:';
const nightly = { jobType: 'syncjob', id: 'offsite-nightly' };

test('golden states are read and written back byte for byte', () => {
  const states = [...goldenTaskFiles()].filter(([name]) => name.startsWith('lib/jobstates/'));
  assert.equal(states.length, 6);
  for (const [name, text] of states) {
    const state = parseJobState(text);
    assert.notEqual(state.state, 'unknown');
    assert.equal(formatJobState(state as WritableJobState), text, name);
  }
});

test('every form of the state', () => {
  const texts = [
    '{"created":{"time":1795485423}}',
    `{"started":{"upid":${JSON.stringify(upid)}}}`,
    `{"finished":{"upid":${JSON.stringify(upid)},"state":{"OK":{"endtime":1795485530}},"updated":null}}`,
    `{"finished":{"upid":${JSON.stringify(upid)},"state":{"Error":{"message":"a \\"b\\"","endtime":1795485530}},"updated":1795485600}}`,
    `{"finished":{"upid":${JSON.stringify(upid)},"state":{"Warning":{"count":2,"endtime":1}},"updated":null}}`,
    `{"finished":{"upid":${JSON.stringify(upid)},"state":{"Unknown":{"endtime":1}},"updated":null}}`,
  ];
  for (const text of texts) assert.equal(formatJobState(parseJobState(text) as WritableJobState), text);
});

test('garbage gives FormatError only', () => {
  const json = fc.oneof(fc.json(), fc.jsonValue().map((value) => JSON.stringify({ finished: value })), fc.jsonValue().map((value) => JSON.stringify({ created: { time: value } })));
  fc.assert(
    fc.property(fc.oneof(fc.string(), json), (text) => {
      try {
        parseJobState(text);
      } catch (e) {
        assert.ok(e instanceof FormatError, String(e));
      }
    }),
  );
});

test('status fields of listings, as recorded', () => {
  const state = parseJobState(goldenTaskFiles().get('lib/jobstates/syncjob-offsite-nightly.json')!);
  assert.deepEqual(jobStatus(state, 'mon..fri 02:30', 'UTC'), {
    'last-run-upid': 'UPID:fourth:000070C6:000BF73F:00000002:6B04EF49:syncjob:pbs\\x2dhq\\x3amain\\x3aoffsite\\x3a\\x3aoffsite\\x2dnightly:root@pam:',
    'last-run-state': 'OK',
    'last-run-endtime': 1795485513,
    'next-run': 1795487400,
  });
  const created = parseJobState(goldenTaskFiles().get('lib/jobstates/prunejob-offsite-prune.json')!);
  assert.deepEqual(jobStatus(created, 'sun 04:00', 'UTC'), { 'next-run': 1795924800 });
  assert.deepEqual(jobStatus(created, undefined), {});
  assert.deepEqual(jobStatus({ state: 'started', upid }, undefined), { 'last-run-upid': upid });
  assert.deepEqual(jobStatus({ state: 'started', upid }, 'whenever'), { 'last-run-upid': upid });
});

test('last run: start of the task, or the change of the schedule', () => {
  const result: TaskResult = { state: 'OK', endtime: 0x6b04ef4b + 100 };
  assert.equal(lastRunTime({ state: 'created', time: 5 }), 5);
  assert.equal(lastRunTime({ state: 'started', upid }), 0x6b04ef4b);
  assert.equal(lastRunTime({ state: 'finished', upid, result, updated: null }), 0x6b04ef4b);
  assert.equal(lastRunTime({ state: 'finished', upid, result, updated: 9 }), 9);
});

test('only a schedule that is given and differs counts as changed', () => {
  assert.equal(scheduleChanges('daily', {}), false);
  assert.equal(scheduleChanges('daily', { schedule: 'daily' }), false);
  assert.equal(scheduleChanges('daily', { schedule: 'hourly' }), true);
  assert.equal(scheduleChanges(undefined, { schedule: 'hourly' }), true);
  assert.equal(scheduleChanges('daily', { remove: ['schedule'] }), true);
  assert.equal(scheduleChanges(undefined, { remove: ['schedule'] }), false);
});

async function ground(path: string, clock: ManualClock): Promise<{ states: JobStates; tasks: WorkerTasks; log: typeof silentLog }> {
  await mkdir(join(path, 'tasks'));
  await mkdir(join(path, 'jobstates'));
  const tasks = new WorkerTasks({ folder: { path: join(path, 'tasks'), owner: null }, node: 'n', clock, log: silentLog, timeZone: 'UTC' });
  return { states: new JobStates({ path: join(path, 'jobstates'), owner: null }, tasks, clock), tasks, log: silentLog };
}

const start = (body: () => Promise<void>, waitMs = 0): Parameters<typeof startJob>[1] => ({
  job: nightly,
  task: { workerType: 'syncjob', workerId: 'a:b:c::offsite-nightly', authId: 'root@pam' },
  intro: "Starting datastore sync job 'a:b:c::offsite-nightly'",
  schedule: 'daily',
  waitMs,
  body,
});

test('a job keeps its state file and its lock while it runs', async () => {
  await using folder = await temporaryFolder();
  const clock = new ManualClock('2026-11-24T12:00:00Z');
  const on = await ground(folder.path, clock);
  const file = join(folder.path, 'jobstates', 'syncjob-offsite-nightly.json');
  const gate = Promise.withResolvers<void>();
  const begun = Promise.withResolvers<void>();
  const task = await startJob(on, start(async () => {
    begun.resolve();
    await gate.promise;
  }));
  await begun.promise;
  assert.equal(await readFile(file, 'utf8'), JSON.stringify({ started: { upid: task.upid } }));
  assert.deepEqual(await on.states.load(nightly), { state: 'started', upid: task.upid });
  await assert.rejects(startJob(on, start(() => Promise.resolve(), 30)), { code: 'store.job-running' });
  clock.set('2026-11-24T12:01:00Z');
  gate.resolve();
  await task.finished;
  assert.equal(
    await readFile(file, 'utf8'),
    JSON.stringify({ finished: { upid: task.upid, state: { OK: { endtime: clock.ms / 1000 } }, updated: null } }),
  );
  const lines = (await readFile(on.tasks.logPath(task.upid), 'utf8')).split('\n').map((line) => line.slice(27));
  assert.deepEqual(lines.slice(0, 2), ["Starting datastore sync job 'a:b:c::offsite-nightly'", "task triggered by schedule 'daily'"]);
  // The lock is free again.
  assert.deepEqual((await (await startJob(on, start(() => Promise.reject(new Error('no line'))))).finished).state, 'Error');
  const state = await on.states.load(nightly);
  assert.ok(state.state === 'finished' && state.result.state === 'Error' && state.result.message === 'no line');
});

test('a job whose process died is finished with what its log says', async () => {
  await using folder = await temporaryFolder();
  const on = await ground(folder.path, new ManualClock('2026-11-24T12:00:00Z'));
  await unpackGoldenTasks('log/tasks/', join(folder.path, 'tasks'));
  await writeFile(join(folder.path, 'jobstates', 'syncjob-offsite-nightly.json'), JSON.stringify({ started: { upid } }));
  assert.deepEqual(await on.states.load(nightly), { state: 'finished', upid, result: { state: 'OK', endtime: 1795485517 }, updated: null });
});

test('missing and senseless files', async () => {
  await using folder = await temporaryFolder();
  const clock = new ManualClock('2026-11-24T12:00:00Z');
  const { states } = await ground(folder.path, clock);
  assert.deepEqual(await states.load(nightly), { state: 'created', time: clock.ms / 1000 - 30 });
  assert.equal(await states.read(nightly), null);
  const file = join(folder.path, 'jobstates', 'syncjob-offsite-nightly.json');
  await writeFile(file, '{"created"');
  await utimes(file, 1000, 1000);
  assert.deepEqual(await states.load(nightly), { state: 'unknown', time: 1000 });
  await states.create(nightly);
  assert.deepEqual(await states.load(nightly), { state: 'created', time: clock.ms / 1000 });
  await states.remove(nightly);
  assert.equal(existsSync(file), false);
  await assert.rejects(states.load({ jobType: 'syncjob', id: '../x' }), /safe ids/);
});

test('a changed schedule counts from its change, also when the job runs just then', async () => {
  await using folder = await temporaryFolder();
  const clock = new ManualClock('2026-11-24T12:00:00Z');
  const on = await ground(folder.path, clock);
  await on.states.create(nightly);
  clock.set('2026-11-24T13:00:00Z');
  await on.states.renew(nightly);
  assert.deepEqual(await on.states.load(nightly), { state: 'created', time: clock.ms / 1000 });
  const changedAt = Date.parse('2026-11-24T14:00:00Z') / 1000;
  await (
    await startJob(on, start(async () => {
      clock.set('2026-11-24T14:00:00Z');
      await on.states.renew(nightly);
      clock.set('2026-11-24T15:00:00Z');
    }))
  ).finished;
  assert.equal(lastRunTime(await on.states.load(nightly)), changedAt);
  clock.set('2026-11-24T16:00:00Z');
  await on.states.renew(nightly);
  assert.equal(lastRunTime(await on.states.load(nightly)), clock.ms / 1000);
  // The next run starts anew.
  clock.set('2026-11-24T17:00:00Z');
  await (await startJob(on, start(() => Promise.resolve()))).finished;
  assert.equal(lastRunTime(await on.states.load(nightly)), clock.ms / 1000);
});

test('a schedule changed while another process ran the job does not date a later run', async () => {
  await using folder = await temporaryFolder();
  const clock = new ManualClock('2026-11-24T12:00:00Z');
  const on = await ground(folder.path, clock);
  const other = new JobStates({ path: join(folder.path, 'jobstates'), owner: null }, on.tasks, clock);
  const held = await other.tryLock(nightly, 0);
  await on.states.renew(nightly);
  held!.release();
  clock.set('2026-11-24T18:00:00Z');
  await (await startJob(on, start(() => Promise.resolve()))).finished;
  assert.equal(lastRunTime(await on.states.load(nightly)), clock.ms / 1000);
});
