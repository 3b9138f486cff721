import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { accessUnderTest } from '../../test/support/accounts.ts';
import { configFixtures, temporaryInstallation } from '../../test/support/installation.ts';
import { aclFile } from '../config/acl-config.ts';
import { roles } from '../config/privileges.ts';
import { AccessControl } from './access-control.ts';
import { changeAcl, listAcl, permissionsOf, roleItem } from './acl-changes.ts';

const replies = JSON.parse(readFileSync(join(configFixtures, 'access-replies.json'), 'utf8')) as Record<string, { data: unknown; digest?: string }>;

test("lists are the reference's", async (t) => {
  const acl = aclFile(await temporaryInstallation(t, 'source'));
  const access = new AccessControl(acl);
  const { items, digest } = listAcl(acl, access, 'admin@pbs');
  assert.deepEqual({ data: items, digest }, replies['GET /access/acl']);
  assert.deepEqual(permissionsOf(acl, access, 'admin@pbs'), replies['GET /access/permissions']!.data);
  assert.deepEqual(permissionsOf(acl, access, 'sync@pbs'), replies['GET /access/permissions?auth-id=sync%40pbs']!.data);
  const byName = (a: { roleid: string }, b: { roleid: string }): number => (a.roleid < b.roleid ? -1 : 1);
  assert.deepEqual(roles.map((role) => roleItem(role.name)!).sort(byName), (replies['GET /access/roles']!.data as Array<{ roleid: string }>).sort(byName));

  const paths = (caller: string, filter: { path?: string; exact?: boolean }): string[] => listAcl(acl, access, caller, filter).items.map((item) => `${item.path} ${item.ugid}`);
  assert.deepEqual(paths('sync@pbs', {}), ['/datastore/main sync@pbs!offsite'], 'without Sys.Audit only own tokens');
  assert.deepEqual(paths('admin@pbs', { path: '/datastore' }).length, 3);
  assert.deepEqual(paths('admin@pbs', { path: '/datastore', exact: true }), []);
  assert.deepEqual(paths('admin@pbs', { path: '/' }).length, 4);
  assert.deepEqual(paths('admin@pbs', { path: '/data' }), []);
  assert.deepEqual(permissionsOf(acl, access, 'alice@pbs', '/datastore/main/ns'), { '/datastore/main/ns': { 'Datastore.Backup': true } });
});

test('changes: who may, on what, and what stays without effect', async (t) => {
  const { paths, accounts } = await accessUnderTest(t, { golden: 'source', nowMs: 1_795_485_533_000 });
  const acl = aclFile(paths);
  const parts = { acl, access: new AccessControl(acl), accounts };
  const token = { path: '/datastore/main', role: 'DatastoreAdmin', authId: 'sync@pbs!offsite' };

  const warning = await changeAcl(parts, 'admin@pbs', token);
  assert.deepEqual(warning?.lacking, [{ subject: 'sync@pbs', kind: 'user', privileges: ['Datastore.Modify', 'Datastore.Backup', 'Datastore.Prune'] }]);
  assert.equal(await changeAcl(parts, 'admin@pbs', { ...token, role: 'DatastoreAudit' }), null);
  assert.equal(await changeAcl(parts, 'sync@pbs', { ...token, role: 'NoAccess' }), null, 'a user may for his own tokens');
  assert.match(readFileSync(acl.path, 'utf8'), /acl:1:\/datastore\/main:sync@pbs!offsite:NoAccess\n/);

  await assert.rejects(changeAcl(parts, 'alice@pbs', token), { status: 400 });
  await assert.rejects(changeAcl(parts, 'sync@pbs', { ...token, authId: 'sync@pbs' }), { status: 400 });
  await assert.rejects(changeAcl(parts, 'sync@pbs!offsite', token), { status: 400 });
  await assert.rejects(changeAcl(parts, 'admin@pbs', { ...token, path: '/nosuch' }), { message: "invalid acl path '/nosuch'." });
  await assert.rejects(changeAcl(parts, 'admin@pbs', { ...token, authId: 'nosuch@pbs' }), { message: 'no such user.' });
  await assert.rejects(changeAcl(parts, 'admin@pbs', { ...token, authId: 'sync@pbs!nosuch' }), { message: 'no such API token.' });
  await assert.rejects(changeAcl(parts, 'admin@pbs', { ...token, digest: '0'.repeat(64) }), { code: 'config.modified' });
  await changeAcl(parts, 'admin@pbs', { path: '/datastore/main', role: 'DatastoreReader', authId: 'sync@pbs', delete: true });
  await changeAcl(parts, 'admin@pbs', { path: '/nosuch', role: 'Audit', authId: 'gone@pbs', delete: true });
  assert.equal(readFileSync(acl.path, 'utf8').includes('sync@pbs:'), false);
});
