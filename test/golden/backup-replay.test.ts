import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { verifyNamespaces } from '../../src/datastore/verify.ts';
import { parseBackupType, snapshotPath, type BackupSnapshot } from '../../src/format/backup-path.ts';
import { blobKind, decodeBlob, encodeBlob, isEncryptedKind } from '../../src/format/data-blob.ts';
import { decodeManifestBlob, type Manifest } from '../../src/format/manifest.ts';
import { backupServer, type BackupServer } from '../support/backup-server.ts';
import { RecordingLog } from '../support/datastore.ts';
import { goldenChunk, goldenFiles, goldenKey } from '../support/golden.ts';
import { replayConnection, wireBytes, wireConnections, type ReplayedAnswer, type WireMessage } from '../support/wire-replay.ts';

/** A chunk upload of which only length and hash were recorded: what the reference stored is what was sent. */
async function recordedChunk({ request, body }: WireMessage): Promise<Buffer> {
  const stored = goldenChunk(/digest=([0-9a-f]{64})/.exec(request)![1]!);
  if (createHash('sha256').update(stored).digest('hex') === body!.sha256) return stored;
  // Sent again, with another nonce: the store kept the first one.
  assert.ok(isEncryptedKind(blobKind(stored)), request);
  const crypt = await goldenKey('kdf-scrypt');
  const again = encodeBlob(decodeBlob(stored, { crypt }), { crypt, compress: true });
  assert.equal(again.length, body!.bytes, request);
  return again;
}

/** An index without what every writer chooses itself: its id and its time. */
function indexContent(bytes: Buffer): Buffer {
  const copy = Buffer.from(bytes);
  copy.fill(0, 8, 32);
  return copy;
}

function inOrder(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inOrder).toSorted((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.keys(value).toSorted().map((key) => [key, inOrder((value as Record<string, unknown>)[key])]));
}

/** What an answer says, free of what differs from server to server. */
function comparable(message: WireMessage, body: Buffer, path: string): unknown {
  if (/\.[fd]idx/.test(message.request) && message.request.startsWith('GET ')) return indexContent(body);
  if (/^GET .*index\.json\.blob$/.test(message.request)) return decodeManifestBlob(body);
  if (/^\S+ \/\S*_index\?/.test(message.request)) return typeof (JSON.parse(body.toString()) as { data: unknown }).data;
  const text = body.toString('utf8').replaceAll(path, '/srv/main');
  if (message.request.endsWith('/version')) return Object.keys((JSON.parse(text) as { data: object }).data).toSorted();
  if (message.status !== 200 || !text.startsWith('{')) return text;
  const reply = JSON.parse(text) as Record<string, unknown>;
  if (!Array.isArray(reply['data'])) return reply;
  return inOrder(reply);
}

function compareAnswer({ message, status, type, body }: ReplayedAnswer, path: string): void {
  const where = `${message.session} ${message.connection} ${message.request}: ${body.toString('utf8', 0, 300)}`;
  assert.deepEqual([status, type], [message.status, message.type], where);
  if (message.reply === undefined) return;
  const recorded = wireBytes(message.reply);
  if (recorded !== null) assert.deepEqual(comparable(message, body, path), comparable(message, recorded, path), where);
  else if (/\.[fd]idx/.test(message.request)) assert.equal(body.length, message.reply.bytes, where);
  else assert.equal(createHash('sha256').update(body).digest('hex'), message.reply.sha256, where);
}

async function replay(t: TestContext, fixture: string, options: { golden: 'source' | 'target'; store: string }): Promise<BackupServer> {
  const server = await backupServer(t, options);
  // The reference stores this one when it makes a datastore, to test access times with (spec retention 5.1).
  const zeros = createHash('sha256').update(Buffer.alloc(4 * 1024 * 1024)).digest();
  await server.datastores.use(options.store, 'write', (open) => open.chunks.insert(zeros, goldenChunk(zeros.toString('hex'))));
  let upgrades = 0;
  for (const connection of wireConnections(fixture)) {
    for (const answer of await replayConnection(server, connection, recordedChunk)) compareAnswer(answer, server.path);
    upgrades += connection.filter(({ status }) => status === 101).length;
    while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  assert.ok(upgrades >= 12, String(upgrades));
  assert.deepEqual(server.complaints, []);
  return server;
}

function storedFiles(root: string): Map<string, Buffer> {
  const files = new Map<string, Buffer>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(root.length + 1), readFileSync(path));
  }
  return files;
}

