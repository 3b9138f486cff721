import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { completionScript, shells } from './shell-completion.ts';

/** A shell with a program `farshore-x` in its path that offers these candidates and tells the line that it was asked about. */
function inShell(t: TestContext, shell: string, candidates: readonly string[], script: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'farshore-completion-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const program = join(folder, 'farshore-x');
  writeFileSync(program, `#!/bin/sh\n[ "$1" = bashcomplete ] || exit 1\necho "$COMP_LINE|$COMP_POINT" > ${folder}/asked\nprintf '%s\\n' ${candidates.map((one) => `'${one}'`).join(' ')}\n`);
  chmodSync(program, 0o755);
  const ran = spawnSync(shell, [shell === 'bash' ? '--norc' : '-f', '-c', `${script}\ncat ${folder}/asked`], { encoding: 'utf8', env: { PATH: `${folder}:${process.env['PATH']}` } });
  assert.equal(ran.stderr, '');
  return ran.stdout;
}

test('bash: candidates of the line; what stands before a colon is there already; nothing is taken for a pattern', (t) => {
  const complete = (line: string): string =>
    `${completionScript('bash', 'farshore-x')}\nCOMP_LINE='${line}' COMP_POINT=${line.length}\n_farshore_x\nprintf '%s\\n' "\${COMPREPLY[@]}"`;
  assert.equal(inShell(t, 'bash', ['user', 'u*'], complete('farshore-x u')), 'user\nu*\nfarshore-x u|12\n');
  assert.equal(inShell(t, 'bash', ['type:ct', 'type:vm'], complete('farshore-x type:')), 'ct\nvm\nfarshore-x type:|16\n');
});

test('both scripts are what their shell can read', (t) => {
  for (const shell of shells) {
    const there = spawnSync(shell, ['-c', 'exit 0']);
    // Not every host has every shell.
    if (there.error !== undefined) continue;
    const ran = spawnSync(shell, ['-n'], { input: completionScript(shell, 'farshore-x'), encoding: 'utf8' });
    assert.deepEqual([ran.status, ran.stderr], [0, ''], shell);
  }
  if (spawnSync('zsh', ['-c', 'exit 0']).error !== undefined) return;
  // The completion system only runs in an interactive shell: its commands stand in for it.
  const call = `compdef() { :; }\n${completionScript('zsh', 'farshore-x')}\ncompadd() { shift; print -l -- "$@"; }\nwords=(farshore-x user li) CURRENT=3 PREFIX=li\n_farshore_x`;
  assert.equal(inShell(t, 'zsh', ['list', 'list-tokens'], call), 'list\nlist-tokens\nfarshore-x user li|18\n');
});
