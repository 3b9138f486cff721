import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BackupSnapshot } from '../../src/format/backup-path.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import { clientPreface } from '../support/http2-client-frames.ts';
import { BackupClient, backupProtocol, backupTarget, ok } from '../support/backup-client.ts';
import { backupServer, type BackupServer } from '../support/backup-server.ts';
import { noise, noiseChunks } from '../support/made-snapshots.ts';
import { verifyAll } from '../support/sync-pair.ts';
import { Duplex } from 'node:stream';

const snapshot = (time: number): BackupSnapshot => ({ type: 'host', id: 'x', time });
const fixedChunks = [Buffer.alloc(4 * 1024 * 1024, 1), noise('end', 5000)];

/** Every call of a whole backup, in order. */
function steps(client: BackupClient): Array<() => Promise<unknown>> {
  return [
    ...client.archiveSteps('root.pxar.didx', noiseChunks('cut', 3)),
    ...client.archiveSteps('disk.img.fidx', fixedChunks),
    async () => ok(await client.blob('x.conf.blob', encodeBlob(Buffer.from('x'), { compress: false }))),
    async () => ok(await client.manifest()),
    async () => ok(await client.finish()),
  ];
}

async function idle(server: BackupServer): Promise<void> {
  while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 2));
}

function snapshots(server: BackupServer): string[] {
  const group = join(server.path, 'host/x');
  return existsSync(group) ? readdirSync(group).filter((name) => name !== 'owner') : [];
}

async function verified(server: BackupServer): Promise<number> {
  return server.datastores.use('main', 'read', (store) => verifyAll(store));
}

test('a connection that is cut after any call leaves a whole backup or none, and the next attempt works', async (t) => {
  const server = await backupServer(t);
  const count = steps(await openAndLeave(server)).length;
  let time = 1000;
  let finished = 0;
  for (let cutAfter = 0; cutAfter <= count; cutAfter += 1) {
    time += 1000;
    const client = await BackupClient.open(server, { snapshot: snapshot(time) });
    for (const step of steps(client).slice(0, cutAfter)) await step();
    await client.cut();
    await idle(server);
    if (cutAfter === count) finished += 1;
    assert.equal(snapshots(server).length, finished, `cut after ${cutAfter} calls`);
  }
  assert.equal(finished, 1);
  assert.equal(await verified(server), 1);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

async function openAndLeave(server: BackupServer): Promise<BackupClient> {
  const client = await BackupClient.open(server, { snapshot: snapshot(1000) });
  await client.end();
  await idle(server);
  return client;
}

test('a connection that is cut within a call, of which nobody waits for the answer', async (t) => {
  const server = await backupServer(t);
  const count = steps(await openAndLeave(server)).length;
  let time = 1000;
  let kept = 0;
  for (let cutIn = 0; cutIn < count; cutIn += 1) {
    time += 1000;
    const client = await BackupClient.open(server, { snapshot: snapshot(time) });
    const all = steps(client);
    for (const step of all.slice(0, cutIn)) await step();
    const last = all[cutIn]!().catch(() => {});
    await new Promise(setImmediate);
    client.h2.destroy();
    client.socket.destroy();
    await Promise.race([last, idle(server)]);
    await idle(server);
    const now = snapshots(server).length;
    // Only the last call may have made it whole.
    if (cutIn < count - 1) assert.equal(now, 0, `cut in call ${cutIn}`);
    kept = now;
  }
  assert.equal(await verified(server), kept);
});

test('half an upload, half a frame, and a client that speaks something else', async (t) => {
  const server = await backupServer(t);
  const half = await BackupClient.open(server, { snapshot: snapshot(1000) });
  ok(await half.call('POST', '/dynamic_index?archive-name=a.didx'));
  const stream = half.h2.request({ ':method': 'POST', ':path': `/dynamic_chunk?wid=1&digest=${'a'.repeat(64)}&size=100000&encoded-size=100012` }, { endStream: false });
  stream.on('error', () => {});
  await new Promise<void>((resolve) => stream.write(noise('half', 50_000), () => resolve()));
  // Reset, the session goes on.
  stream.close(8);
  assert.match(await half.call('GET', '/previous_backup_time'), /^200 /);
  await half.cut();
  await idle(server);
  for (const words of [Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'), clientPreface.subarray(0, 10), Buffer.concat([clientPreface, noise('frames', 4000)])]) {
    const socket = await server.upgrade('admin@pbs', backupTarget({ snapshot: snapshot(1000) }), backupProtocol);
    assert.ok(socket instanceof Duplex);
    socket.on('error', () => {});
    socket.resume();
    socket.end(words);
    await idle(server);
    assert.deepEqual(snapshots(server), []);
  }
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});
