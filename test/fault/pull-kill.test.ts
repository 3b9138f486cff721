import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFile, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { listSnapshotInfos } from '../../src/datastore/snapshot-info.ts';
import { setSnapshotNotes } from '../../src/datastore/snapshots.ts';
import { firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import type { PullProcessOptions, PullProcessResult } from '../support/pull-process.ts';
import { syncPair, verifyAll, type SyncPair } from '../support/sync-pair.ts';

const program = fileURLToPath(new URL('../support/pull-process.ts', import.meta.url));

/** Runs a pull in another process; the signal that ended it, or what it reported. */
async function pullProcess(pair: SyncPair, failpoints: string): Promise<NodeJS.Signals | PullProcessResult> {
  const options: PullProcessOptions = { folder: pair.folder, port: pair.source.port, fingerprint: pair.source.fingerprint, failpoints };
  return new Promise((resolve, reject) => {
    execFile(process.execPath, ['--disable-warning=ExperimentalWarning', program, JSON.stringify(options)], (e, stdout, stderr) => {
      if (e === null) resolve(JSON.parse(stdout) as PullProcessResult);
      else if (e.signal === 'SIGKILL') resolve('SIGKILL');
      else reject(new Error(`pull process: ${stderr}`, { cause: e }));
    });
  });
}

const chunksOfDay = 6;

async function addDay(pair: SyncPair, day: number): Promise<void> {
  for (const id of ['1', '2']) {
    const time = firstTime + day * 86_400;
    const files = { 'drive-scsi0.img.fidx': noiseChunks(`${id}-${day}`, chunksOfDay), 'qemu-server.conf.blob': [Buffer.from(`day ${day}`)] };
    await makeSnapshot(pair.source.store, '', { type: 'vm', id, time }, { files });
  }
}

async function copiesAreWhole(pair: SyncPair): Promise<number> {
  let whole = 0;
  for (const info of await listSnapshotInfos(pair.target, '')) {
    if (info.size === undefined) continue;
    const snapshot = { type: info['backup-type'], id: info['backup-id'], time: info['backup-time'] };
    for (const { filename } of info.files) {
      const [ours, theirs] = await Promise.all([pair.target, pair.source.store].map((store) => readFile(join(store.snapshotPath('', snapshot), filename))));
      // The manifest may be the one before the notes changed.
      if (filename !== 'index.json.blob') assert.ok(ours!.equals(theirs!), filename);
    }
    whole += 1;
  }
  return whole;
}

const places = [
  'chunk.insert=kill',
  'chunk.insert=kill@4',
  'chunk.inserted=kill@5',
  'replace-file.created=kill@3',
  'replace-file.written=kill@5',
  'replace-file.renamed=kill@6',
  'snapshot-writer.opened=kill',
  'snapshot-writer.opened=kill@2',
  'snapshot-writer.staging=kill@2',
  'snapshot-writer.staged=kill',
  'snapshot-writer.staged=kill@5',
  'replication.before-publish=kill',
  'replication.before-publish=kill@2',
  'snapshot-writer.commit=kill',
  'snapshot-writer.committed=kill@3',
  'snapshot-writer.flushed=kill',
  'snapshot-writer.publish=kill',
  'snapshot-writer.publish=kill@2',
  'snapshot-writer.published=kill',
  'replication.after-publish=kill',
  'replication.after-publish=kill@2',
  'journal.writing=kill',
  'journal.written=kill',
];

for (const place of places) {
  test(`killed at ${place}: what was finished stays, nothing half is seen, the next run completes`, async () => {
    await using pair = await syncPair();
    await addDay(pair, 0);
    await pair.pulled();
    await addDay(pair, 1);
    await addDay(pair, 2);
    assert.equal(await pullProcess(pair, place), 'SIGKILL');
    assert.ok((await verifyAll(pair.target)) >= 2);
    assert.ok((await copiesAreWhole(pair)) >= 2);
    const result = await pullProcess(pair, '');
    assert.ok(typeof result === 'object');
    assert.ok(result.fetchedChunks <= 4 * chunksOfDay);
    assert.equal(await verifyAll(pair.target), 6);
    assert.equal(await copiesAreWhole(pair), 6);
    for (const name of await readdir(pair.target.path, { recursive: true })) assert.ok(!name.includes('.tmp') || name.startsWith('.chunks'), `${name} was left behind`);
  });
}

test('killed while a published snapshot takes over changed notes: either manifest, and the next run has the new one', async () => {
  await using pair = await syncPair();
  await addDay(pair, 0);
  await pair.pulled();
  for (const place of ['snapshot-writer.flushed=kill', 'snapshot-writer.publish=kill', 'snapshot-writer.published=kill']) {
    await setSnapshotNotes(pair.source.store, '', { type: 'vm', id: '1', time: firstTime }, place);
    assert.equal(await pullProcess(pair, place), 'SIGKILL');
    assert.equal(await verifyAll(pair.target), 2);
    const result = await pullProcess(pair, '');
    assert.ok(typeof result === 'object' && result.fetchedChunks === 0);
    assert.equal((await listSnapshotInfos(pair.target, '', { id: '1' }))[0]?.comment, place);
  }
});
