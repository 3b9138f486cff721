import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { FarshoreServer } from '../support/farshore-server.ts';
import { fixturePath, readFixture } from '../support/golden.ts';
import { hostAddress, Peer, type Ran } from '../support/peer.ts';
import { adminAccount, keyEnvironment, makeAdmin, makeReaderToken, writeGoldenFiles } from '../support/peer-backups.ts';
import { describeTree } from '../support/random-tree.ts';
import { goldenSnapshots } from '../support/snapshots.ts';
import { chunkCount, storedFiles } from '../support/stored-files.ts';

const reader = { user: 'sync@pbs', token: 'sync@pbs!offsite', password: 'sync-password-1' };

/** A server with the golden datastore as `main`, and a user and a token that may read it; the token's secret. */
async function makeSource(farshore: FarshoreServer, folder: string): Promise<string> {
  await farshore.manager('datastore', 'create', 'main', folder);
  writeGoldenFiles(folder);
  await farshore.manager('user', 'create', reader.user, '--password', reader.password);
  const answer = await farshore.manager('user', 'generate-token', reader.user, 'offsite');
  for (const authId of [reader.user, reader.token]) await farshore.manager('acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', authId);
  return (JSON.parse(answer.slice(answer.indexOf('{'))) as { value: string }).value;
}

/** Namespace, `host/plain` and `host/plain/…Z` of a snapshot's folder. */
function placeOf(path: string): { namespace: string; group: string; snapshot: string } {
  const parts = path.split('/');
  const snapshot = parts.slice(-3).join('/');
  const namespace = parts.slice(0, -3).filter((_, i) => i % 2 === 1).join('/');
  return { namespace, group: parts.slice(-3, -1).join('/'), snapshot };
}

test('the reference pulls everything from our server, and its client restores from it', async (t) => {
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start();
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  const sourceFolder = join(peer.dataFolder, 'source');
  const secret = await makeSource(farshore, sourceFolder);
  await peer.manager('datastore', 'create', 'copy', '/data/copy');
  const admin = await makeAdmin(peer, 'copy');
  await peer.manager('remote', 'create', 'farshore', '--host', hostAddress, '--port', String(farshore.port), '--auth-id', reader.token, '--password', secret, '--fingerprint', farshore.fingerprint);
  await peer.manager('sync-job', 'create', 'nightly', '--remote', 'farshore', '--remote-store', 'main', '--store', 'copy');
  const snapshots = (await goldenSnapshots()).map(({ path, manifest }) => ({ ...placeOf(path), manifest }));

  await t.test('it sees what is there', async () => {
    const client = new RestClient(new RemoteEndpoint({ host: peer.host, port: peer.port, authId: adminAccount.authId, secret: adminAccount.password, fingerprint: peer.fingerprint }));
    try {
      const scan = async (path: string, parameters: Record<string, string> = {}): Promise<Array<Record<string, unknown>>> => (await client.get(`/config/remote/farshore/scan${path}`, parameters)).data as Array<Record<string, unknown>>;
      assert.deepEqual((await scan('')).map(({ store }) => store), ['main']);
      assert.deepEqual(new Set((await scan('/main/namespaces')).map(({ ns }) => ns)), new Set(['', 'site-a', 'site-a/dept-b']));
      for (const namespace of ['', 'site-a', 'site-a/dept-b']) {
        const groups = await scan('/main/groups', { namespace });
        const expected = new Set(snapshots.filter((one) => one.namespace === namespace).map(({ group }) => group));
        assert.deepEqual(new Set(groups.map((group) => `${String(group['backup-type'])}/${String(group['backup-id'])}`)), expected);
      }
    } finally {
      client.close();
    }
  });

  const pull = async (): Promise<string> => peer.manager('sync-job', 'run', 'nightly');
  await t.test('its first pull copies every file byte for byte', async () => {
    assert.match(await pull(), /TASK OK\n$/);
    const source = storedFiles(sourceFolder);
    assert.deepEqual(storedFiles(join(peer.dataFolder, 'copy')), source);
    assert.equal(chunkCount(source), 37);
  });

  await t.test('its second pull finds nothing new', async () => {
    assert.match(await pull(), /no new data to pull[^]*TASK OK\n$/);
  });

  const here = farshore.target(hostAddress, reader.token, secret, 'main');
  const copyReader = peer.target(reader.token, await makeReaderToken(peer, 'copy', reader.user, 'offsite'), 'copy');
  await t.test('its client gets the same answers from both servers', async () => {
    for (const argv of questions(snapshots)) {
      const [ours, theirs] = await Promise.all([peer.tryClient(here, argv), peer.tryClient(copyReader, argv)]);
      assert.deepEqual(comparable(ours), comparable(theirs), argv.join(' '));
    }
    const newest = snapshots.filter(({ group }) => group === 'host/plain').map(({ snapshot }) => snapshot).toSorted().at(-1)!;
    const dump = await peer.tryClient(here, ['catalog', 'dump', newest]);
    assert.equal(dump.stdout + dump.stderr, readFixture('expected/catalog-plain.txt').toString());
  });

  await t.test('its client restores from our server what it restores from the copy', async () => {
    const sums = new Map(readFixture('expected/images.sha256').toString().trim().split('\n').map((line): [string, string] => [line.split(/ +/)[1]!, line.split(/ +/)[0]!]));
    // A password instead of a token: the client logs in and works with a ticket.
    const there = farshore.target(hostAddress, reader.user, reader.password, 'main');
    for (const { namespace, group, snapshot, manifest } of snapshots) {
      for (const archive of restorable(manifest.files.map(({ filename }) => filename))) {
        const argv = (to: string): string[] => ['restore', snapshot, archive, join(work, to), ...(namespace === '' ? [] : ['--ns', namespace]), ...keyOf(group)];
        await Promise.all([peer.client(there, argv('ours'), { env: keyEnvironment }), peer.client(admin, argv('theirs'), { env: keyEnvironment })]);
        assert.deepEqual(restored(join(work, 'ours')), restored(join(work, 'theirs')), `${snapshot} ${archive}`);
        if (archive === 'data.img') assert.equal(restored(join(work, 'ours'))[0], sums.get('img1'));
        for (const to of ['ours', 'theirs']) await rm(join(work, to), { recursive: true });
      }
    }
  });

  await t.test('it verifies all that it pulled', async () => {
    const log = await peer.manager('verify', 'copy', '--ignore-verified', 'false');
    assert.match(log, /TASK OK\n$/);
    assert.equal(log.match(/^verify copy:.*Z$/gm)?.length, snapshots.length, log);
  });
});

