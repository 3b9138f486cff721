import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { adminAccount, makeAdmin } from '../support/peer-backups.ts';
import { hostAddress, Peer, type ClientTarget } from '../support/peer.ts';

/** Output without the paths of this run, the backtraces of the reference's client, and our hints. */
function comparable(text: string, folder: string): string {
  return text
    .replaceAll(folder, '/data/main')
    .replace(/\n*Stack backtrace:[^]*$/, '\n')
    .split('\n')
    .filter((line) => line !== '')
    .join('\n');
}

test('both servers move groups and namespaces alike, in every word', async (t) => {
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  mkdirSync(join(work, 'tree'));
  writeFileSync(join(work, 'tree', 'file'), 'content');
  await using peer = await Peer.start();
  await peer.manager('datastore', 'create', 'main', '/data/main');
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  await farshore.manager('datastore', 'create', 'main', join(work, 'main'));
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  const users = ['al@pbs', 'no@pbs'] as const;
  const admin = await makeAdmin(peer, 'main');
  for (const user of users) {
    await farshore.manager('user', 'create', user, '--password', adminAccount.password);
    await peer.manager('user', 'create', user, '--password', adminAccount.password);
  }
  for (const manage of [peer.manager.bind(peer), farshore.manager.bind(farshore)]) await manage('acl', 'update', '/datastore/main', 'DatastorePowerUser', '--auth-id', 'al@pbs');
  const sides = [
    { folder: '/data/main', target: (authId: string): ClientTarget => (authId === adminAccount.authId ? admin : peer.target(authId, adminAccount.password, 'main')) },
    { folder: join(work, 'main'), target: (authId: string): ClientTarget => farshore.target(hostAddress, authId, adminAccount.password, 'main') },
  ];
  const alike = async (argv: readonly string[], as: string = adminAccount.authId, isShown = true): Promise<void> => {
    const [their, our] = await Promise.all(sides.map(async ({ folder, target }) => {
      const { status, stdout, stderr } = await peer.tryClient(target(as), argv);
      // Namespaces are listed in the order of the directory.
      return { status, stdout: argv.includes('list') ? comparable(stdout, folder).split('\n').toSorted().join('\n') : comparable(stdout, folder), stderr: comparable(stderr, folder) };
    }));
    if (isShown) assert.deepEqual(our, their, argv.join(' '));
    else assert.deepEqual([our!.status, their!.status], [0, 0], `${argv.join(' ')}: ${our!.stderr} ${their!.stderr}`);
  };
  const backUp = (id: string, time: number, ns: string, as: string = adminAccount.authId): Promise<void> => alike(['backup', `root.pxar:${join(work, 'tree')}`, '--backup-id', id, '--backup-time', String(time), ...(ns === '' ? [] : ['--ns', ns])], as, false);
  for (const ns of ['a', 'a/b', 'a/b/c', 'c', 'd', '1', '1/2', '1/2/3', '1/2/3/4', '1/2/3/4/5', '1/2/3/4/5/6']) await alike(['namespace', 'create', ns]);
  await backUp('one', 1_760_000_000, '');
  await backUp('one', 1_760_000_100, 'a');
  await backUp('one', 1_750_000_000, 'c');
  await backUp('two', 1_750_000_000, 'a/b');
  await backUp('als', 1_750_000_000, '', 'al@pbs');
  await backUp('als', 1_760_000_000, 'd');
  await alike(['snapshot', 'notes', 'update', 'host/one/2025-10-09T08:53:20Z', 'kept']);

  for (const argv of [
    ['group', 'move', 'host/one', '--ns', 'a', '--target-ns', 'a'],
    ['group', 'move', 'host/one', '--ns', 'a', '--target-ns', 'zz'],
    ['group', 'move', 'host/none', '--ns', 'a', '--target-ns', 'c'],
    ['group', 'move', 'host/one', '--ns', 'zz', '--target-ns', 'c'],
    ['group', 'move', 'host/one', '--ns', 'a', '--target-ns', '', '--merge-group', 'false'],
    ['group', 'move', 'host/one', '--ns', 'c', '--target-ns', 'a'],
    ['group', 'move', 'host/als', '--ns', 'd', '--target-ns', ''],
    ['group', 'move', 'host/one', '--ns', 'a', '--target-ns', ''],
    ['group', 'move', 'host/one', '--target-ns', 'c'],
    ['namespace', 'move', 'a/b', '--target-ns', 'a/b/c'],
    ['namespace', 'move', 'zz', '--target-ns', 'y'],
    ['namespace', 'move', 'a', '--target-ns', 'x/y'],
    ['namespace', 'move', 'a', '--target-ns', 'a'],
    ['namespace', 'move', 'a', '--target-ns', ''],
    ['namespace', 'move', 'a', '--target-ns', '1/2/3/4/5/6/7'],
    ['namespace', 'move', 'a/b', '--target-ns', 'e', '--max-depth', '0'],
    ['namespace', 'move', 'a', '--target-ns', 'e/f'],
    ['namespace', 'move', 'e', '--target-ns', 'c', '--delete-source', 'false'],
  ]) {
    await alike(argv);
  }
  for (const user of users) {
    await alike(['group', 'move', 'host/one', '--ns', 'c', '--target-ns', 'd'], user);
    await alike(['group', 'move', 'host/als', '--target-ns', 'e'], user);
    await alike(['namespace', 'move', 'c', '--target-ns', 'g'], user);
  }
  await alike(['namespace', 'list']);
  for (const ns of ['', 'c', 'd', 'e', 'c/f']) await alike(['snapshot', 'list', '--output-format', 'json-pretty', ...(ns === '' ? [] : ['--ns', ns])], adminAccount.authId, false);
  for (const ns of ['', 'c', 'd', 'e']) await alike(['list', ...(ns === '' ? [] : ['--ns', ns])]);
});
