import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenStore } from '../../test/support/datastore.ts';
import { encodeBlob } from '../format/data-blob.ts';
import { maxClientLogSize, storeClientLog } from './client-log.ts';

const snapshot = { type: 'host', id: 'plain', time: 1760000000 } as const;
const log = encodeBlob(Buffer.from('client log'), { compress: true });

test('a client log is stored once, whole, and not beyond its limit', async () => {
  await using copy = await goldenStore();
  const { store } = copy;
  const path = join(store.snapshotPath('', snapshot), 'client.log.blob');
  await rm(path);
  await assert.rejects(storeClientLog(store, '', snapshot, Buffer.alloc(maxClientLogSize + 1)), { code: 'format.too-large' });
  await assert.rejects(storeClientLog(store, '', snapshot, log.subarray(0, log.length - 1)), { name: 'FormatError' });
  await assert.rejects(storeClientLog(store, '', { ...snapshot, time: 1 }, log), { code: 'store.no-such-snapshot' });
  const outcomes = await Promise.allSettled([storeClientLog(store, '', snapshot, log), storeClientLog(store, '', snapshot, encodeBlob(Buffer.from('another'), { compress: false }))]);
  assert.deepEqual(outcomes.map(({ status }) => status).toSorted(), ['fulfilled', 'rejected']);
  const stored = await readFile(path);
  assert.equal(stored.equals(log), outcomes[0].status === 'fulfilled');
  await assert.rejects(storeClientLog(store, '', snapshot, log), { code: 'store.exists', message: 'backup already contains a log.' });
});
