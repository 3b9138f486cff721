import assert from 'node:assert/strict';
import { test } from 'node:test';
import { goldenTaskFiles } from '../../test/support/golden-tasks.ts';
import { formatUpid } from '../format/upid.ts';
import { parseTaskList } from './task-list-file.ts';
import type { ListedTask } from './task-list-file.ts';
import { queryTasks, taskListItem, taskStatusReply } from './task-query.ts';
import type { TaskQuery } from './task-query.ts';
import type { TaskResult } from './worker-task.ts';

async function* walk(tasks: readonly ListedTask[], seen: { count: number } = { count: 0 }): AsyncGenerator<ListedTask> {
  for (const task of tasks) {
    seen.count += 1;
    yield await Promise.resolve(task);
  }
}

const golden = parseTaskList(goldenTaskFiles().get('log/tasks/archive')!).toReversed();

function made(taskId: number, workerType: string, workerId: string, result: TaskResult | null, authId = 'root@pam'): ListedTask {
  const upid = { node: 'n', pid: 1, pstart: 1, taskId, starttime: 1000 + taskId, workerType, workerId, authId };
  return { text: formatUpid(upid), upid, result };
}

const some = [
  made(9, 'backup', 'main:vm/1', null),
  made(8, 'reader', 'main:vm/1/0', { state: 'OK', endtime: 2008 }, 'sync@pbs!offsite'),
  made(7, 'syncjob', 'rem:other:main::x', { state: 'Error', message: 'no line', endtime: 2007 }),
  made(6, 'verificationjob', 'main:job', { state: 'Warning', count: 1, endtime: 2006 }),
  made(5, 'prune', 'main::vm/900', { state: 'Unknown', endtime: 2005 }),
  made(4, 'garbage_collection', 'main', { state: 'OK', endtime: 2004 }),
  made(3, 'backup', 'main2:vm/1', { state: 'OK', endtime: 2003 }),
];

async function ids(query: TaskQuery): Promise<number[]> {
  return (await queryTasks(walk(some), query)).tasks.map(({ upid }) => upid.taskId);
}

test('the reply for the golden archive has the shape of the recorded one', async () => {
  const { tasks, total } = await queryTasks(walk(golden), { limit: 3, typefilter: 'sync' });
  assert.equal(total, 4);
  assert.deepEqual(taskListItem(tasks[0]!), {
    upid: 'UPID:fourth:000070C6:000BF73F:00000003:6B04EF4B:syncjob:pbs\\x2dhq\\x3amain\\x3aoffsite\\x3a\\x3aall:root@pam:',
    node: 'localhost',
    pid: 28870,
    pstart: 784191,
    starttime: 1795485515,
    worker_type: 'syncjob',
    worker_id: 'pbs-hq:main:offsite::all',
    user: 'root@pam',
    endtime: 1795485517,
    status: 'OK',
  });
  assert.equal((await queryTasks(walk(golden), {})).total, 18);
  const logrotate = golden.find(({ upid }) => upid.workerType === 'logrotate')!;
  assert.equal(taskListItem(logrotate)['worker_id'], null);
});

test('filters', async () => {
  assert.deepEqual(await ids({}), [9, 8, 7, 6, 5, 4, 3]);
  assert.deepEqual(await ids({ running: true }), [9]);
  assert.deepEqual(await ids({ errors: true }), [9, 7, 6, 5]);
  assert.deepEqual(await ids({ statusfilter: ['ok', 'unknown'] }), [8, 5, 4, 3]);
  assert.deepEqual(await ids({ statusfilter: ['error', 'warning'] }), [7, 6]);
  assert.deepEqual(await ids({ store: 'main' }), [9, 7, 6, 5, 4]);
  assert.deepEqual(await ids({ userfilter: 'sync@' }), [8]);
  assert.deepEqual(await ids({ typefilter: 'verif' }), [6]);
  assert.deepEqual(await ids({ since: 1006 }), [9, 8, 7, 6]);
  assert.deepEqual(await ids({ until: 1005 }), [5, 4, 3]);
  assert.deepEqual(await ids({ visible: ({ authId }) => authId !== 'root@pam' }), [8]);
  assert.deepEqual(await ids({ start: 2, limit: 2 }), [7, 6]);
  assert.deepEqual(await ids({ start: 5, limit: 0 }), [4, 3]);
});

test('since and until as observed: both by the start, whatever the order of the ends', async () => {
  const times: Array<[number, number]> = [[1000, 1500], [900, 2000], [2100, 2500], [1200, 3000], [2900, 3100], [3200, 3300], [3300, 3400]];
  const tasks = times
    .map(([starttime, endtime], i) => ({ ...made(i + 1, 'backup', 'main', { state: 'OK', endtime }), starttime }))
    .map((task) => ({ ...task, upid: { ...task.upid, starttime: task.starttime } }))
    .toReversed();
  const found = async (query: TaskQuery): Promise<number[]> => (await queryTasks(walk(tasks), query)).tasks.map(({ upid }) => upid.taskId);
  assert.deepEqual(await found({ since: 2000 }), [7, 6, 5, 3]);
  assert.deepEqual(await found({ since: 2901 }), [7, 6]);
  assert.deepEqual(await found({ since: 1200 }), [7, 6, 5, 4, 3]);
  assert.deepEqual(await found({ since: 2600, until: 3000 }), [5]);
  assert.deepEqual(await found({ until: 2000 }), [4, 2, 1]);
  const seen = { count: 0 };
  await queryTasks(walk(tasks, seen), { since: 2600 });
  assert.equal(seen.count, 5);
});

test('total counts what is known, one more when the page is full', async () => {
  const total = async (query: TaskQuery): Promise<number> => (await queryTasks(walk(some), query)).total;
  assert.equal(await total({ start: 2, limit: 2 }), 5);
  assert.equal(await total({ start: 2, limit: 50 }), 7);
  assert.equal(await total({ start: 2, limit: 0 }), 7);
  assert.equal(await total({ start: 20, limit: 5 }), 20);
});

test('a full page is not followed by reading on', async () => {
  const seen = { count: 0 };
  await queryTasks(walk(some, seen), { limit: 2 });
  assert.equal(seen.count, 2);
});

test('status of a task: user and token name apart', () => {
  const reader = some[1]!;
  assert.deepEqual(taskStatusReply(reader.text, reader.upid, reader.result), {
    upid: reader.text,
    node: 'n',
    pid: 1,
    pstart: 1,
    starttime: 1008,
    type: 'reader',
    id: 'main:vm/1/0',
    user: 'sync@pbs',
    tokenid: 'offsite',
    status: 'stopped',
    exitstatus: 'OK',
    endtime: 2008,
  });
  assert.equal(taskStatusReply(some[0]!.text, some[0]!.upid, null)['status'], 'running');
});
