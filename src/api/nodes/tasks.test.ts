import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { dirname } from 'node:path';
import { test, type TestContext } from 'node:test';
import { apiGround, testServer, type ApiGround, type TestServer } from '../../../test/support/api-ground.ts';
import { readFixture } from '../../../test/support/golden.ts';
import { goldenTaskFiles, unpackGoldenTasks } from '../../../test/support/golden-tasks.ts';
import { aclFile } from '../../config/acl-config.ts';
import { formatUpid, type Upid } from '../../format/upid.ts';
import type { TaskContext } from '../../schedule/worker-task.ts';
import { processStartTicks } from '../../sys/process-start.ts';
import { taskEndpoints } from './tasks.ts';

interface Recorded {
  contentType: string;
  body: { data: unknown; total?: number };
}
const recorded = JSON.parse(readFixture('api/nodes-target.json').toString()) as Record<string, Recorded>;
const backupUpid = 'UPID:fourth:000070C6:000BF73F:0000000D:6B04EF57:backup:pushed\\x3avm-100:admin@pbs:';

interface Ground extends ApiGround {
  server: TestServer;
}

async function ground(t: TestContext): Promise<Ground> {
  const made = await apiGround(t, 'target', {});
  await unpackGoldenTasks('log/tasks/', made.paths.tasks);
  return { ...made, server: await testServer(t, made, taskEndpoints(made)) };
}

const list = '/nodes/localhost/tasks';
const pathOf = (upid: string, leaf = ''): string => `${list}/${encodeURIComponent(upid)}${leaf}`;

test("lists and states are the reference's", async (t) => {
  const { server } = await ground(t);
  for (const [parameters, name] of [
    [{}, 'GET /nodes/localhost/tasks'],
    [{ limit: 3, typefilter: 'sync' }, 'GET /nodes/localhost/tasks?limit=3&typefilter=sync'],
  ] as const) {
    const reply = await server.call('admin@pbs', 'GET', list, parameters);
    assert.ok(reply.ok);
    assert.deepEqual({ data: reply.data, ...reply.siblings }, recorded[name]!.body);
  }
  assert.deepEqual(await server.data('admin@pbs', 'GET', pathOf(backupUpid, '/status')), recorded['GET /nodes/localhost/tasks/{upid}/status (backup)']!.body.data);
  assert.deepEqual(await server.data('admin@pbs', 'GET', pathOf(backupUpid)), [{ subdir: 'log' }, { subdir: 'status' }]);
});

test("the log is the reference's, in pages, whole and as a file", async (t) => {
  const { server } = await ground(t);
  const get = (query: string): ReturnType<TestServer['http']> => server.http('admin@pbs', 'GET', `/api2/json${pathOf(backupUpid, '/log')}${query}`);
  const theirs = recorded['GET /nodes/localhost/tasks/{upid}/log (backup)']!;
  const page = await get('');
  assert.deepEqual([page.status, page.headers['content-type'], JSON.parse(page.body.toString())], [200, theirs.contentType, theirs.body]);
  assert.deepEqual(JSON.parse((await server.http('admin@pbs', 'GET', `/api2/extjs${pathOf(backupUpid, '/log')}`)).body.toString()), theirs.body, 'the same under extjs');
  const lines = theirs.body.data as Array<{ n: number; t: string }>;
  const body = async (query: string): Promise<unknown> => JSON.parse((await get(query)).body.toString());
  assert.deepEqual(await body('?start=2&limit=1'), { data: [lines[1]], success: 1, total: 20 });
  assert.deepEqual(await body('?limit=0'), { data: lines, success: 1, total: 20 });
  assert.deepEqual(await body('?start=200&limit=0&test-status=1'), { data: [], success: 1, total: 20, active: false });
  const file = await get('?download=1');
  assert.deepEqual([file.headers['content-type'], file.headers['content-disposition']], ['text/plain', 'attachment; filename=task-fourth-backup-2026-11-24T01:58:47Z.log']);
  assert.equal(file.body.toString(), goldenTaskFiles().get(`log/tasks/3F/${backupUpid}`));
  for (const other of ['start=0', 'limit=0', 'test-status=1']) {
    const refused = await get(`?download=1&${other}`);
    assert.deepEqual([refused.status, refused.body.toString()], [400, "Parameter 'download' cannot be used with other parameters"]);
  }
  assert.equal((await get('?start=-1')).body.toString(), "parameter verification failed - 'start': value must have a minimum value of 0 (got -1)");
});

test('a long log goes through line by line', async (t) => {
  const { server, tasks } = await ground(t);
  const count = 30_000;
  const text = Array.from({ length: count }, (_, i) => `line ${i + 1} with "quotes" and \\ and ü\n`).join('');
  await writeFile(tasks.logPath(backupUpid), text);
  const { body } = await server.http('admin@pbs', 'GET', `/api2/json${pathOf(backupUpid, '/log')}?limit=0`);
  const reply = JSON.parse(body.toString()) as { data: Array<{ n: number; t: string }>; total: number };
  assert.deepEqual([reply.total, reply.data.length], [count, count]);
  assert.deepEqual(reply.data.map(({ t: line }) => `${line}\n`).join(''), text);
});

