import assert from 'node:assert/strict';
import { join } from 'node:path';
import { test } from 'node:test';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { createLockedGroup } from '../../src/datastore/groups.ts';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { removeGroup, removeSnapshot } from '../../src/datastore/removal.ts';
import { CryptConfig } from '../../src/crypto/crypt-config.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import type { BackupSnapshot } from '../../src/format/backup-path.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { estimateSync, type SyncEstimate } from '../../src/replication/estimate.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import { LocalTarget } from '../../src/replication/local-target.ts';
import { Peer } from '../../src/replication/peer.ts';
import type { ReplicationPolicy } from '../../src/replication/policy.ts';
import { PossessionJournal } from '../../src/replication/possession-journal.ts';
import { RemoteSource } from '../../src/replication/remote-source.ts';
import { firstTime, madeIndex, makeSnapshot, noise, noiseChunks, madeChunkSize } from '../support/made-snapshots.ts';
import { plainPolicy, syncPair, type SyncPair } from '../support/sync-pair.ts';

/** What `sync-job plan` would say of a pull of the pair. */
async function estimated(pair: SyncPair, options: Partial<ReplicationPolicy> & { quick?: boolean; sizes?: boolean } = {}): Promise<SyncEstimate & { bytes: number; chunks: number; basis: Set<string> }> {
  const { quick = false, sizes = true, ...change } = options;
  const policy = { ...plainPolicy, ...change };
  const { signal } = new AbortController();
  const endpoint = pair.source.endpoint();
  const source = new RemoteSource({ endpoint, remote: 'hq', store: 'main', namespace: policy.sourceNamespace, flight: new FlightControl(systemClock), signal });
  const journal = PossessionJournal.open({ path: join(pair.folder, 'journals', 'hq.sqlite'), identity: 'hq', bootId: 'this', log: silentLog });
  const rest = new RestClient(endpoint);
  const peer = new Peer(rest);
  try {
    const estimate = await estimateSync({
      source,
      chunkSizes: sizes ? (...asked) => peer.chunkSizes('main', ...asked) : undefined,
      target: new LocalTarget(pair.target),
      policy,
      isDelivered: (digest) => journal.has(digest),
      isUnchanged: (namespace, snapshot, listing) => journal.isUnchanged(namespace, snapshot, listing),
      quick,
      log: silentLog,
      signal,
    });
    const all = estimate.groups.flatMap((group) => group.snapshots);
    return { ...estimate, bytes: all.reduce((sum, one) => sum + one.bytes, 0), chunks: all.reduce((sum, one) => sum + one.chunks, 0), basis: new Set(all.map((one) => one.basis)) };
  } finally {
    rest.close();
    journal.close();
    await source.close();
  }
}

function at(id: string, day: number): BackupSnapshot {
  return { type: 'vm', id, time: firstTime + day * 86_400 };
}

/** Half noise, half zeros: compresses to a good half. */
function softChunks(seed: string, count: number): Buffer[] {
  return Array.from({ length: count }, (_, i) => Buffer.concat([noise(`${seed}-${i}`, madeChunkSize / 2), Buffer.alloc(madeChunkSize / 2)]));
}

async function disk(store: Datastore, snapshot: BackupSnapshot, chunks: Buffer[], unprotected: Record<string, unknown> = {}): Promise<void> {
  await makeSnapshot(store, '', snapshot, { files: { 'drive-scsi0.img.fidx': chunks, 'qemu-server.conf.blob': [Buffer.from('name: x')] }, compress: true, unprotected });
}

/** Within two percent, both ways. */
function assertClose(planned: number, moved: number, what: string): void {
  assert.ok(moved > 0, `${what}: something moved`);
  assert.ok(Math.abs(planned - moved) <= moved * 0.02, `${what}: planned ${planned}, moved ${moved}`);
}

