import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { emptyStore, goldenStore } from '../../test/support/datastore.ts';
import { parseSnapshot, type BackupSnapshot } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { changeOwner, createLockedGroup, listGroups, lockGroup, readOwner } from './groups.ts';
import { createNamespace, listNamespaces, removeEmptyNamespace } from './namespaces.ts';
import { removeGroup, removeNamespace, removeSnapshot } from './removal.ts';
import { listSnapshots, setProtected, setSnapshotNotes, readSnapshotNotes } from './snapshots.ts';

const older = parseSnapshot('host/plain/2025-10-09T08:53:20Z');
const newer = parseSnapshot('host/plain/2025-10-10T08:53:20Z');

test('a snapshot goes with its lock files, the last one with its group; a protected one stays', async () => {
  await using golden = await goldenStore();
  const { store, folder } = golden;
  await assert.rejects(removeSnapshot(store, '', older), { code: 'store.protected', message: 'cannot remove protected snapshot' });
  await removeSnapshot(store, '', newer);
  assert.deepEqual((await listSnapshots(store, '', older)).map((s) => s.time), [older.time]);
  await assert.rejects(removeSnapshot(store, '', newer), {
    code: 'store.no-such-snapshot',
    message: `removing backup snapshot "${store.snapshotPath('', newer)}" failed - No such file or directory (os error 2)`,
  });
  await setProtected(store, '', older, false);
  await removeSnapshot(store, '', older);
  assert.ok(!existsSync(store.groupPath('', older)));
  assert.deepEqual(readdirSync(join(folder, 'locks/main')), []);
});

test('a group goes but for protected snapshots', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  assert.deepEqual(await removeGroup(store, '', older), { removedGroups: 0, removedSnapshots: 1, protectedSnapshots: 1 });
  assert.equal(await readOwner(store, '', older), 'admin@pbs');
  assert.deepEqual(await removeGroup(store, '', { type: 'vm', id: '100' }), { removedGroups: 1, removedSnapshots: 2, protectedSnapshots: 0 });
  assert.ok(!(await listGroups(store, '')).some((group) => group.type === 'vm'));
  await assert.rejects(removeGroup(store, '', { type: 'vm', id: '100' }), { code: 'store.no-such-group' });
  await using _held = await lockGroup(store, '', { type: 'host', id: 'signed' });
  await assert.rejects(removeGroup(store, '', { type: 'host', id: 'signed' }), { code: 'store.locked', message: "while destroying group 'host/signed'" });
});

test('namespaces: created below an existing parent, removed deepest first', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  await assert.rejects(createNamespace(store, 'x/y'), { code: 'store.namespace-missing' });
  assert.equal(await createNamespace(store, 'site-a/dept-c'), true);
  assert.equal(await createNamespace(store, 'site-a/dept-c'), false);
  await assert.rejects(createNamespace(store, 'site-a/..'), { code: 'format.namespace' });
  await assert.rejects(createNamespace(store, '/etc'), { code: 'format.namespace' });
  assert.deepEqual(await listNamespaces(store), ['', 'site-a', 'site-a/dept-b', 'site-a/dept-c']);
  assert.equal(await removeEmptyNamespace(store, 'site-a'), false);
  assert.deepEqual(await removeNamespace(store, 'site-a', { deleteGroups: false }), { removedGroups: 0, removedSnapshots: 0, protectedSnapshots: 0, complete: false });
  assert.deepEqual(await listNamespaces(store), ['', 'site-a', 'site-a/dept-b']);
  assert.deepEqual(await removeNamespace(store, 'site-a', { deleteGroups: true }), { removedGroups: 2, removedSnapshots: 2, protectedSnapshots: 0, complete: true });
  assert.deepEqual(await listNamespaces(store), ['']);
  await assert.rejects(removeNamespace(store, '', { deleteGroups: true }), { message: 'Cannot create/delete root namespace!' });
  assert.equal((await listGroups(store, '')).length, 6);
});

test('a folder that is no namespace stops the listing: what it holds must not be overlooked', async () => {
  await using empty = await emptyStore();
  mkdirSync(join(empty.store.path, 'ns', '.hidden'), { recursive: true });
  writeFileSync(join(empty.store.path, 'ns', 'a file'), '');
  await assert.rejects(listNamespaces(empty.store), { code: 'store.layout' });
});

