import assert from 'node:assert/strict';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { changePassphrase, parseKeyFile, serializeKeyFile } from '../../src/crypto/key-file.ts';
import { ChunkIndex } from '../../src/format/chunk-index.ts';
import { decodeManifestBlob, type Manifest } from '../../src/format/manifest.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { FarshoreServer } from '../support/farshore-server.ts';
import { goldenPassphrase, readFixture } from '../support/golden.ts';
import { hostAddress, Peer, type ClientTarget } from '../support/peer.ts';
import { adminAccount, backUpEverything, makeAdmin, restoredDifferences, type MadeSnapshot } from '../support/peer-backups.ts';
import { testSeed } from '../support/random-tree.ts';

interface Ground {
  peer: Peer;
  farshore: FarshoreServer;
  work: string;
  /** Administrator of the peer; its datastore is `copy`. */
  target: ClientTarget;
  /** Backed up into Farshore's datastore `main` by the peer's client. */
  snapshots: MadeSnapshot[];
}

async function ground(t: TestContext, stack: AsyncDisposableStack): Promise<Ground> {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  stack.defer(async () => rm(work, { recursive: true, force: true }));
  const peer = stack.use(await Peer.start());
  const farshore = stack.use(await FarshoreServer.start(join(work, 'farshore')));
  await farshore.manager('datastore', 'create', 'main', join(work, 'main'));
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  const snapshots = await backUpEverything(peer, farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'main'), work, seed);
  await peer.manager('datastore', 'create', 'copy', '/data/copy');
  const target = await makeAdmin(peer, 'copy');
  await farshore.manager('remote', 'create', 'offsite', '--host', target.host, '--port', String(target.port), '--auth-id', target.authId, '--password', target.secret, '--fingerprint', target.fingerprint);
  return { peer, farshore, work, target, snapshots };
}

/** Gives the peer a key for its sync jobs; it has no command for that. */
async function givePeerKey(target: ClientTarget, id: string, key: string): Promise<void> {
  const rest = new RestClient(new RemoteEndpoint({ host: target.host, port: target.port, authId: target.authId, secret: target.secret, fingerprint: target.fingerprint }));
  try {
    await rest.post('config/encryption-keys', { id, key });
  } finally {
    rest.close();
  }
}

const place = ({ namespace, snapshot }: MadeSnapshot): string => [...namespace.split('/').filter((part) => part !== '').map((part) => `ns/${part}`), snapshot].join('/');

async function manifestIn(store: string, made: MadeSnapshot): Promise<Manifest> {
  return decodeManifestBlob(await readFile(join(store, place(made), 'index.json.blob')));
}

/** Bytes of a file that a writer determines: of an index all but its identity and time. */
async function determined(store: string, made: MadeSnapshot, filename: string): Promise<Buffer> {
  const bytes = await readFile(join(store, place(made), filename));
  if (filename.endsWith('.blob')) return bytes;
  bytes.fill(0, 8, 32);
  assert.ok(ChunkIndex.parse(filename.endsWith('.fidx') ? 'fixed' : 'dynamic', bytes).count > 0);
  return bytes;
}

/** Manifests but for verifications, blobs and indexes are the same, byte for byte where a writer determines them. */
async function assertSame(ours: string, theirs: string, snapshots: readonly MadeSnapshot[]): Promise<void> {
  assert.ok(snapshots.length > 0);
  for (const made of snapshots) {
    const [own, other] = [await manifestIn(ours, made), await manifestIn(theirs, made)];
    for (const manifest of [own, other]) delete manifest.unprotected['verify_state'];
    assert.deepEqual(own, other, made.snapshot);
    for (const { filename } of own.files) {
      assert.ok((await determined(ours, made, filename)).equals(await determined(theirs, made, filename)), `${made.snapshot} ${filename}`);
    }
  }
}

