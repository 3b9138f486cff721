import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessApi, addEve, evePassword } from '../../../test/support/access-api.ts';
import { readFixture } from '../../../test/support/golden.ts';

interface Recorded {
  body: { data: unknown; digest?: string };
}
const recorded = JSON.parse(readFixture('api/access-source.json').toString()) as Record<string, Recorded>;

/** The reference lists users in no order. */
function byUser(data: unknown): unknown {
  return (data as Array<{ userid: string }>).toSorted((a, b) => (a.userid < b.userid ? -1 : 1));
}

test("reads are the reference's, with the file's digest", async (t) => {
  const { server } = await accessApi(t);
  for (const [path, parameters, name] of [
    ['/access/users', {}, 'GET /access/users'],
    ['/access/users', { include_tokens: true }, 'GET /access/users?include_tokens=1'],
    ['/access/users/sync@pbs', {}, 'GET /access/users/sync@pbs'],
    ['/access/users/sync@pbs/token', {}, 'GET /access/users/sync@pbs/token'],
  ] as const) {
    const reply = await server.call('admin@pbs', 'GET', path, parameters);
    assert.ok(reply.ok, path);
    const { data, digest } = recorded[name]!.body;
    const sorted = path === '/access/users' ? byUser : (value: unknown) => value;
    assert.deepEqual([sorted(reply.data), reply.siblings], [sorted(data), { digest }], name);
  }
});

test('who sees and changes whom', async (t) => {
  const { server, changer } = await accessApi(t);
  await changer.createToken({ tokenid: 'alice@pbs!laptop' });
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/users'), [{ userid: 'alice@pbs' }]);
  assert.deepEqual(await server.data('alice@pbs!laptop', 'GET', '/access/users', { include_tokens: true }), [{ userid: 'alice@pbs', tokens: [{ tokenid: 'alice@pbs!laptop' }] }]);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/users/alice@pbs'), { userid: 'alice@pbs' });
  for (const [as, method, path] of [
    ['alice@pbs', 'GET', '/access/users/sync@pbs'],
    ['alice@pbs!laptop', 'GET', '/access/users/alice@pbs'],
    ['alice@pbs', 'POST', '/access/users'],
    ['alice@pbs', 'DELETE', '/access/users/sync@pbs'],
    ['alice@pbs', 'PUT', '/access/users/sync@pbs'],
    ['alice@pbs', 'GET', '/access/users/sync@pbs/token'],
    ['alice@pbs', 'POST', '/access/users/sync@pbs/token/mine'],
    ['alice@pbs', 'PUT', '/access/users/sync@pbs/token/offsite'],
    ['alice@pbs', 'DELETE', '/access/users/sync@pbs/token/offsite'],
  ] as const) {
    assert.equal(await server.refusal(as, method, path), '403 permission check failed', `${as} ${method} ${path}`);
  }
  assert.equal(await server.data('alice@pbs', 'PUT', '/access/users/alice@pbs', { comment: 'me' }), null);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/users/alice@pbs'), { userid: 'alice@pbs', comment: 'me' });
});

