import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { test, type TestContext } from 'node:test';
import { accessUnderTest, type AccessUnderTest } from '../../test/support/accounts.ts';
import { AccessControl } from '../access/access-control.ts';
import { makeCsrfToken } from '../access/csrf.ts';
import { loadServerKeys } from '../access/server-keys.ts';
import { signTicket } from '../access/ticket.ts';
import { aclFile } from '../config/acl-config.ts';
import type { Caller, Permission } from './endpoint.ts';
import { Gatekeeping } from './gatekeeping.ts';
import { remoteAddressText } from './remote-address.ts';

const nowMs = 1_795_485_533_000;

interface Ground extends AccessUnderTest {
  gatekeeping: Gatekeeping;
  lines: string[];
}

async function ground(t: TestContext): Promise<Ground> {
  const accounts = await accessUnderTest(t, { golden: 'source', nowMs });
  const lines: string[] = [];
  return { ...accounts, lines, gatekeeping: new Gatekeeping({ authenticator: accounts.authenticator, access: new AccessControl(aclFile(accounts.paths)), authLog: (line) => void lines.push(line) }) };
}

/** What the gatekeeper makes of a real request. */
async function enter(t: TestContext, gatekeeping: Gatekeeping): Promise<(method: string, headers: Record<string, string>) => Promise<Caller | null>> {
  const seen: Array<Caller | null> = [];
  const server = createServer((request, response) => {
    void gatekeeping.authenticate(request).then((caller) => {
      seen.push(caller);
      response.end();
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return async (method, headers) => {
    const request = httpRequest({ host: '127.0.0.1', port: (server.address() as AddressInfo).port, method, headers, agent: false });
    request.end();
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    response.resume();
    await once(response, 'end');
    return seen.pop()!;
  };
}

test('callers come in by token or ticket; failures are logged with address and reason, without the secret', async (t) => {
  const { gatekeeping, changer, lines, paths } = await ground(t);
  const send = await enter(t, gatekeeping);
  const secret = await changer.createToken({ tokenid: 'alice@pbs!laptop' });

  assert.deepEqual(await send('GET', { authorization: `PBSAPIToken=alice@pbs!laptop:${secret}` }), { authId: 'alice@pbs!laptop', remoteAddress: '127.0.0.1' });
  assert.equal(lines.length, 0, 'nothing is logged per request');

  const keys = await loadServerKeys(paths);
  const ticket = signTicket(keys.ticketSigningKey, 'alice@pbs', nowMs);
  const cookie = `PBSAuthCookie=${encodeURIComponent(ticket)}`;
  assert.equal((await send('GET', { cookie }))?.authId, 'alice@pbs');
  assert.equal((await send('PUT', { cookie, csrfpreventiontoken: makeCsrfToken(keys.csrfKey, 'alice@pbs', nowMs) }))?.authId, 'alice@pbs');
  assert.equal(await send('PUT', { cookie }), null);
  assert.equal(await send('GET', {}), null);
  assert.equal(await send('GET', { authorization: 'PBSAPIToken=alice@pbs!laptop:wrong-secret' }), null);
  assert.deepEqual(
    lines.map((line) => line.replace(/:\d+ /, ':PORT ')),
    [
      'authentication failure; rhost=127.0.0.1:PORT msg=missing CSRF prevention token',
      'authentication failure; rhost=127.0.0.1:PORT msg=no authentication credentials provided.',
      lines[2]!.replace(/:\d+ /, ':PORT '),
    ],
  );
  assert.match(lines[2]!, /^authentication failure; rhost=127\.0\.0\.1:\d+ msg=\S/);
  assert.doesNotMatch(lines.join('\n'), /wrong-secret|::/);
});

test('addresses as log watchers expect them', () => {
  assert.equal(remoteAddressText({ remoteAddress: '10.0.0.5', remotePort: 44_310 }), '10.0.0.5:44310');
  assert.equal(remoteAddressText({ remoteAddress: '::ffff:10.0.0.5', remotePort: 44_311 }), '[::ffff:10.0.0.5]:44311');
  assert.equal(remoteAddressText({}), 'unix');
});

test('what is broken here is no failed authentication', async (t) => {
  const { paths } = await ground(t);
  const broken = new Gatekeeping({ authenticator: { authenticate: () => Promise.reject(new TypeError('bug')) } as never, access: new AccessControl(aclFile(paths)), authLog: () => assert.fail('logged') });
  await assert.rejects(broken.authenticate({ method: 'GET', rawHeaders: [], socket: {} } as never), TypeError);
});

test('every kind of permission', async (t) => {
  const { gatekeeping, changer, paths } = await ground(t);
  await changer.createToken({ tokenid: 'alice@pbs!laptop' });
  const acl = aclFile(paths);
  await acl.update((tree) => {
    tree.insert({ path: '/datastore/main/private', subject: 'alice@pbs', role: 'NoAccess', propagate: true });
    tree.insert({ path: '/datastore/main', subject: 'alice@pbs!laptop', role: 'DatastoreBackup', propagate: true });
  });
  const may = (authId: string, permission: Permission, uri: Record<string, string> = {}): Promise<boolean> => gatekeeping.allowed(permission, { authId, remoteAddress: '' }, uri);
  const backup: Permission = { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Backup'] };
  const both: Permission = { ...backup, privileges: ['Datastore.Backup', 'Datastore.Modify'] };
  const self: Permission = { kind: 'self' };
  const root: Permission = { kind: 'root' };
  const table: Array<[string, string, Permission, Record<string, string>, boolean]> = [
    ['the superuser passes', 'root@pam', root, {}, true],
    ['nobody else is the superuser', 'admin@pbs', root, {}, false],
    ['not even its tokens', 'root@pam!x', root, {}, false],
    ['self', 'alice@pbs', self, { userid: 'alice@pbs' }, true],
    ['self, somebody else', 'alice@pbs', self, { userid: 'bob@pbs' }, false],
    ['self is never a token', 'alice@pbs!laptop', self, { userid: 'alice@pbs!laptop' }, false],
    ['self, token of the user', 'alice@pbs!laptop', self, { userid: 'alice@pbs' }, false],
    ['the superuser is everybody', 'root@pam', self, { userid: 'alice@pbs' }, true],
    ['a privilege where it is', 'alice@pbs', backup, { store: 'main' }, true],
    ['a privilege elsewhere', 'alice@pbs', backup, { store: 'other' }, false],
    ['a token by its own entry', 'alice@pbs!laptop', backup, { store: 'main' }, true],
    ['all of several', 'alice@pbs', both, { store: 'main' }, false],
    ['any of several', 'alice@pbs', { ...both, partial: true }, { store: 'main' }, true],
    ['all of several, had', 'admin@pbs', both, { store: 'main' }, true],
    ['or', 'alice@pbs', { kind: 'or', of: [root, backup] }, { store: 'main' }, true],
    ['or, none', 'alice@pbs', { kind: 'or', of: [root, self] }, { store: 'main' }, false],
    ['and', 'alice@pbs', { kind: 'and', of: [backup, self] }, { store: 'main', userid: 'alice@pbs' }, true],
    ['and, one lacks', 'alice@pbs', { kind: 'and', of: [backup, root] }, { store: 'main' }, false],
    ['any and public ask nothing', 'nobody@pbs', { kind: 'and', of: [{ kind: 'any' }, { kind: 'public' }] }, {}, true],
    ['a component is one component', 'alice@pbs', backup, { store: 'main/private' }, false],
  ];
  for (const [what, authId, permission, uri, expected] of table) assert.equal(await may(authId, permission, uri), expected, what);
  await assert.rejects(may('alice@pbs', backup, {}), /no URI parameter store/);
  await assert.rejects(may('alice@pbs', { ...backup, privileges: ['Datastore.Nosuch'] }, { store: 'main' }), /no privilege Datastore.Nosuch/);
});

test('an encoded slash does not borrow the entries of a namespace', async (t) => {
  const { gatekeeping, paths } = await ground(t);
  await aclFile(paths).update((tree) => {
    tree.insert({ path: '/datastore/main/a', subject: 'sync@pbs', role: 'DatastoreAdmin', propagate: true });
  });
  const modify: Permission = { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Modify'] };
  assert.equal(await gatekeeping.allowed(modify, { authId: 'sync@pbs', remoteAddress: '' }, { store: 'main/a' }), false);
});
