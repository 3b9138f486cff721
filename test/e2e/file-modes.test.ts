import assert from 'node:assert/strict';
import { lstatSync, readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { addGoldenDatastore, addRemote, datastoreFolder, FarshoreHost, readerToken, secretIn } from '../support/farshore-host.ts';

const password = 'tour-password-1';
const remotePassword = 'remote-password-2';
/** Goes to the other side as it is, so it lies here as it is, where the reference has it, too. */
const sentSecret = 'gotify-token-3';

/** Files below `home`, as a relative path, with their modes. */
function modes(home: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const entry of readdirSync(home, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    found.set(relative(home, path), lstatSync(path).mode);
  }
  return found;
}

const kind = (mode: number): number => mode & 0o170000;
const [regular, folder, socket] = [0o100000, 0o040000, 0o140000];

test('after a tour through everything, with no umask at all: secrets are for the owner only, and nothing may be written by others', async (t) => {
  await using room = await datastoreFolder();
  await using source = new FarshoreHost(join(room.path, 'source'));
  await addGoldenDatastore(source, 'main', join(room.path, 'golden'));
  await source.start();
  const readSecret = await readerToken(source, 'main');

  const home = join(room.path, 'home');
  await using host = new FarshoreHost(home);
  const umask = process.umask(0);
  t.after(() => process.umask(umask));
  await host.start();
  await host.ok('user', 'create', 'tour@pbs', '--password', password);
  const secret = secretIn(await host.ok('user', 'generate-token', 'tour@pbs', 'tok'));
  await host.ok('acl', 'update', '/', 'Admin', '--auth-id', 'tour@pbs');
  await host.ok('datastore', 'create', 'copy', join(room.path, 'copy'));
  await addRemote(host, 'source', source, readSecret);
  await addRemote(host, 'other', source, remotePassword);
  await host.ok('sync-job', 'create', 'tour', '--store', 'copy', '--remote', 'source', '--remote-store', 'main', '--schedule', 'daily');
  await host.ok('sync-job', 'run', 'tour');
  await host.ok('verify-job', 'create', 'tour', '--store', 'copy', '--schedule', 'daily');
  await host.ok('verify-job', 'run', 'tour');
  await host.ok('prune-job', 'create', 'tour', '--store', 'copy', '--schedule', 'daily', '--keep-last', '1');
  await host.ok('prune-job', 'run', 'tour');
  await host.ok('garbage-collection', 'start', 'copy');
  await host.run(['user', 'update', 'nosuch@pbs', '--password', password]);
  await host.ok('cert', 'update', '--force');
  await host.ok('notification', 'endpoint', 'gotify', 'create', 'tour', '--server', 'http://127.0.0.1:9', '--token', sentSecret);
  const running = modes(home);
  const sockets = [...running].filter(([, mode]) => kind(mode) === socket);
  assert.deepEqual(sockets.map(([path, mode]) => [path, mode & 0o777]), [['run/farshore.sock', 0o600]]);
  await host.stop();

  const found = modes(home);
  assert.ok(found.size > 40, [...found.keys()].join('\n'));
  assert.equal(found.get('etc')! & 0o777, 0o700);
  const wrong: string[] = [];
  const say = (path: string, mode: number, what: string): void => void wrong.push(`${(mode & 0o7777).toString(8)} ${path}: ${what}`);
  for (const [path, mode] of found) {
    const inEtc = path.startsWith('etc/');
    if ((mode & 0o002) !== 0) say(path, mode, 'others may write');
    if (kind(mode) === folder && (mode & 0o020) !== 0) say(path, mode, 'the group may write');
    if (inEtc && (mode & 0o027) !== 0) say(path, mode, 'configuration is open');
    if (kind(mode) !== regular) continue;
    const text = readFileSync(join(home, path), 'latin1');
    const holdsSecret = [password, remotePassword, secret, readSecret].some((one) => text.includes(one));
    if (text.includes(sentSecret) && (path !== 'etc/notifications-priv.cfg' || (mode & 0o777) !== 0o600)) say(path, mode, 'a secret of a target of notifications');
    // Where a secret must stand, it stands hashed or sealed.
    if (holdsSecret) say(path, mode, 'a secret in plain text');
    if ((/PRIVATE KEY|"hash"|\$y\$|\$5\$|password/i.test(text) || /\.key$|shadow/.test(path)) && inEtc && (mode & 0o077) !== 0 && !path.endsWith('.cfg')) say(path, mode, 'a secret that others may read');
    if (/PRIVATE KEY/.test(text) && !inEtc) say(path, mode, 'a key outside of the configuration');
  }
  assert.deepEqual(wrong, []);
  for (const name of ['authkey.key', 'csrf.key', 'proxy.key', 'shadow.json', 'token.shadow']) assert.equal(found.get(join('etc', name))! & 0o777, 0o600, name);
});
