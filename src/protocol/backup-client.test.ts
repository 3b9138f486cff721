import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { clientPasswords, clientServer, type ClientServer } from '../../test/support/client-server.ts';
import { DigestSet } from '../base/digest-set.ts';
import { ChunkIndex } from '../format/chunk-index.ts';
import { encodeBlob } from '../format/data-blob.ts';
import { encodeManifestBlob } from '../format/manifest.ts';
import { BackupClient } from './backup-client.ts';
import { IndexUploader } from './index-uploader.ts';
import { RateLimiter } from './rate-limit.ts';
import { RemoteEndpoint } from './remote-endpoint.ts';
import { RestClient } from './rest-client.ts';

/** The client's end of backup sessions with a whole server. */

const kib = 1024;

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}

async function session(t: TestContext, server: ClientServer, time: number, limiter?: RateLimiter): Promise<BackupClient> {
  const endpoint = new RemoteEndpoint({ host: '127.0.0.1', port: server.port, authId: 'admin@pbs', secret: clientPasswords['admin@pbs'], fingerprint: server.fingerprint });
  const rest = new RestClient(endpoint);
  const client = await BackupClient.open(endpoint, {
    store: 'main',
    ns: '',
    backupType: 'host',
    backupId: 'new',
    backupTime: time,
    limiter,
    authHeaders: async () => rest.authHeaders(),
  });
  t.after(() => {
    client.close();
    rest.close();
  });
  return client;
}

async function finish(client: BackupClient, time: number, archive: { size: number; csum: Buffer }): Promise<void> {
  const file = { filename: 'root.pxar.didx', cryptMode: 'none', size: archive.size, csum: archive.csum.toString('hex') } as const;
  await client.putBlob('index.json.blob', encodeManifestBlob({ backupType: 'host', backupId: 'new', backupTime: time, files: [file], signature: null, unprotected: {} }));
  await client.finish();
}

/** Ends a session before its time, and waits until the server has cleaned up. */
async function abandon(server: ClientServer, client: BackupClient): Promise<void> {
  client.close();
  const rest = new RestClient(new RemoteEndpoint({ host: '127.0.0.1', port: server.port, authId: 'admin@pbs', secret: clientPasswords['admin@pbs'], fingerprint: server.fingerprint }));
  try {
    for (let tries = 0; tries < 500; tries += 1) {
      const { data } = await rest.get('nodes/localhost/tasks', { running: true, start: 0, limit: 50 });
      if ((data as unknown[]).length === 0) break;
      await new Promise((resolve) => void setTimeout(resolve, 20));
    }
  } finally {
    rest.close();
  }
  assert.ok(!existsSync(join(server.path, 'host/new/2026-02-02T02:40:00Z')));
}

test('an archive of very many chunks, with repeated ones, arrives in order; the next backup reuses and injects them', async (t) => {
  const server = await clientServer(t, { own: true });
  const first = await session(t, server, 1_770_000_000);
  assert.equal(await first.previousBackupTime(), null);
  const different = Array.from({ length: 150 }, (_, at) => randomBytes(100 + at));
  const chunks = Array.from({ length: 6000 }, (_, at) => different[at % different.length]!);
  const upload = await IndexUploader.open(first, { kind: 'dynamic', archiveName: 'root.pxar.didx', known: new DigestSet() });
  for (const chunk of chunks) await upload.add(chunk);
  const summary = await upload.finish();
  assert.deepEqual([summary.chunks, summary.reusedChunks, summary.uploadedSize], [6000, 5850, different.reduce((sum, { length }) => sum + length, 0)]);
  await finish(first, 1_770_000_000, summary);
  const index = ChunkIndex.parse('dynamic', await readFile(join(server.path, 'host/new/2026-02-02T02:40:00Z/root.pxar.didx')));
  assert.deepEqual([index.count, index.size, Buffer.from(index.csum)], [6000, summary.size, summary.csum]);
  for (const [at, chunk] of chunks.entries()) assert.ok(sha256(chunk).equals(index.digest(at)), `chunk ${at}`);

  const second = await session(t, server, 1_770_086_400);
  assert.equal(await second.previousBackupTime(), 1_770_000_000);
  const previous = ChunkIndex.parse('dynamic', await second.previous('root.pxar.didx', { maxBytes: 1024 * kib }));
  const known = new DigestSet();
  for (const { digest } of previous.entries()) known.add(digest);
  const again = await IndexUploader.open(second, { kind: 'dynamic', archiveName: 'root.pxar.didx', known });
  await again.add(different[3]!);
  await again.inject(Array.from({ length: 5000 }, (_, at) => ({ digest: previous.digest(at), size: previous.entry(at).end - previous.entry(at).start })));
  await again.add(randomBytes(77));
  const { chunks: count, uploadedSize, injectedChunks, reusedChunks, size, csum } = await again.finish();
  assert.deepEqual([count, uploadedSize, injectedChunks, reusedChunks], [5002, 77, 5000, 5001]);
  await finish(second, 1_770_086_400, { size, csum });
});

test('what the remote refuses ends the upload with its text, for whoever adds next and for the end', async (t) => {
  const server = await clientServer(t, { own: true });
  const client = await session(t, server, 1_770_000_000);
  const upload = await IndexUploader.open(client, { kind: 'dynamic', archiveName: 'root.pxar.didx', known: new DigestSet() });
  // Nobody has registered this one.
  await upload.inject([{ digest: randomBytes(32), size: 100 }]);
  const refused = /no such chunk/;
  await assert.rejects(async () => {
    for (;;) await upload.add(randomBytes(64 * kib));
  }, refused);
  await assert.rejects(upload.finish(), refused);
  await assert.rejects(upload.add(randomBytes(10)), refused);
  await abandon(server, client);
});

test('a session that ends in the middle ends the upload, and leaves nothing', async (t) => {
  const server = await clientServer(t, { own: true });
  const client = await session(t, server, 1_770_000_000, new RateLimiter({ rateOut: 300 * kib }));
  const upload = await IndexUploader.open(client, { kind: 'fixed', archiveName: 'disk.img.fidx', size: 400 * 4096 * kib, known: new DigestSet() });
  let added = 0;
  const adding = (async () => {
    for (; added < 400; added += 1) await upload.add(randomBytes(4096 * kib));
  })();
  adding.catch(() => {});
  // The line is slow: what waits for it is bounded.
  await new Promise((resolve) => void setTimeout(resolve, 600));
  assert.ok(added >= 8 && added <= 20, `${added} chunks were taken`);
  client.close();
  await assert.rejects(adding, /the session was closed/);
  await assert.rejects(upload.finish(), /the session was closed/);
  await abandon(server, client);
});

test('the remote’s answers and refusals come through', async (t) => {
  const server = await clientServer(t, { own: true });
  const client = await session(t, server, 1_770_000_000);
  await assert.rejects(client.previous('index.json.blob', { maxBytes: 1000 }), { status: 400, message: 'no valid previous backup' });
  await assert.rejects(client.putBlob('a.conf', encodeBlob(Buffer.from('x'), { compress: true })), { status: 400 });
  await assert.rejects(client.closeIndex({ kind: 'fixed', wid: 9 }, { chunkCount: 1, size: 1, csum: randomBytes(32) }), /fixed writer '9' not registered/);
  await client.speedtest(randomBytes(4096 * kib));
  assert.equal(client.failure, undefined);
  await abandon(server, client);
});
