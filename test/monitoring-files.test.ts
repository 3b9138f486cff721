import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { errorCode } from '../src/base/errors.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const folder = join(root, 'docs', 'monitoring');
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

/** Metrics that the server has, with their labels, by its source. */
function exported(): Map<string, string> {
  const found = new Map<string, string>();
  for (const file of globSync('src/api/monitoring/*.ts', { cwd: root })) {
    for (const [, name] of readFileSync(join(root, file), 'utf8').matchAll(/(?:gauge|counter)\('([a-z_]+)'/g)) found.set(name!, file);
  }
  return found;
}

const used = (text: string): string[] => [...new Set([...text.matchAll(/\bpbs_[a-z_]+/g)].map(([name]) => name))];

test('rules, their tests, the dashboard and the description speak of metrics that the server has', () => {
  const names = exported();
  assert.ok(names.size > 30 && names.has('pbs_sync_job_lag_seconds'), [...names.keys()].join(' '));
  for (const name of ['prometheus-rules.yml', 'prometheus-rules.test.yml', 'grafana-dashboard.json', 'README.md']) {
    const found = used(read(name));
    assert.ok(found.length > 2, name);
    // `pbs_gc_*` in a text.
    assert.deepEqual(found.filter((one) => !names.has(one) && !(one.endsWith('_') && [...names.keys()].some((known) => known.startsWith(one)))), [], name);
  }
});

test('the dashboard is one', () => {
  const dashboard = JSON.parse(read('grafana-dashboard.json')) as { panels: Array<{ id: number; title: string; targets: Array<{ expr: string }> }> };
  assert.equal(new Set(dashboard.panels.map(({ id }) => id)).size, dashboard.panels.length);
  for (const { title, targets } of dashboard.panels) assert.ok(targets.length > 0 && targets.every(({ expr }) => expr.includes('pbs_')), title);
});

test('every alert says what it is about', () => {
  const rules = read('prometheus-rules.yml').split(/^ {6}- alert: /m).slice(1);
  assert.ok(rules.length >= 10);
  for (const rule of rules) for (const key of ['expr', 'for', 'severity', 'summary', 'description']) assert.match(rule, new RegExp(`^ +${key}: \\S`, 'm'), rule.slice(0, rule.indexOf('\n')));
});

test('promtool, where it is, takes the rules and runs their tests', async () => {
  const run = promisify(execFile);
  try {
    await run('promtool', ['check', 'rules', 'prometheus-rules.yml'], { cwd: folder });
    await run('promtool', ['test', 'rules', 'prometheus-rules.test.yml'], { cwd: folder });
  } catch (e) {
    if (errorCode(e) !== 'ENOENT') throw e;
  }
});
