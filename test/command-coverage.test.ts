import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { compatibilityPath } from './support/api-coverage.ts';
import { absentCommands, beginCommands, commandCoverage, commandCoverageText, endCommands } from './support/command-coverage.ts';

const covered = commandCoverage();

test('every command of the reference is here with the same options, or there is a reason why not', () => {
  assert.ok(covered.length > 140);
  assert.deepEqual(
    covered.filter(({ coverage }) => coverage === null || coverage === 'other').map(({ words }) => words),
    [],
  );
});

test('no reason stands for a command that is here', () => {
  const here = covered.filter(({ coverage }) => coverage === 'here').map(({ words }) => words);
  for (const [pattern] of absentCommands) assert.deepEqual(here.filter((words) => pattern.test(words)), [], String(pattern));
});

test('docs/compatibility.md says what is there and what is not', () => {
  const document = readFileSync(compatibilityPath, 'utf8');
  const written = document.slice(document.indexOf(beginCommands), document.indexOf(endCommands) + endCommands.length);
  assert.equal(written, commandCoverageText(covered), 'run: node test/support/command-coverage.ts');
});
