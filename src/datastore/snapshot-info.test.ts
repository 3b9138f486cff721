import assert from 'node:assert/strict';
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenStore } from '../../test/support/datastore.ts';
import { readFixture } from '../../test/support/golden.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { readGroupNotes, setGroupNotes } from './groups.ts';
import { listNamespaces } from './namespaces.ts';
import { countContent, datastoreUsage, listGroupInfos, listSnapshotInfos, snapshotFiles, type GroupInfo, type SnapshotInfo } from './snapshot-info.ts';
import { isProtected, readSnapshotNotes, setSnapshotNotes } from './snapshots.ts';

/** What the reference answered about this datastore. */
const recorded = JSON.parse(readFixture('api/datastore-main.json').toString('utf8')) as Record<string, unknown>;
const plain: BackupSnapshot = { type: 'host', id: 'plain', time: 1760000000 };

/** The reference lists in directory order, we in display order. */
function byName<T extends GroupInfo | SnapshotInfo>(items: readonly T[]): T[] {
  const key = (item: T): string => `${item['backup-type']}/${item['backup-id']}/${'backup-time' in item ? item['backup-time'] : ''}`;
  return items.toSorted((a, b) => (key(a) < key(b) ? -1 : 1));
}

const sortedFiles = (groups: GroupInfo[]): GroupInfo[] => groups.map((group) => ({ ...group, files: group.files.toSorted() }));

test('listings equal the recorded replies', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  assert.deepEqual(byName(await listSnapshotInfos(store, '')), byName(recorded['snapshots'] as SnapshotInfo[]));
  assert.deepEqual(await listSnapshotInfos(store, '', { type: 'host', id: 'plain' }), recorded['snapshots?backup-type=host&backup-id=plain']);
  assert.deepEqual(await listSnapshotInfos(store, 'site-a'), recorded['snapshots?ns=site-a']);
  assert.deepEqual(byName(sortedFiles(await listGroupInfos(store, ''))), byName(sortedFiles(recorded['groups'] as GroupInfo[])));
  assert.deepEqual(sortedFiles(await listGroupInfos(store, 'site-a')), sortedFiles(recorded['groups?ns=site-a'] as GroupInfo[]));
  assert.deepEqual((await listNamespaces(store)).map((ns) => ({ ns })), recorded['namespace']);
  assert.deepEqual((await listNamespaces(store, { maxDepth: 1 })).map((ns) => ({ ns })), recorded['namespace?max-depth=1']);
  assert.deepEqual(await snapshotFiles(store, '', plain), recorded['files?backup-type=host&backup-id=plain&backup-time=1760000000']);
  assert.equal(await readSnapshotNotes(store, '', plain), recorded['notes?backup-type=host&backup-id=plain&backup-time=1760000000']);
  assert.equal(await isProtected(store, '', plain), recorded['protected?backup-type=host&backup-id=plain&backup-time=1760000000']);
  assert.equal(await readGroupNotes(store, '', plain), recorded['group-notes?backup-type=host&backup-id=plain']);
  const status = recorded['status?verbose=1'] as { counts: unknown };
  assert.deepEqual(await countContent(store), status.counts);
  const { total, used, avail } = await datastoreUsage(store);
  assert.ok(total > 0 && used > 0 && used + avail <= total);
});

test('owners, missing owners and types filter what is listed', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const ids = async (filter: Parameters<typeof listGroupInfos>[2]): Promise<string[]> => (await listGroupInfos(store, '', filter)).map((group) => group['backup-id']);
  assert.deepEqual(await ids({ owned: (owner) => owner === 'alice@pbs' }), ['alices']);
  assert.deepEqual(await ids({ type: 'vm' }), ['100']);
  assert.deepEqual(await ids({ type: 'vm', id: '101' }), []);
  await rm(join(store.path, 'host/signed/owner'));
  await writeFile(join(store.path, 'host/split/owner'), 'nobody\n');
  assert.deepEqual(await ids({}), ['alices', 'crypt', 'plain', '100']);
  assert.equal((await listSnapshotInfos(store, '')).filter((info) => info['backup-id'] === 'signed').length, 0);
  assert.deepEqual((await countContent(store)).host, { groups: 6, snapshots: 9 });
  assert.deepEqual((await countContent(store, (ns) => (ns === '' ? { owned: (owner) => owner === 'alice@pbs' } : null))).host, { groups: 1, snapshots: 1 });
});

test('unfinished snapshots and broken manifests are listed by the names of their files, without size', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const folder = join(store.path, 'host/plain/2025-10-10T08:53:20Z');
  await rename(join(folder, 'index.json.blob'), join(folder, 'index.json.blob.tmp_abcdef'));
  const [, unfinished] = await listSnapshotInfos(store, '', { type: 'host', id: 'plain' });
  const expected = { 'backup-type': 'host', 'backup-id': 'plain', 'backup-time': 1760086400, owner: 'admin@pbs', protected: false };
  assert.deepEqual(unfinished, { ...expected, files: [{ filename: 'catalog.pcat1.didx' }, { filename: 'root.pxar.didx' }] });
  await writeFile(join(folder, 'index.json.blob'), 'damaged');
  const [, broken] = await listSnapshotInfos(store, '', { type: 'host', id: 'plain' });
  assert.deepEqual(broken, { ...expected, files: [{ filename: 'catalog.pcat1.didx' }, { filename: 'index.json.blob' }, { filename: 'root.pxar.didx' }] });
  await rm(join(folder, 'index.json.blob'));
  const [group] = await listGroupInfos(store, '', { type: 'host', id: 'plain' });
  assert.equal(group?.['last-backup'], 1760000000);
  assert.equal(group['backup-count'], 2);
});

test('notes: comment is the first line', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const host = { type: 'host', id: 'signed' } as const;
  await setGroupNotes(store, '', host, 'kept for the auditors\nuntil 2030');
  await setSnapshotNotes(store, '', { ...host, time: 1760000300 }, 'zwölf\nzwei');
  assert.equal((await listGroupInfos(store, '', host))[0]?.comment, 'kept for the auditors\n');
  assert.equal(await readGroupNotes(store, '', host), 'kept for the auditors\nuntil 2030');
  const [info] = await listSnapshotInfos(store, '', host);
  assert.equal(info?.comment, 'zwölf');
  assert.ok(info.size !== undefined);
  await setSnapshotNotes(store, '', { ...host, time: 1760000300 }, '');
  assert.equal((await listSnapshotInfos(store, '', host))[0]?.comment, undefined);
});

test('an unknown namespace is an error, an unknown group an empty list', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  await assert.rejects(listGroupInfos(store, 'site-b'), { code: 'store.namespace-missing', message: 'ENOENT: No such file or directory' });
  await assert.rejects(listSnapshotInfos(store, 'site-b'), { code: 'store.namespace-missing' });
  await assert.rejects(listNamespaces(store, { anchor: 'site-b' }), { code: 'store.namespace-missing' });
  assert.deepEqual(await listSnapshotInfos(store, '', { type: 'host', id: 'nobody' }), []);
});
