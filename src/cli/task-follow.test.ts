import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CannedServer, runWith } from '../../test/support/manager-runs.ts';
import type { Run, SeenCall } from '../../test/support/manager-runs.ts';
import { TaskProgress, secondsLeft } from '../terminal/task-progress.ts';
import { withoutTimeStamp } from '../terminal/task-follow.ts';

const upid = 'UPID:pbs1:00000074:000FB300:0000001D:6B0545D4:sync:offsite:root@pam:';
const task = `/nodes/localhost/tasks/${upid}`;
const stamp = '2026-11-24T01:58:37+00:00: ';

interface Scripted {
  /** Lines that are there at each poll; the task is active until the last one. */
  polls: string[][];
  exitStatus: string | null;
}

/** A server with one task; DELETE makes its next poll the last one and its end an abort. */
function serverWith({ polls, exitStatus }: Scripted): { server: CannedServer; aborted: () => number } {
  let poll = 0;
  let aborts = 0;
  const lines: string[] = [];
  const server = new CannedServer({
    'POST /pull': { data: upid },
    [`GET ${task}/log`]: ({ target }: SeenCall) => {
      const start = Number(new URLSearchParams(target.split('?')[1]).get('start'));
      const limit = Number(new URLSearchParams(target.split('?')[1]).get('limit'));
      if (poll < polls.length) lines.push(...polls[poll]!);
      poll += 1;
      // Lines count from 1; 0 is the first, too (spec server, trap 5).
      const skipped = Math.max(start, 1) - 1;
      const shown = lines.slice(skipped, skipped + limit);
      const active = aborts === 0 && poll < polls.length;
      return { data: shown.map((t, index) => ({ n: skipped + index + 1, t })), total: lines.length, success: 1, ...(active ? { active: true } : { active: false }) };
    },
    [`GET ${task}/status`]: () => ({ data: { status: 'stopped', ...(aborts > 0 ? { exitstatus: 'pull aborted' } : exitStatus === null ? {} : { exitstatus: exitStatus }) } }),
    [`DELETE ${task}`]: () => {
      aborts += 1;
      return { data: null };
    },
  });
  return { server, aborted: () => aborts };
}

async function pull(scripted: Scripted, ...options: string[]): Promise<Run> {
  return runWith(serverWith(scripted).server, ['pull', 'hq1', 'main', 'offsite', ...options]);
}

suite('a followed task', () => {
  test('prints all lines without their time stamps, and succeeds', async () => {
    const run = await pull({ polls: [[`${stamp}one`], [], [`${stamp}two: three`, 'short', `${stamp}TASK OK`]], exitStatus: 'OK' });
    assert.deepEqual(run, { stdout: 'one\ntwo: three\nshort\nTASK OK\n', stderr: '', exit: 0 });
  });

  test('a log longer than one page', async () => {
    const lines = Array.from({ length: 1234 }, (_, index) => `${stamp}line ${index}`);
    const run = await pull({ polls: [lines], exitStatus: 'OK' });
    assert.equal(run.stdout, lines.map((line) => `${line.slice(stamp.length)}\n`).join(''));
  });

  test('warnings are no failure, everything else is', async () => {
    assert.equal((await pull({ polls: [['x']], exitStatus: 'WARNINGS: 2' })).exit, 0);
    assert.deepEqual(await pull({ polls: [['x']], exitStatus: 'no space' }), { stdout: 'x\n', stderr: 'Error: task failed (status no space)\n', exit: 255 });
    assert.deepEqual(await pull({ polls: [['x']], exitStatus: null }), { stdout: 'x\n', stderr: 'Error: task stopped with unknown status\n', exit: 255 });
  });

  test('with JSON only the UPID is printed, at once', async () => {
    const { server } = serverWith({ polls: [['x']], exitStatus: 'no space' });
    const run = await runWith(server, ['pull', 'hq1', 'main', 'offsite', '--output-format', 'json']);
    assert.deepEqual(run, { stdout: `"${upid}"\n`, stderr: '', exit: 0 });
    assert.deepEqual(server.calls.map(({ method }) => method), ['POST']);
  });

  test('an unknown format in the environment is told after the request', async () => {
    const { server } = serverWith({ polls: [['x']], exitStatus: 'OK' });
    const run = await runWith(server, ['pull', 'hq1', 'main', 'offsite'], { settings: { defaultFormat: 'yaml' } });
    assert.deepEqual(run, { stdout: '', stderr: "undefined output format 'yaml'\n", exit: 101 });
    assert.equal(server.calls.length, 1);
  });
});

/** Follows with Ctrl-C pressed at the given pauses (0 = the first). */
async function interrupted(argv: string[], pressAt: number[], polls: string[][]): Promise<Run & { aborts: number }> {
  const { server, aborted } = serverWith({ polls, exitStatus: 'OK' });
  let handler: (() => void) | null = null;
  let pauses = 0;
  const run = await runWith(server, argv, {
    io: {
      interrupts: {
        listen: (listener) => {
          handler = listener;
          return () => {
            handler = null;
          };
        },
      },
      pause: async () => {
        for (const at of pressAt) if (at === pauses) handler?.();
        pauses += 1;
      },
    },
  });
  assert.equal(handler, null, 'the subscription is over');
  return { ...run, aborts: aborted() };
}

