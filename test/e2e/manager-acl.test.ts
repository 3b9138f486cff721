import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessApi } from '../support/access-api.ts';
import { CannedServer, runWith, type Run } from '../support/manager-runs.ts';

/** The manager without a running server: the API in its own process, asked as root@pam. */
test('acl update: grants, and warns when the user of the token lacks what the token was granted', async (t) => {
  const { server, acl } = await accessApi(t);
  const handle = (request: Parameters<typeof server.router.handle>[0], response: Parameters<typeof server.router.handle>[1]): void => {
    void server.router.handle(request, response, { authId: 'root@pam', remoteAddress: 'unix' });
  };
  const manager = (...argv: string[]): Promise<Run> =>
    runWith(new CannedServer(), argv, { io: { server: { socketPath: '/nonexistent/farshore.sock', openLocal: () => Promise.resolve({ handle, close: () => Promise.resolve() }) } } });

  const first = await manager('acl', 'update', '/datastore/main', 'DatastoreBackup', '--auth-id', 'sync@pbs!offsite');
  assert.deepEqual([first.exit, first.stdout], [0, '']);
  assert.match(first.stderr, /^Warning: .*'sync@pbs' lacks on \/datastore\/main: Datastore\.Backup\./);
  const command = /^ {4}farshore (.*)$/m.exec(first.stderr)![1]!;
  const mending = await manager(...command.split(' ').map((word) => word.replace(/^'(.*)'$/, '$1')));
  assert.deepEqual(mending, { exit: 0, stdout: '', stderr: '' }, 'the command that the warning names');
  const again = await manager('acl', 'update', '/datastore/main', 'DatastoreBackup', '--auth-id', 'sync@pbs!offsite');
  assert.deepEqual(again, { exit: 0, stdout: '', stderr: '' });
  assert.ok(acl.load().value.entries().some(({ subject, role }) => subject === 'sync@pbs!offsite' && role === 'DatastoreBackup'));

  const permissions = await manager('user', 'permissions', 'sync@pbs!offsite', '--path', '/datastore/main');
  assert.match(permissions.stdout, /^Path: \/datastore\/main\n(?:.*\n)*- Datastore\.Backup \(\*\)\n/m);
  const tokens = await manager('user', 'list-tokens', 'sync@pbs', '--output-format', 'json');
  assert.deepEqual(JSON.parse(tokens.stdout), [{ 'token-name': 'offsite', tokenid: 'sync@pbs!offsite' }]);
  const refused = await manager('acl', 'update', '/nosuch', 'Admin', '--auth-id', 'sync@pbs');
  assert.equal(refused.exit, 255);
  assert.match(refused.stderr, /invalid acl path '\/nosuch'\./);
});
