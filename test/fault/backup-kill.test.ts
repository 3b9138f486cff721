import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync } from 'node:fs';
import { request as httpsRequest, type RequestOptions } from 'node:https';
import type { IncomingMessage } from 'node:http';
import { join } from 'node:path';
import type { Duplex } from 'node:stream';
import { buffer, json } from 'node:stream/consumers';
import { test } from 'node:test';
import { encodeBlob } from '../../src/format/data-blob.ts';
import type { TestServer } from '../support/api-ground.ts';
import { BackupClient, ok } from '../support/backup-client.ts';
import { FarshoreHost, datastoreFolder } from '../support/farshore-host.ts';
import { noise, noiseChunks } from '../support/made-snapshots.ts';

const password = 'operator-1';

/** Upgrades over TLS at a real server. */
async function upgrades(host: FarshoreHost): Promise<Pick<TestServer, 'upgrade'>> {
  const options: RequestOptions = { host: '127.0.0.1', port: host.port, rejectUnauthorized: false, agent: false };
  const login = httpsRequest({ ...options, method: 'POST', path: '/api2/json/access/ticket', headers: { 'content-type': 'application/json' } });
  login.end(JSON.stringify({ username: 'op@pbs', password }));
  const [answer] = (await once(login, 'response')) as [IncomingMessage];
  const { data } = (await json(answer)) as { data: { ticket: string } };
  return {
    upgrade: (_as, target, protocol) =>
      new Promise((resolve, reject) => {
        const request = httpsRequest({ ...options, path: target, headers: { cookie: `PBSAuthCookie=${data.ticket}`, connection: 'upgrade', upgrade: protocol! } });
        request.once('error', reject);
        request.once('upgrade', (_response, socket: Duplex, head: Buffer) => {
          if (head.length > 0) socket.unshift(head);
          resolve(socket);
        });
        request.once('response', (response) => void buffer(response).then((body) => resolve({ status: response.statusCode!, headers: response.headers, body }), reject));
        request.end();
      }),
  };
}

/** A backup from begin to end; false when the server went away on the way. */
async function backUp(server: Pick<TestServer, 'upgrade'>, time: number, seed: string): Promise<boolean> {
  const client = await BackupClient.open(server, { snapshot: { type: 'host', id: 'x', time } });
  let finished = false;
  const gone = once(client.socket, 'close').then(() => finished);
  const work = (async () => {
    await client.archive('root.pxar.didx', noiseChunks(seed, 3));
    await client.archive('disk.img.fidx', [Buffer.alloc(4 * 1024 * 1024, 1), noise(`${seed} end`, 5000)]);
    for (const name of ['a.conf.blob', 'b.conf.blob']) ok(await client.blob(name, encodeBlob(Buffer.from(name), { compress: false })));
    ok(await client.manifest());
    ok(await client.finish());
    finished = true;
    await client.end();
    return true;
  })();
  work.catch(() => {});
  return Promise.race([work, gone]);
}

const places = ['chunk.insert=kill@2', 'chunk.inserted=kill@3', 'index.publish=kill', 'index.publish=kill@2', 'snapshot-writer.opened=kill', 'snapshot-writer.staging=kill', 'snapshot-writer.staged=kill@2', 'snapshot-writer.committed=kill', 'snapshot-writer.flushed=kill', 'snapshot-writer.publish=kill', 'snapshot-writer.published=kill'];

test('a server that is killed within a backup leaves a whole one or none, and goes on', async () => {
  await using folder = await datastoreFolder();
  await using host = new FarshoreHost(join(folder.path, 'home'));
  await host.ok('datastore', 'create', 'main', join(folder.path, 'main'));
  await host.ok('user', 'create', 'op@pbs', '--password', password);
  await host.ok('acl', 'update', '/', 'Admin', '--auth-id', 'op@pbs');
  let time = 1000;
  const whole: number[] = [];
  for (const place of places) {
    time += 1000;
    await host.start([], { FARSHORE_FAILPOINT: place });
    const server = await upgrades(host);
    assert.equal(await backUp(server, time, place).catch(() => false), false, place);
    assert.equal((await host.stop('SIGKILL')).signal, 'SIGKILL', place);
    const files = readdirSync(join(folder.path, 'main/host/x', new Date(time * 1000).toISOString().replace('.000', '')));
    const isWhole = place === 'snapshot-writer.published=kill';
    assert.equal(files.includes('index.json.blob'), isWhole, `${place}: ${files.join(' ')}`);
    if (isWhole) whole.push(time);
  }
  await host.start();
  const server = await upgrades(host);
  time += 1000;
  assert.equal(await backUp(server, time, 'last'), true);
  whole.push(time);
  const tasks = (await host.json('task', 'list', '--all', '--limit', '1000')) as Array<{ worker_type: string; status?: string }>;
  const states = tasks.filter((task) => task.worker_type === 'backup').map((task) => task.status);
  assert.deepEqual([states.filter((state) => state === 'OK').length, states.filter((state) => state === 'unknown').length, states.length], [1, places.length - 1, places.length], JSON.stringify(states));
  assert.match(await host.ok('verify', 'main'), /TASK OK/);
  const finished = readdirSync(join(folder.path, 'main/host/x')).filter((name) => name !== 'owner' && readdirSync(join(folder.path, 'main/host/x', name)).includes('index.json.blob'));
  assert.deepEqual(finished.toSorted(), whole.map((one) => new Date(one * 1000).toISOString().replace('.000', '')));
});
