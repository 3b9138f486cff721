import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import { listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';
import { pushPair, pushUser, type PushPair } from '../support/push-pair.ts';
import type { PushProcessOptions, PushProcessResult } from '../support/push-process.ts';
import { seeded } from '../support/seeded.ts';
import { verifyAll } from '../support/sync-pair.ts';

const program = fileURLToPath(new URL('../support/push-process.ts', import.meta.url));
const chunkSize = 256 * 1024;
const chunksOfDay = 6;
const day = 86_400;

/** One snapshot of each of two groups. */
async function addDay(pair: PushPair, number: number): Promise<void> {
  for (const id of ['a', 'b']) {
    const chunks = Array.from({ length: chunksOfDay }, (_, i) => noise(`${id}-${number}-${i}`, chunkSize));
    await makeSnapshot(pair.source, '', { type: 'host', id, time: firstTime + number * day }, { files: { 'root.pxar.didx': [...chunks, noise(id, chunkSize)], 'a.conf.blob': [Buffer.from(String(number))] } });
  }
}

/** A push in another process, ended by `kill` if that is given: the signal that ended it, or what it reported. Throws when it fails. */
async function pushProcess(pair: PushPair, options: { failpoints?: string; killAfterSent?: number } = {}): Promise<NodeJS.Signals | PushProcessResult> {
  const argument: PushProcessOptions = {
    path: pair.source.path,
    folder: pair.folder,
    host: '127.0.0.1',
    port: pair.proxy.port,
    authId: pushUser,
    secret: pair.secret,
    fingerprint: pair.server.fingerprint,
    failpoints: options.failpoints ?? '',
  };
  const before = pair.proxy.delivered.up;
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, ['--disable-warning=ExperimentalWarning', program, JSON.stringify(argument)], (e, stdout, stderr) => {
      clearInterval(watch);
      if (e === null) resolve(JSON.parse(stdout) as PushProcessResult);
      else if (e.signal === 'SIGKILL') resolve('SIGKILL');
      else reject(new Error(stderr, { cause: e }));
    });
    const watch = setInterval(() => {
      if (options.killAfterSent !== undefined && pair.proxy.delivered.up - before > options.killAfterSent) child.kill('SIGKILL');
    }, 2);
  });
}

/** The remote may not have noticed yet that the killed one is gone. */
async function pushAgain(pair: PushPair): Promise<PushProcessResult> {
  for (;;) {
    try {
      const result = await pushProcess(pair);
      assert.ok(typeof result === 'object');
      return result;
    } catch (e) {
      assert.match((e as Error).message, /lock|unfinished snapshot of that time|already exists/);
    }
  }
}

/** Until the remote has cleaned up after the sessions of one that was killed. */
async function remoteIsIdle(pair: PushPair): Promise<void> {
  const { server, secret } = pair;
  const rest = new RestClient(new RemoteEndpoint({ host: '127.0.0.1', port: server.port, authId: pushUser, secret, fingerprint: server.fingerprint }));
  try {
    for (;;) {
      const { data } = await rest.get('nodes/localhost/tasks', { running: true });
      if (pair.proxy.open === 0 && (data as unknown[]).length === 0) return;
    }
  } finally {
    rest.close();
  }
}

/** Everything that the copy shows is whole and sound, and there in order. */
async function soundSnapshots(pair: PushPair): Promise<number> {
  await remoteIsIdle(pair);
  await using copy = await pair.copy();
  const sound = await verifyAll(copy.store);
  const times = Map.groupBy((await listSnapshotInfos(copy.store, '')).filter(({ size }) => size !== undefined), (info) => info['backup-id']);
  for (const [id, infos] of times) {
    const found = infos.map((info) => info['backup-time']).toSorted((a, b) => a - b);
    assert.ok(isDeepStrictEqual(found, found.map((_, i) => firstTime + i * day)), `${id}: no gaps: ${found.join(' ')}`);
  }
  return sound;
}

const places = ['push.begun=kill', 'push.sent=kill', 'push.sent=kill@9', 'replication.before-publish=kill', 'push.closed=kill@2', 'push.described=kill', 'push.finished=kill', 'replication.after-publish=kill', 'journal.writing=kill'];

test('the pushing end is killed at one place after another: what was finished stays, nothing half is seen, the next push completes', async () => {
  await using pair = await pushPair();
  for (const [i, place] of places.entries()) {
    await addDay(pair, i);
    assert.equal(await pushProcess(pair, { failpoints: place }), 'SIGKILL', place);
    assert.ok((await soundSnapshots(pair)) >= 2 * i, place);
    const result = await pushAgain(pair);
    assert.ok(result.sentChunks <= 2 * chunksOfDay + 2, `${place}: ${result.sentChunks} chunks`);
    assert.equal(await soundSnapshots(pair), 2 * (i + 1), place);
  }
});

test('the pushing end is killed at random moments and started again until it is through: everything arrives, and little is sent twice', async () => {
  await using pair = await pushPair();
  const days = 4;
  for (let i = 0; i < days; i += 1) await addDay(pair, i);
  const random = seeded(7);
  const total = 2 * days * chunksOfDay * chunkSize;
  let kills = 0;
  for (; kills < 6; kills += 1) {
    const ended = await pushProcess(pair, { killAfterSent: Math.floor((random() * total) / 5) + chunkSize }).catch((e: unknown) => {
      assert.match((e as Error).message, /lock|unfinished snapshot of that time|already exists/);
      return 'SIGKILL' as const;
    });
    await soundSnapshots(pair);
    if (ended !== 'SIGKILL') break;
  }
  assert.ok(kills >= 2, `${kills} kills`);
  await pushAgain(pair);
  assert.equal(await soundSnapshots(pair), 2 * days);
  // Each kill costs at most what was on its way in two sessions.
  assert.ok(pair.proxy.delivered.up < total + (kills + 1) * 2 * 8 * 1024 * 1024);
  const last = await pushAgain(pair);
  assert.deepEqual([last.snapshots, last.sentChunks], [0, 0]);
});
