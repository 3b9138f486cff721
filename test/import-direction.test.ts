import assert from 'node:assert/strict';
import { globSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));

/** Dependencies point from a higher rank to a lower one or stay inside a folder (ARCHITECTURE.md, Map). */
const rank: Record<string, number> = {
  base: 0,
  sys: 1,
  crypto: 1,
  chunking: 1,
  pxar: 1,
  format: 2,
  fuse: 2,
  datastore: 3,
  protocol: 3,
  archive: 3,
  config: 3,
  terminal: 4,
  replication: 5,
  client: 5,
  schedule: 6,
  access: 6,
  notify: 6.5,
  metrics: 6,
  freshness: 6,
  api: 7,
  server: 8,
  cli: 9,
};

/** Folders without I/O: no file system, no network, no child processes. */
const pure = new Set(['format', 'chunking', 'pxar']);
const impureModules = /^node:(fs|net|tls|http|https|http2|child_process|worker_threads|dgram|sqlite|ffi|os)(\/|$)/;

const importPattern = /(?:import|export)\s[^'"]*?from\s+'([^']+)'|import\s+'([^']+)'|import\(\s*'([^']+)'\s*\)/g;

function importsOf(file: string): string[] {
  const text = readFileSync(join(root, file), 'utf8');
  return [...text.matchAll(importPattern)].map((match) => match[1] ?? match[2] ?? match[3]!);
}

/** Violations of the rules in `file` with the imports `specifiers`. */
export function violations(file: string, specifiers: string[]): string[] {
  const found: string[] = [];
  const isTest = file.endsWith('.test.ts');
  const from = file.split('/')[1]!;
  const fromRank = rank[from];
  if (fromRank === undefined) return [`${file}: folder src/${from} has no rank`];
  for (const specifier of specifiers) {
    if (!specifier.startsWith('.')) {
      if (pure.has(from) && !isTest && impureModules.test(specifier)) found.push(`${file}: ${from} does no I/O but imports ${specifier}`);
      continue;
    }
    const target = normalize(join(dirname(file), specifier));
    if (isTest && target.startsWith('test/')) continue;
    const to = target.split('/')[1] ?? '';
    if (!target.startsWith('src/')) found.push(`${file}: imports ${specifier} outside src`);
    else if (to !== from && (rank[to] ?? 99) >= fromRank) found.push(`${file}: ${from} must not import ${to}`);
  }
  return found;
}

test('imports point one way and pure folders do no I/O', () => {
  const files = globSync('src/**/*.ts', { cwd: root });
  assert.ok(files.length > 5);
  assert.deepEqual(files.flatMap((file) => violations(file, importsOf(file))), []);
});

test('a wrong import is found', () => {
  assert.deepEqual(violations('src/format/x.ts', ['../datastore/y.ts']), ['src/format/x.ts: format must not import datastore']);
  assert.deepEqual(violations('src/format/x.ts', ['node:fs']), ['src/format/x.ts: format does no I/O but imports node:fs']);
  assert.deepEqual(violations('src/datastore/x.ts', ['../format/y.ts', 'node:fs', './z.ts']), []);
});

test('only server, cli and bin read the environment, and only bin ends the process', () => {
  const files = globSync('src/**/*.ts', { cwd: root }).filter((file) => !file.endsWith('.test.ts'));
  const found = files.flatMap((file) => {
    const text = readFileSync(join(root, file), 'utf8');
    const folder = file.split('/')[1]!;
    const notes: string[] = [];
    if (/process\.env\b/.test(text) && folder !== 'server' && folder !== 'cli') notes.push(`${file}: reads process.env`);
    if (/process\.exit\(/.test(text)) notes.push(`${file}: calls process.exit`);
    return notes;
  });
  assert.deepEqual(found, []);
});
