import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdir, writeFile } from 'node:fs/promises';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, test } from 'node:test';
import type { InstallationPaths } from '../../src/config/home.ts';
import type { Method } from '../../src/api/endpoint.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import { firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { WholeServer } from '../support/whole-server.ts';

let paths: InstallationPaths | undefined;
const server = await WholeServer.make({
  prepare: async (made) => {
    paths = made;
    for (const name of ['source', 'offsite']) {
      await mkdir(join(made.state, name, '.chunks'), { recursive: true });
      await writeFile(join(made.state, name, '.lock'), '');
    }
    const stores = ['source', 'offsite', 'gone'].map((name) => `datastore: ${name}\n\tpath ${join(made.state, name)}\n\ttuning sync-level=none\n`);
    await writeFile(join(made.config, 'datastore.cfg'), stores.join('\n'));
    await writeFile(join(made.config, 'user.cfg'), 'user: watcher@pbs\n\nuser: partly@pbs\n\nuser: nobody@pbs\n');
    await writeFile(join(made.config, 'acl.cfg'), 'acl:1:/:watcher@pbs,watcher@pbs!scrape:Audit\nacl:1:/datastore/offsite:partly@pbs,partly@pbs!scrape:DatastoreAudit\n');
  },
});
const { router, freshness, sampler, tasks } = server.composition;
const http = createServer((request, response) => void router.handle(request, response));
http.listen(0, '127.0.0.1');
await once(http, 'listening');
const store = await Datastore.open({ name: 'source', path: join(paths!.state, 'source'), locksRoot: paths!.locks, tuning: { syncLevel: 'none' } });
after(async () => {
  store.close();
  http.close();
  http.closeAllConnections();
  await server[Symbol.asyncDispose]();
});

async function call(method: Method, path: string, parameters: Record<string, unknown> = {}): Promise<unknown> {
  const result = await router.call({ method, path, caller: { authId: 'root@pam', remoteAddress: 'unix' }, parameters });
  assert.ok(result.ok, `${method} ${path}: ${result.ok ? '' : result.message}`);
  return result.data;
}

async function page(path: string, headers: Record<string, string> = {}): Promise<{ status: number; type: string | undefined; body: string }> {
  const { port } = http.address() as AddressInfo;
  const request = httpRequest({ host: '127.0.0.1', port, path, headers, agent: false });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode!, type: response.headers['content-type'], body: await text(response) };
}

const tokens = new Map<string, string>();
for (const user of ['watcher', 'partly', 'nobody']) {
  const made = (await call('POST', `/access/users/${user}%40pbs/token/scrape`)) as { tokenid: string; value: string };
  tokens.set(user, `${made.tokenid}:${made.value}`);
}
const bearer = (user: string): Record<string, string> => ({ authorization: `Bearer ${tokens.get(user)}` });

/** Series of a page: `name{labels}` to value. */
function series(body: string): Map<string, string> {
  return new Map(body.split('\n').filter((line) => line !== '' && !line.startsWith('#')).map((line) => [line.slice(0, line.lastIndexOf(' ')), line.slice(line.lastIndexOf(' ') + 1)]));
}

await makeSnapshot(store, 'site/a', { type: 'vm', id: '100', time: firstTime }, { files: { 'drive-scsi0.img.fidx': noiseChunks('a', 3) }, owner: 'root@pam', unprotected: { notes: 'web "one"\nmore' } });
await makeSnapshot(store, 'site/a', { type: 'vm', id: '100', time: firstTime + 60 }, { files: { 'drive-scsi0.img.fidx': noiseChunks('a', 3) }, owner: 'root@pam', unprotected: { notes: 'web "one"\nmore', verify_state: { state: 'ok', upid: 'UPID:host:00000001:00000001:00000001:00000001:verify:x:root@pam:' } } });
await call('POST', '/config/sync', { id: 'nightly', store: 'offsite', 'remote-store': 'source' });
await call('POST', '/config/freshness', { id: 'offsite-old', store: 'offsite', 'max-age': '1d' });
await call('POST', '/admin/sync/nightly/run');
await tasks.idle();
for (;;) {
  const [job] = (await call('GET', '/admin/sync')) as Array<Record<string, unknown>>;
  if (job!['last-run-state'] !== undefined) break;
  await new Promise((resolve) => setTimeout(resolve, 5));
}
await freshness.check();

test('without credentials there is nothing but whether it is healthy', async () => {
  assert.deepEqual(await page('/metrics'), { status: 401, type: 'text/plain;charset=UTF-8', body: 'authentication failed' });
  assert.equal((await page('/metrics', { authorization: 'Bearer watcher@pbs!scrape:00000000-0000-0000-0000-000000000000' })).status, 401);
  assert.deepEqual(await page('/healthz'), { status: 200, type: 'text/plain;charset=UTF-8', body: 'ok\n' });
  assert.equal((await page('/metrics', bearer('nobody'))).status, 403);
});

