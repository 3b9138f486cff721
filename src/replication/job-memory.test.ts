import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { emptyStore, goldenStore, RecordingLog } from '../../test/support/datastore.ts';
import { temporaryFolder } from '../../test/support/golden.ts';
import { plainPolicy } from '../../test/support/sync-pair.ts';
import { silentLog } from '../base/log.ts';
import { JobMemories, type RememberedRun } from './job-memory.ts';
import { LocalSource } from './local-source.ts';
import { LocalTarget } from './local-target.ts';
import { PossessionJournal } from './possession-journal.ts';
import type { ReplicationReport } from './report.ts';
import { replicate } from './run.ts';

const run = (start: number, ok: boolean): RememberedRun => ({ start, seconds: 1, bytes: 100, ok, chunks: 3, reused: 2, 'failed-groups': ok ? 0 : 1 });

test('totals and the last success outlast the runs that are remembered', async () => {
  await using folder = await temporaryFolder();
  const memories = new JobMemories(folder.path, null, silentLog);
  await memories.rememberRun('nightly', run(1000, true));
  for (let i = 0; i < 70; i += 1) await memories.rememberRun('nightly', run(2000 + i, false));
  const { runs, totals } = await memories.load('nightly');
  assert.equal(runs.length, 64);
  assert.deepEqual(totals, { bytes: 7100, chunks: 213, reused: 142, 'last-success': 1000 });
});

test('a file of a version without totals begins with the runs that it has; a damaged one is said', async () => {
  await using folder = await temporaryFolder();
  const log = new RecordingLog();
  const memories = new JobMemories(folder.path, null, log);
  const path = join(folder.path, 'sync-memory-nightly.json');
  await writeFile(path, JSON.stringify({ runs: [{ start: 5, seconds: 1, bytes: 7, ok: true }], peer: null, upstream: [] }));
  assert.deepEqual((await memories.load('nightly')).totals, { bytes: 7, chunks: 0, reused: 0, 'last-success': 5 });
  await memories.rememberRun('nightly', run(9, true));
  assert.deepEqual(JSON.parse(await readFile(path, 'utf8')).totals, { bytes: 107, chunks: 3, reused: 2, 'last-success': 9 });
  await writeFile(path, JSON.stringify({ runs: [], totals: { bytes: 'x' }, peer: null, upstream: [] }));
  assert.equal((await memories.load('nightly')).totals.bytes, 0);
  assert.equal(log.warnings.length, 1);
});

test('a run that is ended before its end is not complete, one that ends is', async () => {
  await using main = await goldenStore();
  await using offsite = await emptyStore();
  const journal = PossessionJournal.open({ path: join(offsite.folder, 'journal.sqlite'), identity: 'local:main', bootId: 'x', log: silentLog });
  const sync = async (signal: AbortSignal): Promise<ReplicationReport | null> => {
    let ended: ReplicationReport | null = null;
    const job = replicate({
      source: new LocalSource(main.store, '', { mayRead: () => true }),
      target: new LocalTarget(offsite.store),
      policy: plainPolicy,
      journal,
      permissions: { write: () => null, createNamespace: () => null, removeNamespace: () => null },
      log: silentLog,
      signal,
      onEnd: (report) => {
        ended = report;
      },
    });
    await job.catch(() => {});
    return ended;
  };
  const cut = await sync(AbortSignal.abort());
  assert.deepEqual([cut?.complete, cut?.errors], [false, []]);
  assert.equal((await sync(new AbortController().signal))?.complete, true);
  journal.close();
});
