import assert from 'node:assert/strict';
import { readFile, readdir, writeFile, rm } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { after, before, test } from 'node:test';
import { plainPolicy } from '../../test/support/sync-pair.ts';
import { emptyStore, goldenStore, type TestStore } from '../../test/support/datastore.ts';
import { FarshoreError } from '../base/errors.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { setVerifyState } from '../datastore/snapshots.ts';
import { parseSnapshot } from '../format/backup-path.ts';
import { LocalSource } from './local-source.ts';
import { LocalTarget } from './local-target.ts';
import { PossessionJournal } from './possession-journal.ts';
import type { ReplicationPolicy } from './policy.ts';
import { replicate } from './run.ts';
import type { ReplicationReport } from './report.ts';

const allowAll = { write: () => null, createNamespace: () => null, removeNamespace: () => null };

let main: TestStore;
let offsite: TestStore;
let source: Datastore;
let target: Datastore;
let journal: PossessionJournal;

async function sync(change: Partial<ReplicationPolicy> = {}, log: ProgressLog = silentLog): Promise<ReplicationReport> {
  return replicate({
    source: new LocalSource(source, change.sourceNamespace ?? '', { mayRead: () => true }),
    target: new LocalTarget(target),
    policy: { ...plainPolicy, ...change },
    journal,
    permissions: allowAll,
    log,
    signal: new AbortController().signal,
  });
}

/** Relative paths of everything but chunks, locks and owners. */
async function contentFiles(path: string): Promise<string[]> {
  const entries = await readdir(path, { recursive: true, withFileTypes: true });
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => relative(path, join(entry.parentPath, entry.name)))
    .filter((name) => !name.startsWith('.') && !name.endsWith('/owner') && !name.includes('/.') && !name.endsWith('/notes'))
    .toSorted();
}

before(async () => {
  main = await goldenStore();
  offsite = await emptyStore();
  source = main.store;
  target = offsite.store;
  journal = PossessionJournal.open({ path: join(offsite.folder, 'journal.sqlite'), identity: 'local:main', bootId: 'x', log: silentLog });
});

after(async () => {
  journal.close();
  await main[Symbol.asyncDispose]();
  await offsite[Symbol.asyncDispose]();
});

test('the copy has the same files with the same bytes', async () => {
  const lines: string[] = [];
  const report = await sync({}, { ...silentLog, info: (line) => lines.push(line), warn: (line) => lines.push(line), error: (line) => lines.push(line) });
  assert.deepEqual(report.errors, []);
  assert.equal(report.snapshots, 12, lines.join('\n'));
  const names = await contentFiles(source.path);
  assert.deepEqual(await contentFiles(target.path), names);
  for (const name of names) assert.ok((await readFile(join(source.path, name))).equals(await readFile(join(target.path, name))), name);
});

test('a second run moves nothing', async () => {
  const report = await sync();
  assert.equal(report.fetchedChunks, 0);
  assert.equal(report.snapshots, 0);
});

test('a corrupt chunk of a snapshot that failed verification is fetched again', async () => {
  const snapshot = parseSnapshot('vm/100/2025-10-10T09:00:00Z');
  const names = (await readdir(join(target.path, '.chunks'), { recursive: true })).filter((name) => name.length === 69);
  const originals = new Map<string, Buffer>();
  for (const name of names) {
    const path = join(target.path, '.chunks', name);
    originals.set(name, await readFile(path));
    const damaged = Buffer.from(originals.get(name)!);
    damaged[damaged.length - 1]! ^= 1;
    await writeFile(path, damaged);
  }
  await setVerifyState(target, '', snapshot, 'failed', 'UPID:x:00000001:00000001:00000001:00000001:verify:offsite:root@pam:');
  const report = await sync({ resyncCorrupt: true });
  assert.ok(report.fetchedChunks > 0);
  let healed = 0;
  for (const [name, bytes] of originals) if ((await readFile(join(target.path, '.chunks', name))).equals(bytes)) healed += 1;
  assert.equal(healed, report.fetchedChunks);
  for (const [name, bytes] of originals) await writeFile(join(target.path, '.chunks', name), bytes);
});

test('remove-vanished removes what the source no longer lists, and refuses when it lists nothing', async () => {
  await rm(join(source.path, 'host/alices'), { recursive: true });
  const report = await sync({ removeVanished: true });
  assert.equal(report.removedGroups, 1);
  assert.ok(!(await contentFiles(target.path)).some((name) => name.startsWith('host/alices')));
  const before = await contentFiles(target.path);
  await rm(join(source.path, 'ns/site-a/ct/200'), { recursive: true });
  await assert.rejects(sync({ removeVanished: true }), (e: unknown) => e instanceof FarshoreError && e.code === 'sync.errors' && e.message.includes('shows no groups at all'));
  assert.deepEqual(await contentFiles(target.path), before);
});