test('a user from creation to removal', async (t) => {
  const { server, login, accounts } = await accessApi(t);
  const admin = (method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, parameters?: Record<string, unknown>): Promise<unknown> => server.data('admin@pbs', method, path, parameters);
  assert.equal(await admin('POST', '/access/users', { userid: 'carl@pbs', comment: ' hi ', firstname: 'Ca', password: 'carl-password' }), null);
  assert.equal((await login.login({ username: 'carl@pbs', password: 'carl-password' })).username, 'carl@pbs');
  assert.deepEqual(await admin('GET', '/access/users/carl@pbs'), { userid: 'carl@pbs', comment: 'hi', firstname: 'Ca' });
  assert.equal(await admin('PUT', '/access/users/carl@pbs', { comment: ' ', enable: false, expire: 5, delete: ['firstname'], password: 'ignored' }), null);
  assert.deepEqual(await admin('GET', '/access/users/carl@pbs'), { userid: 'carl@pbs', enable: false, expire: 5 });
  await admin('PUT', '/access/users/carl@pbs', { enable: true, expire: 0 });
  assert.equal((await login.login({ username: 'carl@pbs', password: 'carl-password' })).username, 'carl@pbs', 'the password in an update is without effect');
  const refused = (method: 'GET' | 'POST' | 'PUT' | 'DELETE', path: string, parameters?: Record<string, unknown>): Promise<string> => server.refusal('admin@pbs', method, path, parameters);
  assert.equal(await refused('POST', '/access/users', { userid: 'carl@pbs' }), "400 user 'carl@pbs' already exists.");
  assert.equal(await refused('POST', '/access/users', { userid: 'carl@nosuch' }), "400 unknown realm 'nosuch'");
  assert.equal(await refused('POST', '/access/users', { userid: 'zed@pam', password: 'zedzedzed' }), '400 only superuser can edit pam credentials!');
  assert.equal(accounts.findUser('zed@pam'), undefined);
  assert.equal(await refused('POST', '/access/users', { userid: 'zed@pbs', password: 'short' }), "400 parameter verification failed - 'password': value must be at least 8 characters long");
  const stale = 'a'.repeat(64);
  for (const method of ['PUT', 'DELETE'] as const) {
    assert.equal(await refused(method, '/access/users/carl@pbs', { digest: stale }), '400 detected modified configuration - file changed by other user? Try again.');
  }
  assert.equal(await refused('PUT', '/access/users/carl@pbs', { delete: ['userid'] }), "400 parameter verification failed - 'delete/[0]': value 'userid' is not defined in the enumeration.");
  assert.equal(await admin('DELETE', '/access/users/carl@pbs', { digest: accounts.users().digest }), null);
  assert.equal(await refused('GET', '/access/users/carl@pbs'), "400 no such user 'carl@pbs'");
  assert.equal(await refused('PUT', '/access/users/carl@pbs', { comment: 'x' }), "400 no such user 'carl@pbs'");
  assert.equal(await refused('DELETE', '/access/users/carl@pbs'), "400 user 'carl@pbs' does not exist.");
});

test('a token from creation to removal', async (t) => {
  const { server, tokens, acl } = await accessApi(t);
  const path = '/access/users/alice@pbs/token/laptop';
  const made = (await server.data('alice@pbs', 'POST', path, { comment: 'mine' })) as { tokenid: string; value: string };
  assert.deepEqual(Object.keys(made), ['tokenid', 'value']);
  assert.equal(made.tokenid, 'alice@pbs!laptop');
  assert.ok(await tokens.verifySecret(made.tokenid, made.value));
  assert.equal(await server.refusal('alice@pbs', 'POST', path), "400 token 'laptop' for user 'alice@pbs' already exists.");
  assert.deepEqual(await server.data('alice@pbs', 'GET', path), { tokenid: 'alice@pbs!laptop', comment: 'mine' });
  assert.equal(await server.data('alice@pbs', 'PUT', path, { enable: false, delete: ['comment'] }), null);
  const { secret, ...rest } = (await server.data('alice@pbs', 'PUT', path, { regenerate: true, expire: 7 })) as { secret: string };
  assert.deepEqual(rest, {});
  assert.deepEqual([await tokens.verifySecret(made.tokenid, made.value), await tokens.verifySecret(made.tokenid, secret)], [false, true]);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/users/alice@pbs/token'), [{ 'token-name': 'laptop', tokenid: 'alice@pbs!laptop', enable: false, expire: 7 }]);
  assert.equal(await server.refusal('alice@pbs', 'PUT', path, { regenerate: true, digest: 'b'.repeat(64) }), '400 detected modified configuration - file changed by other user? Try again.');
  assert.ok(await tokens.verifySecret(made.tokenid, secret), 'a refused change makes no new secret');
  await server.data('admin@pbs', 'PUT', '/access/acl', { path: '/datastore/main', role: 'DatastoreReader', 'auth-id': 'alice@pbs!laptop' });
  assert.equal(await server.data('alice@pbs', 'DELETE', path), null);
  assert.equal(await tokens.verifySecret(made.tokenid, secret), false);
  assert.ok(!acl.load().value.entries().some((entry) => entry.subject === 'alice@pbs!laptop'));
  assert.equal(await server.refusal('alice@pbs', 'GET', path), "400 no such token 'alice@pbs!laptop'");
  assert.equal(await server.refusal('alice@pbs', 'PUT', path, { regenerate: true }), "400 no such token 'alice@pbs!laptop'");
  assert.equal(await server.refusal('alice@pbs', 'DELETE', path), "400 token 'laptop' of user 'alice@pbs' does not exist.");
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/access/users/nosuch@pbs/token'), []);
});

