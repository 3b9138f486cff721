import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { suite, test } from 'node:test';
import { CannedServer, runWith } from '../../test/support/manager-runs.ts';
import { registerValueFormats } from '../api/value-formats.ts';
import { clientTree } from '../client/main.ts';
import { clientExamples } from '../client/examples.ts';
import { parseArguments } from '../terminal/command-line.ts';
import { commandsBelow, resolveCommand } from '../terminal/command.ts';
import type { CommandNode } from '../terminal/command.ts';
import { roffText } from '../terminal/manual.ts';
import { managerExamples, pxarExamples } from './examples.ts';
import { manPages, programTree } from './man-pages.ts';
import { processPxarIo } from './pxar-entry.ts';
import { pxarTree } from './pxar/program.ts';

registerValueFormats();

/** An example's words, quotes taken off. */
function words(line: string): string[] {
  return [...line.matchAll(/'([^']*)'|(\S+)/g)].map((match) => match[1] ?? match[2]!);
}

const programs: ReadonlyArray<readonly [name: string, tree: CommandNode, examples: Readonly<Record<string, readonly string[]>>]> = [
  ['farshore', programTree('1'), managerExamples],
  ['farshore-client', clientTree(), clientExamples],
  ['farshore-pxar', pxarTree(processPxarIo), pxarExamples],
];

suite('examples are lines that their command takes', () => {
  for (const [program, tree, examples] of programs) {
    test(program, () => {
      const names = new Set([...commandsBelow(tree)].map((command) => command.words.join(' ')));
      for (const [name, lines] of Object.entries(examples)) {
        assert.ok(names.has(name), `${program} has no command '${name}'`);
        for (const line of lines) {
          const found = resolveCommand(tree, words(line));
          assert.ok(found.kind === 'command' && found.command.words.join(' ') === name, line);
          assert.doesNotThrow(() => parseArguments(found.command, found.rest), line);
        }
      }
    });
  }
});

test('--help says how a command is used, with examples, or what a group has; behind -- it is a word like others', async () => {
  const run = async (...argv: string[]): Promise<{ stdout: string; stderr: string; exit: number }> => runWith(new CannedServer({}), argv);
  const command = await run('sync-j', 'create', 'nightly', '--help');
  assert.deepEqual([command.exit, command.stderr], [0, '']);
  assert.match(command.stdout, /^Usage: \S+ sync-job create <id> --remote-store [^]*\nExamples:\n\n {2}\S+ sync-job create offsite-nightly --remote /);
  const group = await run('sync-job', '--help');
  assert.match(group.stdout, /^Usage:\n\n\S+ sync-job create [^]*\n\S+ sync-job update /);
  assert.match((await run('--help')).stdout, /\bacl list \[OPTIONS\]\n/);
  assert.equal((await run('user', 'list', '--', '--help')).exit, 255);
});

suite('manual pages', () => {
  const pages = manPages('1.2.3');
  for (const [program, tree] of programs) {
    test(`${program}.1 has every command, the same each time, and no line that roff takes for an unknown request`, () => {
      const page = pages.get(`${program}.1`)!;
      for (const command of commandsBelow(tree)) assert.ok(page.includes(`.SS "${roffText(command.words.join(' '))}"\n`), command.words.join(' '));
      assert.equal(manPages('1.2.3').get(`${program}.1`), page);
      const requests = page.split('\n').filter((line) => /^[.']/.test(line));
      for (const line of requests) assert.match(line, /^\.(?:TH|SH|SS|PP|TP|nf|fi|br|RS|RE)\b/);
      // Where roff is installed, it says of the page what it does not understand.
      if (existsSync('/usr/bin/groff')) {
        const { status, stderr } = spawnSync('/usr/bin/groff', ['-man', '-Tascii', '-wmac', '-wescape', '-Wbreak'], { input: page, encoding: 'utf8' });
        assert.deepEqual([status, stderr], [0, '']);
      }
    });
  }

  test('text cannot become a request or an escape', () => {
    assert.equal(roffText(".so /etc/passwd\n'x\n\\fBa-b"), "\\&.so /etc/passwd\n\\&'x\n\\efBa\\-b");
  });
});
