import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { ConfigError } from '../base/errors.ts';
import { aclFile, AclTree } from './acl-config.ts';
import { roles } from './privileges.ts';

// Written by the reference after a series of `acl update`.
const recorded =
  'acl:1:/:carl@pbs:NoAccess\nacl:0:/datastore/x:carl@pbs:DatastoreBackup\nacl:1:/datastore/x:bob@pbs:DatastoreReader\n' +
  'acl:1:/datastore/x:bob@pbs,carl@pbs:DatastoreAudit\nacl:1:/datastore/x:carl@pbs:Audit\nacl:1:/remote:bob@pbs:RemoteAudit\n';

test('files of the reference are written as they were read', async (t) => {
  for (const server of ['source', 'target'] as const) {
    const file = aclFile(await temporaryInstallation(t, server));
    assert.equal(file.load().value.serialize(), readFileSync(file.path, 'utf8'));
  }
  const file = aclFile(await temporaryInstallation(t));
  writeFileSync(file.path, recorded);
  assert.equal(file.load().value.serialize(), recorded);
});

test('the same entries in any order make the same file', () => {
  const entries = [
    { path: '/datastore/x', subject: 'carl@pbs', role: 'Audit', propagate: true },
    { path: '/datastore/x', subject: 'bob@pbs', role: 'DatastoreReader', propagate: true },
    { path: '/datastore/x', subject: 'bob@pbs', role: 'DatastoreAudit', propagate: true },
    { path: '/datastore/x', subject: 'carl@pbs', role: 'DatastoreAudit', propagate: true },
    { path: '/', subject: 'carl@pbs', role: 'NoAccess', propagate: true },
    { path: '/remote', subject: 'bob@pbs', role: 'RemoteAudit', propagate: true },
    { path: '/datastore/x', subject: 'carl@pbs', role: 'DatastoreBackup', propagate: false },
    { path: '/', subject: 'root@pam', role: 'Admin', propagate: true },
  ];
  fc.assert(
    fc.property(fc.shuffledSubarray(entries, { minLength: entries.length }), (order) => {
      const tree = new AclTree();
      for (const entry of order) tree.insert(entry);
      assert.equal(tree.serialize(), recorded);
    }),
  );
});

test('NoAccess replaces the other roles of a subject on a path, and another role replaces it', () => {
  const tree = new AclTree();
  const on = (role: string): void => tree.insert({ path: '/a', subject: 'x@pbs', role, propagate: true });
  on('Audit');
  on('DatastoreBackup');
  on('NoAccess');
  assert.deepEqual(tree.entries().map((entry) => entry.role), ['NoAccess']);
  on('Audit');
  assert.deepEqual(tree.entries().map((entry) => entry.role), ['Audit']);
  assert.equal(tree.remove('/a', 'x@pbs', 'Admin'), false);
  assert.equal(tree.remove('/a', 'x@pbs', 'Audit'), true);
  assert.equal(tree.serialize(), '');
});

test('a subject or a subtree goes as a whole', () => {
  const tree = new AclTree();
  for (const path of ['/', '/datastore/a', '/datastore/a/ns', '/datastore/ab']) {
    for (const subject of ['x@pbs', 'x@pbs!t']) tree.insert({ path, subject, role: 'Audit', propagate: true });
  }
  assert.equal(tree.removeSubject('x@pbs!t'), true);
  assert.equal(tree.removeSubject('x@pbs!t'), false);
  tree.removeSubtree('/datastore/a');
  assert.deepEqual(tree.paths(), ['/', '/datastore/ab']);
});

test('one line that is not understood fails the whole file; comments are kept', async (t) => {
  const file = aclFile(await temporaryInstallation(t));
  const bad = [
    'acl:1:/:a@pbs', 'acl:2:/:a@pbs:Admin', 'xcl:1:/:a@pbs:Admin', 'acl:1:/:a@pbs:Boss', 'acl:1:/:nobody:Admin', 'acl:1:x:a@pbs:Admin', 'acl:1:/:a@pbs:Admin:x',
    'acl:1:/:a@pbs,:Admin', 'acl:1:/:a@pbs:', 'acl:1:/../x:a@pbs:Admin', 'acl:1:/:@:Admin',
  ];
  for (const line of bad) {
    writeFileSync(file.path, `acl:1:/:admin@pbs:Admin\n${line}\n`);
    assert.throws(() => file.load(), (e) => e instanceof ConfigError && e.code === 'config.syntax' && e.message.includes('line 2'), line);
  }
  writeFileSync(file.path, '\n# who may what\n acl:1:/:@ops,b@pbs:Audit \n');
  await file.update((tree) => tree.insert({ path: '/', subject: 'a@pbs', role: 'Audit', propagate: true }));
  assert.equal(readFileSync(file.path, 'utf8'), '# who may what\nacl:1:/:@ops,a@pbs,b@pbs:Audit\n');
});

test('every tree survives writing and reading', async (t) => {
  const file = aclFile(await temporaryInstallation(t));
  const entry = fc.record({
    path: fc.array(fc.constantFrom('datastore', 'a', 'b', '0'), { maxLength: 4 }).map((parts) => `/${parts.join('/')}`),
    subject: fc.constantFrom('a@pbs', 'b@pam', 'a@pbs!t', '@grp'),
    role: fc.constantFrom(...roles.map((role) => role.name)),
    propagate: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(entry, { maxLength: 20 }), (entries) => {
      const tree = new AclTree();
      for (const one of entries) tree.insert(one);
      writeFileSync(file.path, tree.serialize());
      const again = file.load().value;
      assert.deepEqual(again.entries(), tree.entries());
      assert.deepEqual(again.clone().entries(), tree.entries());
      assert.equal(again.serialize(), tree.serialize());
    }),
    { numRuns: 50 },
  );
});