test('pushed encrypted to the reference, restored there with the key, pulled back and decrypted as the reference itself decrypts it', async (t) => {
  await using stack = new AsyncDisposableStack();
  const { peer, farshore, work, target, snapshots } = await ground(t, stack);
  const key = await farshore.manager('encryption-key', 'create', 'vault');
  const keyFile = join(work, 'vault.key');
  await writeFile(keyFile, key.split('\n').find((line) => line.startsWith('{'))!);

  await farshore.manager('sync-job', 'create', 'out', '--sync-direction', 'push', '--remote', 'offsite', '--remote-store', 'copy', '--store', 'main', '--active-encryption-key', 'vault');
  const first = await farshore.manager('sync-job', 'run', 'out');
  assert.match(first, /TASK OK/);
  assert.match(await peer.manager('verify', 'copy'), /TASK OK/);
  // Nothing of it can be read without the key.
  for (const made of snapshots) {
    const { files } = await manifestIn(join(peer.dataFolder, 'copy'), made);
    assert.deepEqual([...new Set(files.map((file) => file.cryptMode))], ['encrypt'], made.snapshot);
  }
  const encryptedBefore = (made: MadeSnapshot): boolean => made.snapshot.startsWith('host/crypt/');
  const withKey = snapshots.map((made) => (encryptedBefore(made) ? made : { ...made, keyFile }));
  assert.deepEqual(await restoredDifferences(peer, target, withKey, join(work, 'restored-copy')), []);
  const again = await farshore.manager('sync-job', 'run', 'out');
  assert.match(again, /TASK OK/);
  assert.match(again, /no new data to push/);

  // Pulled back with the key it is plain; what was encrypted by its client stays so.
  await farshore.manager('datastore', 'create', 'back', join(work, 'back'));
  await farshore.manager('sync-job', 'create', 'home', '--remote', 'offsite', '--remote-store', 'copy', '--store', 'back', '--associated-key', 'vault');
  assert.match(await farshore.manager('sync-job', 'run', 'home'), /TASK OK/);
  assert.match(await farshore.manager('verify', 'back'), /TASK OK/);
  const back = farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'back');
  const withoutKey = snapshots.map((made) => (encryptedBefore(made) ? made : { ...made, keyFile: null }));
  assert.deepEqual(await restoredDifferences(peer, back, withoutKey, join(work, 'restored-back')), []);
  const idle = await farshore.manager('sync-job', 'run', 'home');
  assert.match(idle, /no new data to pull/);

  // The reference, with the same key.
  await givePeerKey(target, 'vault', await readFile(keyFile, 'utf8'));
  await peer.manager('datastore', 'create', 'plain', '/data/plain');
  await peer.manager('sync-job', 'create', 'decrypt', '--remote-store', 'copy', '--store', 'plain', '--associated-key', 'vault');
  assert.match(await peer.manager('sync-job', 'run', 'decrypt'), /TASK OK/);
  await assertSame(join(work, 'back'), join(peer.dataFolder, 'plain'), withoutKey.filter((one) => one.keyFile === null));
});

test('backed up encrypted to the reference, pulled with that key it is restored without one', async () => {
  await using stack = new AsyncDisposableStack();
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  stack.defer(async () => rm(work, { recursive: true, force: true }));
  const peer = stack.use(await Peer.start());
  const farshore = stack.use(await FarshoreServer.start(join(work, 'farshore')));
  await peer.manager('datastore', 'create', 'main', '/data/main');
  const target = await makeAdmin(peer, 'main');
  const snapshots = await backUpEverything(peer, target, work, testSeed());
  await farshore.manager('remote', 'create', 'head', '--host', target.host, '--port', String(target.port), '--auth-id', target.authId, '--password', target.secret, '--fingerprint', target.fingerprint);
  await farshore.manager('datastore', 'create', 'copy', join(work, 'copy'));
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  // The same key without its password.
  const open = join(work, 'open.key');
  const key = serializeKeyFile(await changePassphrase(parseKeyFile(readFixture('keys/kdf-scrypt.key')), () => goldenPassphrase, { kdf: 'none', now: 1_760_000_000 }));
  await writeFile(open, key);
  await farshore.manager('encryption-key', 'create', 'theirs', '--key-file', open);
  await farshore.manager('sync-job', 'create', 'inbound', '--remote', 'head', '--remote-store', 'main', '--store', 'copy', '--associated-key', 'theirs');
  assert.match(await farshore.manager('sync-job', 'run', 'inbound'), /TASK OK/);
  assert.match(await farshore.manager('verify', 'copy'), /TASK OK/);
  const copy = farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'copy');
  const withoutKey = snapshots.map((made) => (made.snapshot.startsWith('host/crypt/') ? { ...made, keyFile: null } : made));
  assert.deepEqual(await restoredDifferences(peer, copy, withoutKey, join(work, 'restored')), []);
  assert.match(await farshore.manager('sync-job', 'run', 'inbound'), /no new data to pull/);

  await givePeerKey(target, 'theirs', key);
  await peer.manager('datastore', 'create', 'plain', '/data/plain');
  await peer.manager('sync-job', 'create', 'decrypt', '--remote-store', 'main', '--store', 'plain', '--associated-key', 'theirs');
  assert.match(await peer.manager('sync-job', 'run', 'decrypt'), /TASK OK/);
  await assertSame(join(work, 'copy'), join(peer.dataFolder, 'plain'), snapshots.filter((made) => made.snapshot.startsWith('host/crypt/')));
});
