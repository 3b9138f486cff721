import assert from 'node:assert/strict';
import { copyFileSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, mkdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { FarshoreServer } from '../support/farshore-server.ts';
import { writeGoldenFiles } from '../support/peer-backups.ts';
import { hostAddress, Peer, runProgram, succeeded } from '../support/peer.ts';

/** Files that a server makes for itself; the reference keeps its own. */
const own = /^(?:authkey|csrf|proxy|remote-secret|farshore|freshness)|\.(?:lck|lock)$/;

function contentOf(folder: string): Array<[name: string, content: string]> {
  return readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && !/\.(?:lck|lock)$/.test(entry.name))
    .map(({ name }) => [name, readFileSync(join(folder, name), 'hex')]);
}

/**
 * A configuration that our manager wrote is the reference's from its start: users log in with passwords that we hashed, a token works, and jobs of every kind
 * run. And the other way: what the reference then has, we take over with `import`.
 */
test('the reference starts on our configuration, and we on what it made of it', async (t) => {
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  const home = join(work, 'ours');
  await mkdir(join(home, 'etc'), { recursive: true });
  writeFileSync(join(home, 'etc', 'farshore.json'), '{"plain-remote-secrets":true}');
  await using ours = await FarshoreServer.start(home);
  // Both servers have the same folders, under their own names.
  const mapped = (text: string): string => text.replaceAll(peer.dataFolder, '/data');
  const lines: string[][] = [
    ['datastore', 'create', 'main', join(peer.dataFolder, 'main'), '--comment', 'Written elsewhere', '--gc-schedule', 'daily', '--tuning', 'sync-level=file'],
    ['datastore', 'create', 'copy', join(peer.dataFolder, 'copy'), '--notify-user', 'op@pbs', '--notification-mode', 'notification-system'],
    ['user', 'create', 'op@pbs', '--password', 'operator-1', '--comment', 'Ünïcode # here', '--email', 'op@example.org'],
    ['user', 'create', 'reader@pbs', '--password', 'reader-secret-1', '--expire', '0'],
    ['acl', 'update', '/', 'Admin', '--auth-id', 'op@pbs'],
    ['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'reader@pbs'],
  ];
  for (const line of lines) await ours.manager(...line);
  const answer = await ours.manager('user', 'generate-token', 'reader@pbs', 'offsite');
  const token = (JSON.parse(answer.slice(answer.indexOf('{'))) as { value: string }).value;
  const more: string[][] = [
    ['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'reader@pbs!offsite'],
    ['remote', 'create', 'pbs-hq', '--host', hostAddress, '--port', String(ours.port), '--auth-id', 'reader@pbs!offsite', '--password', token, '--fingerprint', ours.fingerprint],
    ['sync-job', 'create', 'nightly', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'copy', '--schedule', 'mon..fri 02:30', '--rate-in', '500MiB', '--group-filter', 'type:host', '--comment', 'From elsewhere'],
    ['prune-job', 'create', 'thin', '--store', 'copy', '--schedule', 'sun 04:00', '--keep-last', '5'],
    ['verify-job', 'create', 'weekly', '--store', 'copy', '--schedule', 'weekly', '--outdated-after', '30'],
    ['traffic-control', 'create', 'office', '--network', '192.0.2.0/24', '--rate-in', '10MiB', '--timeframe', 'mon..fri 8-18'],
  ];
  for (const line of more) await ours.manager(...line);
  writeGoldenFiles(join(peer.dataFolder, 'main'), ['.gc-status']);

  await peer.restartAround(async () => {
    const from = join(home, 'etc');
    for (const name of readdirSync(from, { withFileTypes: true }).filter((one) => one.isFile() && !own.test(one.name)).map((one) => one.name)) {
      const to = join(peer.configFolder, name);
      // Only where the datastores lie is another place in the reference's own file system.
      if (name === 'datastore.cfg') writeFileSync(to, mapped(readFileSync(join(from, name), 'utf8')));
      else copyFileSync(join(from, name), to);
      const { uid, gid } = statSync(peer.configFolder);
      const isSecret = name === 'shadow.json';
      await chown(to, name === 'token.shadow' ? uid : 0, isSecret ? 0 : gid);
      await chmod(to, isSecret ? 0o600 : 0o640);
    }
  });

  for (const [authId, secret] of [['op@pbs', 'operator-1'], ['reader@pbs', 'reader-secret-1'], ['reader@pbs!offsite', token]] as const) {
    assert.match(await peer.client(peer.target(authId, secret, 'main'), ['status']), /total/, authId);
  }
  assert.notEqual((await peer.tryClient(peer.target('op@pbs', 'operator-2', 'main'), ['status'])).status, 0);
  for (const argv of [['user', 'list'], ['acl', 'list'], ['datastore', 'list'], ['remote', 'list'], ['sync-job', 'list'], ['prune-job', 'list'], ['verify-job', 'list'], ['traffic-control', 'list']]) {
    const plain = (value: unknown): unknown => JSON.parse(mapped(JSON.stringify(value)));
    const inOrder = (value: unknown): string[] => (value as object[]).map((item) => JSON.stringify(Object.entries(item).toSorted(([a], [b]) => (a < b ? -1 : 1)))).toSorted();
    const mine = plain(JSON.parse(await ours.manager(...argv, '--output-format', 'json')));
    assert.deepEqual(inOrder(await peer.managerJson(...argv)), inOrder(mine), argv.join(' '));
  }
  for (const argv of [['sync-job', 'run', 'nightly'], ['prune-job', 'run', 'thin'], ['verify-job', 'run', 'weekly'], ['garbage-collection', 'start', 'main']]) {
    const ran = await peer.tryManager(argv);
    assert.equal(ran.status, 0, `${argv.join(' ')}\n${ran.stdout}${ran.stderr}`);
  }
  const op = peer.target('op@pbs', 'operator-1', 'copy');
  assert.match(await peer.client(op, ['snapshot', 'list']), /host\/plain/);

  // The way back: a new user of the reference logs in with us, without anything of the source being touched.
  await peer.manager('user', 'create', 'late@pbs', '--password', 'late-secret-1');
  await peer.manager('acl', 'update', '/', 'Audit', '--auth-id', 'late@pbs');
  const before = contentOf(peer.configFolder);
  const second = join(work, 'second');
  const importing = await ours.tryManager(['import', peer.configFolder]);
  assert.notEqual(importing.status, 0, 'an installation with other content takes nothing over');
  await mkdir(second);
  succeeded(await runProgram(join(import.meta.dirname, '..', '..', 'bin', 'farshore'), ['import', peer.configFolder], { env: { FARSHORE_HOME: second } }), 'farshore import');
  await using back = await FarshoreServer.start(second);
  assert.equal(back.fingerprint, peer.fingerprint, 'the certificate came, too');
  for (const [authId, secret] of [['op@pbs', 'operator-1'], ['late@pbs', 'late-secret-1']] as const) {
    assert.match(await peer.client(back.target(hostAddress, authId, secret, 'main'), ['version']), /server version/, authId);
  }
  assert.deepEqual(contentOf(peer.configFolder), before);
});
