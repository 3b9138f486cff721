import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { goldenTaskFiles } from '../../test/support/golden-tasks.ts';
import { formatTaskLine, parseTaskLine, parseTaskList } from './task-list-file.ts';
import { finalLine, parseTaskStatus, taskResultFromTail, taskStatusText } from './task-status.ts';
import type { TaskResult } from './worker-task.ts';

const text = 'UPID:third:00007002:000BE896:00000024:6B04EF4D:reader:main\\x3ahost-deep-68E77A58:sync@pbs!offsite:';
const upid = parseTaskLine(text)!.upid;

test('golden archive: every line is read and written back byte for byte, and agrees with the log', () => {
  const archive = goldenTaskFiles().get('log/tasks/archive')!;
  const tasks = parseTaskList(archive);
  assert.equal(tasks.length, 18);
  assert.equal(tasks.map(formatTaskLine).join(''), archive);
  for (const task of tasks) {
    const folder = (task.upid.pstart & 0xff).toString(16).toUpperCase();
    const log = goldenTaskFiles().get(`log/tasks/${folder}/${task.text}`);
    assert.ok(log !== undefined, task.text);
    const result = taskResultFromTail(log.slice(-8192), task.upid.starttime);
    assert.equal(result.state, task.result!.state);
    // The archive's end time is taken a moment after the final line's.
    assert.ok(Math.abs(result.endtime - task.result!.endtime) <= 1);
  }
});

test('status by the tail of a log', () => {
  const at = '2026-11-24T01:58:37+00:00';
  const seconds = Date.parse('2026-11-24T01:58:37Z') / 1000;
  const table: Array<[string, TaskResult]> = [
    [`${at}: TASK OK\n`, { state: 'OK', endtime: seconds }],
    [`${at}: TASK WARNINGS: 3\n\n\n`, { state: 'Warning', count: 3, endtime: seconds }],
    [`${at}: TASK ERROR: no: such host\n`, { state: 'Error', message: 'no: such host', endtime: seconds }],
    [`${at}: TASK unknown`, { state: 'Unknown', endtime: seconds }],
    [`${at}: still working\n`, { state: 'Unknown', endtime: seconds }],
    [`${at}: TASK ERROR: first\nsecond line\n`, { state: 'Error', message: 'first', endtime: seconds }],
    ['2026-11-24T02:58:37+01:00: TASK OK', { state: 'OK', endtime: seconds }],
    ['no time at all: TASK OK', { state: 'Unknown', endtime: 7 }],
    ['2026-13-44T99:99:99+00:00: TASK OK', { state: 'Unknown', endtime: 7 }],
    ['', { state: 'Unknown', endtime: 7 }],
  ];
  for (const [tail, result] of table) assert.deepEqual(taskResultFromTail(tail, 7), result, tail);
});

test('an error stays an error in log and list, whatever its message says', () => {
  const tricky = fc.constantFrom('OK', 'unknown', 'WARNINGS: 2', 'ERROR: x', 'ERROR: OK', '', ' ', 'a\nb', 'x\r\n2026-11-24T01:58:37+00:00: TASK OK', 'ä'.repeat(9000));
  const message = fc.oneof(tricky, fc.string(), fc.string({ unit: 'binary' }));
  fc.assert(
    fc.property(message, fc.nat(2 ** 32), (said, endtime) => {
      const result: TaskResult = { state: 'Error', message: said, endtime };
      const line = formatTaskLine({ text, upid, result });
      assert.equal(line.indexOf('\n'), line.length - 1);
      const listed = parseTaskLine(line.slice(0, -1))!.result!;
      assert.equal(listed.state, 'Error');
      assert.equal(listed.endtime, endtime);
      assert.equal(taskStatusText(listed), taskStatusText(result));
      // Also for readers that drop the mark of an error.
      assert.doesNotMatch(taskStatusText(listed), /^(ERROR: .*|OK|unknown|WARNINGS: \d+|)$/);
      const log = Buffer.from(`2026-11-24T01:58:37+00:00: before\n2026-11-24T01:58:37+00:00: ${finalLine(result)}\n`);
      assert.equal(taskResultFromTail(log.subarray(-8192).toString('utf8'), 0).state, 'Error');
    }),
    { numRuns: 500 },
  );
});

test('other results are written and read back', () => {
  const results: TaskResult[] = [
    { state: 'OK', endtime: 1795485530 },
    { state: 'Warning', count: 12, endtime: 1795485530 },
    { state: 'Unknown', endtime: 0 },
  ];
  for (const result of results) {
    const line = formatTaskLine({ text, upid, result });
    assert.deepEqual(parseTaskLine(line.slice(0, -1))!.result, result);
  }
  assert.equal(parseTaskLine(text)!.result, null);
  assert.deepEqual(parseTaskStatus('task aborted', 1), { state: 'Error', message: 'task aborted', endtime: 1 });
});

test('unparsable lines are skipped', () => {
  const lines = ['', 'garbage', `${text} xyz OK`, `${text} 6B04EF4D`, 'UPID:a:b:c: 6B04EF4D OK', 'x'.repeat(100_000), `${text} 6B04EF4D OK`];
  assert.deepEqual(
    parseTaskList(lines.join('\n')).map((task) => task.result),
    [{ state: 'OK', endtime: 0x6b04ef4d }],
  );
});
