import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import { tmpdir } from 'node:os';
import { mkdirSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { CannedServer } from '../../test/support/manager-runs.ts';
import { isUtf8Locale, outputSettings } from './process-io.ts';

test('the charset of the locale', () => {
  assert.equal(isUtf8Locale({}), false);
  assert.equal(isUtf8Locale({ LANG: 'de_DE.UTF-8' }), true);
  assert.equal(isUtf8Locale({ LANG: 'C.utf8' }), true);
  assert.equal(isUtf8Locale({ LANG: 'de_DE.UTF-8', LC_ALL: 'C' }), false);
  assert.equal(isUtf8Locale({ LC_CTYPE: 'ca_ES.UTF-8@valencia', LANG: 'C' }), true);
  assert.equal(isUtf8Locale({ LC_ALL: '', LANG: 'en_US.ISO-8859-1' }), false);
});

test('output settings of the environment: set to anything, even to nothing', () => {
  assert.deepEqual(outputSettings({}, 80), { defaultFormat: undefined, border: true, header: true, unicode: false, width: 80, timeZone: undefined });
  const set = outputSettings({ PROXMOX_OUTPUT_NO_BORDER: '', PROXMOX_OUTPUT_NO_HEADER: '0', PROXMOX_OUTPUT_FORMAT: 'json' }, undefined);
  assert.deepEqual([set.border, set.header, set.defaultFormat, set.width], [false, false, 'json', undefined]);
});

test('a terminal that does not know its size cuts nothing', () => {
  assert.deepEqual([0, 120, undefined].map((columns) => outputSettings({}, columns).width), [undefined, 120, undefined]);
});

suite('the program', () => {
  const bin = join(dirname(dirname(dirname(fileURLToPath(import.meta.url)))), 'bin', 'farshore');
  const upid = 'UPID:pbs1:00000074:000FB300:0000001D:6B0545D4:sync:offsite:root@pam:';
  const task = `/nodes/localhost/tasks/${upid}`;
  let home: string;
  let aborts = 0;
  const server = new CannedServer({
    'GET /access/users': { data: [{ userid: 'root@pam' }] },
    'POST /admin/sync/nightly/run': { data: upid },
    [`GET ${task}/log`]: ({ target }) => ({ data: target.includes('start=1&') ? [{ n: 1, t: 'at work' }] : [], total: 1, active: aborts === 0 }),
    [`DELETE ${task}`]: () => {
      aborts += 1;
      return { data: null };
    },
    [`GET ${task}/status`]: { data: { status: 'stopped', exitstatus: 'sync aborted' } },
  });
  const http = createServer(server.handle);
  const environment = (): NodeJS.ProcessEnv => ({ PATH: process.env['PATH'], LC_ALL: 'C.UTF-8', FARSHORE_HOME: home });
  const run = (program: string, ...words: string[]): { stdout: string; stderr: string; status: number | null } =>
    spawnSync(process.execPath, [program, ...words], { encoding: 'utf8', env: environment() });

  before(async () => {
    home = await mkdtemp(join(tmpdir(), 'farshore-home-'));
    mkdirSync(join(home, 'run'));
  });

  after(async () => {
    http.close();
    await rm(home, { recursive: true });
  });

  test('without a server, and under the name that it is called by', () => {
    const none = run(bin, 'user', 'list', '--output-format', 'json');
    assert.equal(none.status, 0, none.stderr);
    assert.deepEqual((JSON.parse(none.stdout) as Array<{ userid: string }>).map(({ userid }) => userid), ['root@pam'], 'answered in its own process');
    const link = join(home, 'fs-manager');
    symlinkSync(bin, link);
    assert.match(run(link, 'user', 'list', '--foo=1').stderr, /\nUsage: fs-manager user list \[OPTIONS\]\n/);
  });

  test('a home that is no path', () => {
    const { stderr, status } = spawnSync(process.execPath, [bin, 'user', 'list'], { encoding: 'utf8', env: { ...environment(), FARSHORE_HOME: 'here' } });
    assert.equal(status, 1);
    assert.match(stderr, /^Error: FARSHORE_HOME 'here' is not an absolute path\n/);
  });

  test('finds the server of its home; Ctrl-C aborts a followed task; the exit code is the task’s', async () => {
    await new Promise<void>((resolve) => http.listen(join(home, 'run', 'farshore.sock'), resolve));
    const child = spawn(process.execPath, [bin, 'sync-job', 'run', 'nightly'], { env: environment() });
    let stdout = '';
    let stderr = '';
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
    child.stdout.on('data', (part: Buffer) => {
      stdout += part.toString();
      // The first line is out: the task is followed.
      if (aborts === 0) child.kill('SIGINT');
    });
    const status = await new Promise((resolve) => child.on('close', resolve));
    assert.deepEqual([stdout, stderr, status, aborts], ['at work\n', 'got shutdown request (SIGINT)\nError: task failed (status sync aborted)\n', 255, 1]);
  });
});
