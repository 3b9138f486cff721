import assert from 'node:assert/strict';
import { appendFile } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { apiGround, testServer, type TestServer } from '../../../test/support/api-ground.ts';
import { domainFile } from '../../config/domain-config.ts';
import { realmConfigEndpoints } from './realms.ts';

async function ground(t: TestContext): Promise<{ server: TestServer; path: string }> {
  const api = await apiGround(t, 'source', {});
  const domains = domainFile(api.paths);
  return { server: await testServer(t, api, realmConfigEndpoints({ domains })), path: domains.path };
}

const pam = '/config/access/pam';
const pbs = '/config/access/pbs';

test('pam and pbs: comment and default, which only one realm is', async (t) => {
  const { server } = await ground(t);
  assert.deepEqual(await server.data('admin@pbs', 'GET', pam), { comment: 'Linux PAM standard authentication', default: true, realm: 'pam', type: 'pam' });
  await server.data('admin@pbs', 'PUT', pbs, { default: true });
  assert.deepEqual(await server.data('admin@pbs', 'GET', pam), { comment: 'Linux PAM standard authentication', realm: 'pam', type: 'pam' });
  assert.deepEqual(await server.data('admin@pbs', 'GET', pbs), { comment: 'Proxmox Backup authentication server', default: true, realm: 'pbs', type: 'pbs' });
  await server.data('admin@pbs', 'PUT', pbs, { delete: ['default'] });
  await server.data('admin@pbs', 'PUT', pam, { comment: '', default: false });
  assert.deepEqual(await server.data('admin@pbs', 'GET', pam), { realm: 'pam', type: 'pam' });
  assert.equal(await server.refusal('admin@pbs', 'PUT', pam, { comment: 'x', digest: 'a'.repeat(64) }), '400 detected modified configuration - file changed by other user? Try again.');
  assert.equal(await server.refusal('alice@pbs', 'PUT', pam, { comment: 'x' }), '403 permission check failed');
});

test('realms of a reference server can be looked at and removed', async (t) => {
  const { server, path } = await ground(t);
  await appendFile(path, '\nopenid: sso\n\tclient-id c\n\tissuer-url https://sso.example.com\n');
  const sso = { 'client-id': 'c', 'issuer-url': 'https://sso.example.com', realm: 'sso' };
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/config/access/openid'), [sso]);
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/config/access/openid/sso'), sso);
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/config/access/ldap'), []);
  assert.equal(await server.refusal('admin@pbs', 'GET', '/config/access/ldap/sso'), "400 no such ldap 'sso'");
  assert.equal(await server.refusal('admin@pbs', 'DELETE', '/config/access/ldap/sso'), "404 realm 'sso' does not exist.");
  assert.equal(await server.refusal('admin@pbs', 'DELETE', '/config/access/openid/pbs'), "404 realm 'pbs' does not exist.");
  await server.data('admin@pbs', 'DELETE', '/config/access/openid/sso');
  assert.deepEqual(await server.data('admin@pbs', 'GET', '/config/access/openid'), []);
});
