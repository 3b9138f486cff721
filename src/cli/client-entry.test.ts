import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { clientPasswords, clientServer, type ClientServer } from '../../test/support/client-server.ts';
import { readFixture, temporaryFolder } from '../../test/support/golden.ts';

const program = fileURLToPath(new URL('../../bin/farshore-client', import.meta.url));

function environment(server: ClientServer, home: string): NodeJS.ProcessEnv {
  return {
    PATH: process.env['PATH'],
    LC_ALL: 'C.UTF-8',
    HOME: home,
    PBS_REPOSITORY: `admin@pbs@127.0.0.1:${server.port}:main`,
    PBS_PASSWORD: clientPasswords['admin@pbs'],
    PBS_FINGERPRINT: server.fingerprint,
  };
}

test('the program: a disk image through a pipe, byte for byte; a signal leaves nothing behind', async (t) => {
  const server = await clientServer(t);
  await using home = await temporaryFolder();
  const env = environment(server, home.path);
  const piped = spawn(process.execPath, [program, 'restore', 'vm/100', 'drive-scsi0.img', '-'], { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const hash = createHash('sha256');
  let stderr = '';
  piped.stdout.on('data', (bytes: Buffer) => hash.update(bytes));
  piped.stderr.on('data', (bytes: Buffer) => (stderr += bytes.toString()));
  assert.equal(await new Promise((resolve) => piped.on('close', resolve)), 0);
  assert.ok(readFixture('expected/images.sha256').includes(hash.digest('hex')));
  assert.match(stderr, /^restore complete \(24\.953 MiB processed in /);

  await using target = await temporaryFolder();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) {
    const child = spawn(process.execPath, [program, 'restore', 'vm/100', 'drive-scsi0.img', 'out', '--rate', '1MiB'], { env, cwd: target.path, stdio: ['ignore', 'ignore', 'pipe'] });
    let said = '';
    child.stderr.on('data', (bytes: Buffer) => (said += bytes.toString()));
    const closed = new Promise((resolve) => child.on('close', resolve));
    while (child.exitCode === null && (await readdir(target.path)).length === 0) await new Promise((resolve) => setTimeout(resolve, 10));
    child.kill(signal);
    assert.deepEqual([await closed, said, await readdir(target.path)], [255, 'Error: interrupted\n', []], signal);
  }
});

test('without any server: its version, and what is missing', () => {
  const run = (...words: string[]): [string, string, number | null] => {
    const { stdout, stderr, status } = spawnSync(process.execPath, [program, ...words], { encoding: 'utf8', env: { PATH: process.env['PATH'], HOME: '/nonexistent' } });
    return [stdout, stderr, status];
  };
  const [version, , exit] = run('version');
  assert.match(version, /^client version: \d+\.\d+\.\d+\n$/);
  assert.equal(exit, 0);
  const [, message, failed] = run('list');
  assert.match(message, /^Error: unable to get \(default\) repository\n\nHint: set PBS_REPOSITORY /);
  assert.equal(failed, 255);
});
