import assert from 'node:assert/strict';
import { test } from 'node:test';
import { accessUnderTest } from '../../test/support/accounts.ts';
import { testServer } from '../../test/support/api-ground.ts';
import { readFixture } from '../../test/support/golden.ts';
import { AccessControl } from '../access/access-control.ts';
import { aclFile } from '../config/acl-config.ts';
import { repositoryId, versionEndpoints } from './version.ts';

const recorded = JSON.parse(readFixture('api/nodes-target.json').toString()) as Record<string, { body: { data: Record<string, unknown> } }>;

test("version and ping answer as the reference's, with a build id of our own", async (t) => {
  const { paths } = await accessUnderTest(t, { golden: 'source', nowMs: 0 });
  const server = await testServer(t, { access: new AccessControl(aclFile(paths)) }, versionEndpoints({ programVersion: '1.2.3' }));
  const { repoid, ...rest } = (await server.data('alice@pbs', 'GET', '/version')) as { repoid: string };
  const { repoid: theirs, ...expected } = recorded['GET /version']!.body.data;
  assert.deepEqual(rest, expected);
  assert.match(repoid, /^[0-9a-f]{40}$/);
  assert.match(String(theirs), /^[0-9a-f]{40}$/);
  assert.notEqual(repoid, repositoryId('1.2.4'));
  const ping = await server.http('', 'GET', '/api2/json/ping');
  assert.deepEqual([ping.status, JSON.parse(ping.body.toString())], [200, recorded['GET /ping']!.body]);
});
