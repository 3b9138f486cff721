import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { managerTree } from './main.ts';
import { commandsBelow, parameterSchema } from '../terminal/command.ts';
import type { Command } from './command.ts';
import { keywordsOf } from '../terminal/schema-keywords.ts';
import { shortUsage, typeText } from '../terminal/usage.ts';

const reference = readFileSync(new URL('../../test/fixtures/cli/proxmox-backup-manager.txt', import.meta.url), 'utf8');
const program = 'proxmox-backup-manager';

/** What the reference has not: commands, and options of its commands. */
const additions = new Set(['remote test', 'version', 'task log --follow']);

/** Blocks of the list of all commands, by the command's words. */
const blocks = new Map(
  reference.split(/\n\n+/).map((block) => {
    const lines = block.split('\n').filter((line) => line !== '');
    const words = lines[0]!.slice(program.length + 1).split(' ');
    const end = words.findIndex((word) => /^[<[{-]/.test(word));
    return [words.slice(0, end < 0 ? words.length : end).join(' '), lines] as const;
  }),
);

/** The block that the list would have for `command`. */
function blockOf(command: Command): string[] {
  const name = command.words.join(' ');
  const properties = Object.keys(command.parameters.properties).filter((one) => !additions.has(`${name} --${one}`));
  const required = new Set((command.parameters as { required?: string[] }).required ?? []);
  const line = (label: string, one: string, gap: string): string => {
    const schema = parameterSchema(command, one);
    const byDefault = keywordsOf(schema).default;
    return `  ${label}${gap}${typeText(schema)}${byDefault === undefined ? '' : `   (default=${byDefault})`}`;
  };
  const options = properties.filter((one) => !command.positional.includes(one)).sort();
  const optional = options.filter((one) => !required.has(one));
  const usage = shortUsage(command, [program, ...command.words]);
  return [
    optional.length > 0 ? usage : usage.replace(' [OPTIONS]', ''),
    ...command.positional.map((one) => line(`<${one}>`, one, '  ')),
    ...options.filter((one) => required.has(one)).map((one) => line(`--${one}`, one, ' ')),
    ...(optional.length > 0 ? ['  [optional]', ...optional.map((one) => line(`--${one}`, one, ' '))] : []),
  ];
}

suite('commands have the options, types and defaults of the reference', () => {
  const commands = [...commandsBelow(managerTree('1', []))];
  assert.ok(commands.length >= 50);
  for (const command of commands) {
    const name = command.words.join(' ');
    if (additions.has(name)) continue;
    test(name, () => assert.deepEqual(blockOf(command), blocks.get(name)));
  }
});

test('additions do not take the place of a command of the reference', () => {
  for (const name of additions) assert.ok(!blocks.has(name), name);
});

test('positionals are required but for a last one', () => {
  for (const command of commandsBelow(managerTree('1', []))) {
    const required = new Set((command.parameters as { required?: string[] }).required ?? []);
    for (const [index, name] of command.positional.entries()) {
      const schema = parameterSchema(command, name);
      assert.ok(schema !== undefined, name);
      if (index < command.positional.length - 1) assert.ok(required.has(name) && keywordsOf(schema).type !== 'array', `${command.words.join(' ')} <${name}>`);
    }
  }
});
