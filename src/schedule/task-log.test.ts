import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, openSync, readFileSync, readSync } from 'node:fs';
import { appendFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import * as fc from 'fast-check';
import { temporaryFolder } from '../../test/support/golden.ts';
import { errorCode } from '../base/errors.ts';
import { TaskLogReader } from './task-log-reader.ts';
import { TaskLogWriter } from './task-log-writer.ts';
import type { TaskLogOptions } from './task-log-writer.ts';
import { taskResultFromTail } from './task-status.ts';

const clock = { now: () => Date.parse('2026-07-01T12:00:00.700Z') };
const rights = { mode: 0o644, owner: null };
const options: TaskLogOptions = {
  clock,
  timeZone: 'Europe/Berlin',
  debug: false,
  onWriteError: (e) => assert.fail(String(e)),
};

test('lines, warnings, continuation lines, final line', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  const log = TaskLogWriter.create(path, rights, options);
  log.info('one');
  log.warn('two');
  log.error('three\n\tfour');
  log.debug('not shown');
  log.finish({ state: 'Warning', count: log.warnings, endtime: 0 });
  log.info('too late');
  const at = '2026-07-01T14:00:00+02:00: ';
  assert.equal(readFileSync(path, 'utf8'), `${at}one\n${at}two\n${at}three\n\tfour\n${at}TASK WARNINGS: 2\n`);
  assert.equal((await stat(path)).mode & 0o777, 0o644);
});

test('the first line of a turn is on disk at once, the others at its end, in order', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  const log = TaskLogWriter.create(path, rights, { ...options, timeZone: 'UTC' });
  const lines = (): number => readFileSync(path, 'utf8').split('\n').length - 1;
  log.info('0');
  assert.equal(lines(), 1);
  for (let i = 1; i < 5000; i += 1) log.info(String(i));
  await nextTurn();
  assert.equal(lines(), 5000);
  log.info('5000');
  log.finish({ state: 'OK', endtime: 0 });
  const texts = readFileSync(path, 'utf8').trimEnd().split('\n').map((line) => line.slice(line.indexOf(': ') + 2));
  assert.deepEqual(texts, [...Array.from({ length: 5001 }, (_, i) => String(i)), 'TASK OK']);
});

test('a log is made once, debug lines only when asked for', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  const log = TaskLogWriter.create(path, rights, { ...options, debug: true });
  assert.throws(() => TaskLogWriter.create(path, rights, options), { code: 'EEXIST' });
  log.debug('x');
  log.finish({ state: 'OK', endtime: 0 });
  assert.match(readFileSync(path, 'utf8'), /: DEBUG: x\n/);
});

test('a message cannot forge a final line', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  const log = TaskLogWriter.create(path, rights, options);
  log.error('the peer said: x\n2026-07-01T14:00:00+02:00: TASK OK');
  // Killed here.
  assert.equal(taskResultFromTail(readFileSync(path, 'utf8'), 0).state, 'Unknown');
  log.finish({ state: 'OK', endtime: 0 });
});

test('lines that cannot be written are reported once and do not end the process', () => {
  const problems: unknown[] = [];
  // Every write to this device fails: no space left.
  const log = new TaskLogWriter(openSync('/dev/full', 'a'), { ...options, onWriteError: (e) => problems.push(e) });
  for (let i = 0; i < 100; i += 1) log.info('x'.repeat(50_000));
  log.finish({ state: 'OK', endtime: 0 });
  assert.equal(problems.length, 1);
  assert.match(String(problems[0]), /ENOSPC/);
});

