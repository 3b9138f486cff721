import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isCreatableAclPath } from './acl-path.ts';

const creatable = [
  '/', '/access', '/access/acl', '/access/users', '/access/domains', '/access/openid', '/access/openid/x', '/datastore', '/datastore/s', '/datastore/s/1/2/3/4/5/6/7', '/remote', '/remote/r',
  '/remote/r/s', '/remote/r/s/1/2/3/4/5/6/7', '/system', '/system/certificates', '/system/tasks', '/system/services', '/system/services/x', '/system/network', '/system/network/dns',
  '/system/network/interfaces', '/system/network/interfaces/eth0', '/system/s3-endpoint/x', '/system/encryption-keys', '/system/encryption-keys/k', '/tape', '/tape/device/x', '/tape/pool', '/tape/job/j',
];

const refused = [
  '', 'datastore', '/nosuch', '/access/nosuch', '/access/acl/x', '/access/openid/x/y', '/datastore/s/1/2/3/4/5/6/7/8', '/remote/r/s/1/2/3/4/5/6/7/8', '/system/nosuch', '/system/tasks/x',
  '/system/network/dns/x', '/system/network/nosuch', '/system/network/interfaces/a/b', '/system/encryption-keys/k/l', '/tape/nosuch', '/tape/pool/a/b', '/datastore/', '//', '/datastore/..', '/datastore/.x',
  `/datastore/${'x'.repeat(128)}`,
];

test('ACL paths that may be created', () => {
  assert.deepEqual(creatable.filter((path) => !isCreatableAclPath(path)), []);
  assert.deepEqual(refused.filter(isCreatableAclPath), []);
});