test('the bytes of a plan are what then moves: first sync, shared chunks, next day, after a cut; a plan asks for no chunk and changes nothing', async () => {
  await using pair = await syncPair();
  const { store } = pair.source;
  const shared = softChunks('shared', 20);
  await disk(store, at('100', 0), [...softChunks('a', 20), ...noiseChunks('a', 5), ...shared]);
  await disk(store, at('101', 0), [...softChunks('b', 10), ...shared]);
  const first = await estimated(pair);
  assert.deepEqual([first.chunks, [...first.basis]], [55, ['exact']]);
  assert.deepEqual(await pair.target.chunks.size(Buffer.alloc(32)), null);
  assert.equal(pair.source.requests.some((url) => url.includes('/chunk-sizes')), true);
  const moved = await pair.pulled();
  assertClose(first.bytes, moved.fetchedBytes, 'first sync');
  assert.equal(first.chunks, moved.fetchedChunks);
  assert.deepEqual((await estimated(pair)).bytes, 0);

  await disk(store, at('100', 1), [...softChunks('a', 20), ...noiseChunks('a-next', 5), ...shared]);
  await disk(store, at('102', 1), [...shared, ...softChunks('c', 7)]);
  const next = await estimated(pair);
  assert.equal(next.chunks, 12);
  assertClose(next.bytes, (await pair.pulled()).fetchedBytes, 'next day');

  await disk(store, at('103', 2), softChunks('d', 60));
  const whole = await estimated(pair);
  const cut = new AbortController();
  let chunks = 0;
  const { error } = await pair.pull({
    signal: cut.signal,
    wrapTarget: (target) =>
      new Proxy(target, {
        get(inner, name) {
          const member: unknown = Reflect.get(inner, name, inner);
          if (typeof member !== 'function') return member;
          if (name !== 'storeChunk') return member.bind(inner) as unknown;
          return async (...args: Parameters<typeof target.storeChunk>) => {
            const stored = await inner.storeChunk(...args);
            if ((chunks += 1) === 20) cut.abort();
            return stored;
          };
        },
      }),
  });
  assert.notEqual(error, null);
  const rest = await estimated(pair);
  assert.ok(rest.bytes > 0 && rest.bytes < whole.bytes, `${rest.bytes} of ${whole.bytes} after the cut`);
  assertClose(rest.bytes, (await pair.pulled()).fetchedBytes, 'after a cut');
});

test('encrypted chunks, too; a source that tells no sizes is reckoned with by how well its backups compressed, within two percent', async () => {
  await using pair = await syncPair();
  const { store } = pair.source;
  const crypt = new CryptConfig(Buffer.alloc(32, 7));
  const plain = softChunks('secret', 30);
  const digests = plain.map((chunk) => crypt.digest(chunk));
  const snapshot = at('200', 0);
  const group = await createLockedGroup(store, '', snapshot, 'admin@pbs');
  {
    await using writer = await group.openSnapshot(snapshot.time);
    let encoded = 0;
    for (const [i, chunk] of plain.entries()) {
      const blob = encodeBlob(chunk, { compress: true, crypt });
      encoded += blob.length;
      await store.chunks.insert(digests[i]!, blob);
    }
    const { bytes, size, csum } = madeIndex('drive-scsi0.img.fidx', plain, snapshot.time, digests);
    await writer.stage('drive-scsi0.img.fidx', bytes, bytes.length);
    await writer.commit('drive-scsi0.img.fidx');
    const files = [{ filename: 'drive-scsi0.img.fidx', cryptMode: 'encrypt' as const, size, csum }];
    const uploaded = { chunk_upload_stats: { count: 30, size, compressed_size: encoded, duplicates: 0 } };
    await writer.publish({ backupType: 'vm', backupId: '200', backupTime: snapshot.time, files, signature: null, unprotected: uploaded }, ['drive-scsi0.img.fidx']);
  }
  await group.release();
  const exact = await estimated(pair);
  const ratio = await estimated(pair, { sizes: false });
  assert.deepEqual([[...exact.basis], [...ratio.basis]], [['exact'], ['ratio']]);
  const listing = await estimated(pair, { quick: true });
  assert.deepEqual([[...listing.basis], listing.bytes], [['listing'], 30 * madeChunkSize]);
  const moved = await pair.pulled();
  assertClose(exact.bytes, moved.fetchedBytes, 'exact');
  assertClose(ratio.bytes, moved.fetchedBytes, 'ratio');
});

test('what would be removed is planned, with what keeps it', async () => {
  await using pair = await syncPair();
  const { store } = pair.source;
  for (const id of ['300', '301']) for (const day of [0, 1]) await disk(store, at(id, day), noiseChunks(`${id}-${day}`, 2));
  await pair.pulled();
  await removeSnapshot(store, '', at('300', 0));
  await removeGroup(store, '', { type: 'vm', id: '301' });
  const plan = await estimated(pair, { removeVanished: true });
  assert.deepEqual(plan.groups.flatMap((group) => group.plan.vanished.map((one) => [one.id, one.time])), [['300', at('300', 0).time]]);
  assert.deepEqual(plan.vanishedGroups.map(({ group, snapshots }) => [group.id, snapshots.length]), [['301', 2]]);
  const report = await pair.pulled({ removeVanished: true });
  assert.deepEqual([report.removedSnapshots, report.removedGroups], [3, 1]);
});