test('who hangs up in the middle of a long log harms nobody', async (t) => {
  const { server, tasks } = await ground(t);
  await writeFile(tasks.logPath(backupUpid), `${'x'.repeat(1000)}\n`.repeat(50_000));
  const target = `/api2/json${pathOf(backupUpid, '/log')}?limit=0`;
  const request = httpRequest({ host: '127.0.0.1', port: server.port, path: target, headers: { authorization: 'admin@pbs' }, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  await once(response, 'data');
  request.destroy();
  assert.equal((await server.http('admin@pbs', 'GET', `/api2/json${pathOf(backupUpid, '/log')}?limit=1`)).status, 200);
});

test('a log that is gone', async (t) => {
  const { server, tasks } = await ground(t);
  await rm(tasks.logPath(backupUpid));
  for (const query of ['', '?download=1', '?test-status=1']) {
    const { status, headers, body } = await server.http('admin@pbs', 'GET', `/api2/json${pathOf(backupUpid, '/log')}${query}`);
    assert.deepEqual([status, body.toString(), headers['content-disposition']], [400, 'No such file or directory (os error 2)', undefined]);
  }
  const { status, exitstatus } = (await server.data('admin@pbs', 'GET', pathOf(backupUpid, '/status'))) as Record<string, unknown>;
  assert.deepEqual([status, exitstatus], ['stopped', 'unknown']);
  assert.equal(await server.refusal('admin@pbs', 'GET', `${list}/UPID:x/status`), "400 parameter verification failed - 'upid': value must be at least 36 characters long");
  assert.equal(await server.refusal('admin@pbs', 'GET', pathOf('UPID:fourth:000070C6:000BF73F:0000000D:6B04EF57:backup:../../etc/passwd:admin@pbs:', '/status')), "400 unable to parse UPID 'UPID:fourth:000070C6:000BF73F:0000000D:6B04EF57:backup:../../etc/passwd:admin@pbs:'");
});

test('every filter of the list', async (t) => {
  const { server } = await ground(t);
  const ids = async (parameters: Record<string, unknown>): Promise<string[]> =>
    ((await server.data('admin@pbs', 'GET', list, { limit: 0, ...parameters })) as Array<{ worker_type: string; worker_id: string | null }>).map((task) => `${task.worker_type} ${task.worker_id ?? '-'}`);
  const all = await ids({});
  assert.equal(all.length, 18);
  assert.deepEqual(await ids({ store: 'offsite', typefilter: 'sync' }), all.filter((id) => id.startsWith('syncjob')));
  assert.deepEqual(await ids({ userfilter: 'root', typefilter: 'log' }), ['logrotate -']);
  assert.deepEqual(await ids({ errors: true }), []);
  assert.deepEqual(await ids({ running: true }), []);
  assert.deepEqual(await ids({ statusfilter: ['ok'] }), all);
  assert.deepEqual(await ids({ statusfilter: ['error', 'warning', 'unknown'] }), []);
  assert.deepEqual(await ids({ until: 1_795_485_480, typefilter: 'log' }), ['logrotate -']);
  assert.deepEqual(await ids({ since: 1_795_485_528 }), all.slice(0, 2));
  assert.deepEqual(await ids({ start: 16 }), all.slice(16));
  assert.equal(await server.refusal('admin@pbs', 'GET', list, { statusfilter: ['fine'] }), "400 parameter verification failed - 'statusfilter/[0]': value 'fine' is not defined in the enumeration.");
});

/** Starts a task that runs until it is told to end or is aborted. */
async function startWaiting(tasks: ApiGround['tasks'], authId: string, workerType = 'backup', workerId = 'main:host/x'): Promise<{ upid: string; end: () => Promise<unknown> }> {
  const ended = Promise.withResolvers<void>();
  const { upid, finished } = await tasks.start({ workerType, workerId, authId }, async ({ signal, log }: TaskContext) => {
    log.info('at work');
    signal.addEventListener('abort', () => ended.reject(signal.reason as Error));
    await ended.promise;
  });
  return {
    upid,
    end: () => {
      ended.resolve();
      return finished;
    },
  };
}

test('a running task: listed first, active, stopped by who may', async (t) => {
  const api = await ground(t);
  const { server, tasks, paths } = api;
  await aclFile(paths).update((tree) => {
    tree.insert({ path: '/system/tasks', subject: 'op@pbs', role: 'Audit', propagate: true });
  });
  const { upid } = await startWaiting(tasks, 'alice@pbs!laptop');
  const items = (await server.data('alice@pbs', 'GET', list)) as Array<Record<string, unknown>>;
  assert.deepEqual(items.map((item) => [item['upid'], item['user'], 'status' in item, 'endtime' in item]), [[upid, 'alice@pbs!laptop', false, false]]);
  assert.deepEqual(((await server.data('admin@pbs', 'GET', list, { running: true })) as unknown[]).length, 1);
  const status = (await server.data('alice@pbs', 'GET', pathOf(upid, '/status'))) as Record<string, unknown>;
  assert.deepEqual([status['status'], status['user'], status['tokenid'], 'exitstatus' in status], ['running', 'alice@pbs', 'laptop', false]);
  const log = JSON.parse((await server.http('alice@pbs', 'GET', `/api2/json${pathOf(upid, '/log')}?test-status=1`)).body.toString()) as { active: boolean; total: number };
  assert.deepEqual([log.active, log.total], [true, 1]);

  const denied = "400 missing permissions 'Sys.Modify' on '/system/tasks'";
  for (const as of ['alice@pbs', 'alice@pbs!other', 'bob@pbs', 'op@pbs']) assert.equal(await server.refusal(as, 'DELETE', pathOf(upid)), denied, as);
  assert.equal(await server.data('alice@pbs!laptop', 'DELETE', pathOf(upid)), null);
  const { result, lines } = await api.ended(upid);
  assert.equal(result.state, 'Error');
  assert.ok(lines.includes('received abort request ...'));
  assert.equal(await server.data('admin@pbs', 'DELETE', pathOf(upid)), null, 'one that has ended');
  assert.equal(await server.data('admin@pbs', 'DELETE', pathOf(backupUpid)), null);
});

test('nobody is told that a task of another process was stopped', async (t) => {
  const { server, tasks } = await ground(t);
  const upid = formatUpid({ node: 'host', pid: process.ppid, pstart: processStartTicks(process.ppid)!, taskId: 0, starttime: 1, workerType: 'syncjob', workerId: 'x', authId: 'root@pam' });
  const path = tasks.logPath(upid);
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, '2026-11-24T01:58:47+00:00: at work\n');
  assert.equal(await server.refusal('admin@pbs', 'DELETE', pathOf(upid)), '400 the task runs in another process and cannot be stopped from here');
});

test('who sees a task', async (t) => {
  const { server, tasks, paths } = await ground(t);
  const grants: Array<[string, string, string]> = [
    ['verifier@pbs', '/datastore/main', 'DatastoreReader'],
    ['keeper@pbs', '/datastore/main/a', 'DatastoreAdmin'],
    ['puller@pbs', '/datastore/main', 'DatastoreBackup'],
    ['puller@pbs', '/remote/hq', 'RemoteSyncOperator'],
    ['auditor@pbs', '/system', 'Audit'],
  ];
  await aclFile(paths).update((tree) => {
    for (const [subject, path, role] of grants) tree.insert({ path, subject, role, propagate: true });
  });
  const table: Array<[workerType: string, workerId: string, seenBy: string[]]> = [
    ['verificationjob', 'main:v-1', ['verifier@pbs']],
    ['verificationjob', 'other:v-1', []],
    ['verify', 'main', []],
    ['garbage_collection', 'main', []],
    ['garbage_collection', 'main/a', []],
    ['prunejob', 'main:a', ['keeper@pbs']],
    ['prunejob', 'main', []],
    ['prune', 'main:a:host/x', ['keeper@pbs']],
    ['prune', 'main:../a', []],
    ['syncjob', 'hq:src:main::job', ['puller@pbs']],
    ['syncjob', 'other:src:main::job', []],
    ['syncjob', '-:main:main:a:job', ['puller@pbs']],
    ['syncjob', 'odd', []],
    ['backup', 'main:host/x', []],
  ];
  const others = ['keeper@pbs', 'nobody@pbs', 'puller@pbs', 'verifier@pbs'];
  for (const [workerType, workerId, seenBy] of table) {
    const { upid, end } = await startWaiting(tasks, 'admin@pbs!x', workerType, workerId);
    const seen: string[] = [];
    for (const as of others) {
      const reply = await server.call(as, 'GET', pathOf(upid, '/status'));
      if (reply.ok) seen.push(as);
      else assert.equal(reply.message, 'task access not allowed');
      const listed = (await server.data(as, 'GET', list, { running: true })) as Array<{ upid: string }>;
      assert.equal(listed.length, reply.ok ? 1 : 0, `${as} ${workerType} ${workerId}`);
      const log = await server.http(as, 'GET', `/api2/json${pathOf(upid, '/log')}`);
      assert.equal(log.status, reply.ok ? 200 : 400);
    }
    assert.deepEqual(seen, seenBy, `${workerType} ${workerId}`);
    for (const as of ['admin@pbs', 'auditor@pbs', 'admin@pbs!x', 'root@pam']) assert.ok((await server.call(as, 'GET', pathOf(upid, '/status'))).ok, as);
    await end();
  }
});

test('tasks whose user is no auth-id are shown to auditors and to nobody else', async (t) => {
  const { server } = await ground(t);
  const odd: Upid = { node: 'host', pid: 1, pstart: 1, taskId: 0, starttime: 1, workerType: 'backup', workerId: 'x', authId: 'root' };
  assert.equal(await server.refusal('alice@pbs', 'GET', pathOf(formatUpid(odd), '/status')), '400 task access not allowed');
});
