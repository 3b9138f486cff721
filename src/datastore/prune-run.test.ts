import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { emptyStore, RecordingLog } from '../../test/support/datastore.ts';
import { parseSnapshot } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { createNamespace } from './namespaces.ts';
import { pruneGroup, pruneNamespaces } from './prune-run.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import { listSnapshots } from './snapshots.ts';

/** Folders as a backup leaves them; prune looks at nothing but names. */
function make(store: Datastore, namespace: string, texts: string[], owner = 'root@pam'): void {
  for (const text of texts) {
    const [name, ...marks] = text.split(' ');
    const snapshot = parseSnapshot(name!);
    const path = store.snapshotPath(namespace, snapshot);
    mkdirSync(path, { recursive: true });
    writeFileSync(join(store.groupPath(namespace, snapshot), 'owner'), `${owner}\n`);
    if (!marks.includes('unfinished')) writeFileSync(join(path, 'index.json.blob'), '');
    if (marks.includes('protected')) writeFileSync(join(path, '.protected'), '');
    writeFileSync(join(path, 'root.pxar.didx'), '');
  }
}

const group = { type: 'host', id: 'x' } as const;
const five = ['host/x/2026-03-01T08:00:00Z', 'host/x/2026-03-01T20:00:00Z protected', 'host/x/2026-03-02T08:00:00Z', 'host/x/2026-03-02T20:00:00Z', 'host/x/2026-03-03T08:00:00Z unfinished'];
const times = async (store: Datastore, ns = ''): Promise<number[]> => (await listSnapshots(store, ns, group)).map((s) => s.time);

test('a group: log, result, and what is left', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  make(store, '', five);
  const log = new RecordingLog();
  const keep = { 'keep-last': 1 };
  const result = await pruneGroup(store, '', group, { keep, timeZone: 'UTC', log });
  assert.deepEqual(log.lines, [
    'retention options: --keep-last 1',
    'Starting prune on datastore \'main\', root namespace group "host/x"',
    'host/x/2026-03-01T08:00:00Z remove',
    `removing backup snapshot "${store.path}/host/x/2026-03-01T08:00:00Z"`,
    'host/x/2026-03-01T20:00:00Z protected',
    'host/x/2026-03-02T08:00:00Z remove',
    `removing backup snapshot "${store.path}/host/x/2026-03-02T08:00:00Z"`,
    'host/x/2026-03-02T20:00:00Z keep',
    'host/x/2026-03-03T08:00:00Z keep-partial',
  ]);
  assert.deepEqual(log.warnings, []);
  assert.deepEqual(result[1], { 'backup-type': 'host', 'backup-id': 'x', 'backup-time': 1772395200, keep: true, protected: true });
  assert.deepEqual(result.map((item) => item.keep), [false, true, false, true, true]);
  assert.deepEqual(await times(store), [1772395200, 1772481600, 1772524800]);
  const again = new RecordingLog();
  assert.ok((await pruneGroup(store, '', group, { keep, timeZone: 'UTC', log: again })).every((item) => item.keep));
});

test('a dry run removes and logs nothing, and names the namespace', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  await createNamespace(store, 'a');
  make(store, 'a', five);
  const log = new RecordingLog();
  const result = await pruneGroup(store, 'a', group, { keep: { 'keep-last': 1 }, timeZone: 'UTC', dryRun: true, log });
  assert.deepEqual(log.lines, []);
  assert.deepEqual(result[0], { 'backup-type': 'host', 'backup-id': 'x', 'backup-time': 1772352000, keep: false, protected: false, ns: 'a' });
  assert.equal((await times(store, 'a')).length, 5);
});

test('without options everything stays and the log says so', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  make(store, '', five);
  const log = new RecordingLog();
  const result = await pruneGroup(store, '', group, { keep: {}, timeZone: 'UTC', log });
  assert.ok(result.every((item) => item.keep));
  assert.equal(log.lines[0], 'No prune selection - keeping all files.');
  assert.ok(log.lines.every((line) => !line.endsWith('remove')));
  const whole = new RecordingLog();
  await pruneNamespaces(store, {}, { keep: {}, timeZone: 'UTC', log: whole });
  assert.deepEqual(whole.warnings, ['No prune selection - keeping all files.']);
  assert.equal((await times(store)).length, 5);
});

