/**
 * Clients of the load test in one process: `load-clients.ts '{"port":…}'` (LoadOrder) lists and backs up until its time is over and prints what came of it, LoadCounts,
 * as one line of JSON.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { errorChain } from '../src/base/errors.ts';
import { encodeBlob } from '../src/format/data-blob.ts';
import { encodeManifestBlob } from '../src/format/manifest.ts';
import { BackupClient, type IndexPlace } from '../src/protocol/backup-client.ts';
import { RemoteEndpoint } from '../src/protocol/remote-endpoint.ts';
import { RestClient } from '../src/protocol/rest-client.ts';
import { digestOf, madeIndex, noise } from '../test/support/made-snapshots.ts';

export interface LoadOrder {
  port: number;
  fingerprint: string;
  authId: string;
  secret: string;
  seconds: number;
  /** Clients that list, and how long each waits after an answer. */
  listing: number;
  pauseMs: number;
  backingUp: number;
}

export interface LoadCounts {
  lists: number;
  backups: number;
  uploadedBytes: number;
  errors: string[];
}

const chunkBytes = 2 ** 20;
const chunksOfBackup = 24;
const inFlight = 4;
const firstTime = 1_770_000_000;

const order = JSON.parse(process.argv[2]!) as LoadOrder;
const counts: LoadCounts = { lists: 0, backups: 0, uploadedBytes: 0, errors: [] };
const endMs = performance.now() + order.seconds * 1000;
const endpoint = new RemoteEndpoint({ host: '127.0.0.1', port: order.port, authId: order.authId, secret: order.secret, fingerprint: order.fingerprint });

function failed(what: string, e: unknown): void {
  if (counts.errors.length < 20) counts.errors.push(`${what}: ${errorChain(e)}`);
}

async function list(number: number): Promise<void> {
  const client = new RestClient(endpoint);
  // Not all at the same moment.
  await sleep((order.pauseMs * number) / order.listing);
  while (performance.now() < endMs) {
    try {
      await client.get('/admin/datastore/source/snapshots');
      counts.lists += 1;
    } catch (e) {
      failed('list', e);
    }
    await sleep(order.pauseMs);
  }
  client.close();
}

/** The server checks each chunk that comes; most of them it has then. */
const pool = Array.from({ length: 32 }, (_, i) => chunkOf(`pool-${i}`));

function chunkOf(seed: string): { digest: Buffer; size: number; encoded: Buffer; plain: Buffer } {
  const plain = noise(seed, chunkBytes);
  return { digest: digestOf(plain), size: plain.length, encoded: encodeBlob(plain, { compress: false }), plain };
}

async function backUp(number: number, age: number, rest: RestClient): Promise<void> {
  const time = firstTime + age;
  const client = await BackupClient.open(endpoint, { store: 'main', ns: '', backupType: 'host', backupId: `load-${number}`, backupTime: time, authHeaders: async () => rest.authHeaders() });
  try {
    const chunks = [chunkOf(`${number}-${age}`), ...Array.from({ length: chunksOfBackup - 1 }, (_, i) => pool[(number + age * 7 + i) % pool.length]!)];
    const index = await client.createIndex('dynamic', 'data.didx');
    const waiting = [...chunks];
    await Promise.all(
      Array.from({ length: inFlight }, async () => {
        for (let chunk = waiting.shift(); chunk !== undefined; chunk = waiting.shift()) {
          await client.putChunk(index, chunk);
          counts.uploadedBytes += chunk.encoded.length;
        }
      }),
    );
    const places: IndexPlace[] = chunks.map(({ digest }, i) => ({ digest, start: i * chunkBytes }));
    await client.appendChunks(index, places);
    const { size, csum } = madeIndex('data.didx', chunks.map(({ plain }) => plain), 0, chunks.map(({ digest }) => digest));
    await client.closeIndex(index, { chunkCount: chunks.length, size, csum: Buffer.from(csum, 'hex') });
    await client.putBlob('index.json.blob', encodeManifestBlob({ backupType: 'host', backupId: `load-${number}`, backupTime: time, files: [{ filename: 'data.didx', cryptMode: 'none', size, csum }], signature: null, unprotected: {} }));
    await client.finish();
    counts.backups += 1;
  } finally {
    client.close();
  }
}

async function keepBackingUp(number: number): Promise<void> {
  const rest = new RestClient(endpoint);
  for (let age = 0; performance.now() < endMs; age += 1) {
    try {
      await backUp(number, age, rest);
    } catch (e) {
      failed('backup', e);
      await sleep(1000);
    }
  }
  rest.close();
}

await Promise.all([...Array.from({ length: order.listing }, (_, i) => list(i)), ...Array.from({ length: order.backingUp }, (_, i) => keepBackingUp(i))]);
process.stdout.write(`${JSON.stringify(counts)}\n`);
