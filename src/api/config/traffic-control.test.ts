import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configApi, grant } from '../../../test/support/config-api.ts';

const admin = 'root@pam';
const low = 'low@pbs';

// Texts and stored values as a reference server 4.2.3 answered them.
test('traffic rules: life, stored values, refusals', async (t) => {
  const { server, paths, acl } = await configApi(t, 'source');
  const office = { name: 'office', network: ['192.0.2.0/24', '2001:db8::/32'], 'rate-in': '10MB', 'burst-in': '20MB', 'rate-out': '5MiB', timeframe: ['mon..fri 8-17'], comment: 'Office hours' };
  await server.data(admin, 'POST', '/config/traffic-control', office);
  await server.data(admin, 'POST', '/config/traffic-control', { name: 'sync-user', network: ['0.0.0.0/0'], 'rate-out': '100KiB', users: ['sync@pbs'] });
  const stored = { ...office, 'rate-in': '10 MB', 'burst-in': '20 MB', 'rate-out': '5 MiB' };
  assert.deepEqual(await server.data(admin, 'GET', '/config/traffic-control/office'), stored);
  assert.deepEqual(await server.data(admin, 'GET', '/config/traffic-control'), [stored, { name: 'sync-user', network: ['0.0.0.0/0'], 'rate-out': '100 KiB', users: ['sync@pbs'] }]);
  const text = readFileSync(join(paths.config, 'traffic-control.cfg'), 'utf8');
  for (const line of ['rule: office', '\tnetwork 192.0.2.0/24', '\tnetwork 2001:db8::/32', '\trate-in 10 MB', '\ttimeframe mon..fri 8-17', '\tusers sync@pbs']) assert.ok(text.split('\n').includes(line), `${line} in\n${text}`);

  assert.equal(await server.refusal(admin, 'POST', '/config/traffic-control', office), "400 parameter verification failed - 'name': traffic control rule 'office' already exists.");
  assert.equal(await server.refusal(admin, 'POST', '/config/traffic-control', { name: 'bad', network: ['300.1.1.1'] }), "400 parameter verification failed - 'network/[0]': value does not match the regex pattern");
  assert.equal(await server.refusal(admin, 'POST', '/config/traffic-control', { name: 'bad', network: ['192.0.2.0/33'] }), "400 parameter verification failed - 'network/[0]': value does not match the regex pattern");
  assert.match(await server.refusal(admin, 'POST', '/config/traffic-control', { name: 'bad', network: ['0.0.0.0/0'], timeframe: ['foo'] }), /^400 parameter verification failed - 'timeframe\/\[0\]': unable to parse daily duration at 'foo'/);
  assert.match(await server.refusal(admin, 'POST', '/config/traffic-control', { name: 'bad', network: ['0.0.0.0/0'], 'rate-in': 'fast' }), /^400 parameter verification failed - 'rate-in': /);

  await server.data(admin, 'PUT', '/config/traffic-control/office', { delete: ['timeframe', 'burst-in'], 'rate-in': '1GiB', comment: '' });
  assert.deepEqual(await server.data(admin, 'GET', '/config/traffic-control/office'), { name: 'office', network: office.network, 'rate-in': '1 GiB', 'rate-out': '5 MiB' });
  for (const method of ['GET', 'PUT'] as const) assert.equal(await server.refusal(admin, method, '/config/traffic-control/nosuch', method === 'PUT' ? { 'rate-in': '1GiB' } : {}), "400 no such rule 'nosuch'");
  assert.equal(await server.refusal(admin, 'DELETE', '/config/traffic-control/nosuch'), "404 traffic control rule 'nosuch' does not exist.");
  assert.match(await server.refusal(admin, 'DELETE', '/config/traffic-control/office', { digest: '0'.repeat(64) }), /^400 detected modified configuration/);

  assert.match(await server.refusal(low, 'GET', '/config/traffic-control'), /^403 /);
  await grant(acl, low, '/', 'Audit');
  assert.match(await server.refusal(low, 'GET', '/config/traffic-control'), /^403 /);
  assert.match(await server.refusal(low, 'DELETE', '/config/traffic-control/office'), /^403 /);
  assert.equal(((await server.data(low, 'GET', '/config/traffic-control/office')) as { name: string }).name, 'office');
  await server.data(admin, 'DELETE', '/config/traffic-control/office');
  assert.equal(((await server.data(admin, 'GET', '/config/traffic-control')) as unknown[]).length, 1);
});
