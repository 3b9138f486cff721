import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { emptyStore } from '../../test/support/datastore.ts';
import { armFailpoint, disarmFailpoints } from '../base/failpoint.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { encodeBlob } from '../format/data-blob.ts';
import type { Manifest } from '../format/manifest.ts';
import { checkArchive } from './archive-check.ts';
import type { Datastore } from './datastore.ts';
import { createLockedGroup, type LockedGroup } from './groups.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import type { SnapshotWriter } from './snapshot-writer.ts';
import { listSnapshots, loadManifest, setProtected, snapshotEntry } from './snapshots.ts';

const snapshot: BackupSnapshot = { type: 'host', id: 'x', time: 1_000_000 };
const blobOf = (text: string): Buffer => encodeBlob(Buffer.from(text), { compress: false });

function manifestOf(files: Manifest['files']): Manifest {
  return { backupType: 'host', backupId: 'x', backupTime: snapshot.time, files, signature: null, unprotected: {} };
}

/** Writes the snapshot with the given blobs. */
async function write(group: LockedGroup, contents: Record<string, string>): Promise<void> {
  await using writer = await group.openSnapshot(snapshot.time);
  await fill(writer, contents);
}

async function fill(writer: SnapshotWriter, contents: Record<string, string>): Promise<void> {
  const files: Manifest['files'] = [];
  for (const [filename, text] of Object.entries(contents)) {
    const { size, sha256 } = await writer.stage(filename, blobOf(text), 1000);
    files.push({ filename, cryptMode: 'none', size, csum: sha256 });
    await writer.commit(filename);
  }
  await writer.publish(manifestOf(files), files.map((file) => file.filename));
}

/** Whole: every file that the manifest lists is there with its content. */
async function requireWhole(store: Datastore): Promise<string[]> {
  const { manifest } = await loadManifest(store, '', snapshot);
  for (const file of manifest.files) await checkArchive(join(store.snapshotPath('', snapshot), file.filename), file.filename, file);
  return manifest.files.map((file) => file.filename);
}

test('a snapshot is unfinished until it is published, then whole', async () => {
  await using empty = await emptyStore({ syncLevel: 'filesystem' });
  const { store } = empty;
  await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
  assert.equal(group.isNew, true);
  await using writer = await group.createSnapshot(snapshot.time);
  assert.equal(writer.isNew, true);
  assert.equal(await writer.currentManifest(), null);
  await writer.stage('a.conf.blob', blobOf('a'), 1000);
  assert.deepEqual(await writer.files(), []);
  await writer.commit('a.conf.blob');
  assert.deepEqual(await writer.files(), ['a.conf.blob']);
  assert.equal((await snapshotEntry(store, '', snapshot))?.finished, false);
  await assert.rejects(writer.publish(manifestOf([]), ['b.blob']), { code: 'store.missing' });
  assert.equal((await snapshotEntry(store, '', snapshot))?.finished, false);
  await writer.stage('left.over.blob', blobOf('never committed'), 1000);
  writeFileSync(join(writer.path, '.note'), 'dot files stay');
  writeFileSync(join(writer.path, 'client.log.blob'), 'the log stays');
  writeFileSync(join(writer.path, 'unlisted.blob'), 'goes');
  await writer.publish(manifestOf([]), ['a.conf.blob']);
  assert.deepEqual(readdirSync(writer.path).toSorted(), ['.note', 'a.conf.blob', 'client.log.blob', 'index.json.blob']);
});

