import assert from 'node:assert/strict';
import { test } from 'node:test';
import { apiGround, testServer } from '../../test/support/api-ground.ts';
import { absentEndpoints, absentMethods } from './absent.ts';

test('lists are empty, entries do not exist, changes are refused; never with "not found" for the method', async (t) => {
  const server = await testServer(t, await apiGround(t, 'source', {}), absentEndpoints());
  const root = 'root@pam';
  assert.deepEqual(await server.data(root, 'GET', '/tape/drive'), []);
  assert.deepEqual(await server.call(root, 'GET', '/config/drive'), { ok: true, status: 200, data: [], siblings: { digest: 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855' } });
  assert.equal(await server.refusal(root, 'GET', '/tape/drive/d1/status'), "400 no such drive 'd1'");
  assert.equal(await server.refusal(root, 'GET', '/config/acme/plugins/p1'), '404 no such plugin');
  assert.equal(await server.refusal(root, 'POST', '/admin/datastore/main/mount', { anything: 1 }), "400 datastore 'main' is not removable");
  assert.equal(await server.refusal(root, 'POST', '/nodes/localhost/status', { command: 'reboot' }), '400 this server does not have services, power, clock, journal and shell of the host');
  for (const { method, path } of absentMethods()) {
    const result = await server.call(root, method, path.replace(/\{[a-z0-9-]+\}/g, 'some-id'));
    assert.ok(result.ok || !result.message.includes('not found'), `${method} ${path}`);
    if (method !== 'GET') assert.ok(!result.ok, `${method} ${path} changed something`);
  }
});
