import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { aclFile, type AclEntry } from '../config/acl-config.ts';
import { findRole, isPrivilege, privileges as allPrivileges, roles, type Privilege } from '../config/privileges.ts';
import { AccessControl, smallestRole } from './access-control.ts';

/** Access control by the given acl.cfg lines (`propagate:path:subjects:roles`). */
async function accessWith(t: TestContext, lines: readonly string[]): Promise<AccessControl> {
  const file = aclFile(await temporaryInstallation(t));
  writeFileSync(file.path, lines.map((line) => `acl:${line}\n`).join(''));
  return new AccessControl(file);
}

function listed(set: ReadonlySet<Privilege>): string {
  return [...set].join(' ');
}

const spec = [
  '1:/:admin@pbs:Admin',
  '1:/datastore:ann@pbs:DatastoreAdmin',
  '1:/datastore/main:ann@pbs:DatastoreReader',
  '0:/datastore/main/site:ann@pbs:DatastoreBackup',
  '1:/datastore/other:ann@pbs:NoAccess',
  '0:/datastore/closed:ann@pbs:NoAccess',
  '1:/datastore/main:ann@pbs!full,ann@pbs!part:DatastoreAdmin',
  '1:/:root@pam!t:Audit',
  '1:/:ghost@pbs!t:Admin',
  '1:/datastore/main:@ops:Admin',
  '1:/datastore/both:ben@pbs:DatastoreAudit',
  '0:/datastore/both:ben@pbs:DatastoreBackup',
];

// Spec rest-api 7.3 and 7.4, rule by rule: auth-id, path, privileges, propagated privileges.
const table: Array<[rule: string, authId: string, path: string, all: string, propagated: string]> = [
  ['superuser', 'root@pam', '/anything', listed(new Set(allPrivileges)), listed(new Set(allPrivileges))],
  ['inherited from the root', 'admin@pbs', '/datastore/x/y', listed(new Set(allPrivileges)), listed(new Set(allPrivileges))],
  ['nothing without entries', 'eve@pbs', '/', '', ''],
  ['nothing above the entry', 'ann@pbs', '/', '', ''],
  ['the deeper entry replaces what was granted above', 'ann@pbs', '/datastore/main', 'Datastore.Audit Datastore.Read Datastore.Verify', 'Datastore.Audit Datastore.Read Datastore.Verify'],
  ['a path without a node inherits', 'ann@pbs', '/datastore/new/a/b', 'Datastore.Audit Datastore.Modify Datastore.Read Datastore.Verify Datastore.Backup Datastore.Prune', 'Datastore.Audit Datastore.Modify Datastore.Read Datastore.Verify Datastore.Backup Datastore.Prune'],
  ['a non-propagating entry holds on its path', 'ann@pbs', '/datastore/main/site', 'Datastore.Backup', ''],
  ['and not below it, where what is above goes on', 'ann@pbs', '/datastore/main/site/dept', 'Datastore.Audit Datastore.Read Datastore.Verify', 'Datastore.Audit Datastore.Read Datastore.Verify'],
  ['NoAccess takes away', 'ann@pbs', '/datastore/other', '', ''],
  ['NoAccess propagates', 'ann@pbs', '/datastore/other/ns', '', ''],
  ['NoAccess without propagation holds on its path only', 'ann@pbs', '/datastore/closed', '', ''],
  ['(below it what is above goes on)', 'ann@pbs', '/datastore/closed/ns', 'Datastore.Audit Datastore.Modify Datastore.Read Datastore.Verify Datastore.Backup Datastore.Prune', 'Datastore.Audit Datastore.Modify Datastore.Read Datastore.Verify Datastore.Backup Datastore.Prune'],
  ['a token has what it and its user have', 'ann@pbs!full', '/datastore/main', 'Datastore.Audit Datastore.Read Datastore.Verify', 'Datastore.Audit Datastore.Read Datastore.Verify'],
  ['(the user has less on this path)', 'ann@pbs!full', '/datastore/main/site', 'Datastore.Backup', ''],
  ['a token without own entries has nothing', 'ann@pbs!other', '/datastore/main', '', ''],
  ["a token does not have its user's entries", 'ann@pbs!full', '/datastore', '', ''],
  ['a token of root@pam has its own entries', 'root@pam!t', '/x', 'Sys.Audit Datastore.Audit', 'Sys.Audit Datastore.Audit'],
  ['a token whose user has nothing has nothing', 'ghost@pbs!t', '/', '', ''],
  ['roles at one node add up, each with its own propagation', 'ben@pbs', '/datastore/both', 'Datastore.Audit Datastore.Backup', 'Datastore.Audit'],
  ['(below it)', 'ben@pbs', '/datastore/both/ns', 'Datastore.Audit', 'Datastore.Audit'],
  ['nobody is in a group', 'ops@pbs', '/datastore/main', '', ''],
];