test('giving up removes a new snapshot and a new group, and leaves an old one as it was', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  const groupPath = store.groupPath('', snapshot);
  {
    await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
    await using writer = await group.openSnapshot(snapshot.time);
    await writer.stage('a.blob', blobOf('a'), 1000);
    await writer.commit('a.blob');
  }
  assert.ok(!existsSync(groupPath));
  {
    await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
    await write(group, { 'a.blob': 'first' });
  }
  await setProtected(store, '', snapshot, true);
  const before = readdirSync(store.snapshotPath('', snapshot));
  await using group = await createLockedGroup(store, '', snapshot, 'other@pam');
  assert.equal(group.isNew, false);
  assert.equal(group.owner, 'root@pam');
  {
    await using writer = await group.openSnapshot(snapshot.time);
    assert.equal(writer.isNew, false);
    await writer.stage('a.blob', blobOf('second'), 1000);
    await writer.commit('a.blob');
    assert.deepEqual(readFileSync(join(writer.path, 'a.blob')), blobOf('first'));
    assert.deepEqual(readFileSync(writer.filePath('a.blob')), blobOf('second'));
    await writer.stage('b.blob', blobOf('second'), 1000);
  }
  assert.deepEqual(readdirSync(store.snapshotPath('', snapshot)), before);
  assert.deepEqual(await requireWhole(store), ['a.blob']);
  await write(group, { 'a.blob': 'second', 'b.blob': 'new' });
  assert.deepEqual(await requireWhole(store), ['a.blob', 'b.blob']);
  assert.equal((await snapshotEntry(store, '', snapshot))?.protected, true);
});

test('a client log may come later, without touching anything else', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
  await write(group, { 'a.blob': 'a' });
  const manifest = readFileSync(join(store.snapshotPath('', snapshot), 'index.json.blob'));
  {
    await using writer = await group.openSnapshot(snapshot.time);
    await writer.stage('client.log.blob', blobOf('log'), 1000);
    await writer.commit('client.log.blob');
  }
  assert.deepEqual(readdirSync(store.snapshotPath('', snapshot)).toSorted(), ['a.blob', 'client.log.blob', 'index.json.blob']);
  assert.deepEqual(readFileSync(join(store.snapshotPath('', snapshot), 'index.json.blob')), manifest);
});

test('a file that is too large, a failing source, and bad names leave nothing', async () => {
  await using empty = await emptyStore();
  await using group = await createLockedGroup(empty.store, '', snapshot, 'root@pam');
  await using writer = await group.createSnapshot(snapshot.time);
  await assert.rejects(writer.stage('a.blob', Buffer.alloc(11), 10), { code: 'store.too-large' });
  const failing = (async function* source() {
    yield Buffer.from('begin');
    await Promise.resolve();
    throw new Error('line is gone');
  })();
  await assert.rejects(writer.stage('a.blob', failing, 1000), /line is gone/);
  for (const name of ['../a.blob', 'a', '.a.blob', 'index.json.blob', 'a/b.blob', '', `${'a'.repeat(240)}.blob`]) {
    await assert.rejects(writer.stage(name, Buffer.alloc(1), 10), { code: 'store.name' }, name);
  }
  await assert.rejects(writer.commit('a.blob'), { code: 'store.not-staged' });
  assert.deepEqual(readdirSync(writer.path), []);
});

test('readers and writers exclude each other, and a backup never takes an existing snapshot', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
  await assert.rejects(createLockedGroup(store, '', snapshot, 'root@pam'), { code: 'store.locked', message: /^unable to acquire backup group lock ".*host-x"$/ });
  {
    await using writer = await group.createSnapshot(snapshot.time);
    await assert.rejects(SnapshotReader.open(store, '', snapshot), { code: 'store.locked' });
    await fill(writer, { 'a.blob': 'a' });
  }
  await assert.rejects(group.createSnapshot(snapshot.time), { code: 'store.snapshot-exists' });
  using reader = await SnapshotReader.open(store, '', snapshot);
  using second = await SnapshotReader.open(store, '', snapshot);
  assert.deepEqual(await second.files(), ['a.blob', 'index.json.blob']);
  assert.deepEqual(await reader.read('a.blob', 1000), blobOf('a'));
  await assert.rejects(group.openSnapshot(snapshot.time), { code: 'store.locked' });
  await assert.rejects(setProtected(store, '', snapshot, true), { code: 'store.locked' });
  assert.throws(() => reader.filePath('../../owner'), { code: 'store.name' });
});

test('an error at any step leaves the old snapshot whole, or none', async () => {
  const points = ['staging', 'staged', 'commit', 'committed', 'flushed', 'publish'];
  for (const point of points) {
    await using empty = await emptyStore();
    const { store } = empty;
    armFailpoint(`snapshot-writer.${point}`, 'error');
    await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
    await assert.rejects(write(group, { 'a.blob': 'a', 'b.blob': 'b' }), { code: 'failpoint' }, point);
    disarmFailpoints();
    assert.deepEqual(await listSnapshots(store, '', snapshot), [], point);
    await write(group, { 'a.blob': 'a', 'b.blob': 'b' });
    assert.deepEqual(await requireWhole(store), ['a.blob', 'b.blob']);
  }
});

