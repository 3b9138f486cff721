import assert from 'node:assert/strict';
import { test } from 'node:test';
import { contentServer } from '../../../../test/support/content-server.ts';

const group = { 'backup-type': 'host', 'backup-id': 'plain' };
const path = '/admin/datastore/main';

test('a group is moved by a task', async (t) => {
  const server = await contentServer(t);
  const upid = (await server.data('admin@pbs', 'POST', `${path}/move-group`, { ...group, 'target-ns': 'site-a' })) as string;
  assert.match(upid, /:move-group:main\\x3a-host-plain\\x3asite\\x2da:admin@pbs:$/);
  const { result, lines } = await server.ended(upid);
  assert.deepEqual([result.state, lines], ['OK', ["moving group 'host/plain' from '' to 'site-a'", `removing backup group "${server.path}/host/plain"`, 'TASK OK']]);
  const listed = (await server.data('admin@pbs', 'GET', `${path}/snapshots`, { ...group, ns: 'site-a' })) as unknown[];
  assert.equal(listed.length, 2);
  // Given back when the task has ended, which its list says a moment before.
  while (server.datastores.activeOperations('main').write > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('a namespace is moved by a task', async (t) => {
  const server = await contentServer(t);
  const upid = (await server.data('admin@pbs', 'POST', `${path}/move-namespace`, { ns: 'site-a', 'target-ns': 'b' })) as string;
  assert.match(upid, /:move-namespace:main\\x3asite\\x2da\\x3ab:admin@pbs:$/);
  assert.equal((await server.ended(upid)).result.state, 'OK');
  assert.deepEqual(await server.data('admin@pbs', 'GET', `${path}/namespace`), [{ ns: '' }, { ns: 'b' }, { ns: 'b/dept-b' }]);
});

test('what cannot be moved is an answer, not a task', async (t) => {
  const server = await contentServer(t);
  const refused = (as: string, method: string, parameters: Record<string, unknown>): Promise<string> => server.refusal(as, 'POST', `${path}/${method}`, parameters);
  for (const [method, parameters, expected] of [
    ['move-group', group, '400 source and target namespace must be different'],
    ['move-group', { ...group, 'target-ns': 'zz' }, "400 target namespace 'zz' does not exist"],
    ['move-group', { ...group, 'backup-id': 'none', 'target-ns': 'site-a' }, "400 group 'host/none' does not exist in namespace ''"],
    ['move-namespace', { ns: 'site-a', 'target-ns': 'site-a' }, '400 source and target namespace must be different'],
    ['move-namespace', { ns: 'site-a', 'target-ns': 'site-a/x' }, "400 cannot move namespace 'site-a' into its own subtree (target: 'site-a/x')"],
    ['move-namespace', { ns: 'zz', 'target-ns': 'y' }, "400 source namespace 'zz' does not exist"],
    ['move-namespace', { ns: 'site-a', 'target-ns': 'x/y' }, "400 target parent namespace 'x' does not exist"],
    ['move-namespace', { ns: '', 'target-ns': 'x' }, '400 cannot move root namespace'],
    ['move-namespace', { ns: 'site-a', 'target-ns': '' }, '400 Cannot create/delete root namespace!'],
  ] as const) {
    assert.equal(await refused('admin@pbs', method, parameters), expected);
  }
  assert.equal(await refused('nobody@pbs', 'move-group', { ...group, 'target-ns': 'site-a' }), '403 permission check failed - missing Datastore.Modify|Datastore.Prune on /datastore/main');
  assert.equal(await refused('nobody@pbs', 'move-namespace', { ns: 'site-a', 'target-ns': 'b' }), '403 permission check failed - missing Datastore.Modify on /datastore/main');
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});
