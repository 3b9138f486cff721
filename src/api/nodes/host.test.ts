import assert from 'node:assert/strict';
import { X509Certificate } from 'node:crypto';
import { statfs } from 'node:fs/promises';
import { test, type TestContext } from 'node:test';
import { apiGround, testServer, type TestServer } from '../../../test/support/api-ground.ts';
import { readFixture } from '../../../test/support/golden.ts';
import { CannedServer, runWith } from '../../../test/support/manager-runs.ts';
import { aptEndpoints } from './apt.ts';
import { certificateEndpoints } from './certificates.ts';
import { identityEndpoints } from './identity.ts';
import { nodeListEndpoints } from './node-list.ts';
import { nodeStatusEndpoints } from './status.ts';
import { subscriptionEndpoints } from './subscription.ts';
import { timeEndpoints } from './time.ts';

const recorded = JSON.parse(readFixture('api/nodes-target.json').toString()) as Record<string, { body: { data: unknown } }>;
const recordedData = (path: string): unknown => recorded[`GET /nodes/localhost/${path}`]!.body.data;

/** The kinds of all values, to compare replies whose values differ from host to host. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shapeOf);
  if (typeof value !== 'object' || value === null) return value === null ? 'null' : typeof value;
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, shapeOf(one)]));
}

const certificates = recordedData('certificates/info') as object[];

async function serverOf(t: TestContext, timeZone: string): Promise<TestServer> {
  const ground = await apiGround(t, 'target', {});
  return testServer(t, ground, [
    ...nodeListEndpoints(),
    ...nodeStatusEndpoints({ fingerprint: () => 'aa:bb' }),
    ...certificateEndpoints({ certificates: { list: () => certificates, install: () => Promise.reject(new Error('not here')), reset: () => Promise.reject(new Error('not here')) } }),
    ...timeEndpoints({ clock: { now: () => 1_795_485_565_999 }, timeZone }),
    ...identityEndpoints({ instanceId: 'b764a44471de42bcb45438190d3db851' }),
    ...subscriptionEndpoints({ instanceId: 'b764a44471de42bcb45438190d3db851' }),
    ...aptEndpoints({ programVersion: '1.2.3' }),
  ]);
}

test("replies are the reference's, or have its shape where hosts differ", async (t) => {
  const server = await serverOf(t, 'Etc/UTC');
  const get = (path: string, as = 'admin@pbs'): Promise<unknown> => server.data(as, 'GET', `/nodes/localhost/${path}`);
  assert.deepEqual(await get('time', 'alice@pbs'), recordedData('time'));
  assert.deepEqual(await get('identity', 'alice@pbs'), recordedData('identity'));
  assert.deepEqual(await get('certificates/info'), certificates);
  assert.deepEqual(shapeOf(await get('status')), shapeOf(recordedData('status')));
  const subscription = (await get('subscription', 'alice@pbs')) as Record<string, unknown>;
  assert.equal(subscription['status'], (recordedData('subscription') as Record<string, unknown>)['status']);
  assert.deepEqual(shapeOf(subscription), shapeOf(recordedData('subscription')));
});

test('the status is that of this host', async (t) => {
  const server = await serverOf(t, 'Etc/UTC');
  const status = (await server.data('admin@pbs', 'GET', '/nodes/any-name/status')) as Record<'cpu' | 'wait' | 'uptime', number> & { root: { total: number }; info: unknown; kversion: string };
  const { blocks, bsize } = await statfs('/');
  assert.equal(status.root.total, blocks * bsize);
  assert.ok(status.cpu > 0 && status.cpu <= 1 && status.wait >= 0 && status.wait <= 1);
  assert.ok(Number.isSafeInteger(status.uptime) && status.uptime > 0);
  assert.match(status.kversion, /^Linux \d/);
  assert.deepEqual(status.info, { fingerprint: 'aa:bb' });
});

test('time zones', async (t) => {
  const server = await serverOf(t, 'America/St_Johns');
  assert.deepEqual(await server.data('alice@pbs', 'GET', '/nodes/localhost/time'), { time: 1_795_485_565, localtime: 1_795_485_565 - 12_600, timezone: 'America/St_Johns' });
});

test('who may ask for what', async (t) => {
  const server = await serverOf(t, 'Etc/UTC');
  for (const path of ['status', 'certificates/info', 'apt/versions']) assert.equal(await server.refusal('alice@pbs', 'GET', `/nodes/localhost/${path}`), '403 permission check failed', path);
  assert.equal(await server.refusal('admin@pbs', 'GET', '/nodes'), '403 permission check failed');
  assert.deepEqual(await server.data('root@pam', 'GET', '/nodes'), [{ node: 'localhost' }]);
  assert.equal(await server.refusal('admin@pbs', 'GET', '/nodes/_/time'), "400 parameter verification failed - 'node': value does not match the regex pattern");
});

test('the manager shows version and certificate', async (t) => {
  const server = await serverOf(t, 'Etc/UTC');
  const manager = (...argv: string[]): ReturnType<typeof runWith> =>
    runWith(new CannedServer(), argv, {
      io: {
        server: {
          socketPath: '/nonexistent/farshore.sock',
          openLocal: () =>
            Promise.resolve({ handle: (request, response) => void server.router.handle(request, response, { authId: 'root@pam', remoteAddress: 'unix' }), close: () => Promise.resolve() }),
        },
      },
    });
  assert.deepEqual(await manager('versions'), { exit: 0, stdout: 'proxmox-backup-server 1.2.3 running version: 1.2.3 (Farshore)\n', stderr: '' });
  const info = await manager('cert', 'info');
  const { fingerprint256 } = new X509Certificate((certificates[0] as { pem: string }).pem);
  assert.ok(info.stdout.includes(fingerprint256.toLowerCase()), info.stdout);
});
