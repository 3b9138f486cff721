import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readFileSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { temporaryInstallation } from '../../test/support/installation.ts';
import { pruneJobTable, type PruneJob } from './job-config.ts';
import { changedRecord } from './section-table.ts';

const emptyDigest = 'e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855';
const updater = fileURLToPath(new URL('../../test/support/update-config.ts', import.meta.url));

function job(id: string): PruneJob {
  return { id, store: 'store1', schedule: 'daily' };
}

/** Runs the updater; the exit code, or the signal that ended it. */
async function runUpdater(home: string, ...args: string[]): Promise<number | string> {
  const child = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', updater, ...args], { env: { ...process.env, FARSHORE_HOME: home }, stdio: ['ignore', 'inherit', 'inherit'] });
  const [code, signal] = (await once(child, 'exit')) as [number | null, string | null];
  return code ?? signal!;
}

test('a missing file is an empty one, a new one has its mode, and nothing temporary stays', async (t) => {
  const paths = await temporaryInstallation(t);
  const jobs = pruneJobTable(paths);
  assert.deepEqual(jobs.list(), { records: [], digest: emptyDigest });
  await jobs.create(job('abc'));
  assert.equal(readFileSync(jobs.file.path, 'utf8'), 'prune: abc\n\tschedule daily\n\tstore store1\n');
  assert.equal(statSync(jobs.file.path).mode & 0o777, 0o640);
  assert.deepEqual(readdirSync(paths.config).sort(), ['.prune.lck', 'prune.cfg']);
  assert.deepEqual(jobs.get('abc'), job('abc'));
  await assert.rejects(jobs.create(job('abc')), { code: 'config.exists' });
});

test('a digest that is not that of the file refuses the change', async (t) => {
  const jobs = pruneJobTable(await temporaryInstallation(t));
  await jobs.create(job('abc'), { digest: emptyDigest });
  const message = 'detected modified configuration - file changed by other user? Try again.';
  await assert.rejects(jobs.remove('abc', { digest: emptyDigest }), { code: 'config.modified', message });
  await jobs.update('abc', (record) => changedRecord(record, { set: { disable: true }, delete: [] }), { digest: jobs.digest() });
  assert.equal(jobs.get('abc').disable, true);
  await jobs.remove('abc', { digest: jobs.digest() });
  assert.equal(jobs.digest(), emptyDigest);
});

test('a change made elsewhere is seen, also one of the same length with the old mtime', async (t) => {
  const jobs = pruneJobTable(await temporaryInstallation(t));
  await jobs.create(job('abc'));
  const { path } = jobs.file;
  const wholeSecond = 1_000_000_000;
  utimesSync(path, wholeSecond, wholeSecond);
  assert.equal(jobs.get('abc').schedule, 'daily');
  writeFileSync(path, readFileSync(path, 'utf8').replace('daily', 'never'));
  utimesSync(path, wholeSecond, wholeSecond);
  assert.equal(jobs.get('abc').schedule, 'never');
  assert.equal(jobs.file.load(), jobs.file.load(), 'an unchanged file is not read again');
});

test('a change that fails leaves file and cache as they were', async (t) => {
  const jobs = pruneJobTable(await temporaryInstallation(t));
  await jobs.create(job('abc'));
  const text = readFileSync(jobs.file.path, 'utf8');
  await assert.rejects(
    jobs.file.update((config) => {
      config.remove(jobs.type, 'abc');
      throw new Error('no');
    }),
    { message: 'no' },
  );
  await assert.rejects(jobs.update('abc', (record) => ({ ...record, 'keep-last': 0 })), { code: 'config.value', message: /'keep-last': value must have a minimum value of 1 \(got 0\)$/ });
  assert.equal(readFileSync(jobs.file.path, 'utf8'), text);
  assert.deepEqual(jobs.list().records, [job('abc')]);
});

test('a broken file is reported with its name, and is not overwritten', async (t) => {
  const jobs = pruneJobTable(await temporaryInstallation(t));
  writeFileSync(jobs.file.path, 'prune abc\n');
  assert.throws(() => jobs.list(), { code: 'config.syntax', message: `parsing "${jobs.file.path}" failed: line 1 - syntax error (expected header)` });
  await assert.rejects(jobs.create(job('new')), { code: 'config.syntax' });
  writeFileSync(jobs.file.path, Buffer.from([0xff, 0xfe]));
  assert.throws(() => jobs.list(), { code: 'config.syntax', message: /not valid UTF-8/ });
});

test('changes of two processes and of many callers in one lose nothing', async (t) => {
  const paths = await temporaryInstallation(t);
  const home = dirname(paths.config);
  const jobs = pruneJobTable(paths);
  const here = Array.from({ length: 15 }, async (_, i) => {
    await jobs.create(job(`here-${i}`));
  });
  const codes = await Promise.all([runUpdater(home, 'first', '15'), runUpdater(home, 'second', '15'), ...here]);
  assert.deepEqual(codes.slice(0, 2), [0, 0]);
  const wanted = ['first', 'second', 'here'].flatMap((prefix) => Array.from({ length: 15 }, (_, i) => `${prefix}-${i}`));
  assert.deepEqual(jobs.list().records.map((record) => record.id).sort(), wanted.sort());
});

test('a process killed in a change leaves the old or the new content whole, and the lock free', async (t) => {
  const paths = await temporaryInstallation(t);
  const jobs = pruneJobTable(paths);
  await jobs.create(job('abc'));
  assert.equal(await runUpdater(dirname(paths.config), 'lost', '1', 'config.before-rename=kill'), 'SIGKILL');
  assert.deepEqual(jobs.list().records, [job('abc')]);
  assert.equal(await runUpdater(dirname(paths.config), 'kept', '1', 'config.after-rename=kill'), 'SIGKILL');
  assert.deepEqual(jobs.list().records, [job('abc'), job('kept-0')]);
  await jobs.create(job('def'));
  assert.equal(jobs.list().records.length, 3);
  assert.ok(readdirSync(paths.config).includes('prune.cfg'), join(paths.config, 'prune.cfg'));
});