suite('Ctrl-C', () => {
  const polls = [['a'], ['b'], ['c'], ['d'], ['e']];

  test('once: the task is aborted and followed to its end', async () => {
    const run = await interrupted(['pull', 'hq1', 'main', 'offsite'], [1], polls);
    assert.deepEqual(run, { stdout: 'a\nb\nc\n', stderr: 'got shutdown request (SIGINT)\nError: task failed (status pull aborted)\n', exit: 255, aborts: 1 });
  });

  test('twice: left at once', async () => {
    const run = await interrupted(['pull', 'hq1', 'main', 'offsite'], [0, 0], polls);
    assert.deepEqual(run, { stdout: 'a\n', stderr: 'got shutdown request (SIGINT)\nforced exit (task still running)\n', exit: 0, aborts: 0 });
  });

  test('of task log: only the watching ends', async () => {
    const run = await interrupted(['task', 'log', upid, '-f'], [1], polls);
    assert.deepEqual(run, { stdout: 'a\nb\n', stderr: '', exit: 0, aborts: 0 });
  });
});

/** Follows a task whose server stops to answer at the second poll, and presses Ctrl-C there. */
async function hanging(argv: string[], presses: number): Promise<Run> {
  let press: () => void = () => {};
  let polls = 0;
  const server = new CannedServer({ 'POST /pull': { data: upid }, [`GET ${task}/log`]: () => ({ data: [], active: true }) });
  const openLocal = async (): ReturnType<typeof server.open> => ({
    handle: (request, response) => {
      if (request.url!.includes('/log')) polls += 1;
      if (polls <= 1) server.handle(request, response);
      else {
        setImmediate(() => {
          for (let count = 0; count < presses; count += 1) press();
        });
      }
    },
    close: async () => {},
  });
  return runWith(new CannedServer(), argv, {
    io: {
      server: { socketPath: '/nonexistent/farshore.sock', openLocal },
      interrupts: {
        listen: (listener) => {
          press = listener;
          return () => {};
        },
      },
    },
  });
}

test('Ctrl-C leaves a server that does not answer any more', async () => {
  assert.deepEqual(await hanging(['task', 'log', upid], 1), { stdout: '', stderr: '', exit: 0 });
  assert.deepEqual(await hanging(['pull', 'hq1', 'main', 'offsite'], 2), { stdout: '', stderr: 'got shutdown request (SIGINT)\nforced exit (task still running)\n', exit: 0 });
});

test('task log of a running task with --follow false', async () => {
  const { server } = serverWith({ polls: [['a'], ['b']], exitStatus: 'OK' });
  assert.deepEqual(await runWith(server, ['task', 'log', upid, '--follow', 'false']), { stdout: 'a\n', stderr: '', exit: 0 });
});

test('a task whose log is not shown: the exit code stays 0, the reason of a failure is told', async () => {
  const statuses = [{ status: 'running' }, { status: 'running' }, { status: 'stopped', exitstatus: 'store is in use' }];
  const server = new CannedServer({ 'DELETE /config/datastore/abc': { data: upid }, [`GET ${task}/status`]: () => ({ data: statuses.shift() }) });
  assert.deepEqual(await runWith(server, ['datastore', 'remove', 'abc']), { stdout: '', stderr: 'TASK ERROR: store is in use\n', exit: 0 });
  assert.equal(statuses.length, 0);
});

test('only a time stamp is cut off', () => {
  assert.equal(withoutTimeStamp(`${stamp}x`), 'x');
  assert.equal(withoutTimeStamp(stamp), stamp);
  assert.equal(withoutTimeStamp('123456789012345678901234567890'), '123456789012345678901234567890');
});

test('progress: share done, rate, time passed and left; nothing without a terminal', () => {
  let written = '';
  let now = 0;
  const progress = new TaskProgress({ write: (text) => void (written += text) }, 100, () => now);
  progress.see('[vm/100]: disk.fidx: downloaded 1 GiB (87.467 MiB/s)');
  progress.see('[vm/100]: percentage done: 25.00% (1/4 groups)');
  now = 30_000;
  progress.draw();
  assert.equal(written, '\r\x1b[K[#####---------------] 25% done, 87.467 MiB/s, running for 30s, about 1m 30s left');
  progress.see('progress: 40.0% (4 GiB of 10 GiB), 90 MiB/s, 1m left');
  progress.see('[vm/100]: percentage done: 99.00% (3/4 groups)');
  written = '';
  progress.draw();
  assert.ok(written.startsWith('\r\x1b[K[########------------] 40% done, 90 MiB/s'), written);
  written = '';
  progress.clear();
  progress.clear();
  assert.equal(written, '\r\x1b[K');
  assert.deepEqual([secondsLeft(0, 10), secondsLeft(0.5, 1), secondsLeft(0.5, 10), secondsLeft(1, 10)], [null, null, 10, 0]);
});
