import assert from 'node:assert/strict';
import { execFile, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { systemClock } from '../../src/base/clock.ts';
import { silentLog } from '../../src/base/log.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import { PossessionJournal } from '../../src/replication/possession-journal.ts';
import { DelayProxy } from '../support/delay-proxy.ts';
import { temporaryFolder } from '../support/golden.ts';
import { firstTime, makeSnapshot, noise } from '../support/made-snapshots.ts';
import type { PullProcessOptions, PullProcessResult } from '../support/pull-process.ts';
import { seeded } from '../support/seeded.ts';
import type { SourceProcessReady } from '../support/source-process.ts';
import { chunkCount, storedFiles } from '../support/stored-files.ts';
import { endpointOf } from '../support/sync-source.ts';
import { hastyRetry, pullInto, syncPair, verifyAll, type SyncPair } from '../support/sync-pair.ts';

const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const chunkSize = 32 * kibibyte;
const groups = 4;
const days = 3;
const snapshots = groups * days;
/** Chunks that a test's job has on their way at a time: what a cut can cost. */
const inFlight = 8;
/** What every cut costs beside the chunks on their way: connections, manifests and indexes of the open snapshots anew. */
const reconnectBytes = 64 * kibibyte;
/** TLS, HTTP/2 and listings. */
const overhead = 1.02;

/** Twelve snapshots with chunks of their own; returns the number of chunks. */
async function fill(pair: SyncPair, perSnapshot: number): Promise<number> {
  for (let group = 0; group < groups; group += 1) {
    for (let day = 0; day < days; day += 1) {
      const chunks = Array.from({ length: perSnapshot }, (_, i) => noise(`${group}-${day}-${i}`, chunkSize));
      await makeSnapshot(pair.source.store, '', { type: 'vm', id: `${100 + group}`, time: firstTime + day * 86_400 }, { files: { 'drive-scsi0.img.fidx': chunks, 'qemu-server.conf.blob': [Buffer.from('x')] } });
    }
  }
  return snapshots * perSnapshot;
}

function fewInFlight(): FlightControl {
  return new FlightControl(systemClock, { fixedChunks: inFlight });
}

/** `count` places in `total` bytes, in order. */
function places(seed: number, count: number, total: number): number[] {
  const random = seeded(seed);
  return Array.from({ length: count }, () => Math.floor(random() * total)).toSorted((a, b) => a - b);
}

const pullProgram = fileURLToPath(new URL('../support/pull-process.ts', import.meta.url));
const sourceProgram = fileURLToPath(new URL('../support/source-process.ts', import.meta.url));
const quiet = '--disable-warning=ExperimentalWarning';

/** A pull in another process, killed when `killAt` more bytes have come down; null when it was. */
async function pullProcess(pair: SyncPair, options: Partial<PullProcessOptions>, killAt = Infinity): Promise<PullProcessResult | null> {
  const argument: PullProcessOptions = { folder: pair.folder, port: pair.proxy.port, fingerprint: pair.source.fingerprint, fixedChunks: inFlight, ...options };
  const from = pair.proxy.delivered.down;
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [quiet, pullProgram, JSON.stringify(argument)], (e, stdout, stderr) => {
      clearInterval(watch);
      if (e === null) resolve(JSON.parse(stdout) as PullProcessResult);
      else if (e.signal === 'SIGKILL') resolve(null);
      else reject(new Error(`pull process: ${stderr}`, { cause: e }));
    });
    const watch = setInterval(() => {
      if (pair.proxy.delivered.down - from >= killAt) child.kill('SIGKILL');
    }, 1);
  });
}

for (const seed of [3, 77]) {
  test(`the line is cut 50 times at any byte (seed ${seed}): no more than what was on its way is sent again`, async () => {
    await using pair = await syncPair();
    const unique = (await fill(pair, 100)) * chunkSize;
    pair.proxy.cutAfter(...places(seed, 50, unique));
    const report = await pair.pulled({ flight: fewInFlight(), parallelSnapshots: 3, retry: { ...hastyRetry, attemptsWithoutProgress: 100 } });
    assert.equal(pair.proxy.cuts, 50);
    assert.deepEqual([report.snapshots, report.fetchedBytes - report.fetchedChunks * 12], [snapshots, unique]);
    const sent = pair.proxy.delivered.down + pair.proxy.lostDown;
    const most = overhead * unique + 50 * (inFlight * chunkSize + reconnectBytes);
    assert.ok(sent <= most, `${sent} bytes for ${unique}, at most ${most}`);
    assert.equal(await verifyAll(pair.target), snapshots);
  });
}