test('metrics in the names of the known exporters, and of sync jobs', async () => {
  const { status, type, body } = await page('/metrics', bearer('watcher'));
  assert.deepEqual([status, type], [200, 'text/plain; version=0.0.4; charset=utf-8']);
  const found = series(body);
  const value = (key: string): number => {
    assert.ok(found.has(key), `${key} in\n${body}`);
    return Number(found.get(key));
  };
  assert.equal(value('pbs_up'), 1);
  assert.ok(value('pbs_size{datastore="source"}') >= value('pbs_used{datastore="source"}'));
  assert.ok(value('pbs_available{datastore="source"}') > 0 && value('pbs_datastore_total_bytes{datastore="source"}') > 0);
  assert.deepEqual([value('pbs_datastore_up{datastore="source"}'), value('pbs_datastore_up{datastore="gone"}')], [1, 0]);
  assert.equal(value('pbs_snapshot_count{datastore="offsite",namespace="site/a"}'), 2);
  const labels = 'datastore="source",namespace="site/a",backup_type="vm",vm_id="100",vm_name="web \\"one\\""';
  assert.equal(value(`pbs_snapshot_vm_last_timestamp{${labels}}`), firstTime + 60);
  assert.equal(value(`pbs_snapshot_vm_last_verify{${labels}}`), 1);
  assert.equal(value('pbs_snapshot_last_timestamp_seconds{datastore="source",namespace="site/a",backup_type="vm",backup_id="100"}'), firstTime + 60);
  const job = 'job_id="nightly",datastore="offsite",remote="",direction="pull"';
  const now = Date.now() / 1000;
  for (const name of ['last_success_timestamp_seconds', 'last_run_timestamp_seconds']) assert.ok(Math.abs(value(`pbs_sync_job_${name}{${job}}`) - now) < 600, name);
  assert.ok(value(`pbs_sync_job_lag_seconds{${job}}`) < 600);
  assert.deepEqual(['last_result', 'running', 'groups_failed'].map((name) => value(`pbs_sync_job_${name}{${job}}`)), [1, 0, 0]);
  assert.equal(value(`pbs_sync_job_chunks_total{${job},kind="sent"}`), 3);
  assert.ok(value(`pbs_sync_job_chunks_total{${job},kind="reused"}`) >= 0);
  assert.ok(value(`pbs_sync_job_bytes_total{${job}}`) >= 3 * 64 * 1024);
  assert.equal(value('pbs_task_total{worker_type="syncjob",status="ok"}'), 1);
  assert.equal(value('pbs_freshness_holds{contract="offsite-old",datastore="offsite"}'), 0);
  assert.equal(value('pbs_freshness_max_age_seconds{contract="offsite-old",datastore="offsite"}'), 86_400);
  assert.equal((await page('/metrics', { authorization: `PBSAPIToken=${tokens.get('watcher')}` })).status, 200);
});

test('nobody sees numbers of datastores that he may not audit', async () => {
  const { status, body } = await page('/metrics', bearer('partly'));
  assert.equal(status, 200);
  const found = [...series(body).keys()];
  assert.ok(found.some((key) => key.includes('datastore="offsite"')) && found.some((key) => key.startsWith('pbs_sync_job_')));
  assert.deepEqual(found.filter((key) => key.includes('datastore="source"') || key.includes('datastore="gone"') || key.startsWith('pbs_task_')), []);
});

test('histories are answered from what was sampled', async () => {
  await sampler.sample();
  const points = (await call('GET', '/admin/datastore/source/rrd', { timeframe: 'hour', cf: 'AVERAGE' })) as Array<Record<string, number>>;
  // The clock may have gone on to the next point.
  const point = points.findLast(({ total }) => total !== undefined);
  assert.ok(point !== undefined && point['total']! > 0 && point['used']! > 0 && point['available']! > 0);
  const host = (await call('GET', '/nodes/localhost/rrd', { timeframe: 'week', cf: 'MAX' })) as Array<Record<string, number>>;
  const load = host.findLast(({ memtotal }) => memtotal !== undefined);
  assert.ok(load !== undefined && load['memtotal']! > 0 && load['loadavg']! >= 0);
  const usage = (await call('GET', '/status/datastore-usage')) as Array<Record<string, unknown>>;
  const source = usage.find((one) => one['store'] === 'source')!;
  const past = source['history'] as number[];
  assert.ok(past.length <= 2 && past[0]! > 0 && past[0]! <= 1 && source['history-delta'] === 1800);
});

test('a configuration that cannot be read is not healthy, and says no more than that', async () => {
  await writeFile(join(paths!.config, 'datastore.cfg'), 'nonsense');
  assert.deepEqual(await page('/healthz'), { status: 503, type: 'text/plain;charset=UTF-8', body: 'not ok\n' });
});