test('a group left without owner by a crash is taken over only while it is empty', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  const group: BackupSnapshot = { type: 'host', id: 'x', time: 1 };
  mkdirSync(store.groupPath('', group), { recursive: true });
  {
    await using locked = await createLockedGroup(store, '', group, 'root@pam');
    assert.equal(locked.isNew, true);
    assert.equal(await readOwner(store, '', group), 'root@pam');
  }
  mkdirSync(store.snapshotPath('', group), { recursive: true });
  await assert.rejects(createLockedGroup(store, '', group, 'root@pam'), { code: 'store.owner' });
  {
    await using locked = await lockGroup(store, '', group);
    assert.throws(() => locked.owner, { code: 'store.owner' });
    await assert.rejects(locked.setOwner('no owner'), { code: 'store.owner' });
    await locked.setOwner('alice@pbs!backup');
  }
  assert.equal(await readOwner(store, '', group), 'alice@pbs!backup');
  await assert.rejects(changeOwner(store, '', group, 'bob@pbs', 'carol@pbs'), { code: 'store.owner', message: 'bob@pbs does not own this group anymore' });
  await changeOwner(store, '', group, 'alice@pbs!backup', 'carol@pbs');
  assert.equal(await readOwner(store, '', group), 'carol@pbs');
  await assert.rejects(createLockedGroup(store, 'nowhere', group, 'root@pam'), { code: 'store.namespace-missing' });
});

const holder = `
  const [base, path, locks] = process.argv.slice(1);
  const { Datastore } = await import(base + '/datastore.ts');
  const { createLockedGroup } = await import(base + '/groups.ts');
  const { SnapshotReader } = await import(base + '/snapshot-reader.ts');
  async function takeLocks() {
    const store = await Datastore.open({ name: 'main', path, locksRoot: locks });
    await createLockedGroup(store, '', { type: 'host', id: 'signed' }, 'root@pam');
    await SnapshotReader.open(store, '', { type: 'host', id: 'plain', time: 1760086400 });
    await store.locks.manifest('', { type: 'vm', id: '100', time: 1760086800 });
  }
  await takeLocks();
  // Nothing refers to the locks any more: they must hold all the same, whenever garbage is collected.
  for (let round = 0; round < 3; round += 1) {
    globalThis.gc();
    await new Promise((resolve) => setImmediate(resolve));
  }
  console.log('held');
  process.stdin.resume();
  process.stdin.on('end', () => process.kill(process.pid, 'SIGKILL'));
`;

async function expectHeld(store: Datastore): Promise<void> {
  await assert.rejects(createLockedGroup(store, '', { type: 'host', id: 'signed' }, 'root@pam'), { code: 'store.locked' });
  await assert.rejects(removeSnapshot(store, '', newer), { code: 'store.locked' });
  await assert.rejects(setProtected(store, '', newer, true), { code: 'store.locked' });
}

test('locks bind other processes, and end with a killed one', async () => {
  await using golden = await goldenStore();
  const { store, folder } = golden;
  const base = fileURLToPath(new URL('.', import.meta.url)).replace(/\/$/, '');
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--expose-gc', '--input-type=module', '-e', holder, base, store.path, join(folder, 'locks')], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  const exited = once(child, 'exit');
  try {
    const [line] = (await Promise.race([once(createInterface({ input: child.stdout }), 'line'), exited])) as [unknown];
    assert.equal(line, 'held');
    await expectHeld(store);
    // A manifest is waited for: the update succeeds as soon as the other process is gone.
    const image = parseSnapshot('vm/100/2025-10-10T09:00:00Z');
    const update = setSnapshotNotes(store, '', image, 'after');
    child.stdin.end();
    await exited;
    await update;
    assert.equal(await readSnapshotNotes(store, '', image), 'after');
    await removeSnapshot(store, '', newer);
    await using locked = await createLockedGroup(store, '', { type: 'host', id: 'signed' }, 'root@pam');
    assert.equal(locked.owner, 'admin@pbs');
  } finally {
    child.kill('SIGKILL');
  }
});