/** Runs in a process of its own, which a failpoint kills. */
const writerProcess = `
  const [base, path, locks, failpoint, ...contents] = process.argv.slice(1);
  const { Datastore } = await import(base + '/datastore.ts');
  const { createLockedGroup } = await import(base + '/groups.ts');
  const { armFailpointsFromText } = await import(base + '/../base/failpoint.ts');
  const { encodeBlob } = await import(base + '/../format/data-blob.ts');
  const store = await Datastore.open({ name: 'main', path, locksRoot: locks });
  const group = await createLockedGroup(store, '', { type: 'host', id: 'x' }, 'root@pam');
  armFailpointsFromText(failpoint);
  const writer = await group.openSnapshot(1000000);
  const files = [];
  for (const content of contents) {
    const filename = content + '.blob';
    const { size, sha256 } = await writer.stage(filename, encodeBlob(Buffer.from(content), { compress: false }), 1000);
    files.push({ filename, cryptMode: 'none', size, csum: sha256 });
    await writer.commit(filename);
  }
  const manifest = { backupType: 'host', backupId: 'x', backupTime: 1000000, files, signature: null, unprotected: {} };
  await writer.publish(manifest, files.map((file) => file.filename));
  await writer.close();
  await group.release();
`;

function writeInProcess(store: Datastore, folder: string, failpoint: string, contents: string[]): NodeJS.Signals | number | null {
  const base = fileURLToPath(new URL('.', import.meta.url)).replace(/\/$/, '');
  const done = spawnSync(
    process.execPath,
    ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', writerProcess, base, store.path, join(folder, 'locks'), failpoint, ...contents],
    { encoding: 'utf8' },
  );
  return done.signal ?? done.status;
}

test('kill -9 at any step leaves the snapshot absent or whole, and the next run completes it', async () => {
  for (const point of ['opened', 'staging', 'staged', 'commit', 'committed', 'flushed', 'publish', 'published']) {
    await using empty = await emptyStore();
    const { store, folder } = empty;
    assert.equal(writeInProcess(store, folder, `snapshot-writer.${point}=kill`, ['a', 'b']), 'SIGKILL', point);
    const entry = await snapshotEntry(store, '', snapshot);
    assert.equal(entry?.finished, point === 'published', point);
    if (entry.finished) await requireWhole(store);
    assert.equal(writeInProcess(store, folder, '', ['a', 'b']), 0, point);
    assert.deepEqual(await requireWhole(store), ['a.blob', 'b.blob'], point);
    assert.deepEqual(readdirSync(store.snapshotPath('', snapshot)).toSorted(), ['a.blob', 'b.blob', 'index.json.blob'], point);
  }
});

test('kill -9 while an existing snapshot is replaced leaves the old one, none, or the new one', async () => {
  for (const [point, left] of [
    ['staged', ['a.blob', 'b.blob']],
    ['flushed', ['a.blob', 'b.blob']],
    ['replaced', null],
    ['publish', null],
    ['published', ['b.blob', 'c.blob']],
  ] as const) {
    await using empty = await emptyStore();
    const { store, folder } = empty;
    assert.equal(writeInProcess(store, folder, '', ['a', 'b']), 0);
    assert.equal(writeInProcess(store, folder, `snapshot-writer.${point}=kill`, ['b', 'c']), 'SIGKILL', point);
    assert.equal((await snapshotEntry(store, '', snapshot))?.finished, left !== null, point);
    if (left !== null) assert.deepEqual(await requireWhole(store), left, point);
    assert.equal(writeInProcess(store, folder, '', ['b', 'c']), 0, point);
    assert.deepEqual(await requireWhole(store), ['b.blob', 'c.blob'], point);
    assert.deepEqual(readdirSync(store.snapshotPath('', snapshot)).toSorted(), ['b.blob', 'c.blob', 'index.json.blob'], point);
  }
});
