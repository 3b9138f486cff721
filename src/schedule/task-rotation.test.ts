import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { mkdir, readFile, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { armFailpoint, disarmFailpoints } from '../base/failpoint.ts';
import { silentLog } from '../base/log.ts';
import { formatUpid } from '../format/upid.ts';
import { TaskRegistry } from './task-registry.ts';
import { rotateTasks } from './task-rotation.ts';

const clock = new ManualClock('2026-11-24T12:00:00Z');
const day = 86_400;
const now = clock.ms / 1000;

function upid(taskId: number): string {
  return formatUpid({ node: 'n', pid: 0x7ffffff0, pstart: 1, taskId, starttime: 1, workerType: 'backup', workerId: 'x', authId: 'root@pam' });
}

function line(taskId: number, endtime: number): string {
  return `${upid(taskId)} ${endtime.toString(16).toUpperCase().padStart(8, '0')} OK\n`;
}

async function ids(path: string): Promise<number[]> {
  const registry = new TaskRegistry({ path, owner: null }, { pid: process.pid, pstart: 0 }, clock, silentLog);
  const found: number[] = [];
  for await (const task of registry.tasks()) found.push(task.upid.taskId);
  return found;
}

function archives(path: string): string[] {
  return readdirSync(path).filter((name) => name.startsWith('archive')).toSorted();
}

test('a large archive moves to .1, older ones are compressed, and the list stays the same', async () => {
  await using folder = await temporaryFolder();
  const target = { path: folder.path, owner: null };
  for (let round = 0; round < 4; round += 1) {
    await writeFile(join(folder.path, 'archive'), line(2 * round, now) + line(2 * round + 1, now));
    assert.equal((await rotateTasks(target, { maxBytes: 100 }, clock)).rotated, true);
  }
  assert.deepEqual(archives(folder.path), ['archive.1', 'archive.2.zst', 'archive.3.zst', 'archive.4.zst']);
  assert.deepEqual(await ids(folder.path), [7, 6, 5, 4, 3, 2, 1, 0]);
  await writeFile(join(folder.path, 'archive'), line(8, now));
  assert.deepEqual(await rotateTasks(target, {}, clock), { rotated: false, archivesRemoved: 0, logsRemoved: 0 });
});

test('only so many archives are kept', async () => {
  await using folder = await temporaryFolder();
  for (let age = 2; age <= 22; age += 1) await writeFile(join(folder.path, `archive.${age}.zst`), zstdCompressSync(line(100 - age, now)));
  await writeFile(join(folder.path, 'archive'), line(100, now));
  const report = await rotateTasks({ path: folder.path, owner: null }, {}, clock);
  assert.equal(report.archivesRemoved, 2);
  assert.equal((await ids(folder.path)).length, 20);
});

test('with a number of days, archives behind the first that reaches back further are dropped', async () => {
  await using folder = await temporaryFolder();
  await writeFile(join(folder.path, 'archive'), line(4, now));
  await writeFile(join(folder.path, 'archive.1'), line(3, now - day) + line(9, now));
  await writeFile(join(folder.path, 'archive.2.zst'), zstdCompressSync(line(2, now - 11 * day) + line(8, now - 2 * day)));
  await writeFile(join(folder.path, 'archive.3.zst'), zstdCompressSync(line(1, now - 20 * day)));
  const report = await rotateTasks({ path: folder.path, owner: null }, { maxDays: 10 }, clock);
  assert.equal(report.archivesRemoved, 1);
  assert.deepEqual(await ids(folder.path), [4, 9, 3, 8, 2]);
});

test('logs older than the oldest entry are removed, those of running tasks and other files are not', async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, '01'));
  await mkdir(join(folder.path, 'other'));
  const old = [join('01', upid(1)), join('01', upid(2)), join('01', 'notes'), join('other', upid(3)), upid(4)];
  for (const name of [...old, join('01', upid(5))]) await writeFile(join(folder.path, name), '');
  for (const name of old) await utimes(join(folder.path, name), now - 9 * day, now - 9 * day);
  await writeFile(join(folder.path, 'active'), `${upid(2)}\n`);
  await writeFile(join(folder.path, 'archive'), line(7, now - 8 * day) + line(8, now));
  assert.equal((await rotateTasks({ path: folder.path, owner: null }, {}, clock)).logsRemoved, 1);
  assert.deepEqual(readdirSync(join(folder.path, '01')).toSorted(), [upid(2), upid(5), 'notes'].toSorted());
  assert.equal(readdirSync(join(folder.path, 'other')).length, 1);
});

test('without archive, and with a clock before the oldest entry, no log is removed', async () => {
  await using folder = await temporaryFolder();
  await mkdir(join(folder.path, '01'));
  await writeFile(join(folder.path, '01', upid(1)), '');
  await utimes(join(folder.path, '01', upid(1)), 1, 1);
  assert.equal((await rotateTasks({ path: folder.path, owner: null }, {}, clock)).logsRemoved, 0);
  await writeFile(join(folder.path, 'archive'), line(7, now + 30 * day));
  assert.equal((await rotateTasks({ path: folder.path, owner: null }, {}, clock)).logsRemoved, 0);
});

test('a rotation that is cut off loses nothing', async () => {
  await using folder = await temporaryFolder();
  const target = { path: folder.path, owner: null };
  await writeFile(join(folder.path, 'archive'), line(2, now) + line(3, now));
  await writeFile(join(folder.path, 'archive.1'), line(1, now));
  armFailpoint('tasks.archive-compressed', 'error');
  try {
    await assert.rejects(rotateTasks(target, { maxBytes: 100 }, clock), { code: 'failpoint' });
  } finally {
    disarmFailpoints();
  }
  await rotateTasks(target, { maxBytes: 100 }, clock);
  assert.deepEqual([...new Set(await ids(folder.path))], [3, 2, 1]);
  assert.match(await readFile(join(folder.path, 'archive.1'), 'utf8'), /UPID/);
});
