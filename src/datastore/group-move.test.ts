import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { goldenStore, RecordingLog } from '../../test/support/datastore.ts';
import { armFailpoint, disarmFailpoints } from '../base/failpoint.ts';
import { silentLog } from '../base/log.ts';
import { snapshotText } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { collectGarbage } from './garbage-collection.ts';
import { moveGroup } from './group-move.ts';
import { changeOwner, createLockedGroup, groupExists, listGroups, readGroupNotes, readOwner, setGroupNotes } from './groups.ts';
import { moveJournalPath } from './lock-path.ts';
import { moveNamespace } from './namespace-move.ts';
import { createNamespace, listNamespaces } from './namespaces.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import { listSnapshots } from './snapshots.ts';

const plain = { type: 'host', id: 'plain' } as const;

/** Content of every file of a group's snapshots. */
function contents(store: Datastore, namespace: string): Map<string, Buffer> {
  const path = store.groupPath(namespace, plain);
  const found = new Map<string, Buffer>();
  for (const snapshot of readdirSync(path, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    for (const name of readdirSync(join(path, snapshot.name))) found.set(`${snapshot.name}/${name}`, readFileSync(join(path, snapshot.name, name)));
  }
  return found;
}

async function snapshotsIn(store: Datastore, namespace: string): Promise<string[]> {
  return (await listSnapshots(store, namespace, plain)).map((snapshot) => snapshotText(snapshot));
}

test('a group is moved with owner, notes, marks and every file; nothing is left behind', async () => {
  await using golden = await goldenStore({ syncLevel: 'file' });
  const { store, folder } = golden;
  await setGroupNotes(store, '', plain, 'of the group');
  const before = contents(store, '');
  assert.ok([...before.keys()].some((name) => name.endsWith('.protected')));
  const log = new RecordingLog();
  await moveGroup(store, { namespace: '', group: plain, target: 'site-a/dept-b', merge: true }, log);
  assert.deepEqual(contents(store, 'site-a/dept-b'), before);
  assert.deepEqual([await groupExists(store, '', plain), await readOwner(store, 'site-a/dept-b', plain), await readGroupNotes(store, 'site-a/dept-b', plain)], [false, 'admin@pbs', 'of the group']);
  assert.deepEqual(log.lines, ["moving group 'host/plain' from '' to 'site-a/dept-b'", `removing backup group "${store.path}/host/plain"`]);
  // Its indexes at their new places, for a garbage collection that has passed there already.
  const journal = readFileSync(moveJournalPath(join(folder, 'locks'), 'main'), 'utf8').trimEnd().split('\n');
  const indexes = [...before.keys()].filter((name) => /\.[fd]idx$/.test(name)).map((name) => `${store.groupPath('site-a/dept-b', plain)}/${name}`);
  assert.deepEqual(journal.toSorted(), indexes.toSorted());
  await collectGarbage(store, { upid: null, log: silentLog, moveJournal: moveJournalPath(join(folder, 'locks'), 'main') });
});

test('into a group of the same name only older snapshots, the same owner, and when asked for', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const [older, newer] = await snapshotsIn(store, '');
  // The newer of the two alone in a namespace: what is in the root is older.
  await moveGroup(store, { namespace: '', group: plain, target: 'site-a', merge: true }, silentLog);
  mkdirSync(store.groupPath('', plain), { recursive: true });
  writeFileSync(join(store.groupPath('', plain), 'owner'), 'admin@pbs\n');
  const snapshotName = older!.split('/')[2]!;
  const { renameSync } = await import('node:fs');
  renameSync(join(store.groupPath('site-a', plain), snapshotName), join(store.groupPath('', plain), snapshotName));
  await setGroupNotes(store, 'site-a', plain, 'source');
  await setGroupNotes(store, '', plain, 'target');

  const move = (options: { namespace: string; target: string; merge?: boolean; expectedOwner?: string }): Promise<void> => moveGroup(store, { group: plain, merge: true, ...options }, silentLog);
  await assert.rejects(move({ namespace: '', target: 'site-a' }), { code: 'store.merge', message: "cannot merge group 'host/plain' from '' into 'site-a': snapshot time mismatch" });
  await assert.rejects(move({ namespace: 'site-a', target: '', merge: false }), { code: 'store.merge', message: "group 'host/plain' already exists in target namespace '' and merge-group is disabled" });
  await assert.rejects(move({ namespace: 'site-a', target: '', expectedOwner: 'alice@pbs' }), { code: 'store.owner' });
  await changeOwner(store, 'site-a', plain, null, 'alice@pbs');
  await assert.rejects(move({ namespace: 'site-a', target: '' }), { code: 'store.merge', message: "cannot merge group 'host/plain' from 'site-a' into '': owner mismatch (source: alice@pbs, target: admin@pbs)" });
  await changeOwner(store, 'site-a', plain, null, 'admin@pbs');
  assert.deepEqual([await snapshotsIn(store, ''), await snapshotsIn(store, 'site-a')], [[older], [newer]]);
  await move({ namespace: 'site-a', target: '' });
  assert.deepEqual([await snapshotsIn(store, ''), await groupExists(store, 'site-a', plain), await readGroupNotes(store, '', plain)], [[older, newer], false, 'target']);
  await assert.rejects(move({ namespace: 'site-a', target: '' }), { code: 'store.no-such-group' });
  await assert.rejects(move({ namespace: '', target: 'nowhere' }), { code: 'store.namespace-missing' });
});

