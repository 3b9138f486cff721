import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { dirname, join, relative } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { SyncPlanReply } from '../../src/api/sync-plan-reply.ts';
import { addGoldenDatastore, addRemote, assertFailed, datastoreFolder, FarshoreHost, readerToken } from '../support/farshore-host.ts';

/** Starts a host with an empty datastore that pulls from `source`. */
async function relay(host: FarshoreHost, folder: string, name: string, source: { host: FarshoreHost; store: string; secret: string }): Promise<void> {
  await host.start();
  await host.ok('datastore', 'create', name, join(folder, `${name}-data`));
  await addRemote(host, 'upstream', source.host, source.secret);
  await host.ok('sync-job', 'create', `to-${name}`, '--store', name, '--remote', 'upstream', '--remote-store', source.store);
}

/** Every file of a datastore's snapshots with its content. */
async function holdings(path: string): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(path)).filter((one) => !one.startsWith('.'))) {
    for (const entry of await readdir(join(path, name), { recursive: true, withFileTypes: true })) {
      if (!entry.isFile() || !/\.(fidx|didx|blob)$/.test(entry.name)) continue;
      const file = join(entry.parentPath, entry.name);
      found.push(`${relative(path, file)} ${createHash('sha256').update(await readFile(file)).digest('hex')}`);
    }
  }
  return found.toSorted();
}

test('A → B → C, and A → D: the same snapshots everywhere; a circle is refused, the others go on; a carried copy moves only what is new', async () => {
  await using folder = await datastoreFolder();
  await using a = new FarshoreHost(join(folder.path, 'a'));
  await addGoldenDatastore(a, 'main', join(folder.path, 'a-data'));
  await a.start();
  const secretOfA = await readerToken(a, 'main');
  await using b = new FarshoreHost(join(folder.path, 'bbb'));
  await relay(b, folder.path, 'bbb', { host: a, store: 'main', secret: secretOfA });
  const plan = (await b.json('sync-job', 'plan', 'to-bbb')) as SyncPlanReply;
  assert.equal(plan.basis, 'exact');
  const first = await b.ok('sync-job', 'run', 'to-bbb');
  assert.match(first, new RegExp(`in ${plan.chunks} chunks`));
  assert.match(await b.ok('sync-job', 'plan', 'to-bbb'), /To move: 0 B in 0 chunks[^]*Time: /);

  await using c = new FarshoreHost(join(folder.path, 'ccc'));
  await relay(c, folder.path, 'ccc', { host: b, store: 'bbb', secret: await readerToken(b, 'bbb') });
  assert.match(await c.ok('sync-job', 'run', 'to-ccc'), new RegExp(`in ${plan.chunks} chunks`));
  // A folder that was carried over, on a third host.
  const carried = join(folder.path, 'carried');
  await promisify(execFile)('cp', ['-a', join(folder.path, 'bbb-data'), carried]);
  await using d = new FarshoreHost(join(folder.path, 'ddd'));
  await d.start();
  assert.match(await d.ok('datastore', 'create', 'carried', carried, '--reuse-datastore', 'true'), /found 8 groups, 12 snapshots, \d+ chunks; \d+ chunks were read, 0 of them are bad; 0 snapshots are damaged, 0 chunks are missing/);
  await addRemote(d, 'upstream', a, secretOfA);
  await d.ok('sync-job', 'create', 'nightly', '--store', 'carried', '--remote', 'upstream', '--remote-store', 'main', '--backfill', 'true');
  assert.deepEqual(((await d.json('sync-job', 'show', 'nightly')) as Record<string, unknown>)['backfill'], true);
  assert.doesNotMatch(await readFile(join(d.home, 'etc', 'sync.cfg'), 'utf8'), /backfill/, 'a reference server can still read it');
  assertFailed(await d.run(['sync-job', 'run', 'nightly', '--adopted-from', 'upstream/other']), /does not pull from 'upstream\/other'/);
  const [gone] = (await holdings(carried)).filter((file) => file.includes('.fidx'));
  await promisify(execFile)('rm', ['-r', dirname(join(carried, gone!.split(' ')[0]!))]);
  const filling = (await d.json('sync-job', 'plan', 'nightly')) as SyncPlanReply;
  const wanted = filling.groups.flatMap(({ snapshots }) => snapshots.filter(({ action }) => action === 'fill' || action === 'new'));
  assert.equal(wanted.length, 1);
  assert.match(await d.ok('sync-job', 'run', 'nightly', '--adopted-from', 'upstream/main'), /no new data/);
  for (const path of ['bbb-data', 'ccc-data', 'carried']) assert.deepEqual(await holdings(join(folder.path, path)), await holdings(join(folder.path, 'a-data')), path);

  // C → A would close the circle: A's own server asks C where its data comes from.
  await addRemote(a, 'down', c, await readerToken(c, 'ccc'));
  await a.ok('sync-job', 'create', 'back', '--store', 'main', '--remote', 'down', '--remote-store', 'ccc');
  assertFailed(await a.run(['sync-job', 'run', 'back']), /the copies would go in a circle: ccc on server [0-9a-f]{8} → main → /, /remove one of these sync jobs/);
  // The refused job stops nobody.
  assert.match(await b.ok('sync-job', 'run', 'to-bbb'), /no new data/);
  assert.match(await c.ok('sync-job', 'run', 'to-ccc'), /no new data/);
});
