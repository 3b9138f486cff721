import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configApi, grant } from '../../../test/support/config-api.ts';

const admin = 'admin@pbs';
const low = 'low@pbs';
const wrongDigest = '0'.repeat(64);

// Texts and stored values as a reference server 4.2.3 answered them.
test('prune jobs: life, stored values, refusals', async (t) => {
  const { server, paths, acl } = await configApi(t, 'source');
  const job = { id: 'pr1', store: 'main', schedule: 'daily', ns: 'a' };
  const state = join(paths.jobStates, 'prunejob-pr1.json');
  assert.equal(await server.data(admin, 'POST', '/config/prune', { ...job, 'max-depth': 7 }), null);
  assert.ok(existsSync(state));
  assert.equal(await server.refusal(admin, 'POST', '/config/prune', job), "400 parameter verification failed - 'id': job 'pr1' already exists.");
  await server.data(admin, 'POST', '/config/prune', { id: 'pr2', store: 'nosuch', schedule: 'daily', ns: '', 'keep-last': 1, comment: ' ' });
  assert.deepEqual(await server.data(admin, 'GET', '/config/prune/pr2'), { id: 'pr2', store: 'nosuch', schedule: 'daily', ns: '', 'keep-last': 1, comment: '' });

  const missing = (privileges: string): string => `400 missing permissions '${privileges}' on '/datastore/main/a'`;
  assert.equal(await server.refusal(low, 'POST', '/config/prune', { ...job, id: 'pr3' }), missing('Datastore.Modify'));
  assert.equal(await server.refusal(low, 'GET', '/config/prune/pr1'), missing('Datastore.Audit'));
  assert.equal(await server.refusal(low, 'PUT', '/config/prune/pr1', { comment: 'x' }), missing('Datastore.Modify'));
  assert.equal(await server.refusal(low, 'DELETE', '/config/prune/pr1'), missing('Datastore.Modify'));
  assert.deepEqual(await server.data(low, 'GET', '/config/prune'), []);
  await grant(acl, low, '/datastore/main/a', 'DatastoreAudit');
  assert.equal(((await server.data(low, 'GET', '/config/prune')) as unknown[]).length, 1);
  assert.deepEqual(await server.data(low, 'GET', '/config/prune/pr1'), { ...job, 'max-depth': 7 });
  // Not onto another datastore either.
  await grant(acl, low, '/datastore/main/a', 'DatastoreAdmin');
  assert.equal(await server.refusal(low, 'PUT', '/config/prune/pr1', { store: 'other' }), "400 missing permissions 'Datastore.Modify' on '/datastore/other/a'");
  assert.equal(await server.refusal(low, 'PUT', '/config/prune/pr1', { delete: ['ns'] }), "400 missing permissions 'Datastore.Modify' on '/datastore/main'");

  await server.data(admin, 'PUT', '/config/prune/pr1', { ns: '', comment: '' });
  assert.deepEqual(await server.data(admin, 'GET', '/config/prune/pr1'), { id: 'pr1', store: 'main', schedule: 'daily', 'max-depth': 7, comment: '' });
  assert.match(await server.refusal(admin, 'PUT', '/config/prune/pr1', { schedule: 'foo' }), /^400 parameter verification failed - 'schedule': unable to parse calendar event at 'foo'/);
  assert.equal(await server.refusal(admin, 'PUT', '/config/prune/nosuch', { comment: 'x' }), "400 no such prune 'nosuch'");
  assert.equal(await server.refusal(admin, 'DELETE', '/config/prune/nosuch'), "400 no such prune 'nosuch'");
  assert.match(await server.refusal(admin, 'DELETE', '/config/prune/pr1', { digest: wrongDigest }), /^400 detected modified configuration/);
  await server.data(admin, 'DELETE', '/config/prune/pr1');
  assert.equal(existsSync(state), false);
});

test('a changed schedule of a prune job counts from now on', async (t) => {
  const { server, paths } = await configApi(t, 'target');
  const created = (): number => (JSON.parse(readFileSync(join(paths.jobStates, 'prunejob-offsite-prune.json'), 'utf8')) as { created: { time: number } }).created.time;
  await server.data(admin, 'PUT', '/config/prune/offsite-prune', { 'keep-daily': 3, schedule: 'sun 04:00' });
  assert.equal(created(), 1_795_485_510);
  const before = Math.floor(Date.now() / 1000);
  await server.data(admin, 'PUT', '/config/prune/offsite-prune', { schedule: 'sun 05:00' });
  assert.ok(created() >= before);
});

test('verify jobs: life, stored values, refusals', async (t) => {
  const { server, paths, acl } = await configApi(t, 'source');
  const job = { id: 've1', store: 'main', ns: 'a', 'max-depth': 7 };
  const state = join(paths.jobStates, 'verificationjob-ve1.json');
  assert.equal(await server.data(admin, 'POST', '/config/verify', { ...job, comment: ' x ' }), null);
  assert.ok(existsSync(state));
  assert.deepEqual(await server.data(admin, 'GET', '/config/verify/ve1'), { ...job, comment: 'x' });
  assert.equal(await server.refusal(admin, 'POST', '/config/verify', job), "400 parameter verification failed - 'id': job 've1' already exists.");

  const missing = (privileges: string): string => `400 missing permissions '${privileges}' on '/datastore/main/a'`;
  assert.equal(await server.refusal(low, 'POST', '/config/verify', { ...job, id: 've2' }), missing('Datastore.Verify'));
  assert.equal(await server.refusal(low, 'GET', '/config/verify/ve1'), missing('Datastore.Audit|Datastore.Verify'));
  assert.equal(await server.refusal(low, 'PUT', '/config/verify/ve1', { comment: 'x' }), missing('Datastore.Verify'));
  assert.equal(await server.refusal(low, 'DELETE', '/config/verify/ve1'), missing('Datastore.Verify'));
  assert.deepEqual(await server.data(low, 'GET', '/config/verify'), []);
  await grant(acl, low, '/datastore/main/a', 'DatastoreReader');
  assert.equal(((await server.data(low, 'GET', '/config/verify')) as unknown[]).length, 1);

  // The reference keeps the namespace when it is set to the root.
  await server.data(admin, 'PUT', '/config/verify/ve1', { ns: '', comment: '', delete: ['max-depth'] });
  assert.deepEqual(await server.data(admin, 'GET', '/config/verify/ve1'), { id: 've1', store: 'main' });
  assert.equal(await server.refusal(admin, 'PUT', '/config/verify/nosuch', { comment: 'x' }), "400 no such verification 'nosuch'");
  assert.equal(await server.refusal(low, 'DELETE', '/config/verify/nosuch'), "400 no such verification 'nosuch'");
  await server.data(admin, 'DELETE', '/config/verify/ve1');
  assert.equal(existsSync(state), false);
});

test('two at a time: a digest lets only the first change through', async (t) => {
  const { server } = await configApi(t, 'target');
  const reply = await server.call(admin, 'GET', '/config/prune/offsite-prune');
  assert.ok(reply.ok);
  const { digest } = reply.siblings;
  const results = await Promise.all([1, 2, 3].map((n) => server.call(admin, 'PUT', '/config/prune/offsite-prune', { 'keep-last': n, digest })));
  assert.equal(results.filter(({ ok }) => ok).length, 1);
});
