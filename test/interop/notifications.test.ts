import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { Peer } from '../support/peer.ts';
import { shapeDifferences, shapeOf } from '../support/reply-shape.ts';
import { WholeServer } from '../support/whole-server.ts';

/** Targets and matchers over both servers: each reads what the other wrote, and shows the same of it. */

const base64 = (text: string): string => Buffer.from(text).toString('base64');

/** Kind, as in the manager's words, and what is created. */
const entities: Array<[kind: string, given: Record<string, unknown>]> = [
  ['endpoint gotify', { name: 'phone', server: 'https://gotify.example.com', token: 'tok-1', comment: 'Phone' }],
  ['endpoint smtp', { name: 'mail', server: 'smtp.example.com', 'from-address': 'a@example.com', mailto: ['ops@example.com', 'b@example.com'], mode: 'starttls', port: 587, username: 'u', password: 'pw 1' }],
  ['endpoint smtp', { name: 'plain', server: 's', 'from-address': 'a', 'mailto-user': ['x@pbs'], author: 'Jörg "J" <x>' }],
  ['endpoint sendmail', { name: 'local', mailto: ['x@y'], disable: true }],
  ['endpoint webhook', { name: 'hook', method: 'put', url: 'http://[::1]:8080/{{ url-encode title }}', header: [`name=X-A,value=${base64('{{ secrets.pw }}')}`], body: base64('{"t":{{ json title }}}'), secret: [`name=pw,value=${base64('s')}`, 'name=later'] }],
  ['matcher', { name: 'errors', 'match-severity': ['error,warning', 'unknown'], 'match-field': ['exact:type=sync,gc', 'regex:datastore=^m.*$'], 'match-calendar': ['mon..fri 8-17:30'], mode: 'any', 'invert-match': true, target: ['phone', 'mail-to-root'] }],
  ['matcher', { name: 'bare' }],
];

const pathOf = (kind: string): string => `/config/notifications/${kind === 'matcher' ? 'matchers' : kind.replace(/^endpoint /, 'endpoints/')}`;
const options = (given: Record<string, unknown>): string[] =>
  Object.entries(given).flatMap(([key, value]) => (key === 'name' ? [] : (Array.isArray(value) ? value : [value]).flatMap((one) => [`--${key}`, String(one)])));
const etc = '/etc/proxmox-backup';
const files = ['notifications.cfg', 'notifications-priv.cfg'];
const byName = (list: unknown): unknown[] => (list as Array<{ name: string }>).toSorted((a, b) => (a.name < b.name ? -1 : 1));