test('what could not be written is written when there is room again, without a gap or a torn line', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'fifo');
  execFileSync('mkfifo', [path]);
  const from = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  const problems: unknown[] = [];
  const log = new TaskLogWriter(openSync(path, constants.O_WRONLY | constants.O_NONBLOCK), { ...options, onWriteError: (e) => problems.push(e) });
  // More than a pipe holds: one write is cut short, the next ones fail.
  for (let i = 0; i < 3000; i += 1) log.info(`${i} ${'x'.repeat(100)}`);
  await nextTurn();
  assert.match(String(problems[0]), /EAGAIN/);
  let text = '';
  const drain = (): void => {
    const block = Buffer.alloc(1024 * 1024);
    try {
      for (let n = readSync(from, block); n > 0; n = readSync(from, block)) text += block.toString('utf8', 0, n);
    } catch (e) {
      assert.equal(errorCode(e), 'EAGAIN');
    }
  };
  for (let i = 3000; i < 3020; i += 1) {
    drain();
    log.info(String(i));
    await nextTurn();
  }
  drain();
  const numbers = text.trimEnd().split('\n').map((line) => Number(/: (\d+)/.exec(line)?.[1]));
  assert.deepEqual(numbers, Array.from({ length: 3020 }, (_, i) => i));
  log.finish({ state: 'OK', endtime: 0 });
  closeSync(from);
});

async function read(reader: TaskLogReader, path: string, start: number, limit: number, complete = true): Promise<[string[], number]> {
  const { lines, total } = await reader.page(path, { start, limit, complete });
  lines.forEach((line, i) => assert.equal(line.n, Math.max(start, 1) + i));
  return [lines.map((line) => line.t), total];
}

test('paging: start 0 and 1 are the first line, limit 0 is all, total counts all', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  await writeFile(path, 'a\nb\n\nd\n');
  const reader = new TaskLogReader();
  assert.deepEqual(await read(reader, path, 0, 2), [['a', 'b'], 4]);
  assert.deepEqual(await read(reader, path, 1, 2), [['a', 'b'], 4]);
  assert.deepEqual(await read(reader, path, 3, 0), [['', 'd'], 4]);
  assert.deepEqual(await read(reader, path, 5, 50), [[], 4]);
  await assert.rejects(read(reader, join(folder.path, 'none'), 0, 0), { code: 'ENOENT' });
});

test('an unfinished line counts only when nobody writes it any more', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  await writeFile(path, 'a\nhal');
  const reader = new TaskLogReader();
  assert.deepEqual(await read(reader, path, 0, 0, false), [['a'], 1]);
  await appendFile(path, 'f\n');
  assert.deepEqual(await read(reader, path, 2, 0, false), [['half'], 2]);
  await appendFile(path, 'torn');
  assert.deepEqual(await read(reader, path, 2, 0, true), [['half', 'torn'], 3]);
});

test('any page of a log that grows equals the slice of its lines', async () => {
  await using folder = await temporaryFolder();
  let run = 0;
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(fc.integer({ min: 0, max: 9000 }), fc.nat(20_000), fc.nat(3000)), { minLength: 1, maxLength: 5 }),
      async (steps) => {
        run += 1;
        const path = join(folder.path, `log${run}`);
        const reader = new TaskLogReader();
        const all: string[] = [];
        await writeFile(path, '');
        for (const [grow, start, limit] of steps) {
          const fresh = Array.from({ length: grow }, (_, i) => `line ${all.length + i} ${'x'.repeat((i * 7) % 90)}`);
          await appendFile(path, fresh.map((line) => `${line}\n`).join(''));
          all.push(...fresh);
          const from = Math.max(start, 1) - 1;
          const expected = limit === 0 ? all.slice(from) : all.slice(from, from + limit);
          assert.deepEqual(await read(reader, path, start, limit), [expected, all.length]);
        }
      },
    ),
    { numRuns: 25 },
  );
});

test('a million lines and one endless line take bounded memory', async () => {
  await using folder = await temporaryFolder();
  const path = join(folder.path, 'log');
  const part = Array.from({ length: 10_000 }, (_, i) => `2026-07-01T14:00:00+02:00: line ${i}\n`).join('');
  for (let i = 0; i < 100; i += 1) await appendFile(path, part);
  await appendFile(path, `${'y'.repeat(1_000_000)}\nend\n`);
  const reader = new TaskLogReader();
  assert.deepEqual(await read(reader, path, 1_000_002, 10), [['end'], 1_000_002]);
  const [[long = '']] = await read(reader, path, 1_000_001, 1);
  assert.equal(long.length, 256 * 1024);
  let count = 0;
  await reader.read(path, { start: 0, limit: 0, complete: true }, () => {
    count += 1;
  });
  assert.equal(count, 1_000_002);
});
