import assert from 'node:assert/strict';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import type { Method } from '../../src/api/endpoint.ts';
import { Datastore } from '../../src/datastore/datastore.ts';
import type { InstallationPaths } from '../../src/config/home.ts';
import { RecordingLog } from '../support/datastore.ts';
import { makeSnapshot, noiseChunks } from '../support/made-snapshots.ts';
import { ManualClock } from '../support/manual-clock.ts';
import { WholeServer } from '../support/whole-server.ts';

/**
 * "Tell me when nothing has run for three nights in a row", whatever the reason. A whole server with a nightly sync job between two datastores; the clock is moved hour by hour, and at
 * every hour the scheduler passes and the contracts are checked, as in a running server.
 */

const hourMs = 3_600_000;
// Before any time at which this test may really run: what the sync engine notes by the real clock then lies in the future and does not count.
const clock = new ManualClock('2020-01-06T12:00:00Z');
let monotonicMs = 0;
const log = new RecordingLog();

async function emptyDatastore(path: string): Promise<void> {
  await mkdir(join(path, '.chunks'), { recursive: true, mode: 0o750 });
  await writeFile(join(path, '.lock'), '');
}

let paths: InstallationPaths | undefined;
const server = await WholeServer.make({
  clock,
  monotonicMs: () => monotonicMs,
  log,
  prepare: async (made) => {
    paths = made;
    await Promise.all([emptyDatastore(join(made.state, 'source')), emptyDatastore(join(made.state, 'offsite'))]);
    await writeFile(join(made.config, 'datastore.cfg'), ['source', 'offsite'].map((name) => `datastore: ${name}\n\tpath ${join(made.state, name)}\n\ttuning sync-level=none\n`).join('\n'));
  },
});
const { router, scheduler, freshness } = server.composition;
const store = await Datastore.open({ name: 'source', path: join(paths!.state, 'source'), locksRoot: paths!.locks, tuning: { syncLevel: 'none' } });
after(async () => {
  store.close();
  await server[Symbol.asyncDispose]();
});

async function call(method: Method, path: string, parameters: Record<string, unknown> = {}): Promise<unknown> {
  const result = await router.call({ method, path, caller: { authId: 'root@pam', remoteAddress: 'unix' }, parameters });
  assert.ok(result.ok, `${method} ${path}: ${result.ok ? '' : result.message}`);
  return result.data;
}

const told = (): string[] => log.lines.filter((line) => /^freshness contract .*(is broken|holds again)/.test(line)).map((line) => line.replace(/^freshness contract '([^']*)' on datastore 'offsite' (is broken|holds again): .*$/, '$1 $2'));

