import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { test } from 'node:test';
import { Datastore } from '../../src/datastore/datastore.ts';
import { addEmptyDatastore, addRemote, adminToken, assertFailed, datastoreFolder, FarshoreHost } from '../support/farshore-host.ts';
import { firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';

interface Site extends AsyncDisposable {
  host: FarshoreHost;
  folder: string;
  secret: string;
}

/** A server with empty datastores, and a token `sync@pbs!offsite` that may do everything in them. */
async function site(root: string, name: string, stores: readonly string[]): Promise<Site> {
  const host = new FarshoreHost(join(root, name));
  const folder = join(root, `${name}-data`);
  for (const store of stores) await addEmptyDatastore(host, store, join(folder, store));
  await host.start();
  return { host, folder, secret: await adminToken(host), [Symbol.asyncDispose]: () => host[Symbol.asyncDispose]() };
}

async function fill(folder: string, name: string, ids: readonly string[]): Promise<void> {
  using store = await Datastore.open({ name, path: join(folder, name), locksRoot: join(folder, 'locks'), tuning: { syncLevel: 'none' } });
  for (const id of ids) {
    for (let age = 0; age < 2; age += 1) {
      await makeSnapshot(store, '', { type: 'host', id, time: firstTime + age * 86_400 }, { files: { 'root.pxar.didx': [...noiseChunks(`${id}-${age}`, 3), ...noiseChunks(id, 2)], 'a.conf.blob': [Buffer.from(id)] }, owner: 'root@pam' });
    }
  }
}

/** Every file of the snapshots below a folder with its content, but for what a server adds to the manifest of what was pushed to it. */
async function holdings(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const entry of await readdir(join(path, 'host'), { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || !/\.(fidx|didx|blob)$/.test(entry.name) || entry.name === 'index.json.blob') continue;
    const file = join(entry.parentPath, entry.name);
    const bytes = await readFile(file);
    // Header fields with identity and time of an index that was made anew.
    found.push(`${relative(path, file)} ${createHash('sha256').update(entry.name.endsWith('idx') ? bytes.subarray(4096) : bytes).digest('hex')}`);
  }
  return found.toSorted();
}

const push = (id: string, store: string, remote: string, remoteStore: string, ...words: string[]): string[] => ['sync-job', 'create', id, '--sync-direction', 'push', '--store', store, '--remote', remote, '--remote-store', remoteStore, ...words];

test('A pushes to B, B pushes to C: the same everywhere; that C pushes back to A is refused; a pull beside a push, two sources of one target, three targets at once', async () => {
  await using root = await datastoreFolder();
  await using a = await site(root.path, 'aaa', ['main']);
  await using b = await site(root.path, 'bbb', ['copy', 'both']);
  await using c = await site(root.path, 'ccc', ['copy', 'fan', 'main', 'pulled']);
  await fill(a.folder, 'main', ['x', 'y']);
  await fill(c.folder, 'main', ['x', 'z']);
  await addRemote(a.host, 'far-b', b.host, b.secret);
  await addRemote(a.host, 'far-c', c.host, c.secret);
  await addRemote(b.host, 'far-c', c.host, c.secret);
  await addRemote(c.host, 'far-a', a.host, a.secret);
  await addRemote(c.host, 'far-b', b.host, b.secret);

  await a.host.ok(...push('onward', 'main', 'far-b', 'copy'));
  await b.host.ok(...push('further', 'copy', 'far-c', 'copy'));
  // Two groups of two snapshots, and what they share within the group.
  assert.match(await a.host.ok('sync-job', 'run', 'onward'), /in 16 chunks/);
  assert.match(await b.host.ok('sync-job', 'run', 'further'), /in 16 chunks/);
  const original = await holdings(join(a.folder, 'main'));
  assert.equal(original.length, 8);
  for (const copy of [join(b.folder, 'copy'), join(c.folder, 'copy')]) assert.deepEqual(await holdings(copy), original, copy);

  // What B passes on A learns when it pushes again, and tells C.
  assert.match(await a.host.ok('sync-job', 'run', 'onward'), /no new data to push/);
  await c.host.ok(...push('back', 'copy', 'far-a', 'main'));
  assertFailed(await c.host.run(['sync-job', 'run', 'back']), /the copies would go in a circle: copy → main on server [0-9a-f]{8} → copy on server [0-9a-f]{8} → copy/, /remove one of these sync jobs/);
  assert.deepEqual(await holdings(join(a.folder, 'main')), original, 'nothing was written');
  // Who copies back by hand after a loss is only warned; everything is there.
  assert.match(await c.host.ok('push', 'copy', 'far-a', 'main'), /the copies would go in a circle/);

  // Two sources of one target, by namespace, and one source of three targets, all at once.
  await a.host.ok(...push('to-both', 'main', 'far-b', 'both', '--remote-ns', 'from-a'));
  await c.host.ok(...push('to-both', 'main', 'far-b', 'both', '--remote-ns', 'from-c'));
  await a.host.ok(...push('to-fan', 'main', 'far-c', 'fan'));
  await c.host.ok('sync-job', 'create', 'fetch', '--store', 'pulled', '--remote', 'far-a', '--remote-store', 'main');
  const runs = await Promise.all([
    a.host.run(['sync-job', 'run', 'to-both']),
    c.host.run(['sync-job', 'run', 'to-both']),
    a.host.run(['sync-job', 'run', 'to-fan']),
    c.host.run(['sync-job', 'run', 'fetch']),
  ]);
  for (const { code, stdout, stderr } of runs) assert.equal(code, 0, stdout + stderr);
  for (const copy of [join(b.folder, 'both', 'ns', 'from-a'), join(c.folder, 'fan'), join(c.folder, 'pulled')]) assert.deepEqual(await holdings(copy), original, copy);
  assert.deepEqual(await holdings(join(b.folder, 'both', 'ns', 'from-c')), await holdings(join(c.folder, 'main')));
  for (const [one, store] of [[b, 'both'], [b, 'copy'], [c, 'copy'], [c, 'fan'], [c, 'pulled']] as const) assert.match(await one.host.ok('verify', store), /TASK OK/);
});

test('two sources that feed the same groups of one target: the second is told whose they are, nothing is overwritten', async () => {
  await using root = await datastoreFolder();
  await using a = await site(root.path, 'aaa', ['main']);
  await using c = await site(root.path, 'ccc', ['main']);
  await using b = await site(root.path, 'bbb', ['both']);
  for (const one of [a, c]) await addRemote(one.host, 'far-b', b.host, b.secret);
  await fill(a.folder, 'main', ['x']);
  using store = await Datastore.open({ name: 'main', path: join(c.folder, 'main'), locksRoot: join(c.folder, 'locks'), tuning: { syncLevel: 'none' } });
  await makeSnapshot(store, '', { type: 'host', id: 'x', time: firstTime + 86_400 }, { files: { 'root.pxar.didx': noiseChunks('other', 3) }, owner: 'root@pam' });
  await a.host.ok(...push('out', 'main', 'far-b', 'both'));
  await c.host.ok(...push('out', 'main', 'far-b', 'both'));
  await a.host.ok('sync-job', 'run', 'out');
  assertFailed(await c.host.run(['sync-job', 'run', 'out']), /snapshot exists already at target, with other content/);
  assert.deepEqual(await holdings(join(b.folder, 'both')), await holdings(join(a.folder, 'main')));
  assert.match(await a.host.ok('sync-job', 'run', 'out'), /no new data to push/);
});
