import { FarshoreError, toError } from '../base/errors.ts';
import { ParameterError } from '../protocol/parameters.ts';
import { SurplusArguments, parseArguments } from './command-line.ts';
import { childNamed, resolveCommand } from './command.ts';
import type { Command, CommandNode, CommandShape, Parameters } from './command.ts';
import { UnknownFormat } from './output.ts';
import type { TextSink } from './output.ts';
import { requestedHelp } from './help.ts';
import { groupUsage, longUsage } from './usage.ts';

/** Every failure, usage errors included (spec manager-cli 1.6, client-cli 1.2). */
export const exitFailure = 255;
/** An output format that there is not, seen after the request was made (spec manager-cli 1.6). */
const exitUnknownFormat = 101;

/** `Error: message`, its causes and its hint (spec manager-cli 1.6). `label`: what stands before the message. */
export function errorText(thrown: unknown, label = 'Error'): string {
  const error = toError(thrown);
  const causes: string[] = [];
  for (let at = error.cause; at !== undefined && at !== null && causes.length < 20; at = at instanceof Error ? at.cause : undefined) causes.push(toError(at).message);
  const lines = [`${label}: ${error.message}`];
  if (causes.length === 1) lines.push('', 'Caused by:', `    ${causes[0]}`);
  else if (causes.length > 1) lines.push('', 'Caused by:', ...causes.map((cause, number) => `${String(number).padStart(5)}: ${cause}`));
  if (error instanceof FarshoreError && error.hint !== undefined) lines.push('', `Hint: ${error.hint}`);
  return `${lines.join('\n')}\n`;
}

/** What every program has. */
export interface ProgramContext {
  /** Name in usage texts: base name of the command as called; empty for a shell's own commands. */
  readonly program: string;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
}

async function runCommand<Context extends ProgramContext, Source>(command: Command<Context, Source>, typed: readonly string[], rest: readonly string[], context: Context): Promise<number> {
  const { program, stderr } = context;
  let parameters: Parameters;
  try {
    parameters = parseArguments(command, rest);
  } catch (e) {
    if (!(e instanceof ParameterError || e instanceof SurplusArguments)) throw e;
    stderr.write(`Error: ${e.message}\nUsage: ${longUsage(command, [program, ...typed])}\n`);
    return exitFailure;
  }
  try {
    return (await command.run(context, parameters)) ?? 0;
  } catch (e) {
    if (e instanceof UnknownFormat) {
      stderr.write(`${e.message}\n`);
      return exitUnknownFormat;
    }
    stderr.write(errorText(e));
    return exitFailure;
  }
}

/** The words before `--help`, where that asks for help: not behind `--`, and not in the place of another program's words. */
function wordsBeforeHelp(argv: readonly string[]): readonly string[] | null {
  const end = argv.indexOf('--');
  const at = argv.indexOf('--help');
  return at < 0 || (end >= 0 && end < at) ? null : argv.slice(0, at);
}

/** The node that the first of `words` name, as far as they do. */
function helpedNode<C extends CommandShape>(tree: CommandNode<C>, words: readonly string[]): CommandNode<C> {
  let node = tree;
  for (const word of words) {
    const next = node.command === null ? childNamed(node, word) : null;
    if (next === null) break;
    node = next;
  }
  return node;
}

/** Runs the command that `argv` names, or says on stderr why not; resolves with the exit code (spec manager-cli 1, client-cli 1). */
export async function runProgram<Context extends ProgramContext, Source>(tree: CommandNode<Command<Context, Source>>, argv: readonly string[], context: Context): Promise<number> {
  const helped = wordsBeforeHelp(argv);
  if (helped !== null) {
    const node = helpedNode(tree, helped);
    context.stdout.write(requestedHelp(node, context.program === '' ? node.words : [context.program, ...node.words]));
    return 0;
  }
  const found = resolveCommand(tree, argv);
  if (found.kind === 'command') return runCommand(found.command, found.typed, found.rest, context);
  const usage = `Usage:\n\n${groupUsage(found.group, context.program === '' ? found.typed : [context.program, ...found.typed])}\n`;
  const problem =
    found.kind === 'unknown'
      ? `Error: no such command '${found.word}'\n`
      : `Error: no command specified.\nPossible commands: ${[...found.group.children.keys()].join(', ')}\n`;
  context.stderr.write(`${problem}\n${usage}`);
  return exitFailure;
}