test('snapshots in use are warnings, and the run goes on', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  make(store, '', five);
  using _reader = await SnapshotReader.open(store, '', parseSnapshot('host/x/2026-03-01T08:00:00Z'));
  const log = new RecordingLog();
  await pruneGroup(store, '', group, { keep: { 'keep-last': 1 }, timeZone: 'UTC', log });
  assert.equal(log.warnings.length, 1);
  const locks = `${empty.folder}/locks/main`;
  assert.ok(
    log.warnings[0]!.startsWith(
      `failed to remove dir "host/x/2026-03-01T08:00:00Z": while destroying snapshot "${store.path}/host/x/2026-03-01T08:00:00Z": unable to acquire snapshot lock "${locks}/host-x-2026\\\\x2d03\\\\x2d01T08`,
    ),
    String(log.warnings),
  );
  assert.deepEqual(await times(store), [1772352000, 1772395200, 1772481600, 1772524800]);
});

test('a datastore: log of a run and of a dry run, depth and access', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  await createNamespace(store, 'a');
  await createNamespace(store, 'a/b');
  make(store, '', ['vm/900/2026-03-01T08:00:00Z', 'vm/900/2026-03-02T08:00:00Z']);
  make(store, 'a', five, 'alice@pbs');
  make(store, 'a/b', ['host/x/2026-03-01T08:00:00Z', 'host/x/2026-03-02T08:00:00Z']);
  const dry = new RecordingLog();
  const options = { keep: { 'keep-last': 1 }, timeZone: 'UTC' };
  await pruneNamespaces(store, { namespace: 'a', maxDepth: 0 }, { ...options, dryRun: true, log: dry });
  assert.deepEqual(dry.lines, [
    "Starting datastore prune on datastore 'main', namespace 'a', non-recursive",
    '(dry test run)',
    'retention options: --ns a --max-depth 0 --keep-last 1',
    'Pruning group a:"host/x"',
    'would remove host/x/2026-03-01T08:00:00Z',
    'would keep protected host/x/2026-03-01T20:00:00Z',
    'would remove host/x/2026-03-02T08:00:00Z',
    'would keep host/x/2026-03-02T20:00:00Z',
    'would keep partial host/x/2026-03-03T08:00:00Z',
  ]);
  const alice = new RecordingLog();
  await pruneNamespaces(store, { access: (ns) => (ns === 'a' ? (owner) => owner === 'alice@pbs' : 'none') }, { ...options, log: alice });
  assert.ok(!alice.lines.some((line) => line.includes('vm/900') || line.includes('a/b')));
  assert.equal((await times(store, 'a')).length, 3);
  const log = new RecordingLog();
  await pruneNamespaces(store, {}, { ...options, log });
  assert.deepEqual(log.lines.slice(0, 6), [
    "Starting datastore prune on datastore 'main', root namespace, down to full depth",
    'retention options: --keep-last 1',
    'Pruning group :"vm/900"',
    'remove vm/900/2026-03-01T08:00:00Z',
    `removing backup snapshot "${store.path}/vm/900/2026-03-01T08:00:00Z"`,
    'keep vm/900/2026-03-02T08:00:00Z',
  ]);
  assert.deepEqual(await times(store, 'a/b'), [1772438400]);
});

test('what is not there is an error; an abort ends it between snapshots', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  const options = { keep: { 'keep-last': 1 }, timeZone: 'UTC', log: new RecordingLog() };
  await assert.rejects(pruneGroup(store, 'nowhere', group, options), { code: 'store.namespace-missing' });
  await assert.rejects(pruneGroup(store, '', group, options), { code: 'store.no-such-group' });
  await assert.rejects(pruneNamespaces(store, { namespace: 'nowhere' }, options), { message: 'ENOENT: No such file or directory' });
  make(store, '', five);
  await assert.rejects(pruneGroup(store, '', group, { ...options, keep: { 'keep-daily': 0 } }), { code: 'config.keep-option' });
  await assert.rejects(pruneGroup(store, '', group, { ...options, signal: AbortSignal.abort() }), { code: 'aborted' });
  assert.equal((await times(store)).length, 5);
});
