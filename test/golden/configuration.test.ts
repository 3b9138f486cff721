import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { cp, readFile, readdir, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { configFixtures } from '../support/installation.ts';
import { WholeServer } from '../support/whole-server.ts';

/** Golden configurations under a whole server: one value is changed through the API, and nothing else changes in any file. */

interface Api {
  folder: string;
  call: (method: string, path: string, parameters?: Record<string, unknown>) => Promise<{ status: number; text: string }>;
}

async function serverOn(t: TestContext, side: 'source' | 'target', extra: Readonly<Record<string, string>> = {}): Promise<Api> {
  const server = await WholeServer.make({
    prepare: async (paths) => {
      await cp(join(configFixtures, side), paths.config, { recursive: true });
      for (const [name, text] of Object.entries(extra)) await writeFile(join(paths.config, name), text);
    },
  });
  const port = await server.serve(t, 'root@pam');
  const call: Api['call'] = async (method, path, parameters) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path: `/api2/json${path}`, headers: parameters === undefined ? {} : { 'content-type': 'application/json' } });
    request.end(parameters === undefined ? undefined : JSON.stringify(parameters));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const text = Buffer.concat(await response.toArray()).toString('utf8');
    return { status: response.statusCode!, text };
  };
  return { folder: server.paths.config, call };
}

async function contentOf(folder: string): Promise<Map<string, string>> {
  const names = (await readdir(folder, { withFileTypes: true })).filter((entry) => entry.isFile() && !/\.(?:lck|lock)$/.test(entry.name)).map(({ name }) => name);
  return new Map(await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name), 'utf8')] as const)));
}

/** Lines that only one of the texts has: `-` before, `+` after; in order. */
function changedLines(before: string, after: string): string[] {
  const [old, now] = [before.split('\n'), after.split('\n')];
  let start = 0;
  while (start < Math.min(old.length, now.length) && old[start] === now[start]) start += 1;
  let end = 0;
  while (end < Math.min(old.length, now.length) - start && old.at(-1 - end) === now.at(-1 - end)) end += 1;
  return [...old.slice(start, old.length - end).map((line) => `-${line}`), ...now.slice(start, now.length - end).map((line) => `+${line}`)];
}

/** What differs between two states of the folder, by file. */
function differences(before: Map<string, string>, after: Map<string, string>): Record<string, string[]> {
  const names = [...new Set([...before.keys(), ...after.keys()])].toSorted();
  return Object.fromEntries(names.filter((name) => before.get(name) !== after.get(name)).map((name) => [name, changedLines(before.get(name) ?? '', after.get(name) ?? '')]));
}

interface Change {
  side: 'source' | 'target';
  call: [method: string, path: string, parameters: Record<string, unknown>];
  expected: Record<string, string[]>;
}

const changes: readonly Change[] = [
  { side: 'source', call: ['PUT', '/access/users/sync@pbs', { email: 'sync@example.org' }], expected: { 'user.cfg': ['+\temail sync@example.org'] } },
  { side: 'source', call: ['PUT', '/access/acl', { path: '/datastore/main', role: 'DatastoreReader', 'auth-id': 'alice@pbs' }], expected: { 'acl.cfg': ['-acl:1:/datastore/main:sync@pbs,sync@pbs!offsite:DatastoreReader', '+acl:1:/datastore/main:alice@pbs,sync@pbs,sync@pbs!offsite:DatastoreReader'] } },
  { side: 'source', call: ['PUT', '/config/access/pbs', { comment: 'Accounts' }], expected: { 'domains.cfg': ['-\tcomment Proxmox Backup authentication server', '+\tcomment Accounts'] } },
  { side: 'source', call: ['PUT', '/config/datastore/main', { comment: 'All of it' }], expected: { 'datastore.cfg': ['+\tcomment All of it'] } },
  { side: 'source', call: ['PUT', '/config/remote/to-b', { port: 9002 }], expected: { 'remote.cfg': ['-\tport 9001', '+\tport 9002'] } },
  { side: 'source', call: ['PUT', '/config/sync/push1', { schedule: 'daily' }], expected: { 'sync.cfg': ['+\tschedule daily'] } },
  { side: 'target', call: ['PUT', '/config/sync/offsite-nightly', { 'transfer-last': 3 }], expected: { 'sync.cfg': ['+\ttransfer-last 3'] } },
  { side: 'target', call: ['PUT', '/config/prune/offsite-prune', { 'keep-daily': 15 }], expected: { 'prune.cfg': ['-\tkeep-daily 14', '+\tkeep-daily 15'] } },
];

