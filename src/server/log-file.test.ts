import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
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