/** The stored file without what depends on when and by whom it was made. */
function storedContent(name: string, bytes: Buffer, otherwise: readonly string[]): unknown {
  if (/\.[fd]idx$/.test(name)) return indexContent(bytes);
  if (!name.endsWith('index.json.blob')) return bytes;
  const manifest: Manifest = decodeManifestBlob(bytes);
  for (const key of otherwise) delete manifest.unprotected[key];
  return manifest;
}

/** `otherwise`: members of the manifests' unprotected part that are not the same. */
function compareFiles(server: BackupServer, leaveOut: (name: string) => boolean, otherwise: readonly string[]): void {
  const stored = storedFiles(server.path);
  const golden = new Map(goldenFiles().map((file) => [file.name, file.content]));
  const names = (files: ReadonlyMap<string, Buffer>): string[] => [...files.keys()].filter((name) => !leaveOut(name)).toSorted();
  assert.deepEqual(names(stored), names(golden));
  for (const name of names(golden)) assert.deepEqual(storedContent(name, stored.get(name)!, otherwise), storedContent(name, golden.get(name)!, otherwise), name);
}

async function verifyStore(server: BackupServer, store: string): Promise<number> {
  return server.datastores.use(store, 'read', async (open) => {
    const log = new RecordingLog();
    const { verifiedSnapshots } = await verifyNamespaces(open, {}, { upid: 'UPID:test:00000001:00000001:00000001:00000001:verify:main:root@pam:', log, ignoreVerified: false });
    return verifiedSnapshots;
  });
}

test('the recorded backups get the recorded answers and leave the recorded datastore', async (t) => {
  const server = await replay(t, 'backup-conversations', { golden: 'source', store: 'main' });
  compareFiles(server, (name) => name === '.gc-status' || name === '.lock', ['verify_state']);
  assert.equal(await verifyStore(server, 'main'), 12);
});

/** Blobs that were sent, by the path under which they must be stored. */
function sentBlobs(fixture: string): Map<string, Buffer> {
  const blobs = new Map<string, Buffer>();
  for (const [first, ...messages] of wireConnections(fixture).map((all) => all.slice(all.findIndex(({ status }) => status === 101)))) {
    if (first === undefined || first.status !== 101) continue;
    const query = new URLSearchParams(first.request.split('?')[1]);
    const snapshot: BackupSnapshot = { type: parseBackupType(query.get('backup-type')!), id: query.get('backup-id')!, time: Number(query.get('backup-time')) };
    const folder = snapshotPath(query.get('ns') ?? '', snapshot);
    for (const { request, body } of messages) {
      const name = /^POST \/blob\?.*file-name=([^&]+)/.exec(request)?.[1];
      if (name !== undefined) blobs.set(`${folder}/${name}`, wireBytes(body!)!);
    }
  }
  return blobs;
}

test('a peer that pushes gets the recorded answers, and what it sent is what is stored', async (t) => {
  const server = await replay(t, 'push-conversations', { golden: 'target', store: 'pushed' });
  // Owner and protection are each server's own. The reference pushes other blobs than it holds: a client log encoded once more, crypt mode `none` in place
  // of `sign-only`.
  const others = new Set(['.gc-status', '.lock', '.protected', 'owner', 'client.log.blob', 'index.json.blob']);
  compareFiles(server, (name) => others.has(name.split('/').at(-1)!), []);
  const sent = sentBlobs('push-conversations');
  assert.ok(sent.size >= 15);
  for (const [name, blob] of sent) assert.deepEqual(storedContent(name, readFileSync(join(server.path, name)), ['chunk_upload_stats']), storedContent(name, blob, ['chunk_upload_stats']), name);
  assert.equal(await verifyStore(server, 'pushed'), 12);
});
