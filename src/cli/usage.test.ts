import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { recordedUsage, usageBlock } from '../../test/support/usage-blocks.ts';
import { managerTree } from './main.ts';
import { commandsBelow, parameterSchema } from '../terminal/command.ts';
import { keywordsOf } from '../terminal/schema-keywords.ts';

const program = 'proxmox-backup-manager';
const blocks = recordedUsage(program);

/** What the reference has not: commands, and options of its commands. */
const additions = new Set(['completion', 'sync-job run --dry-run', 'datastore remove --dry-run', 'audit list', 'audit verify', 'encryption-key list', 'encryption-key create', 'encryption-key archive', 'encryption-key remove', 'freshness list', 'freshness set', 'freshness check', 'freshness remove', 'remote test', 'sync-job plan', 'sync-job run --adopted-from', 'prune-job run --dry-run', 'garbage-collection start --dry-run', 'sync-job create --backfill', 'sync-job update --backfill', 'sync-job create --bandwidth', 'sync-job update --bandwidth', 'version', 'task log --follow']);

suite('commands have the options, types and defaults of the reference', () => {
  const commands = [...commandsBelow(managerTree('1', []))];
  assert.ok(commands.length >= 50);
  for (const command of commands) {
    const name = command.words.join(' ');
    if (additions.has(name)) continue;
    test(name, () => assert.deepEqual(usageBlock(program, command, (option) => additions.has(`${name} --${option}`)), blocks.get(name)));
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