test('privileges follow the rules of the spec', async (t) => {
  const access = await accessWith(t, spec);
  const ordered = (set: ReadonlySet<Privilege>): string => allPrivileges.filter((privilege) => set.has(privilege)).join(' ');
  for (const [rule, authId, path, all, propagated] of table) {
    const found = access.privileges(authId, path);
    assert.deepEqual([ordered(found.all), ordered(found.propagated)], [all, propagated], `${rule}: ${authId} on ${path}`);
  }
});

test('all or any privilege', async (t) => {
  const access = await accessWith(t, spec);
  assert.equal(access.check('ann@pbs', '/datastore/main', ['Datastore.Read', 'Datastore.Audit']), true);
  assert.equal(access.check('ann@pbs', '/datastore/main', ['Datastore.Read', 'Datastore.Backup']), false);
  assert.equal(access.check('ann@pbs', '/datastore/main', ['Datastore.Read', 'Datastore.Backup'], { partial: true }), true);
  assert.equal(access.check('ann@pbs', '/datastore/main', ['Datastore.Modify', 'Datastore.Backup'], { partial: true }), false);
  const require = (partial: boolean) => () => access.require('eve@pbs', '/datastore/main', ['Datastore.Prune', 'Datastore.Modify'], { partial });
  assert.throws(require(false), { status: 400, message: "missing permissions 'Datastore.Modify&Datastore.Prune' on '/datastore/main'" });
  assert.throws(require(true), { status: 400, message: "missing permissions 'Datastore.Modify|Datastore.Prune' on '/datastore/main'" });
  assert.throws(() => access.check('ann@pbs', '/', []), { name: 'AssertionError' });
});

test('a privilege below a path', async (t) => {
  const access = await accessWith(t, [
    '0:/datastore:leaf@pbs:DatastoreAudit', '0:/datastore/main/a/b:deep@pbs:DatastoreBackup', '1:/:up@pbs:Audit', '1:/:up@pbs!t:DatastoreAdmin',
    '1:/datastore/main:usr@pbs!t:DatastoreAdmin', '1:/datastore/main/x:usr@pbs:DatastoreBackup', '1:/datastore/main:off@pbs:NoAccess',
  ]);
  const below = (authId: string, path: string, ...wanted: Privilege[]): boolean => access.anyPrivilegeBelow(authId, path, wanted.length === 0 ? undefined : wanted);
  assert.equal(below('root@pam', '/datastore/main'), true);
  assert.equal(below('leaf@pbs', '/datastore'), false, 'what does not propagate is not below');
  assert.equal(below('deep@pbs', '/datastore/main'), true);
  assert.equal(below('deep@pbs', '/datastore/main/a'), true);
  assert.equal(below('deep@pbs', '/datastore/main/a/b'), false);
  assert.equal(below('deep@pbs', '/datastore/main', 'Datastore.Read'), false);
  assert.equal(below('deep@pbs', '/datastore/ma'), false);
  assert.equal(below('up@pbs', '/nowhere/at/all'), true);
  assert.equal(below('up@pbs!t', '/datastore', 'Datastore.Audit'), true);
  assert.equal(below('up@pbs!t', '/datastore', 'Datastore.Backup'), false);
  assert.equal(below('usr@pbs!t', '/datastore/main'), true, "the user's entry lies below, the token's above");
  assert.equal(below('off@pbs', '/datastore'), false);
});

