import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { appendFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { goldenTaskFiles, unpackGoldenTasks } from '../../test/support/golden-tasks.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { armFailpoint, disarmFailpoints } from '../base/failpoint.ts';
import { silentLog } from '../base/log.ts';
import { formatUpid } from '../format/upid.ts';
import type { Upid } from '../format/upid.ts';
import { processStartTicks } from '../sys/process-start.ts';
import { taskLogPath, TaskRegistry } from './task-registry.ts';

const clock = new ManualClock('2026-11-24T12:00:00Z');
const self = { pid: process.pid, pstart: processStartTicks(process.pid)! };
const dead = { pid: 0x7ffffff0, pstart: 1 };

function task(taskId: number, process = self): { text: string; upid: Upid } {
  const upid: Upid = { node: 'n', ...process, taskId, starttime: 0x6b04ef1a, workerType: 'backup', workerId: 'main:vm/1', authId: 'root@pam' };
  return { text: formatUpid(upid), upid };
}

function registry(path: string): TaskRegistry {
  return new TaskRegistry({ path, owner: null }, self, clock, silentLog);
}

async function listed(of: TaskRegistry): Promise<string[]> {
  const lines: string[] = [];
  for await (const { text, result } of of.tasks()) lines.push(`${text} ${result === null ? 'running' : result.state}`);
  return lines;
}

test('golden task folder is listed newest first', async () => {
  await using folder = await temporaryFolder();
  await unpackGoldenTasks('log/tasks/', folder.path);
  const archive = goldenTaskFiles().get('log/tasks/archive')!.trimEnd().split('\n');
  assert.deepEqual(await listed(registry(folder.path)), archive.toReversed().map((line) => line.replace(/ [0-9A-F]{8} /, ' ')));
  assert.equal(await readFile(join(folder.path, 'archive'), 'utf8'), goldenTaskFiles().get('log/tasks/archive'));
});

test('a task is entered when it begins and archived when it ends', async () => {
  await using folder = await temporaryFolder();
  const tasks = registry(folder.path);
  const [a, b] = [task(0), task(1)];
  await tasks.begin(a.text, a.upid);
  await tasks.begin(b.text, b.upid);
  assert.equal(await readFile(join(folder.path, 'active'), 'utf8'), `${a.text}\n${b.text}\n`);
  assert.deepEqual(await listed(tasks), [`${b.text} running`, `${a.text} running`]);
  await tasks.end(a.text, a.upid, { state: 'Warning', count: 2, endtime: 0x6b04ef1f });
  assert.equal(await readFile(join(folder.path, 'active'), 'utf8'), `${b.text}\n`);
  assert.equal(await readFile(join(folder.path, 'archive'), 'utf8'), `${a.text} 6B04EF1F WARNINGS: 2\n`);
  assert.deepEqual(await listed(tasks), [`${b.text} running`, `${a.text} Warning`]);
});

test('tasks of dead processes are finished with what their log says', async () => {
  await using folder = await temporaryFolder();
  const tasks = registry(folder.path);
  const [ok, silent, gone, living] = [task(0, dead), task(1, dead), task(2, dead), task(3, { pid: process.ppid, pstart: processStartTicks(process.ppid)! })];
  await mkdir(dirname(taskLogPath(tasks.folder, ok.text, ok.upid)));
  await writeFile(taskLogPath(tasks.folder, ok.text, ok.upid), '2026-11-24T01:58:37+00:00: TASK OK\n');
  await writeFile(taskLogPath(tasks.folder, silent.text, silent.upid), '2026-11-24T01:58:38+00:00: at work\n');
  await writeFile(join(folder.path, 'active'), [ok, silent, gone, living].map(({ text }) => `${text}\n`).join(''));
  assert.deepEqual(await listed(tasks), [`${living.text} running`, `${gone.text} Unknown`, `${silent.text} Unknown`, `${ok.text} OK`]);
  assert.equal(await readFile(join(folder.path, 'active'), 'utf8'), `${living.text}\n`);
  const hex = (time: string): string => (Date.parse(time) / 1000).toString(16).toUpperCase();
  const expected = [
    `${ok.text} ${hex('2026-11-24T01:58:37Z')} OK`,
    `${silent.text} ${hex('2026-11-24T01:58:38Z')} unknown`,
    `${gone.text} ${hex('2026-11-24T12:00:00Z')} unknown`,
  ];
  assert.equal(await readFile(join(folder.path, 'archive'), 'utf8'), `${expected.join('\n')}\n`);
});

test('an update that is cut off loses no task and doubles none', async () => {
  await using folder = await temporaryFolder();
  const tasks = registry(folder.path);
  const one = task(0);
  await tasks.begin(one.text, one.upid);
  armFailpoint('tasks.before-active', 'error');
  try {
    await assert.rejects(tasks.end(one.text, one.upid, { state: 'OK', endtime: 0x6b04ef1f }), { code: 'failpoint' });
  } finally {
    disarmFailpoints();
  }
  // Both files hold it now.
  assert.match(readFileSync(join(folder.path, 'active'), 'utf8'), /UPID/);
  await registry(folder.path).refresh();
  assert.deepEqual(await listed(tasks), [`${one.text} OK`]);
});

test('a torn archive line does not swallow the next one', async () => {
  await using folder = await temporaryFolder();
  const tasks = registry(folder.path);
  const [a, b] = [task(0), task(1)];
  await writeFile(join(folder.path, 'archive'), `${a.text} 6B04EF1F OK\n${a.text.slice(0, 30)}`);
  await tasks.begin(b.text, b.upid);
  await tasks.end(b.text, b.upid, { state: 'OK', endtime: 0x6b04ef20 });
  assert.deepEqual(await listed(tasks), [`${b.text} OK`, `${a.text} OK`]);
});

test('a legacy index is taken over', async () => {
  await using folder = await temporaryFolder();
  const tasks = registry(folder.path);
  const [a, b] = [task(0, dead), task(1, dead)];
  await writeFile(join(folder.path, 'index'), `${a.text} 6B04EF1F OK\n${b.text} 6B04EF1E OK\n`);
  await tasks.refresh();
  assert.equal(existsSync(join(folder.path, 'index')), false);
  assert.deepEqual(await listed(tasks), [`${a.text} OK`, `${b.text} OK`]);
});

test('the walk goes through all archives, over long lines, holes and a broken archive', async () => {
  await using folder = await temporaryFolder();
  const line = (id: number): string => `${task(id, dead).text} 6B04EF1F ${id % 3 === 0 ? 'OK' : `error ${'é'.repeat(id % 50)}`}\n`;
  const part = (from: number, to: number): string => Array.from({ length: to - from }, (_, i) => line(from + i)).join('');
  await writeFile(join(folder.path, 'archive.7.zst'), zstdCompressSync(part(0, 10)));
  await writeFile(join(folder.path, 'archive.3.zst'), 'not zstd');
  await writeFile(join(folder.path, 'archive.2.zst'), zstdCompressSync(part(10, 900)));
  await writeFile(join(folder.path, 'archive.1'), part(900, 2000));
  await writeFile(join(folder.path, 'archive'), `${part(2000, 2500)}${'z'.repeat(300_000)}\n${part(2500, 2600)}`);
  await writeFile(join(folder.path, 'archive.tmp_1'), part(0, 5));
  const warnings: string[] = [];
  const tasks = new TaskRegistry({ path: folder.path, owner: null }, self, clock, { ...silentLog, warn: (text) => void warnings.push(text) });
  const ids: number[] = [];
  for await (const { upid } of tasks.tasks()) ids.push(upid.taskId);
  assert.deepEqual(ids, Array.from({ length: 2600 }, (_, i) => 2599 - i));
  assert.equal(warnings.length, 1);
});

const writer = `
  import { TaskRegistry } from ${JSON.stringify(new URL('task-registry.ts', import.meta.url).href)};
  import { formatUpid } from ${JSON.stringify(new URL('../format/upid.ts', import.meta.url).href)};
  import { processStartTicks } from ${JSON.stringify(new URL('../sys/process-start.ts', import.meta.url).href)};
  import { silentLog } from ${JSON.stringify(new URL('../base/log.ts', import.meta.url).href)};
  const self = { pid: process.pid, pstart: processStartTicks(process.pid) };
  const registry = new TaskRegistry({ path: process.argv[1], owner: null }, self, { now: () => Date.now() }, silentLog);
  const one = async (taskId) => {
    const upid = { node: 'n', ...self, taskId, starttime: 1, workerType: 'backup', workerId: 'x', authId: 'root@pam' };
    const text = formatUpid(upid);
    await registry.begin(text, upid);
    await registry.end(text, upid, { state: 'OK', endtime: 2 });
  };
  for (let round = 0; round < 10; round += 1) await Promise.all([0, 1, 2, 3].map((i) => one(round * 4 + i)));
  // One that nobody ends: the process dies with it.
  const upid = { node: 'n', ...self, taskId: 99, starttime: 1, workerType: 'backup', workerId: 'x', authId: 'root@pam' };
  await registry.begin(formatUpid(upid), upid);
`;

test('two processes that write to the same lists lose and double nothing', async () => {
  await using folder = await temporaryFolder();
  const processes = [0, 1].map(() => spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', writer, folder.path], { stdio: ['ignore', 'inherit', 'inherit'] }));
  const codes = await Promise.all(processes.map(async (child) => (await once(child, 'exit'))[0] as number));
  assert.deepEqual(codes, [0, 0]);
  const tasks = registry(folder.path);
  const states = new Map<string, string>();
  for await (const { text, result } of tasks.tasks()) {
    assert.ok(!states.has(text), text);
    states.set(text, result?.state ?? 'running');
  }
  assert.equal([...states.values()].filter((state) => state === 'OK').length, 80);
  assert.equal([...states.values()].filter((state) => state === 'Unknown').length, 2);
  assert.equal(await readFile(join(folder.path, 'active'), 'utf8'), '');
});

test('what an archive line says after the second blank is the status, blanks and all', async () => {
  await using folder = await temporaryFolder();
  await appendFile(join(folder.path, 'archive'), `${task(0, dead).text} 6B04EF1F ERROR: a  b c\n`);
  for await (const { result } of registry(folder.path).tasks()) assert.deepEqual(result, { state: 'Error', message: 'a  b c', endtime: 0x6b04ef1f });
});
