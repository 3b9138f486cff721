import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { accessApi } from '../../../test/support/access-api.ts';
import { readFixture } from '../../../test/support/golden.ts';
import { configFixtures } from '../../../test/support/installation.ts';

const replies = JSON.parse(readFileSync(join(configFixtures, 'access-replies.json'), 'utf8')) as Record<string, { data: unknown; digest?: string }>;
const domains = (JSON.parse(readFixture('api/access-source.json').toString()) as Record<string, { body: { data: unknown; digest: string } }>)['GET /access/domains']!.body;

test("reads are the reference's", async (t) => {
  const { server } = await accessApi(t);
  for (const [path, parameters, name] of [
    ['/access/acl', {}, 'GET /access/acl'],
    ['/access/permissions', {}, 'GET /access/permissions'],
    ['/access/permissions', { 'auth-id': 'sync@pbs' }, 'GET /access/permissions?auth-id=sync%40pbs'],
  ] as const) {
    const reply = await server.call('admin@pbs', 'GET', path, parameters);
    assert.ok(reply.ok);
    assert.deepEqual({ data: reply.data, ...reply.siblings }, replies[name]);
  }
  const byId = (data: unknown): unknown => (data as Array<{ roleid: string }>).toSorted((a, b) => (a.roleid < b.roleid ? -1 : 1));
  assert.deepEqual(byId(await server.data('alice@pbs', 'GET', '/access/roles')), byId(replies['GET /access/roles']!.data));
  const answer = await server.http('', 'GET', '/api2/json/access/domains');
  assert.deepEqual([answer.status, JSON.parse(answer.body.toString())], [200, domains], 'without login');
});

test('filters of the list', async (t) => {
  const { server } = await accessApi(t);
  const paths = async (as: string, parameters: Record<string, unknown>): Promise<string[]> => ((await server.data(as, 'GET', '/access/acl', parameters)) as Array<{ path: string; ugid: string }>).map(({ path, ugid }) => `${path} ${ugid}`);
  assert.equal((await paths('admin@pbs', { path: '/datastore' })).length, 3);
  assert.deepEqual(await paths('admin@pbs', { path: '/', exact: true }), ['/ admin@pbs']);
  assert.deepEqual(await paths('sync@pbs', {}), ['/datastore/main sync@pbs!offsite']);
  assert.deepEqual(await paths('alice@pbs', {}), []);
});

test('whose permissions a caller sees', async (t) => {
  const { server, changer } = await accessApi(t);
  await changer.createToken({ tokenid: 'alice@pbs!laptop' });
  const own = { '/datastore/main': { 'Datastore.Backup': true } };
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/permissions'), own);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/permissions', { 'auth-id': 'alice@pbs!laptop' }), {});
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/access/permissions', { 'auth-id': 'alice@pbs', path: '/datastore/main' }), own);
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/access/permissions', { 'auth-id': 'nosuch@pbs' }), {});
  assert.equal(await server.refusal('alice@pbs', 'GET', '/access/permissions', { 'auth-id': 'sync@pbs' }), '400 not allowed to list permissions of sync@pbs');
  assert.equal(await server.refusal('alice@pbs!laptop', 'GET', '/access/permissions', { 'auth-id': 'alice@pbs' }), '400 not allowed to list permissions of alice@pbs');
});

test("changes and refusals are the reference's", async (t) => {
  const { server, changer, acl } = await accessApi(t);
  await changer.createToken({ tokenid: 'alice@pbs!laptop' });
  const entry = (more: Record<string, unknown>): Record<string, unknown> => ({ path: '/datastore/main', role: 'DatastoreReader', ...more });
  const refused = (as: string, more: Record<string, unknown>): Promise<string> => server.refusal(as, 'PUT', '/access/acl', entry(more));
  assert.equal(await refused('admin@pbs', { group: 'grp' }), "400 parameter 'group' - groups are currently not supported.");
  assert.equal(await refused('admin@pbs', { group: 'grp', 'auth-id': 'alice@pbs' }), "400 parameter 'group' - groups are currently not supported.");
  assert.equal(await refused('admin@pbs', {}), "400 missing 'userid' or 'group' parameter.");
  assert.equal(await refused('admin@pbs', { 'auth-id': 'nosuch@pbs' }), '400 no such user.');
  assert.equal(await refused('admin@pbs', { 'auth-id': 'alice@pbs!nosuch' }), '400 no such API token.');
  assert.equal(await refused('admin@pbs', { 'auth-id': 'alice@pbs', path: '/nosuch/main' }), "400 invalid acl path '/nosuch/main'.");
  assert.equal(await refused('admin@pbs', { 'auth-id': 'alice@pbs', role: 'Nosuch' }), "400 parameter verification failed - 'role': value 'Nosuch' is not defined in the enumeration.");
  assert.equal(await refused('admin@pbs', { 'auth-id': 'alice@pbs', digest: 'c'.repeat(64) }), '400 detected modified configuration - file changed by other user? Try again.');
  assert.equal(await refused('alice@pbs', { group: 'grp' }), '400 Unprivileged users are not allowed to create group ACL item.');
  assert.equal(await refused('alice@pbs', {}), '400 Unprivileged user needs to provide auth_id to update ACL item.');
  assert.equal(await refused('alice@pbs', { 'auth-id': 'alice@pbs' }), '400 Unprivileged users can only set ACL items for API tokens.');
  assert.equal(await refused('alice@pbs', { 'auth-id': 'sync@pbs!offsite' }), '400 Unprivileged users can only set ACL items for their own API tokens.');
  assert.equal(await refused('alice@pbs!laptop', { 'auth-id': 'alice@pbs!laptop' }), "400 Unprivileged API tokens can't set ACL items.");

  const put = (as: string, more: Record<string, unknown>): Promise<unknown> => server.data(as, 'PUT', '/access/acl', entry(more));
  const entries = (): string[] => acl.load().value.entries().map(({ path, subject, role, propagate }) => `${path} ${subject} ${role} ${propagate}`);
  const before = entries();
  assert.equal(await put('alice@pbs', { 'auth-id': 'alice@pbs!laptop', propagate: false }), null);
  assert.deepEqual(entries().filter((one) => !before.includes(one)), ['/datastore/main alice@pbs!laptop DatastoreReader false']);
  assert.equal(await put('alice@pbs', { 'auth-id': 'alice@pbs!laptop', delete: true }), null);
  assert.equal(await put('admin@pbs', { 'auth-id': 'nosuch@pbs', path: '/nosuch', delete: true }), null, 'what is not there can be deleted');
  assert.deepEqual(entries(), before);
});

test("the server's log says when a grant has no effect", async (t) => {
  const { server, log } = await accessApi(t);
  const grant = (subject: string): Promise<unknown> => server.data('admin@pbs', 'PUT', '/access/acl', { path: '/datastore/main', role: 'DatastorePowerUser', 'auth-id': subject });
  await grant('sync@pbs!offsite');
  assert.equal(log.length, 1);
  assert.match(log[0]!, /^role DatastorePowerUser of 'sync@pbs!offsite' has no full effect yet: on '\/datastore\/main' user 'sync@pbs' lacks Datastore\.Backup, Datastore\.Prune/);
  await grant('sync@pbs');
  await grant('sync@pbs!offsite');
  assert.equal(log.length, 1);
});
