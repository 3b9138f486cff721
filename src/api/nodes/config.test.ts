import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { apiGround, testServer } from '../../../test/support/api-ground.ts';
import { nodeFile } from '../../config/node-config.ts';
import { nodeConfigEndpoints } from './config.ts';
import { parseResolvConf } from './dns.ts';

const path = '/nodes/localhost/config';

test('node.cfg is read and changed', async (t) => {
  const api = await apiGround(t, 'source', {});
  const node = nodeFile(api.paths);
  const server = await testServer(t, api, nodeConfigEndpoints({ node }));
  const first = await server.call('admin@pbs', 'GET', path);
  assert.ok(first.ok);
  assert.deepEqual([first.data, first.siblings], [{}, { digest: createHash('sha256').digest('hex') }]);

  await server.data('admin@pbs', 'PUT', path, { description: 'line1\nline2', 'task-log-max-days': 30, 'email-from': 'a@b.de', location: 'latitude=1.5,longitude=2,name=here' });
  const set = { description: 'line1\nline2\n', 'email-from': 'a@b.de', location: 'latitude=1.5,longitude=2,name=here', 'task-log-max-days': 30 };
  assert.deepEqual(await server.data('admin@pbs', 'GET', path), set);
  await server.data('admin@pbs', 'PUT', path, { delete: ['description', 'location'], 'default-lang': 'de' });
  assert.equal(await readFile(node.path, 'utf8'), 'default-lang: de\nemail-from: a@b.de\ntask-log-max-days: 30\n');

  assert.equal(await server.refusal('admin@pbs', 'PUT', path, { 'default-lang': 'de', digest: 'a'.repeat(64) }), '400 detected modified configuration - file changed by other user? Try again.');
  assert.match(await server.refusal('admin@pbs', 'PUT', path, { 'ciphers-tls-1.2': 'nonsense' }), /^400 .*no cipher match/);
  assert.match(await server.refusal('admin@pbs', 'PUT', path, { 'ciphers-tls-1.3': 'nonsense' }), /^400 .*no cipher match/);
  assert.equal(await server.refusal('alice@pbs', 'GET', path), '403 permission check failed');
  await server.data('admin@pbs', 'PUT', path, { 'ciphers-tls-1.3': 'TLS_AES_256_GCM_SHA384', 'ciphers-tls-1.2': 'ECDHE-ECDSA-AES256-GCM-SHA384' });
});

test('resolv.conf', () => {
  const text = Buffer.from('# a remark\ndomain ignored.example\nsearch a.example b.example\nnameserver 10.0.0.1\nnameserver   ::1\noptions edns0\nnameserver 10.0.0.3\nnameserver 10.0.0.4\n');
  assert.deepEqual(parseResolvConf(text), { digest: createHash('sha256').update(text).digest('hex'), search: 'a.example', dns1: '10.0.0.1', dns2: '::1', dns3: '10.0.0.3' });
  assert.deepEqual(parseResolvConf(Buffer.alloc(0)), { digest: createHash('sha256').digest('hex') });
});
