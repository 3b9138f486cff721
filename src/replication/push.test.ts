import assert from 'node:assert/strict';
import { readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { errorChain } from '../base/errors.ts';
import { listNamespaces } from '../datastore/namespaces.ts';
import { listSnapshotInfos } from '../datastore/snapshot-info.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { firstTime, makeSnapshot, noise } from '../../test/support/made-snapshots.ts';
import { pushPair, pushUser, type PushPair } from '../../test/support/push-pair.ts';
import { verifyAll } from '../../test/support/sync-pair.ts';
import { parseGroupFilter } from './group-filter.ts';

const chunkSize = 64 * 1024;

async function host(store: Datastore, namespace: string, id: string, days: number, owner = 'admin@pbs'): Promise<void> {
  for (let step = 0; step < days; step += 1) {
    const chunks = [noise(`${namespace}-${id}`, chunkSize), noise(`${namespace}-${id}-${step}`, chunkSize)];
    await makeSnapshot(store, namespace, { type: 'host', id, time: firstTime + step * 86_400 }, { owner, files: { 'root.pxar.didx': chunks, 'a.conf.blob': [Buffer.from(`${step}`)] }, unprotected: { notes: `note ${step}` } });
  }
}

/** `ns/host/id@day`, with the owner where it is not the pushing user. */
async function visible(pair: PushPair): Promise<string[]> {
  await using copy = await pair.copy();
  const all: string[] = [];
  for (const namespace of await listNamespaces(copy.store)) {
    for (const info of await listSnapshotInfos(copy.store, namespace)) {
      all.push(`${namespace}/${info['backup-type']}/${info['backup-id']}@${(info['backup-time'] - firstTime) / 86_400}${info.owner === pushUser ? '' : ` of ${info.owner}`}`);
    }
  }
  return all.sort();
}

test('namespaces, groups and snapshots arrive once, as they are, and belong to the user there', async () => {
  await using pair = await pushPair();
  await host(pair.source, '', 'a', 2);
  await host(pair.source, 'x/y', 'b', 1);
  const report = await pair.pushed({ targetNamespace: 'from/here' });
  assert.deepEqual([report.groups, report.snapshots, report.fetchedChunks], [2, 3, 5]);
  assert.deepEqual(await visible(pair), ['from/here/host/a@0', 'from/here/host/a@1', 'from/here/x/y/host/b@0']);
  await using copy = await pair.copy();
  assert.equal(await verifyAll(copy.store), 3);
  const time = new Date(firstTime * 1000).toISOString().replace('.000', '');
  const file = join('host/a', time, 'a.conf.blob');
  assert.deepEqual(await readFile(join(pair.copyPath, 'ns/from/ns/here', file)), await readFile(join(pair.source.path, file)));

  const sent = pair.proxy.delivered.up;
  const again = await pair.pushed({ targetNamespace: 'from/here' });
  assert.deepEqual([again.snapshots, again.fetchedChunks, again.unchangedSnapshots], [0, 0, 0]);
  assert.ok(pair.proxy.delivered.up - sent < 32 * 1024);

  // The same data elsewhere: the server remembers who brought it.
  const elsewhere = await pair.pushed({ targetNamespace: 'again' });
  assert.deepEqual([elsewhere.snapshots, elsewhere.fetchedChunks], [3, 0]);
});

test('transfer-last, verified-only and filters select; what is older than the newest there is skipped', async () => {
  await using pair = await pushPair();
  await host(pair.source, '', 'a', 3);
  await host(pair.source, '', 'b', 1);
  await pair.pushed({ transferLast: 1, groupFilters: [parseGroupFilter('group:host/a')] });
  assert.deepEqual(await visible(pair), ['/host/a@2']);
  const { report, log } = await pair.push();
  assert.equal(report?.snapshots, 1);
  assert.ok(log.lines.some((line) => /skipped: 2 snapshot.*older than the newest snapshot present on sync target/.test(line)), log.lines.join('\n'));
  assert.deepEqual(await visible(pair), ['/host/a@2', '/host/b@0']);
  await host(pair.source, '', 'c', 1);
  assert.equal((await pair.pushed({ verifiedOnly: true })).snapshots, 0);
});

test('remove-vanished removes snapshots, groups and namespaces of ours, and nothing where the source shows nothing', async () => {
  await using pair = await pushPair();
  await host(pair.source, '', 'a', 2);
  await host(pair.source, '', 'b', 1);
  await host(pair.source, 'x', 'c', 1);
  await pair.pushed();
  const hidden = { sourcePermissions: { mayList: (namespace: string) => namespace === '', mayRead: () => false }, removeVanished: true };
  await pair.push(hidden);
  assert.equal((await visible(pair)).length, 4);

  await emptySource(pair);
  await host(pair.source, '', 'a', 1);
  const report = await pair.pushed({ removeVanished: true });
  assert.deepEqual([report.removedSnapshots, report.removedGroups, report.removedNamespaces], [3, 1, 1]);
  assert.deepEqual(await visible(pair), ['/host/a@0']);
});

async function emptySource(pair: PushPair): Promise<void> {
  for (const part of ['host', 'ns']) await rm(join(pair.source.path, part), { recursive: true });
}

test('a source without any group removes nothing', async () => {
  await using pair = await pushPair();
  await host(pair.source, '', 'a', 1);
  await host(pair.source, 'x', 'c', 1);
  await pair.pushed();
  await emptySource(pair);
  const { error } = await pair.push({ removeVanished: true });
  assert.match(errorChain(error), /shows no groups at all/);
  assert.deepEqual(await visible(pair), ['/host/a@0', 'x/host/c@0']);
});

test("somebody else's group is left alone with a warning, another source's snapshot is named", async () => {
  await using pair = await pushPair();
  await host(pair.source, '', 'theirs', 1);
  await host(pair.source, '', 'ours', 1);
  {
    await using copy = await pair.copy();
    await host(copy.store, '', 'theirs', 1, 'someone@pbs');
    await makeSnapshot(copy.store, '', { type: 'host', id: 'ours', time: firstTime }, { owner: pushUser, files: { 'root.pxar.didx': [noise('else', chunkSize)] } });
  }
  const { error, log } = await pair.push({ removeVanished: true });
  assert.match(errorChain(error), /snapshot exists already at target, with other content: host\/ours/);
  assert.ok(log.warnings.some((line) => line.includes(`group host/theirs belongs to someone@pbs at the remote, not to ${pushUser}: it is left alone`)), log.lines.join('\n'));
  assert.deepEqual(await visible(pair), ['/host/ours@0', '/host/theirs@0 of someone@pbs']);
});