/** The scheduler's pass, and the end of what it started. */
async function pass(): Promise<void> {
  await scheduler.pass();
  for (;;) {
    const [job] = (await call('GET', '/admin/sync')) as Array<Record<string, number | undefined>>;
    const isDue = job?.['next-run'] !== undefined && job['next-run'] <= Math.floor(clock.ms / 1000);
    const isRunning = job?.['last-run-upid'] !== undefined && job['last-run-state'] === undefined;
    if (!isDue && !isRunning) return;
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

async function backup(): Promise<void> {
  await makeSnapshot(store, '', { type: 'vm', id: '100', time: Math.floor(clock.ms / 1000) }, { files: { 'drive-scsi0.img.fidx': noiseChunks('disk', 2) }, owner: 'root@pam' });
}

/** Hour by hour, a backup once a day; what was told meanwhile. */
async function days(count: number, { backups = true }: { backups?: boolean } = {}): Promise<string[]> {
  const before = told().length;
  for (let hour = 0; hour < count * 24; hour += 1) {
    if (backups && hour % 24 === 6) await backup();
    clock.ms += hourMs;
    monotonicMs += hourMs;
    await pass();
    await freshness.check();
  }
  return told().slice(before);
}

await call('POST', '/config/sync', { id: 'nightly', store: 'offsite', 'remote-store': 'source', schedule: '22:00' });
await call('POST', '/config/freshness', { id: 'three-nights', job: 'nightly', 'max-age': '3d' });
await call('POST', '/config/freshness', { id: 'all-groups', store: 'offsite', 'max-age': '3d', 'every-group': true });
const all = ['three-nights', 'all-groups'];
const broken = all.map((id) => `${id} is broken`);
const mended = all.map((id) => `${id} holds again`);

async function state(id: string): Promise<{ state: string; text: string }> {
  const [status] = (await call('GET', '/status/freshness', { id })) as Array<{ state: string; text: string }>;
  return status!;
}

test('as long as the job runs every night nobody hears anything', async () => {
  assert.equal((await state('three-nights')).state, 'pending');
  assert.deepEqual(await days(5), []);
  assert.equal((await state('three-nights')).state, 'ok');
});

const configured = { schedule: '22:00', 'group-filter': ['group:vm/100'] };
const reasons: Record<string, { begin: () => Promise<unknown>; end: () => Promise<unknown>; backups?: boolean; text: RegExp }> = {
  'its schedule was taken away': {
    begin: () => call('PUT', '/config/sync/nightly', { delete: ['schedule'] }),
    end: () => call('PUT', '/config/sync/nightly', configured),
    text: /last successful run: 6d .*sync job 'nightly' has no schedule/,
  },
  'every run fails': {
    begin: () => call('PUT', '/config/datastore/source', { 'maintenance-mode': 'type=offline' }),
    end: () => call('PUT', '/config/datastore/source', { delete: ['maintenance-mode'] }),
    text: /last run: /,
  },
  'its filter leaves the group out': {
    begin: () => call('PUT', '/config/sync/nightly', { 'group-filter': ['group:vm/999'] }),
    end: () => call('PUT', '/config/sync/nightly', configured),
    text: /newest snapshot: none any more/,
  },
  'there is nothing new at the source': {
    begin: async () => {},
    end: async () => {},
    backups: false,
    text: /newest snapshot: 6d [^,]*, allowed 3d/,
  },
  'the job was deleted': {
    begin: () => call('DELETE', '/config/sync/nightly'),
    end: () => call('POST', '/config/sync', { id: 'nightly', store: 'offsite', 'remote-store': 'source', ...configured }),
    text: /sync job 'nightly' does not exist any more/,
  },
};

for (const [reason, { begin, end, text, backups = true }] of Object.entries(reasons)) {
  test(`nothing came for three nights since ${reason}: one alert, and one when it is over`, async () => {
    await begin();
    const first = await days(2, { backups });
    // Only that the job no longer brings the group is seen at once: by the job's contract.
    const atOnce = reason.includes('filter') ? ['three-nights is broken'] : [];
    assert.deepEqual(first, atOnce);
    const rest = [...first, ...(await days(4, { backups }))];
    assert.deepEqual(rest.toSorted(), broken.toSorted());
    assert.match((await state('three-nights')).text, text);
    await end();
    assert.deepEqual((await days(2)).toSorted(), mended.toSorted());
  });
}

test('the server was off: the first check tells', async () => {
  clock.ms += 4 * 24 * hourMs;
  await freshness.check();
  const since = told().slice(-2);
  assert.deepEqual(since.toSorted(), broken.toSorted());
  await backup();
  await pass();
  await freshness.check();
  assert.deepEqual(told().slice(-2).toSorted(), mended.toSorted());
});

test('the clock was set back: the nights that pass are counted', async () => {
  const before = told().length;
  await call('PUT', '/config/sync/nightly', { delete: ['schedule'] });
  await freshness.check();
  clock.ms -= 10 * 24 * hourMs;
  monotonicMs += 20 * hourMs;
  await freshness.check();
  assert.equal(told().length, before);
  // What was stored under the later time lies in the future as soon as the earlier one is believed.
  for (let hour = 0; hour < 96; hour += 1) {
    clock.ms += hourMs;
    monotonicMs += hourMs;
    await freshness.check();
  }
  assert.deepEqual(told().slice(before).toSorted(), broken.toSorted());
});

test('copies that were deleted are missed at once', async () => {
  clock.ms += 20 * 24 * hourMs;
  await call('PUT', '/config/sync/nightly', configured);
  await backup();
  await days(1);
  const before = told().length;
  await rm(join(paths!.state, 'offsite', 'vm'), { recursive: true });
  await freshness.check();
  assert.deepEqual(told().slice(before).toSorted(), broken.toSorted());
});