test('killed again and again at random: what is stored is known but for 8 MiB, each run goes on where the last one was', async () => {
  await using pair = await syncPair();
  const unique = (await fill(pair, 100)) * chunkSize;
  let before = 0;
  let kills = 0;
  for (const place of places(5, 4, unique)) {
    if ((await pullProcess(pair, {}, place - before)) === null) kills += 1;
    before = place;
    await verifyAll(pair.target);
  }
  assert.ok(kills > 0);
  const last = await pullProcess(pair, {});
  assert.ok(last !== null);
  assert.equal(await verifyAll(pair.target), snapshots);
  const most = overhead * unique + kills * (8 * mebibyte + inFlight * chunkSize + reconnectBytes);
  assert.ok(pair.proxy.delivered.down <= most, `${pair.proxy.delivered.down} bytes for ${unique}, at most ${most}`);
});

test('killed between storing and the journal: at most 8 MiB of chunks are stored and not known; after a new start of the host nothing unflushed is believed', async () => {
  await using pair = await syncPair();
  // One snapshot: it cannot be complete, and so nothing flushed, before the kill.
  const chunks = 700;
  const killedAt = 600;
  const content = Array.from({ length: chunks }, (_, i) => noise(`${i}`, chunkSize));
  await makeSnapshot(pair.source.store, '', { type: 'vm', id: '100', time: firstTime }, { files: { 'drive-scsi0.img.fidx': content } });
  assert.equal(await pullProcess(pair, { failpoints: `chunk.inserted=kill@${killedAt}` }), null);
  const stored = chunkCount(storedFiles(pair.target.path));
  assert.ok(stored >= killedAt - 1, `${stored}`);
  const journal = PossessionJournal.open({ path: join(pair.folder, 'journals', 'hq.sqlite'), identity: 'hq', bootId: 'this', log: silentLog });
  const known = journal.size;
  journal.close();
  assert.ok((stored - known) * chunkSize <= 8 * mebibyte + inFlight * chunkSize, `${stored} stored, ${known} known`);
  const report = await pair.pulled({ bootId: 'next' });
  // What lies there from before was not believed, and is as good as what came.
  assert.equal(report.fetchedChunks, chunks);
  assert.equal(await verifyAll(pair.target), 1);
});

test('the source is killed and started anew, again and again: the one run goes on', async () => {
  await using pair = await syncPair();
  const unique = (await fill(pair, 60)) * chunkSize;
  await using folder = await temporaryFolder();
  const certificates = join(folder.path, 'certificates');
  await mkdir(certificates);
  await pair.source[Symbol.asyncDispose]();
  const start = async (): Promise<{ ready: SourceProcessReady; kill: () => Promise<void> }> => {
    const child = spawn(process.execPath, [quiet, sourceProgram, pair.source.store.path, '127.0.0.1', certificates], { stdio: ['pipe', 'pipe', 'inherit'] });
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    const ready = JSON.parse((await lines.next()).value ?? '') as SourceProcessReady;
    return {
      ready,
      kill: async () => {
        const ended = once(child, 'exit');
        child.kill('SIGKILL');
        await ended;
      },
    };
  };
  let source = await start();
  await using proxy = await DelayProxy.start({ target: { host: '127.0.0.1', port: source.ready.port } });
  const run = { ended: false };
  const running = pullInto(pair.target, pair.folder, endpointOf(proxy.port, source.ready.fingerprint), { flight: fewInFlight(), retry: { firstPauseMs: 5, longestPauseMs: 100, attemptsWithoutProgress: 1000 } }).finally(() => (run.ended = true));
  let kills = 0;
  for (const place of places(9, 3, unique)) {
    while (!run.ended && proxy.delivered.down < place) await sleep(1);
    if (run.ended) break;
    kills += 1;
    await source.kill();
    source = await start();
    proxy.leadTo(source.ready.port);
  }
  const { report, log } = await running;
  await source.kill();
  assert.ok(report !== null, log.lines.join('\n'));
  assert.ok(kills > 0);
  assert.equal(report.snapshots, snapshots);
  assert.ok(proxy.delivered.down <= overhead * unique + kills * (inFlight * chunkSize + reconnectBytes), `${proxy.delivered.down} bytes for ${unique}`);
  assert.equal(await verifyAll(pair.target), snapshots);
});

test('a run that fails says what it has kept, and the next one fetches exactly the rest', async () => {
  await using pair = await syncPair();
  const chunks = await fill(pair, 20);
  pair.proxy.cutAfter((chunks * chunkSize) / 2);
  pair.proxy.refuseAfterCut = true;
  const failed = await pair.pull({ flight: fewInFlight(), retry: { firstPauseMs: 1, longestPauseMs: 1, attemptsWithoutProgress: 2 } });
  assert.equal(failed.report, null);
  const kept = /Kept: (\d+) snapshots are complete; (\d+) chunks \(.*\) that arrived are stored and will not be fetched again/.exec(failed.log.lines.join('\n'));
  assert.ok(kept !== null, failed.log.lines.join('\n'));
  assert.ok(Number(kept[2]) > 0);
  assert.equal(await verifyAll(pair.target), Number(kept[1]));
  pair.proxy.refuse = false;
  const report = await pair.pulled();
  assert.deepEqual([report.fetchedChunks, report.snapshots], [chunks - Number(kept[2]), snapshots - Number(kept[1])]);
  assert.equal(await verifyAll(pair.target), snapshots);
});