test('passwords: whose, by whom, and only with the own one', async (t) => {
  const api = await accessApi(t);
  await addEve(api);
  await api.changer.createUser({ userid: 'bob@pbs' }, { password: 'bob-password-1' });
  await api.changer.createUser({ userid: 'boss@pbs' }, { password: 'boss-password' });
  await api.changer.createToken({ tokenid: 'boss@pbs!x' });
  await api.acl.update((tree) => {
    for (const subject of ['boss@pbs', 'boss@pbs!x']) tree.insert({ path: '/', subject, role: 'Admin', propagate: true });
  });
  const change = (as: string, userid: string, own?: string): Promise<string> =>
    api.server.refusal(as, 'PUT', '/access/password', { userid, password: 'changed-1', ...(own === undefined ? {} : { 'confirmation-password': own }) });
  assert.equal(await change('eve@pbs', 'eve@pbs'), '401 missing password');
  assert.equal(await change('eve@pbs', 'eve@pbs', 'wrong-one'), '401 invalid credentials');
  assert.equal(await change('eve@pbs', 'bob@pbs', evePassword), '400 you are not authorized to change the password.');
  assert.equal(await change('boss@pbs!x', 'bob@pbs', 'boss-password'), '400 API tokens cannot access this API endpoint');
  assert.equal(await change('boss@pbs', 'root@pam', 'boss-password'), '400 you are not authorized to change the password.');
  assert.equal(await change('boss@pbs', 'bob@pbs', 'bob-password-1'), '401 invalid credentials');
  assert.equal(await change('boss@pbs', 'nosuch@pbs', 'boss-password'), "401 user 'nosuch@pbs' does not exists.");
  assert.equal((await api.login.login({ username: 'bob@pbs', password: 'bob-password-1' })).username, 'bob@pbs', 'nothing was changed');

  const works = async (as: string, userid: string, password: string, own?: string): Promise<void> => {
    assert.equal(await api.server.data(as, 'PUT', '/access/password', { userid, password, ...(own === undefined ? {} : { 'confirmation-password': own }) }), null);
    assert.equal((await api.login.login({ username: userid, password })).username, userid);
  };
  await works('eve@pbs', 'eve@pbs', 'changed-1', evePassword);
  await works('boss@pbs', 'bob@pbs', 'changed-2', 'boss-password');
  await works('root@pam', 'bob@pbs', 'changed-3');
});

test('second factors are listed without their secrets', async (t) => {
  const { server, tfa } = await accessApi(t);
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/access/tfa'), []);
  await tfa.update((content) => {
    content.users['alice@pbs'] = {
      totp: [{ id: 'id-1', description: 'phone', created: 5, entry: 'otpauth://totp/x?secret=JBSWY3DPEHPK3PXP' }],
      recovery: { secret: 'secret-of-recovery', entries: ['aa', null], created: 6 },
      'totp-locked': true,
    };
    content.users['sync@pbs'] = { totp: [{ id: 'id-2', enable: false, entry: { totp: 'otpauth://totp/x?secret=JBSWY3DPEHPK3PXP', 'last-count': 3 } }], 'tfa-locked-until': 99 };
  });
  const entries = [
    { created: 6, id: 'recovery', type: 'recovery' },
    { created: 5, description: 'phone', id: 'id-1', type: 'totp' },
  ];
  const alices = { userid: 'alice@pbs', entries, 'totp-locked': true };
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/tfa'), [alices]);
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/access/tfa'), [
    alices,
    { userid: 'sync@pbs', entries: [{ created: 0, enable: false, id: 'id-2', type: 'totp' }] },
  ]);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/tfa/alice@pbs'), entries);
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/access/tfa/alice@pbs/id-1'), entries[1]);
  assert.equal(await server.refusal('alice@pbs', 'GET', '/access/tfa/alice@pbs/id-2'), '404 no such tfa entry: alice@pbs/id-2');
  assert.equal(await server.refusal('alice@pbs', 'GET', '/access/tfa/sync@pbs'), '403 permission check failed');
});
