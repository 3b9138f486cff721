import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { silentLog } from '../base/log.ts';
import { LogFile } from './log-file.ts';

test('appends, rotates only when large, keeps fourteen', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'farshore-log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'access.log');
  for (let i = 1; i <= 14; i += 1) writeFileSync(`${path}.${i}`, String(i));
  const log = new LogFile('access log', path, silentLog);
  log.append('first');
  assert.equal(await log.rotate(), false);
  log.append('x'.repeat(33 * 1024 * 1024));
  await log.close();
  assert.ok(readFileSync(path, 'utf8').startsWith('first\n'));
  assert.equal(await log.rotate(), true);
  log.append('second');
  await log.close();
  assert.equal(readFileSync(path, 'utf8'), 'second\n');
  assert.equal(readFileSync(`${path}.2`, 'utf8'), '1');
  assert.equal(readdirSync(folder).length, 15);
});

test('a log that cannot be written is said once and stops nothing', async () => {
  const errors: string[] = [];
  const log = new LogFile('auth log', '/nonexistent-folder/auth.log', { ...silentLog, error: (line) => errors.push(line) });
  log.append('a');
  log.append('b');
  await new Promise((resolve) => setTimeout(resolve, 50));
  log.append('c');
  await log.close();
  assert.equal(errors.length, 1);
});

test('lines that come while the log is rotated are in the one file or the other', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'farshore-log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'access.log');
  const errors: string[] = [];
  const log = new LogFile('access log', path, { ...silentLog, error: (line) => errors.push(line) });
  writeFileSync(path, 'x'.repeat(33 * 1024 * 1024));
  log.append('\nbefore');
  while (!readFileSync(path, 'utf8').endsWith('before\n')) await new Promise((resolve) => setTimeout(resolve, 1));
  const rotated = log.rotate();
  log.append('meanwhile');
  assert.equal(await rotated, true);
  log.append('after');
  await log.close();
  assert.match(readFileSync(`${path}.1`, 'utf8').slice(-20), /x\nbefore\n$/);
  assert.equal(readFileSync(path, 'utf8'), 'meanwhile\nafter\n');
  assert.deepEqual(errors, []);
});

test('a flood of lines takes neither the disk nor the memory', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'farshore-log-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const path = join(folder, 'access.log');
  const log = new LogFile('access log', path, silentLog);
  const line = 'x'.repeat(1023);
  // Nothing is written before this turn of the event loop ends: what waits is bounded.
  for (let i = 0; i < 20_000; i += 1) log.append(line);
  await log.close();
  assert.ok(statSync(path).size <= 4 * 1024 * 1024 + 2048, String(statSync(path).size));

  writeFileSync(path, 'x'.repeat(65 * 1024 * 1024));
  const next = new LogFile('access log', path, silentLog);
  next.append('first of the new file');
  await next.close();
  assert.equal(readFileSync(path, 'utf8'), 'first of the new file\n');
  assert.equal(statSync(`${path}.1`).size, 65 * 1024 * 1024);
});