test('what is in use is not moved, nor anything beside it', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const before = await snapshotsIn(store, '');
  const move = (): Promise<void> => moveGroup(store, { namespace: '', group: plain, target: 'site-a', merge: true }, silentLog);
  {
    using _reader = await SnapshotReader.open(store, '', { ...plain, time: 1760086400 });
    await assert.rejects(move(), { code: 'store.locked' });
  }
  {
    await using _backup = await createLockedGroup(store, '', plain, 'admin@pbs');
    await assert.rejects(move(), { code: 'store.locked' });
  }
  assert.deepEqual([await snapshotsIn(store, ''), await groupExists(store, 'site-a', plain)], [before, false]);
  await move();
  assert.deepEqual(await snapshotsIn(store, 'site-a'), before);
});

const points = ['move.journal', 'move.snapshot@1', 'move.snapshot@2', 'move.source'];

test('killed at any point every snapshot is whole in one place, and the next run finishes', async () => {
  const script = `
    const at = (name) => import('${new URL('..', import.meta.url).href}' + name);
    const { armFailpointsFromText } = await at('base/failpoint.ts');
    const { silentLog } = await at('base/log.ts');
    const { Datastore } = await at('datastore/datastore.ts');
    const { moveGroup } = await at('datastore/group-move.ts');
    const [path, locksRoot, point] = process.argv.slice(1);
    armFailpointsFromText(point);
    const store = await Datastore.open({ name: 'main', path, locksRoot, tuning: { syncLevel: 'none' } });
    await moveGroup(store, { namespace: '', group: { type: 'host', id: 'plain' }, target: 'site-a', merge: true }, silentLog);`;
  for (const point of points) {
    await using golden = await goldenStore();
    const { store, folder } = golden;
    const before = contents(store, '');
    const [name, pass] = point.split('@');
    const { signal } = spawnSync(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', script, store.path, join(folder, 'locks'), `${name}=kill${pass === undefined ? '' : `@${pass}`}`], { stdio: 'inherit' });
    assert.equal(signal, 'SIGKILL', point);
    const [left, moved] = [contents(store, ''), contents(store, 'site-a')];
    assert.equal(left.size + moved.size, before.size, point);
    assert.deepEqual(new Map([...moved, ...left]), before, point);
    // Chunks of what is in either place are all found.
    const status = await collectGarbage(store, { upid: null, log: silentLog, moveJournal: moveJournalPath(join(folder, 'locks'), 'main') });
    assert.equal(status.removedChunks, 0, point);
    await moveGroup(store, { namespace: '', group: plain, target: 'site-a', merge: true }, silentLog);
    assert.deepEqual(contents(store, 'site-a'), before, point);
    assert.deepEqual([await groupExists(store, '', plain), await readOwner(store, 'site-a', plain)], [false, 'admin@pbs'], point);
  }
});

test('an error on the way lets go of everything', async (t) => {
  t.after(disarmFailpoints);
  for (const point of points) {
    await using golden = await goldenStore();
    const { store } = golden;
    const before = contents(store, '');
    const [name = '', pass = '1'] = point.split('@');
    armFailpoint(name, 'error', Number(pass));
    await assert.rejects(moveGroup(store, { namespace: '', group: plain, target: 'site-a', merge: true }, silentLog), { code: 'failpoint' }, point);
    await moveGroup(store, { namespace: '', group: plain, target: 'site-a', merge: true }, silentLog);
    assert.deepEqual(contents(store, 'site-a'), before, point);
  }
});

test('a namespace is moved with what is below it; what stays is named', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  await createNamespace(store, 'site-a/empty');
  const log = new RecordingLog();
  await moveNamespace(store, { namespace: 'site-a', target: 'elsewhere', mergeGroups: true, deleteSource: true }, log);
  assert.deepEqual(await listNamespaces(store), ['', 'elsewhere', 'elsewhere/dept-b', 'elsewhere/empty']);
  assert.deepEqual([(await listGroups(store, 'elsewhere')).length, (await listGroups(store, 'elsewhere/dept-b')).length], [1, 1]);
  assert.equal(log.lines[0], "moving namespace 'site-a' -> 'elsewhere': 3 namespace(s)");
  assert.ok(log.lines.includes("moved group 2 ('host/deep' in 'site-a/dept-b')") || log.lines.includes("moved group 2 ('host/deep' in 'elsewhere/dept-b')"), log.lines.join('\n'));

  const [group] = await listGroups(store, 'elsewhere/dept-b');
  await using held = await createLockedGroup(store, 'elsewhere/dept-b', group!, 'admin@pbs');
  const second = new RecordingLog();
  await assert.rejects(moveNamespace(store, { namespace: 'elsewhere', target: 'back', mergeGroups: true, deleteSource: true }, second), {
    code: 'store.move',
    message: "namespace move partially completed; 1 group(s) could not be moved and remain at source; 1 with a lock conflict (try again later): 'host/deep' in 'elsewhere/dept-b'",
  });
  assert.deepEqual(await listNamespaces(store), ['', 'back', 'back/dept-b', 'back/empty', 'elsewhere', 'elsewhere/dept-b']);
  assert.ok(second.lines.includes('retrying 1 deferred group(s)...'));
  await held.release();
  await moveNamespace(store, { namespace: 'elsewhere', target: 'back', mergeGroups: true, deleteSource: true }, log);
  assert.deepEqual(await listNamespaces(store), ['', 'back', 'back/dept-b', 'back/empty']);

  await moveNamespace(store, { namespace: 'back', target: 'flat', maxDepth: 0, mergeGroups: true, deleteSource: true }, log);
  assert.deepEqual(await listNamespaces(store), ['', 'back', 'back/dept-b', 'back/empty', 'flat']);
  for (const name of ['1', '1/2', '1/2/3', '1/2/3/4', '1/2/3/4/5', '1/2/3/4/5/6']) await createNamespace(store, name);
  await assert.rejects(moveNamespace(store, { namespace: 'back', target: '1/2/3/4/5/6/7', mergeGroups: true, deleteSource: true }, log), {
    message: 'namespace depth limit exceeded: source subtree depth (1) + target depth (7) would exceed max (7)',
  });
});
