import assert from 'node:assert/strict';
import { mkdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenTaskFiles } from '../../test/support/golden-tasks.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { silentLog } from '../base/log.ts';
import { JobStates } from './job-states.ts';
import { logRotationSource, startLogRotation } from './log-rotation-job.ts';
import type { LogRotationOptions, RotatedLog } from './log-rotation-job.ts';
import { WorkerTasks } from './worker-tasks.ts';

const apiLogs: RotatedLog[] = ['API access log', 'API authentication log'].map((name) => ({ name, rotate: () => Promise.resolve(false) }));

async function setUp(path: string, others: RotatedLog[]): Promise<LogRotationOptions & { tasks: WorkerTasks }> {
  const clock = new ManualClock('2026-11-24T01:58:00Z');
  await mkdir(join(path, 'tasks'));
  await mkdir(join(path, 'jobstates'));
  const folder = { path: join(path, 'tasks'), owner: null };
  const tasks = new WorkerTasks({ folder, node: 'fourth', clock, log: silentLog, timeZone: 'UTC' });
  const states = new JobStates({ path: join(path, 'jobstates'), owner: null }, tasks, clock);
  return { ground: { states, tasks, log: silentLog }, folder, clock, maxDays: () => Promise.resolve(undefined), others, tasks };
}

test('the log is that of the recorded run', async () => {
  await using folder = await temporaryFolder();
  const options = await setUp(folder.path, apiLogs);
  const task = await startLogRotation(options);
  assert.equal((await task.finished).state, 'OK');
  const golden = [...goldenTaskFiles()].find(([name]) => name.includes(':logrotate:'))![1];
  assert.equal(await readFile(options.tasks.logPath(task.upid), 'utf8'), golden);
});

test('a log that cannot be rotated fails the task but not the other logs', async () => {
  await using folder = await temporaryFolder();
  let others = 0;
  const counting = { name: 'API authentication log', rotate: () => Promise.resolve(++others > 0) };
  const options = await setUp(folder.path, [{ name: 'API access log', rotate: () => Promise.reject(new Error('no room')) }, counting]);
  const result = await (await startLogRotation(options)).finished;
  assert.equal(others, 1);
  assert.ok(result.state === 'Error' && result.message === 'API access log could not be rotated: no room');
});

test('the scheduler gets one daily job', async () => {
  await using folder = await temporaryFolder();
  const [job, ...more] = await logRotationSource(await setUp(folder.path, [])).list();
  assert.deepEqual([job?.id, job?.schedule, more.length], ['access-log_and_task-archive', '00:00', 0]);
});
