import assert from 'node:assert/strict';
import { chmod, mkdtemp, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { prepareInstallation, resolveInstallation } from './home.ts';

test('FARSHORE_HOME holds everything, also for root', () => {
  const paths = resolveInstallation({ env: { FARSHORE_HOME: '/srv/f' }, isRoot: true, homeDirectory: '/root', serviceUser: { uid: 34, gid: 34 } });
  assert.deepEqual(paths, {
    config: '/srv/f/etc', state: '/srv/f/state', log: '/srv/f/log', run: '/srv/f/run', locks: '/srv/f/run/locks', tasks: '/srv/f/log/tasks',
    jobStates: '/srv/f/state/jobstates', cache: '/srv/f/state/cache', serviceUser: null,
  });
});

test("root without it uses the reference's folders and owners", () => {
  const paths = resolveInstallation({ env: { FARSHORE_HOME: '' }, isRoot: true, homeDirectory: '/root', serviceUser: { uid: 34, gid: 34 } });
  assert.equal(paths.config, '/etc/proxmox-backup');
  assert.equal(paths.state, '/var/lib/proxmox-backup');
  assert.equal(paths.tasks, '/var/log/proxmox-backup/tasks');
  assert.equal(paths.run, '/run/proxmox-backup');
  assert.deepEqual(paths.serviceUser, { uid: 34, gid: 34 });
});

test('everybody else uses a folder at home, and a relative FARSHORE_HOME is refused', () => {
  assert.equal(resolveInstallation({ env: {}, isRoot: false, homeDirectory: '/home/ann' }).config, '/home/ann/.farshore/etc');
  assert.throws(() => resolveInstallation({ env: { FARSHORE_HOME: 'f' }, isRoot: false, homeDirectory: '/home/ann' }), { code: 'config.home' });
});

test('folders are made with their modes, and an open configuration folder is closed', async (t) => {
  const home = await mkdtemp(join(tmpdir(), 'farshore-test-'));
  t.after(async () => {
    await rm(home, { recursive: true, force: true });
  });
  const paths = resolveInstallation({ env: { FARSHORE_HOME: join(home, 'x') }, isRoot: false, homeDirectory: home });
  await prepareInstallation(paths);
  const modeOf = async (path: string): Promise<number> => (await stat(path)).mode & 0o777;
  assert.equal(await modeOf(paths.config), 0o700);
  assert.equal(await modeOf(paths.jobStates), 0o755);
  assert.equal(await modeOf(paths.locks), 0o755);
  await chmod(paths.config, 0o755);
  await prepareInstallation(paths);
  assert.equal(await modeOf(paths.config), 0o700);
});
