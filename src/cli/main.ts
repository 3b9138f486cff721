import { registerValueFormats } from '../api/value-formats.ts';
import { FarshoreError, toError } from '../base/errors.ts';
import { ParameterError } from '../protocol/parameters.ts';
import { FoundServer } from './api-connection.ts';
import type { ServerSearch } from './api-connection.ts';
import { commandTree, resolveCommand } from './command.ts';
import type { Command, CommandContext, CommandNode, InterruptSource, Parameters } from './command.ts';
import { SurplusArguments, parseArguments } from './command-line.ts';

import { aclCommands } from './commands/acl.ts';
import { datastoreCommands } from './commands/datastores.ts';
import { pruneJobCommands, syncJobCommands, verifyJobCommands } from './commands/jobs.ts';
import { nodeCommands, versionCommand } from './commands/node.ts';
import { remoteCommands } from './commands/remotes.ts';
import { garbageCollectionCommands, taskCommands, transferCommands } from './commands/tasks.ts';
import { userCommands } from './commands/users.ts';
import { completionText } from './completion.ts';
import { helpCommand } from './help.ts';
import { UnknownFormat } from './output.ts';
import type { OutputSettings, TextSink } from './output.ts';
import { groupUsage, longUsage } from './usage.ts';

/** Everything that the manager touches outside itself. */
export interface ManagerIo {
  /** Name in usage texts: base name of the command as called. */
  program: string;
  version: string;
  stdout: TextSink;
  stderr: TextSink;
  output: OutputSettings;
  drawsProgress: boolean;
  interrupts: InterruptSource;
  pause: CommandContext['pause'];
  server: ServerSearch;
  /** Commands that others add, e.g. `server`, `demo`. */
  commands: readonly Command[];
  /** `COMP_LINE`, `COMP_POINT`. */
  completion: { line: string | undefined; point: string | undefined };
}

const exitFailure = 255;
/** An output format that there is not, seen after the request was made (spec manager-cli 1.6). */
const exitUnknownFormat = 101;

/** The commands of the manager without those that `ManagerIo.commands` adds. */
export const managerCommands: readonly Command[] = [
  ...aclCommands,
  ...nodeCommands,
  ...datastoreCommands,
  ...garbageCollectionCommands,
  ...pruneJobCommands,
  ...transferCommands,
  ...remoteCommands,
  ...syncJobCommands,
  ...taskCommands,
  ...userCommands,
  ...verifyJobCommands,
];

/** The command tree with `help` and `version`. */
export function managerTree(version: string, more: readonly Command[]): CommandNode {
  const tree: CommandNode = commandTree([...managerCommands, helpCommand(() => tree), versionCommand(version), ...more]);
  return tree;
}

/** `Error: message`, its causes and its hint (spec manager-cli 1.6). */
export function errorText(thrown: unknown): string {
  const error = toError(thrown);
  const causes: string[] = [];
  for (let at = error.cause; at !== undefined && at !== null && causes.length < 20; at = at instanceof Error ? at.cause : undefined) causes.push(toError(at).message);
  const lines = [`Error: ${error.message}`];
  if (causes.length === 1) lines.push('', 'Caused by:', `    ${causes[0]}`);
  else if (causes.length > 1) lines.push('', 'Caused by:', ...causes.map((cause, number) => `${String(number).padStart(5)}: ${cause}`));
  if (error instanceof FarshoreError && error.hint !== undefined) lines.push('', `Hint: ${error.hint}`);
  return `${lines.join('\n')}\n`;
}

async function runCommand(command: Command, typed: readonly string[], rest: readonly string[], io: ManagerIo, api: FoundServer): Promise<number> {
  const { program, stdout, stderr, output, drawsProgress, interrupts, pause } = io;
  let parameters: Parameters;
  try {
    parameters = parseArguments(command, rest);
  } catch (e) {
    if (!(e instanceof ParameterError || e instanceof SurplusArguments)) throw e;
    stderr.write(`Error: ${e.message}\nUsage: ${longUsage(command, [program, ...typed])}\n`);
    return exitFailure;
  }
  try {
    return (await command.run({ api, stdout, stderr, output, drawsProgress, interrupts, pause, program }, parameters)) ?? 0;
  } catch (e) {
    if (e instanceof UnknownFormat) {
      stderr.write(`${e.message}\n`);
      return exitUnknownFormat;
    }
    stderr.write(errorText(e));
    return exitFailure;
  }
}

/** Runs the manager with the words after the program's name and resolves with the exit code (spec manager-cli 1). */
export async function runManager(argv: readonly string[], io: ManagerIo): Promise<number> {
  registerValueFormats();
  const tree = managerTree(io.version, io.commands);
  const api = new FoundServer(io.server);
  try {
    if (argv[0] === 'bashcomplete') {
      io.stdout.write(await completionText(tree, io.completion.line, io.completion.point, api));
      return 0;
    }
    const found = resolveCommand(tree, argv);
    if (found.kind === 'command') return await runCommand(found.command, found.typed, found.rest, io, api);
    const usage = `Usage:\n\n${groupUsage(found.group, [io.program, ...found.typed])}\n`;
    const problem =
      found.kind === 'unknown'
        ? `Error: no such command '${found.word}'\n`
        : `Error: no command specified.\nPossible commands: ${[...found.group.children.keys()].join(', ')}\n`;
    io.stderr.write(`${problem}\n${usage}`);
    return exitFailure;
  } finally {
    await api.close();
  }
}