for (const { side, call, expected } of changes) {
  test(`${side}: ${call[0]} ${call[1]} changes that value and nothing else in any file`, async (t) => {
    const api = await serverOn(t, side, side === 'source' ? { 'farshore.json': '{"plain-remote-secrets":true}\n' } : {});
    const before = await contentOf(api.folder);
    const { status, text } = await api.call(...call);
    assert.equal(status, 200, text);
    assert.deepEqual(differences(before, await contentOf(api.folder)), expected);
  });
}

test('comments, unknown sections and unknown properties stay when a section beside them changes', async (t) => {
  const user = '# who may do what\n\nuser: root@pam\n\tcomment Superuser\n\ngroup: later@pbs\n\tmembers a b\n\nuser: admin@pbs\n\t# kept by the office\n\tbadge 17\n\nuser: sync@pbs\n';
  const api = await serverOn(t, 'source', { 'user.cfg': user });
  const before = await contentOf(api.folder);
  assert.equal((await api.call('PUT', '/access/users/sync@pbs', { comment: 'Offsite' })).status, 200);
  assert.deepEqual(differences(before, await contentOf(api.folder)), { 'user.cfg': ['+\tcomment Offsite'] });
  // Also in the section that changes itself.
  assert.equal((await api.call('PUT', '/access/users/admin@pbs', { firstname: 'Ada' })).status, 200);
  assert.match(readFileSync(join(api.folder, 'user.cfg'), 'utf8'), /user: admin@pbs\n\t# kept by the office\n\tbadge 17\n\tfirstname Ada\n/);
});

test('a password change touches shadow.json only, and only that user in it', async (t) => {
  const api = await serverOn(t, 'source');
  const before = await contentOf(api.folder);
  const { status, text } = await api.call('PUT', '/access/password', { userid: 'sync@pbs', password: 'another-secret-1' });
  assert.equal(status, 200, text);
  const after = await contentOf(api.folder);
  assert.deepEqual(Object.keys(differences(before, after)), ['shadow.json']);
  const [old, now] = [before, after].map((state) => JSON.parse(state.get('shadow.json')!) as Record<string, string>);
  const { sync, ...others } = now!;
  assert.deepEqual(others, old);
  assert.match(sync!, /^\$y\$/);
});

test('a change with the digest of another state is refused and changes nothing', async (t) => {
  const api = await serverOn(t, 'target');
  const paths = ['/access/users/admin@pbs', '/config/sync/offsite-nightly', '/config/prune/offsite-prune', '/config/remote/pbs-hq', '/config/datastore/offsite', '/config/access/pbs'];
  const before = await contentOf(api.folder);
  for (const path of paths) {
    const { status, text } = await api.call('PUT', path, { comment: 'Changed', digest: '00'.repeat(32) });
    assert.deepEqual([status, text.trim()], [400, 'detected modified configuration - file changed by other user? Try again.'], path);
  }
  assert.deepEqual(differences(before, await contentOf(api.folder)), {});
});

test('changes at the same time are all there afterwards', async (t) => {
  const api = await serverOn(t, 'target');
  const names = Array.from({ length: 8 }, (_, number) => `user${number}@pbs`);
  const answers = await Promise.all(names.map((userid) => api.call('POST', '/access/users', { userid })));
  assert.deepEqual(new Set(answers.map(({ status }) => status)), new Set([200]));
  const text = readFileSync(join(api.folder, 'user.cfg'), 'utf8');
  for (const name of names) assert.ok(text.includes(`user: ${name}\n`), name);
  assert.ok(text.startsWith(readFileSync(join(configFixtures, 'target', 'user.cfg'), 'utf8')));
});