test('notifications.cfg: written here and read by the reference, and the other way', async (t) => {
  await using peer = await Peer.start();
  await using server = await WholeServer.make();
  const folder = await mkdtemp(join(tmpdir(), 'farshore-notify-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const call = async (method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, parameters: Record<string, unknown> = {}): Promise<unknown> => {
    const result = await server.composition.router.call({ method, path, caller: { authId: 'root@pam', remoteAddress: '::1' }, parameters });
    assert.ok(result.ok, `${method} ${path}: ${result.ok ? '' : result.message}`);
    return result.data;
  };
  const ours = (name: string): string => join(server.paths.config, name);
  const theirs = async (name: string): Promise<string> => {
    const ran = await peer.exec(['cat', `${etc}/${name}`]);
    assert.equal(ran.status, 0, ran.stderr);
    return ran.stdout;
  };
  const compareAll = async (): Promise<void> => {
    for (const kind of ['endpoint gotify', 'endpoint smtp', 'endpoint sendmail', 'endpoint webhook', 'matcher', 'target']) {
      const listed = byName(await call('GET', kind === 'target' ? '/config/notifications/targets' : pathOf(kind)));
      const words = ['notification', ...kind.split(' ')];
      assert.deepEqual(listed, byName(await peer.managerJson(...words, 'list')), kind);
      if (kind === 'target') continue;
      for (const { name } of listed as Array<{ name: string }>) assert.deepEqual(await call('GET', `${pathOf(kind)}/${name}`), await peer.managerJson(...words, 'show', name), name);
    }
  };

  for (const [kind, given] of entities) {
    await call('POST', pathOf(kind), given);
    await peer.manager('notification', ...kind.split(' '), 'create', String(given['name']), ...options(given));
  }
  // The reference adds the two built-in sections in any order.
  const sections = (text: string): string[] => text.trimEnd().split('\n\n').toSorted();
  for (const name of files) assert.deepEqual(sections(await readFile(ours(name), 'utf8')), sections(await theirs(name)), `${name}: the same bytes`);
  await compareAll();

  // Changes here, then the reference takes the files.
  await call('PUT', '/config/notifications/endpoints/webhook/hook', { secret: ['name=pw', `name=new,value=${base64('n')}`], delete: ['header'] });
  await call('PUT', '/config/notifications/endpoints/sendmail/mail-to-root', { comment: 'ours', mailto: ['root@example.com'] });
  await call('PUT', '/config/notifications/matchers/errors', { delete: ['target', 'match-calendar', 'invert-match'] });
  await call('DELETE', '/config/notifications/endpoints/gotify/phone');
  for (const name of files) {
    await writeFile(join(peer.dataFolder, name), await readFile(ours(name)));
    const mode = name.includes('priv') ? 'install -m 600 -o root -g root' : 'install -m 640 -o root -g backup';
    assert.equal((await peer.exec(['sh', '-c', `${mode} /data/${name} ${etc}/${name}`])).status, 0);
  }
  await compareAll();

  // Changes there, then we take the files.
  await peer.manager('notification', 'endpoint', 'gotify', 'create', 'again', '--server', 'http://g', '--token', 't 2');
  await peer.manager('notification', 'endpoint', 'webhook', 'update', 'hook', '--secret', 'name=new');
  await peer.manager('notification', 'endpoint', 'smtp', 'update', 'mail', '--delete', 'password', '--delete', 'username', '--disable', 'true');
  await peer.manager('notification', 'endpoint', 'sendmail', 'delete', 'mail-to-root');
  await peer.manager('notification', 'matcher', 'update', 'default-matcher', '--mode', 'any', '--target', 'again');
  for (const name of files) await writeFile(ours(name), await theirs(name));
  await compareAll();
  await call('PUT', '/config/notifications/endpoints/gotify/again', { comment: 'taken' });
  assert.match(await readFile(ours('notifications-priv.cfg'), 'utf8'), /^gotify: again\n\ttoken t 2$/m);
});

test('what both refuse, and how; fields and their values', async () => {
  await using peer = await Peer.start();
  await using server = await WholeServer.make();
  const refused: Array<[kind: string, name: string, given: Record<string, unknown>]> = [
    ['endpoint sendmail', 'ab', {}],
    ['endpoint smtp', 'ab', { server: 's', 'from-address': 'a' }],
    ['endpoint gotify', 'mail-to-root', { server: 's', token: 't' }],
    ['matcher', 'ab', { target: ['nosuch'] }],
    ['matcher', 'ab', { 'match-severity': ['info,fatal'] }],
    ['matcher', 'ab', { 'match-field': ['exact:a'] }],
    ['matcher', 'ab', { 'match-field': ['exact:a b=c'] }],
  ];
  for (const [kind, name, given] of refused) {
    const ran = await peer.tryManager(['notification', ...kind.split(' '), 'create', name, ...options(given)]);
    const result = await server.composition.router.call({ method: 'POST', path: pathOf(kind), caller: { authId: 'root@pam', remoteAddress: '::1' }, parameters: { name, ...given } });
    assert.ok(!result.ok && ran.status !== 0, `${kind} ${JSON.stringify(given)}`);
    assert.equal(`Error: ${result.message}`, ran.stderr.split('\n')[0]);
  }
  await peer.manager('user', 'create', 'op@pbs', '--password', 'operator-1');
  await peer.manager('acl', 'update', '/', 'Admin', '--auth-id', 'op@pbs');
  const rest = new RestClient(new RemoteEndpoint({ host: peer.host, port: peer.port, authId: 'op@pbs', secret: 'operator-1', fingerprint: peer.fingerprint }));
  try {
    for (const path of ['matcher-fields', 'matcher-field-values', 'targets', 'endpoints/sendmail/mail-to-root', 'matchers/default-matcher']) {
      const theirs = (await rest.get(`config/notifications/${path}`)).data;
      const result = await server.composition.router.call({ method: 'GET', path: `/config/notifications/${path}`, caller: { authId: 'root@pam', remoteAddress: '::1' }, parameters: {} });
      assert.ok(result.ok);
      assert.deepEqual(shapeDifferences(shapeOf(result.data), shapeOf(theirs)), [], path);
    }
  } finally {
    rest.close();
  }
});
