// Runs the tests of one kind with node:test: `all` (everything but interop), `fast` (unit, property, golden) or `interop`.
import { spawnSync } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const kind = process.argv[2] ?? 'all';
const patterns = {
  fast: ['src/**/*.test.ts', 'test/golden/**/*.test.ts'],
  all: ['src/**/*.test.ts', 'test/{golden,fault,fuzz,e2e,support}/**/*.test.ts', 'test/*.test.ts'],
  interop: ['test/interop/**/*.test.ts'],
}[kind];
if (patterns === undefined) {
  console.error(`unknown kind of test '${kind}': all, fast or interop`);
  process.exit(2);
}

if (kind === 'interop') {
  const peer = process.env.PEER ?? join(root, '../shared/peer/peer');
  if (!existsSync(peer)) {
    console.log('make interop: skipped, the reference server is not here (PEER or ../shared/peer/peer)');
    process.exit(0);
  }
  process.env.PEER = peer;
  // It runs in mount, network and host name namespaces of its own, on one end of a veth pair.
  const canRun = process.getuid?.() === 0 && spawnSync('unshare', ['--mount', '--net', '--uts', 'true']).status === 0;
  if (!canRun) {
    console.log('make interop: skipped, the reference server needs root and Linux namespaces');
    process.exit(0);
  }
}

const files = patterns.flatMap((pattern) => globSync(pattern, { cwd: root })).toSorted();
if (files.length === 0) {
  console.error(`no tests of kind '${kind}' found`);
  process.exit(1);
}
const concurrency = kind === 'interop' ? 1 : 2;
const result = spawnSync(
  process.execPath,
  ['--disable-warning=ExperimentalWarning', '--test', `--test-concurrency=${concurrency}`, '--test-reporter=dot', '--test-reporter-destination=stderr', '--test-reporter=spec', '--test-reporter-destination=stdout', '--test-timeout=600000', ...files],
  { cwd: root, stdio: 'inherit' },
);
process.exit(result.status ?? 1);
