import assert from 'node:assert/strict';
import { test, type TestContext } from 'node:test';
import { apiGround, testServer, type TestServer } from '../../test/support/api-ground.ts';
import { emptyStore } from '../../test/support/datastore.ts';
import { pushEndpoints } from './push.ts';
import type { PushParameters } from './push-runs.ts';

const admin = 'admin@pbs';

async function pushServer(t: TestContext): Promise<{ server: TestServer; started: Array<{ what: PushParameters; authId: string }> }> {
  const { store } = await emptyStore();
  t.after(() => store.close());
  const ground = await apiGround(t, 'source', { main: store.path });
  const started: Array<{ what: PushParameters; authId: string }> = [];
  const push = (what: PushParameters, authId: string): Promise<string> => {
    started.push({ what: { ...what }, authId });
    return Promise.resolve('UPID:started');
  };
  return { server: await testServer(t, ground, pushEndpoints({ access: ground.access, datastores: ground.datastores, push })), started };
}

test('a push goes to the runner with its parameters, or is refused at once', async (t) => {
  const { server, started } = await pushServer(t);
  const push = { store: 'main', remote: 'offsite', 'remote-store': 'copy' };
  const full = { ...push, ns: 'a', 'remote-ns': 'b', 'max-depth': 2, 'group-filter': ['type:vm'], 'rate-out': '5MiB', 'remove-vanished': true, 'worker-threads': 4 };
  assert.equal(await server.data(admin, 'POST', '/push', full), 'UPID:started');
  assert.deepEqual(started, [{ what: full, authId: admin }]);
  const refused = async (fields: Record<string, unknown>, as = admin): Promise<string> => server.refusal(as, 'POST', '/push', fields);
  assert.match(await refused({ store: 'main', 'remote-store': 'copy' }), /'remote'/);
  assert.equal(await refused({ ...push, store: 'nosuch' }), "400 no such datastore 'nosuch'");
  assert.equal(await refused({ ...push, 'resync-corrupt': true }), "400 parameter verification failed - 'resync-corrupt': schema does not allow additional properties");
  assert.match(await refused({ ...push, 'remote-ns': 'a/b/c/d/e/f/g', 'max-depth': 1 }), /depth and recursion depth exceed limit/);
  assert.equal(await refused(push, 'low@pbs'), "400 missing permissions 'Remote.DatastoreBackup' on '/remote/offsite/copy'");
  assert.equal(await refused({ ...push, 'remote-ns': 'x/y' }, 'low@pbs'), "400 missing permissions 'Remote.DatastoreBackup' on '/remote/offsite/copy/x/y'");
  assert.equal(started.length, 1);
});