test('who lacks what is explained, with the command that grants it', async (t) => {
  const access = await accessWith(t, ['1:/datastore/main:sync@pbs:DatastoreReader', '1:/datastore/off:sync@pbs!t:DatastoreReader']);
  assert.equal(access.explainMissing('sync@pbs', '/datastore/main', ['Datastore.Read']), null);
  assert.deepEqual(access.explainMissing('sync@pbs!t', '/datastore/main', ['Datastore.Read', 'Datastore.Audit']), {
    path: '/datastore/main',
    missing: ['Datastore.Audit', 'Datastore.Read'],
    lacking: [{ subject: 'sync@pbs!t', kind: 'token', privileges: ['Datastore.Audit', 'Datastore.Read'] }],
    text: "on '/datastore/main' API token 'sync@pbs!t' lacks Datastore.Audit, Datastore.Read (a token can do only what both it and its user may do)",
    commands: ["farshore acl update /datastore/main DatastoreReader --auth-id 'sync@pbs!t'"],
  });
  assert.deepEqual(access.explainMissing('sync@pbs!t', '/datastore/off', ['Datastore.Read'])?.lacking.map((one) => one.subject), ['sync@pbs']);
  assert.deepEqual(access.explainMissing('sync@pbs!t', '/remote/x', ['Remote.Read'])?.lacking.map((one) => one.subject), ['sync@pbs!t', 'sync@pbs']);
  assert.deepEqual(access.explainMissing('root@pam!t', '/remote/x', ['Remote.Read'])?.lacking.map((one) => one.subject), ['root@pam!t']);
  assert.deepEqual(access.explainMissing('sync@pbs', '/remote/x', ['Remote.Read'])?.commands, ["farshore acl update /remote/x RemoteSyncOperator --auth-id 'sync@pbs'"]);
  assert.equal(access.explainMissing('root@pam', '/remote/x', ['Remote.Read']), null);
});

test('the smallest role that is enough', () => {
  assert.equal(smallestRole(['Datastore.Backup']), 'DatastoreBackup');
  assert.equal(smallestRole(['Datastore.Backup', 'Datastore.Prune']), 'DatastorePowerUser');
  assert.equal(smallestRole(['Remote.Modify', 'Datastore.Read']), 'Admin');
  for (const role of roles) for (const privilege of role.privileges) assert.ok(isPrivilege(privilege));
});

/** The rules of spec rest-api 7.4 once more, straight from the list of entries. */
function modelPrivileges(entries: readonly AclEntry[], authId: string, path: string): Set<string> {
  if (authId === 'root@pam') return new Set(allPrivileges);
  const parts = path.split('/').filter((part) => part !== '');
  let current: string[] = [];
  for (let depth = 0; depth <= parts.length; depth += 1) {
    const at = `/${parts.slice(0, depth).join('/')}`;
    const here = entries.filter((entry) => entry.path === at && entry.subject === authId && (depth === parts.length || entry.propagate));
    if (here.length > 0) current = here.map((entry) => entry.role);
  }
  const own = new Set<string>(current.includes('NoAccess') ? [] : current.flatMap((role) => [...findRole(role)!.privileges]));
  const bang = authId.indexOf('!');
  if (bang < 0) return own;
  const users = modelPrivileges(entries, authId.slice(0, bang), path);
  return new Set([...own].filter((privilege) => users.has(privilege)));
}

test('privileges agree with the plain rules for every set of entries', async (t) => {
  const file = aclFile(await temporaryInstallation(t));
  const access = new AccessControl(file);
  const path = fc.array(fc.constantFrom('datastore', 'a', 'b'), { maxLength: 3 }).map((parts) => `/${parts.join('/')}`);
  const subject = fc.constantFrom('a@pbs', 'a@pbs!t', 'b@pbs', 'root@pam!t');
  const role = fc.constantFrom('Admin', 'NoAccess', 'Audit', 'DatastoreReader', 'DatastoreBackup', 'DatastorePowerUser');
  await fc.assert(
    fc.asyncProperty(fc.array(fc.record({ path, subject, role, propagate: fc.boolean() }), { maxLength: 12 }), async (entries) => {
      await file.update((tree) => {
        tree.removeSubtree('/');
        for (const entry of entries) tree.insert(entry);
      });
      const stored = file.load().value.entries();
      for (const authId of ['a@pbs', 'a@pbs!t', 'b@pbs', 'root@pam!t', 'root@pam']) {
        for (const at of ['/', '/datastore', '/datastore/a', '/datastore/a/b', '/datastore/a/b/datastore', '/b']) {
          const wanted = modelPrivileges(stored, authId, at);
          assert.deepEqual(new Set(access.privileges(authId, at).all), wanted);
          assert.deepEqual(new Set([...access.privileges(authId, at).propagated].filter((privilege) => !wanted.has(privilege))), new Set());
          const missing = access.explainMissing(authId, at, allPrivileges)?.missing ?? [];
          assert.equal(missing.length + wanted.size, allPrivileges.length);
        }
      }
    }),
    { numRuns: 60 },
  );
});
