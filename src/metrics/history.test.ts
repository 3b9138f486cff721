import assert from 'node:assert/strict';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { test, type TestContext } from 'node:test';
import { RecordingLog } from '../../test/support/datastore.ts';
import { silentLog } from '../base/log.ts';
import { fullDate } from './full-date.ts';
import { History } from './history.ts';

const now = 1_795_569_044;

async function folderOf(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-history-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

test('a history without values has the points that the reference has', async (t) => {
  const history = new History(join(await folderOf(t), 'h.sqlite'), silentLog);
  const lengths = (['hour', 'day', 'week', 'month', 'year', 'decade'] as const).map((timeframe) => {
    const points = history.points('host', timeframe, 'AVERAGE', now);
    assert.ok(points.at(-1)!.time <= now && points.at(-1)!.time > now - (points[1]!.time - points[0]!.time), 'the newest point is now');
    return [points.length, points[1]!.time - points[0]!.time];
  });
  assert.deepEqual(lengths, [[61, 60], [1440, 60], [337, 1800], [1440, 1800], [1440, 21_600], [523, 604_800]]);
  history.close();
});

test('values are found again at every step, as average and maximum, also by the next server', async (t) => {
  const path = join(await folderOf(t), 'h.sqlite');
  const first = new History(path, silentLog);
  for (const [minute, cpu] of [0.1, 0.2, 0.6].entries()) first.record('host', now - minute * 60, { cpu, memused: 7 });
  first.record('host', now, { cpu: Number.NaN });
  first.record('datastore/a', now, { used: 1 });
  first.close();
  const history = new History(path, silentLog);
  const last = (timeframe: 'hour' | 'month' | 'year' | 'decade', cf: 'AVERAGE' | 'MAX'): unknown => history.points('host', timeframe, cf, now).at(-1)!['cpu'];
  assert.deepEqual(history.points('host', 'hour', 'AVERAGE', now).slice(-3).map(({ cpu, memused }) => [cpu, memused]), [[0.6, 7], [0.2, 7], [0.1, 7]]);
  assert.ok(Math.abs(Number(last('month', 'AVERAGE')) - 0.3) < 1e-9);
  assert.deepEqual([last('month', 'MAX'), last('year', 'MAX'), last('decade', 'MAX')], [0.6, 0.6, 0.6]);
  assert.deepEqual(history.points('datastore/a', 'hour', 'MAX', now).at(-1), { time: Math.floor(now / 60) * 60, used: 1 });
  assert.equal(last('hour', 'MAX'), 0.1);
  history.close();
});

test('the file grows with its series, not with time', async (t) => {
  const path = join(await folderOf(t), 'h.sqlite');
  const history = new History(path, silentLog);
  for (let hour = 0; hour < 24 * 400; hour += 12) history.record('host', now + hour * 3600, { cpu: 1 });
  history.close();
  const database = new DatabaseSync(path);
  const rows = database.prepare('SELECT step, count(*) AS n FROM sample GROUP BY step ORDER BY step').all() as Array<{ step: number; n: number }>;
  database.close();
  assert.deepEqual(rows.map(({ step }) => step), [60, 1800, 21_600, 604_800]);
  assert.ok(rows[0]!.n <= 3 && rows[1]!.n <= 62 && rows[2]!.n <= 732 && rows[3]!.n <= 59, JSON.stringify(rows));
});

test('a damaged file is set aside and said', async (t) => {
  const folder = await folderOf(t);
  await writeFile(join(folder, 'h.sqlite'), 'x'.repeat(8192));
  const log = new RecordingLog();
  const history = new History(join(folder, 'h.sqlite'), log);
  history.record('host', now, { cpu: 1 });
  assert.equal(history.points('host', 'hour', 'MAX', now).at(-1)!['cpu'], 1);
  history.close();
  assert.match(log.warnings.join(), /is damaged and is set aside/);
  assert.ok((await readdir(folder)).includes('h.sqlite.damaged'));
});

test('what cannot be kept is said once, and nothing else fails', () => {
  const log = new RecordingLog();
  const history = new History('/nowhere/at/all/h.sqlite', log);
  history.record('host', now, { cpu: 1 });
  history.record('host', now, { cpu: 1 });
  assert.equal(history.points('host', 'hour', 'MAX', now).length, 61);
  assert.equal(log.warnings.length, 1);
});

test('a straight line says when it is full', () => {
  const line = (slope: number, count: number): Array<{ time: number; share: number }> => Array.from({ length: count }, (_, i) => ({ time: 1000 + i, share: 0.5 + slope * i }));
  assert.equal(fullDate(line(0.01, 6)), null);
  assert.equal(fullDate(line(0.01, 20)), 1050);
  assert.equal(fullDate(line(0, 20)), 0);
  assert.equal(fullDate(line(-0.01, 20)), 0);
  assert.equal(fullDate(line(1e-14, 20)), 0);
});