/** What the client is asked, with answers that do not depend on the server but on the data. */
function questions(snapshots: ReadonlyArray<{ namespace: string; group: string; snapshot: string }>): string[][] {
  const json = ['--output-format', 'json'];
  const place = (namespace: string): string[] => (namespace === '' ? [] : ['--ns', namespace]);
  const namespaces = [...new Set(snapshots.map(({ namespace }) => namespace))];
  return [
    ['namespace', 'list'],
    ...namespaces.flatMap((namespace) => ['list', 'snapshot list'].flatMap((words) => [[...words.split(' '), ...place(namespace)], [...words.split(' '), ...json, ...place(namespace)]])),
    ...snapshots.flatMap(({ namespace, snapshot }) => [
      ['snapshot', 'files', snapshot, ...place(namespace)],
      ['snapshot', 'files', snapshot, ...json, ...place(namespace)],
      ['snapshot', 'notes', 'show', snapshot, ...place(namespace)],
    ]),
    ['snapshot', 'files', 'host/nobody/2025-10-09T08:53:20Z'],
    ['snapshot', 'list', '--ns', 'nowhere'],
    ['restore', 'vm/100', 'nothing.img', '/nonexistent/target'],
    ['catalog', 'dump', 'vm/100'],
  ];
}

/** What the client said: lists in one order and without what belongs to each datastore itself, errors without the program's own addresses. */
function comparable({ status, stdout, stderr }: Ran): unknown {
  const errors = stderr.replace(/\nStack backtrace:[^]*$/, '');
  if (!stdout.startsWith('[')) return { status, stdout, errors };
  const items = (JSON.parse(stdout) as Array<Record<string, unknown>>)
    .map(({ owner: _owner, protected: _protected, ...item }) => item)
    // The names in a list of groups come in the folder's order.
    .map((item) => JSON.stringify('backup-count' in item ? { ...item, files: (item['files'] as string[]).toSorted() } : item))
    .toSorted();
  return { status, items, errors };
}

/** Archives as the client names them; a split archive is one. */
function restorable(files: readonly string[]): string[] {
  return files
    .filter((name) => !name.endsWith('.ppxar.didx') && name !== 'catalog.pcat1.didx' && !name.endsWith('.key.blob'))
    .map((name) => name.replace(/\.(didx|fidx|blob)$/, '').replace(/\.mpxar$/, '.pxar'));
}

function keyOf(group: string): string[] {
  const key = { 'host/crypt': 'kdf-scrypt', 'host/signed': 'kdf-none' }[group];
  return key === undefined ? [] : ['--keyfile', fixturePath(`keys/${key}.key`)];
}

/** A restored tree entry by entry, or the SHA-256 of a restored file. */
function restored(path: string): string[] {
  try {
    return [createHash('sha256').update(readFileSync(path)).digest('hex')];
  } catch {
    return describeTree(path);
  }
}
