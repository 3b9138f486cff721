import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { pause, throwIfAborted } from '../base/async.ts';
import { errorCode, NetworkError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { parseUpid } from '../format/upid.ts';
import type { TaskContext } from './worker-task.ts';
import { WorkerTasks } from './worker-tasks.ts';

const endtime = Date.parse('2026-11-24T12:00:00Z') / 1000;
const description = { workerType: 'syncjob', workerId: 'rem:main:main::job-1', authId: 'sync@pbs!offsite' };

function worker(path: string): WorkerTasks {
  return new WorkerTasks({ folder: { path, owner: null }, node: 'third', clock: new ManualClock('2026-11-24T12:00:00Z'), log: silentLog, timeZone: 'UTC' });
}

function messages(tasks: WorkerTasks, upid: string): string[] {
  return readFileSync(tasks.logPath(upid), 'utf8').trimEnd().split('\n').map((line) => line.replace('2026-11-24T12:00:00+00:00: ', ''));
}

/** Runs until it is aborted. */
async function untilAborted({ signal }: TaskContext): Promise<void> {
  await new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    else signal.addEventListener('abort', resolve, { once: true });
  });
  throwIfAborted(signal);
}

test('a task has a UPID, a log that can be read while it runs, and a result', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const gate = Promise.withResolvers<void>();
  const task = await tasks.start(description, async ({ log, upid }) => {
    log.info(`this is ${upid}`);
    await gate.promise;
  });
  const parsed = parseUpid(task.upid);
  assert.deepEqual({ ...parsed, pstart: 0 }, { node: 'third', pid: process.pid, pstart: 0, taskId: 0, starttime: endtime, ...description });
  assert.deepEqual(messages(tasks, task.upid), [`this is ${task.upid}`]);
  assert.deepEqual(tasks.running(), [{ ...description, upid: task.upid }]);
  assert.equal(await tasks.result(task.upid), null);
  assert.equal(await readFile(join(folder.path, 'active'), 'utf8'), `${task.upid}\n`);
  gate.resolve();
  assert.deepEqual(await task.finished, { state: 'OK', endtime });
  assert.deepEqual(messages(tasks, task.upid).at(-1), 'TASK OK');
  assert.deepEqual(await tasks.result(task.upid), { state: 'OK', endtime });
  assert.deepEqual(tasks.running(), []);
  assert.equal(await readFile(join(folder.path, 'archive'), 'utf8'), `${task.upid} ${endtime.toString(16).toUpperCase()} OK\n`);
  // Its folder is the low byte of the process's start time.
  assert.ok(tasks.logPath(task.upid).includes(`/${(parsed.pstart & 0xff).toString(16).toUpperCase().padStart(2, '0')}/`));
});

test('warnings are counted, errors carry the whole chain', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const warned = await tasks.start(description, ({ log }) => {
    log.warn('a');
    log.error('b');
    return Promise.resolve();
  });
  assert.deepEqual(await warned.finished, { state: 'Warning', count: 2, endtime });
  const failed = await tasks.start(description, () => {
    throw new NetworkError('net.x', 'sync failed', { cause: new Error('line is down') });
  });
  assert.deepEqual(await failed.finished, { state: 'Error', message: 'sync failed: line is down', endtime });
  assert.deepEqual(messages(tasks, failed.upid), ['TASK ERROR: sync failed: line is down']);
  assert.notEqual(warned.upid, failed.upid);
});

test('an abort is logged once and ends the task with the text that everybody knows', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const task = await tasks.start(description, untilAborted);
  assert.equal(tasks.abort(task.upid), true);
  assert.equal(tasks.abort(task.upid), true);
  assert.deepEqual(await task.finished, { state: 'Error', message: 'abort requested - aborting task', endtime });
  assert.deepEqual(messages(tasks, task.upid), ['received abort request ...', 'TASK ERROR: abort requested - aborting task']);
  assert.equal(tasks.abort(task.upid), false);
});

test('shutdown aborts all, gives up what does not stop, and takes nothing new', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const polite = await tasks.start(description, untilAborted);
  const stubborn = await tasks.start(description, () => new Promise<void>(() => {}));
  await tasks.shutdown(20);
  assert.equal(messages(tasks, polite.upid).at(-1), 'TASK ERROR: abort requested - aborting task');
  assert.equal(messages(tasks, stubborn.upid).at(-1), 'TASK ERROR: server shutdown - task did not stop in time');
  assert.equal((await stubborn.finished).state, 'Error');
  assert.equal(await readFile(join(folder.path, 'active'), 'utf8'), '');
  await assert.rejects(tasks.start(description, untilAborted), { code: 'store.shutdown' });
});

test('shutdown ends tasks that are just starting', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  let ran = 0;
  const starts = Array.from({ length: 5 }, () =>
    tasks.start(description, async (context) => {
      ran += 1;
      await untilAborted(context);
    }),
  );
  await tasks.shutdown(5000);
  for (const start of await Promise.allSettled(starts)) {
    if (start.status === 'rejected') assert.equal(errorCode(start.reason), 'store.shutdown');
    else assert.equal((await start.value.finished).state, 'Error');
  }
  assert.ok(ran <= 5);
  assert.deepEqual(tasks.running(), []);
});

test('a task whose list entry cannot be made does not run and leaves no log', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const first = await tasks.start(description, () => Promise.resolve());
  await first.finished;
  // A folder where the list file should be.
  await rm(join(folder.path, 'active'));
  await mkdir(join(folder.path, 'active'));
  let ran = false;
  await assert.rejects(
    tasks.start(description, () => {
      ran = true;
      return Promise.resolve();
    }),
  );
  assert.equal(ran, false);
  const logs = readdirSync(join(tasks.logPath(first.upid), '..'));
  assert.deepEqual(logs, [first.upid]);
  assert.deepEqual(tasks.running(), []);
});

test('a worker id that is too long for a file name is cut, not refused', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const task = await tasks.start({ ...description, workerId: `main:${'a-/é'.repeat(200)}` }, () => Promise.resolve());
  assert.ok(task.upid.length <= 255);
  assert.match(parseUpid(task.upid).workerId, /^main:a-\/é.*~$/);
  assert.equal((await task.finished).state, 'OK');
});

test('the result of a task whose log is gone is unknown', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const task = await tasks.start(description, () => Promise.resolve());
  await task.finished;
  await rm(tasks.logPath(task.upid));
  assert.deepEqual(await tasks.result(task.upid), { state: 'Unknown', endtime });
  await assert.rejects(tasks.result('UPID:../../x'), { code: 'format.upid' });
});

test('many tasks at once all reach the archive, once', async () => {
  await using folder = await temporaryFolder();
  const tasks = worker(folder.path);
  const started = await Promise.all(Array.from({ length: 100 }, (_, i) => tasks.start(description, () => pause(i % 7))));
  await Promise.all(started.map(({ finished }) => finished));
  const archived = (await readFile(join(folder.path, 'archive'), 'utf8')).trimEnd().split('\n').map((line) => line.split(' ')[0]);
  assert.equal(archived.length, 100);
  assert.deepEqual(new Set(archived), new Set(started.map(({ upid }) => upid)));
});
