import assert from 'node:assert/strict';
import { test } from 'node:test';
import { serverLog } from './server-log.ts';

function collect(): { lines: string[]; write(text: string): void } {
  const lines: string[] = [];
  return { lines, write: (text) => void lines.push(text) };
}

test('text: one line an entry, from the level on', () => {
  const out = collect();
  const log = serverLog('text', 'info', out);
  log.debug('no');
  log.info('a\nb');
  log.error('bad');
  assert.equal(out.lines.length, 2);
  assert.match(out.lines[0]!, /^\d{4}-\d\d-\d\dT[\d:.]+Z INFO {2}a b\n$/);
  assert.match(out.lines[1]!, /ERROR bad\n$/);
});

test('json: one object a line', () => {
  const out = collect();
  serverLog('json', 'info', out).warn('a "quoted"\nline');
  const entry = JSON.parse(out.lines[0]!) as Record<string, unknown>;
  assert.equal(entry['level'], 'warn');
  assert.equal(entry['msg'], 'a "quoted"\nline');
  assert.equal(out.lines[0]!.indexOf('\n'), out.lines[0]!.length - 1);
});
