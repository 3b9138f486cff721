import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { aclFile } from '../config/acl-config.ts';
import { AccessControl } from './access-control.ts';
import { groupOwnerCheck, namespaceAccess, namespaceAclPath, requireNamespaceAccess, type NamespacePrivileges } from './datastore-access.ts';

const read: NamespacePrivileges = { full: ['Datastore.Read'], own: ['Datastore.Backup'] };

test('full, own and no access to a namespace', async (t) => {
  const file = aclFile(await temporaryInstallation(t));
  writeFileSync(
    file.path,
    'acl:1:/datastore/main:reader@pbs:DatastoreReader\nacl:1:/datastore/main/site:maker@pbs:DatastoreBackup\nacl:1:/datastore/main:both@pbs:DatastoreAdmin\nacl:1:/datastore/main/site:reader@pbs:NoAccess\n',
  );
  const access = new AccessControl(file);
  assert.equal(namespaceAclPath('main', ''), '/datastore/main');
  assert.equal(namespaceAclPath('main', 'a/b'), '/datastore/main/a/b');
  assert.equal(namespaceAccess(access, 'reader@pbs', 'main', '', read), 'full');
  assert.equal(namespaceAccess(access, 'reader@pbs', 'main', 'site/x', read), null);
  assert.equal(namespaceAccess(access, 'maker@pbs', 'main', 'site', read), 'own');
  assert.equal(namespaceAccess(access, 'maker@pbs', 'main', '', read), null);
  assert.equal(requireNamespaceAccess(access, 'both@pbs', 'main', 'site', read), 'full');
  assert.equal(namespaceAccess(access, 'maker@pbs', 'main', 'site', { full: ['Datastore.Modify'] }), null);
  assert.throws(() => requireNamespaceAccess(access, 'eve@pbs', 'main', '', read), { status: 403, message: 'permission check failed - missing Datastore.Read|Datastore.Backup on /datastore/main' });
  assert.throws(() => requireNamespaceAccess(access, 'eve@pbs', 'main', 'a/b', { full: ['Datastore.Read', 'Datastore.Audit'], own: ['Datastore.Backup'] }), {
    message: 'permission check failed - missing Datastore.Audit|Datastore.Read|Datastore.Backup on /datastore/main/a/b',
  });
});

test('the owner rule', () => {
  const owners: Array<[caller: string, owner: string, passes: boolean]> = [
    ['a@pbs', 'a@pbs', true],
    ['a@pbs', 'a@pbs!t', true],
    ['a@pbs!t', 'a@pbs!t', true],
    ['a@pbs!t', 'a@pbs', false],
    ['a@pbs!t', 'a@pbs!u', false],
    ['b@pbs', 'a@pbs', false],
    ['root@pam', 'a@pbs', false],
  ];
  for (const [caller, owner, passes] of owners) {
    const check = (): void => groupOwnerCheck('own', caller, owner);
    if (passes) check();
    else assert.throws(check, { status: 400, message: `backup owner check failed (${caller} != ${owner})` });
    groupOwnerCheck('full', caller, owner);
  }
});
