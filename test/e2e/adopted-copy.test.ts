import assert from 'node:assert/strict';
import { cp, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { toHex } from '../../src/base/bytes.ts';
import { errorCode } from '../../src/base/errors.ts';
import { inspectDatastore } from '../../src/datastore/adoption.ts';
import type { Datastore } from '../../src/datastore/datastore.ts';
import { encodeBlob } from '../../src/format/data-blob.ts';
import type { BackupSnapshot } from '../../src/format/backup-path.ts';
import { AdoptedCopies } from '../../src/replication/adopted-copies.ts';
import { RecordingLog } from '../support/datastore.ts';
import { digestOf, firstTime, makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { syncPair, verifyAll } from '../support/sync-pair.ts';

const { signal } = new AbortController();
const claim = { remote: 'hq', store: 'main', identity: 'hq:8007:sync@pbs' };

function at(id: string, day: number): BackupSnapshot {
  return { type: 'vm', id, time: firstTime + day * 86_400 };
}

async function disk(store: Datastore, snapshot: BackupSnapshot, chunks: Buffer[]): Promise<void> {
  await makeSnapshot(store, '', snapshot, { files: { 'drive-scsi0.img.fidx': chunks }, owner: 'root@pam' });
}

function chunkPath(store: Datastore, chunk: Buffer): string {
  const hex = toHex(digestOf(chunk));
  return join(store.path, '.chunks', hex.slice(0, 4), hex);
}

/** Files of the source, as on a disk that was carried over. */
async function carry(from: Datastore, to: Datastore): Promise<void> {
  for (const name of ['vm', '.chunks']) await cp(join(from.path, name), join(to.path, name), { recursive: true });
}

test('after a copy was carried over the first sync moves only what is new, and reads each chunk that it reuses once', async () => {
  await using pair = await syncPair();
  const { store } = pair.source;
  const old = noiseChunks('old', 12);
  await disk(store, at('100', 0), old);
  await carry(store, pair.target);
  const adopted = new AdoptedCopies(join(pair.folder, 'adopted'));
  const log = new RecordingLog();
  const found = await inspectDatastore(pair.target, { log, signal });
  assert.deepEqual([found.groups, found.snapshots, found.chunks.size, found.sampledChunks, found.badChunks, found.missingChunks, found.badSnapshots], [1, 1, 12, 12, 0, 0, 0]);
  await adopted.record('main', found.chunks);
  assert.equal(await adopted.of('main', claim.remote, claim.store, claim.identity), null, 'nothing counts before it was claimed');
  await adopted.claim('main', claim);

  // One of them is damaged after the look: it is not reused.
  await writeFile(chunkPath(pair.target, old[3]!), encodeBlob(noiseChunks('other', 1)[0]!, { compress: false }));
  await disk(store, at('100', 1), [...old, ...noiseChunks('new', 2)]);
  await disk(store, at('200', 1), [...old.slice(0, 6), ...noiseChunks('more', 1)]);
  const chunks = (await adopted.of('main', claim.remote, claim.store, claim.identity))!;
  let read = 0;
  const report = await pair.pulled({
    adopted: chunks,
    wrapTarget: (target) =>
      new Proxy(target, {
        get(inner, name) {
          const member: unknown = Reflect.get(inner, name, inner);
          if (typeof member !== 'function') return member;
          if (name === 'readChunk') read += 1;
          return member.bind(inner) as unknown;
        },
      }),
  });
  assert.deepEqual([report.snapshots, report.fetchedChunks, report.reusedChunks, report.repairedChunks], [2, 2 + 1 + 1, 11, 1]);
  // The damaged one is read again when it is replaced, and by the second snapshot if that comes to it meanwhile.
  assert.ok(read === 12 + 1 || read === 12 + 2, `each of the twelve is read once: ${read}`);
  assert.equal(await verifyAll(pair.target), 3);
  // The journal has them now: without the adoption nothing is fetched or read again.
  await disk(store, at('300', 2), old);
  assert.equal((await pair.pulled()).fetchedChunks, 0);
});

test('what others stored after the adoption does not count, and no second remote can claim the copy', async () => {
  await using pair = await syncPair();
  const { store } = pair.source;
  await disk(store, at('100', 0), noiseChunks('old', 3));
  await carry(store, pair.target);
  const adopted = new AdoptedCopies(join(pair.folder, 'adopted'));
  const { chunks } = await inspectDatastore(pair.target, { log: new RecordingLog(), signal });
  await adopted.record('main', chunks);
  await adopted.claim('main', claim);
  // Another tenant's backup. The remote knows its digest, not its content.
  const [secret] = noiseChunks('secret', 1);
  await disk(pair.target, at('900', 0), [secret!]);
  await disk(store, at('666', 1), [secret!]);
  await rm(chunkPath(store, secret!));
  const { error, log } = await pair.pull({ adopted: (await adopted.of('main', claim.remote, claim.store, claim.identity))! });
  assert.notEqual(error, null);
  assert.match(log.lines.join('\n'), /vm\/666.*failed/);

  await assert.rejects(adopted.claim('main', { ...claim, remote: 'evil' }), (e) => errorCode(e) === 'config.adoption');
  await assert.rejects(adopted.claim('never', claim), (e) => errorCode(e) === 'config.adoption');
  assert.equal(await adopted.of('main', claim.remote, claim.store, 'elsewhere:8007:sync@pbs'), null, 'a remote that leads elsewhere');
  await adopted.record('main', chunks);
  assert.equal(await adopted.of('main', claim.remote, claim.store, claim.identity), null, 'another adoption, another claim');
});

test('damage of a carried copy is found and said: bad chunks, missing chunks, indexes and manifests', async () => {
  await using pair = await syncPair();
  const { store } = pair.source;
  const chunks = noiseChunks('old', 5);
  for (const [i, id] of ['100', '101', '102', '103'].entries()) await disk(store, at(id, 0), i === 0 ? chunks : [...chunks.slice(2), ...noiseChunks(id, 1)]);
  await carry(store, pair.target);
  const damage = async (path: string): Promise<void> => {
    const bytes = await readFile(path);
    bytes[bytes.length - 1]! ^= 1;
    await writeFile(path, bytes);
  };
  await rm(chunkPath(pair.target, chunks[0]!));
  await damage(chunkPath(pair.target, chunks[4]!));
  await damage(`${pair.target.snapshotPath('', at('101', 0))}/drive-scsi0.img.fidx`);
  await damage(`${pair.target.snapshotPath('', at('102', 0))}/index.json.blob`);
  const log = new RecordingLog();
  const found = await inspectDatastore(pair.target, { log, signal });
  assert.deepEqual([found.groups, found.snapshots, found.chunks.size, found.badChunks, found.missingChunks, found.badSnapshots], [4, 4, 7, 1, 1, 3], log.lines.join('\n'));
  for (const what of [/vm\/100.*1 of its chunks are not there/, /vm\/101.*/, /vm\/102.*/, /chunk [0-9a-f]{64} is bad/, /the copy is not whole/]) assert.match(log.lines.join('\n'), what);
});
