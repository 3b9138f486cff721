import assert from 'node:assert/strict';
import { setImmediate as turn } from 'node:timers/promises';
import { test } from 'node:test';
import { ReaderClient, type ReaderOptions } from '../../src/protocol/reader-client.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';
import { syncPair, type SyncPair } from '../support/sync-pair.ts';

const snapshot = { type: 'vm', id: '1', time: firstTime } as const;

/** A call whose connection is idle again: Node lets go of it in the turn after the answer. */
async function answered(rest: RestClient): Promise<void> {
  await rest.get('/admin/datastore/main/groups');
  await turn();
}

async function prepared(): Promise<{ pair: SyncPair; rest: RestClient; session: ReaderOptions }> {
  const pair = await syncPair();
  await makeSnapshot(pair.source.store, '', snapshot, { files: { 'drive-scsi0.img.fidx': [noise('a', 4096)] } });
  const rest = new RestClient(pair.source.endpoint(pair.proxy.port));
  await answered(rest);
  const session = { store: 'main', ns: '', backupType: snapshot.type, backupId: snapshot.id, backupTime: snapshot.time, authHeaders: () => rest.authHeaders() };
  return { pair, rest, session };
}

test('a reader session takes over the connection of a call that has been answered; the next call opens another', async () => {
  const { pair, rest, session } = await prepared();
  await using _ = pair;
  assert.equal(pair.proxy.connections, 1);
  const client = await ReaderClient.open(pair.source.endpoint(pair.proxy.port), { ...session, idleConnection: () => rest.takeIdleConnection() });
  assert.equal(pair.proxy.connections, 1);
  assert.ok((await client.downloadTo('index.json.blob', () => {}, { maxBytes: 100_000 })) > 0);
  assert.equal(rest.takeIdleConnection(), undefined, 'it is taken only once');
  await answered(rest);
  assert.equal(pair.proxy.connections, 2);
  // The session does not end with the client that it came from.
  rest.close();
  assert.ok((await client.downloadTo('index.json.blob', () => {}, { maxBytes: 100_000 })) > 0);
  client.close();
  await client.closed;
});

test('a connection that turns out to be dead is replaced by a new one, other refusals are told', async () => {
  const { pair, rest, session } = await prepared();
  await using _ = pair;
  const endpoint = pair.source.endpoint(pair.proxy.port);
  const dead = rest.takeIdleConnection();
  assert.ok(dead !== undefined);
  pair.proxy.cut();
  const client = await ReaderClient.open(endpoint, { ...session, idleConnection: () => dead });
  assert.equal(pair.proxy.connections, 2);
  client.close();
  await client.closed;
  await answered(rest);
  await assert.rejects(ReaderClient.open(endpoint, { ...session, backupId: '2', idleConnection: () => rest.takeIdleConnection() }), /does not exist/);
  assert.equal(pair.proxy.connections, 3);
  rest.close();
});
