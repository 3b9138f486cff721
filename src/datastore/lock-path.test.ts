import assert from 'node:assert/strict';
import { test } from 'node:test';
import { groupLockPath, manifestLockPath, objectLockPath, snapshotLockPath } from './lock-path.ts';

const root = '/run/locks';
const time = '2022-05-02T08:11:33Z';

test('the paths of the specification', () => {
  assert.equal(groupLockPath(root, 'store1', '', 'vm/100'), '/run/locks/store1/vm-100');
  assert.equal(snapshotLockPath(root, 'store1', 'a/b', `vm/100/${time}`), String.raw`/run/locks/store1/a:b/vm-100-2022\x2d05\x2d02T08\x3a11\x3a33Z`);
  assert.equal(
    manifestLockPath(root, 'store1', '', `vm/100/${time}`),
    String.raw`/run/locks/store1/vm-100-2022\x2d05\x2d02T08\x3a11\x3a33Z-.index.json.lck`,
  );
  assert.equal(groupLockPath(root, 's', '', 'host/my-host'), String.raw`/run/locks/s/host-my\x2dhost`);
  assert.equal(
    snapshotLockPath(root, 's', '', `host/${'a'.repeat(240)}/${time}`),
    `/run/locks/s/hashed/host-${'a'.repeat(75)}...${'a'.repeat(47)}${String.raw`-2022\x2d05\x2d02T08\x3a11\x3a33Z`}-06700d5b65040a55c7bcd7796c34c989c820495eed1cd44d5f7c2b5ce5ab855b`,
  );
});

test('escaping: leading slash, empty, leading dot, bytes beyond ASCII', () => {
  assert.equal(objectLockPath(root, 's', '', '/a/b'), '/run/locks/s/a-b');
  assert.equal(objectLockPath(root, 's', '', ''), '/run/locks/s/-');
  assert.equal(objectLockPath(root, 's', '', '.a/.b'), String.raw`/run/locks/s/\x2ea-.b`);
  assert.equal(objectLockPath(root, 's', '', 'ü'), String.raw`/run/locks/s/\xc3\xbc`);
});

test('the hash begins at 255 escaped characters', () => {
  assert.equal(objectLockPath(root, 's', '', 'a'.repeat(254)), `/run/locks/s/${'a'.repeat(254)}`);
  assert.match(objectLockPath(root, 's', '', 'a'.repeat(255)), /\/hashed\/a{80}\.\.\.a{80}-[0-9a-f]{64}$/);
});
