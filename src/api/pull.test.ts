import assert from 'node:assert/strict';
import { test } from 'node:test';
import { configApi, grant } from '../../test/support/config-api.ts';

const admin = 'admin@pbs';

test('a pull goes to the runner with its parameters, or is refused at once', async (t) => {
  const { server, started, acl } = await configApi(t, 'target');
  const pull = { store: 'offsite', remote: 'pbs-hq', 'remote-store': 'main' };
  const full = { ...pull, ns: 'a', 'remote-ns': 'b', 'max-depth': 2, 'group-filter': ['type:vm'], 'rate-in': '5MiB', 'remove-vanished': true, 'worker-threads': 4 };
  assert.equal(await server.data(admin, 'POST', '/pull', full), 'UPID:started');
  assert.deepEqual(started.map(({ what, authId }) => ({ what: { ...(what as object) }, authId })), [{ what: full, authId: admin }]);
  await server.data(admin, 'POST', '/pull', { ...pull, 'decryption-keys': ['abc'] });
  assert.deepEqual({ ...(started.pop()!.what as object) }, { ...pull, 'associated-key': ['abc'] });

  const refused = async (fields: Record<string, unknown>, as = admin): Promise<string> => server.refusal(as, 'POST', '/pull', fields);
  assert.equal(await refused({ store: 'offsite', 'remote-store': 'offsite' }), "400 can't sync to same datastore");
  assert.equal(await refused({ ...pull, store: 'nosuch' }), "400 no such datastore 'nosuch'");
  assert.equal(await refused({ store: 'offsite', 'remote-store': 'nosuch' }), "400 no such datastore 'nosuch'");
  assert.equal(await refused({ ...pull, ns: 'a/b/c/d/e/f/g', 'max-depth': 1 }), "400 namespace 'a/b/c/d/e/f/g's depth and recursion depth exceed limit: 7 + 1 > 7");
  assert.match(await refused({ ...pull, 'decryption-keys': ['a'] }), /^400 parameter verification failed - 'decryption-keys/);
  assert.match(await refused({ ...pull, 'group-filter': ['type:xy'] }), /'group-filter\/\[0\]': group filter 'type:xy': type 'xy' is not vm, ct or host/);
  assert.equal(await refused({ ...pull, schedule: 'daily' }), "400 parameter verification failed - 'schedule': schema does not allow additional properties");
  assert.equal(await refused(pull, 'low@pbs'), "400 missing permissions 'Datastore.Backup' on '/datastore/offsite'");
  await grant(acl, 'low@pbs', '/datastore/offsite', 'DatastoreBackup');
  assert.equal(await refused(pull, 'low@pbs'), "400 missing permissions 'Remote.Read' on '/remote/pbs-hq/main'");
  assert.equal(started.length, 1);
});
