import { Type } from 'typebox';
import { flag } from '../config/schemas.ts';
import { childNamed } from './command.ts';
import type { CommandNode, CommandShape, Parameters } from './command.ts';
import type { TextSink } from './output.ts';
import { fullUsage, groupUsage, shortUsage } from './usage.ts';

/** Text of `help` for `words`, or null and the words that name nothing (spec manager-cli 1.5). */
export function helpText(root: CommandNode, words: readonly string[], verbose: boolean | undefined): { text: string } | { unknown: string } {
  let node = root;
  for (const [index, word] of words.entries()) {
    const next = childNamed(node, word);
    if (next === null) return { unknown: words.slice(0, index + 1).join(' ') };
    node = next;
  }
  if (node.command !== null) {
    const usage = verbose === false ? shortUsage : fullUsage;
    return { text: `Usage: ${usage(node.command, node.words)}\n` };
  }
  return { text: `Usage:\n\n${groupUsage(node, node.words, verbose === true ? fullUsage : shortUsage)}\n` };
}

/** What `--help` at the end of a line says: all of a command with examples, or the commands of a group. `words` name the node, the program's name first. */
export function requestedHelp(node: CommandNode, words: readonly string[]): string {
  const { command } = node;
  if (command === null) return `Usage:\n\n${groupUsage(node, words)}\n`;
  const examples = command.examples ?? [];
  const shown = examples.map((example) => `  ${words[0] ?? ''} ${example}`.trimEnd());
  return `Usage: ${fullUsage(command, words)}\n${shown.length === 0 ? '' : `\nExamples:\n\n${shown.join('\n')}\n`}`;
}

/** A command that every program can have. */
export interface HelpCommand extends CommandShape {
  run(context: { stdout: TextSink; stderr: TextSink }, parameters: Parameters): Promise<void>;
}

/** The `help` command over the tree that `root` gives, itself in it. */
export function helpCommand(root: () => CommandNode): HelpCommand {
  return {
    words: ['help'],
    description: 'Get help about specified command (or sub-command).',
    parameters: Type.Object({
      command: Type.Optional(
        Type.Array(Type.String(), { description: 'Command. This may be a list in order to specify nested sub-commands.' }),
      ),
      verbose: Type.Optional(flag('Verbose help.')),
    }),
    positional: ['command'],
    run: async (context, given) => {
      const help = helpText(root(), (given['command'] as string[] | undefined) ?? [], given['verbose'] as boolean | undefined);
      if ('text' in help) context.stdout.write(help.text);
      else context.stderr.write(`no such command '${help.unknown}'\n`);
    },
  };
}
