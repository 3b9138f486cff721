import { registerValueFormats } from '../api/value-formats.ts';
import { commandTree, withExamples } from '../terminal/command.ts';
import { completionText } from '../terminal/completion.ts';
import { helpCommand } from '../terminal/help.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';
import type { OutputSettings, TextSink } from '../terminal/output.ts';
import { runProgram } from '../terminal/program.ts';
import { completionCommand } from '../terminal/shell-completion.ts';
import { FoundServer } from './api-connection.ts';
import type { ServerSearch } from './api-connection.ts';
import type { Command, CommandContext, CommandNode } from './command.ts';
import { aclCommands } from './commands/acl.ts';
import { auditCommands } from './commands/audit.ts';
import { datastoreCommands } from './commands/datastores.ts';
import { pruneJobCommands, syncJobCommands, verifyJobCommands } from './commands/jobs.ts';
import { nodeCommands, versionCommand } from './commands/node.ts';
import { notificationCommands } from './commands/notifications.ts';
import { realmConfigCommands } from './commands/realms.ts';
import { encryptionKeyCommands } from './commands/encryption-keys.ts';
import { freshnessCommands } from './commands/freshness.ts';
import { remoteCommands } from './commands/remotes.ts';
import { garbageCollectionCommands, taskCommands, transferCommands } from './commands/tasks.ts';
import { trafficControlCommands } from './commands/traffic-control.ts';
import { userCommands } from './commands/users.ts';
import { managerExamples } from './examples.ts';

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

/** The commands of the manager without those that `ManagerIo.commands` adds. */
export const managerCommands: readonly Command[] = [
  ...aclCommands,
  ...auditCommands,
  ...nodeCommands,
  ...realmConfigCommands,
  ...datastoreCommands,
  ...garbageCollectionCommands,
  ...pruneJobCommands,
  ...transferCommands,
  ...encryptionKeyCommands,
  ...freshnessCommands,
  ...notificationCommands,
  ...remoteCommands,
  ...syncJobCommands,
  ...taskCommands,
  ...trafficControlCommands,
  ...userCommands,
  ...verifyJobCommands,
];

/** The command tree with `help`, `completion` and `version`. */
export function managerTree(version: string, more: readonly Command[]): CommandNode {
  const tree: CommandNode = commandTree(withExamples([...managerCommands, helpCommand(() => tree), completionCommand('farshore'), versionCommand(version), ...more], managerExamples));
  return tree;
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
    const { program, stdout, stderr, output, drawsProgress, interrupts, pause } = io;
    return await runProgram(tree, argv, { api, stdout, stderr, output, drawsProgress, interrupts, pause, program });
  } finally {
    await api.close();
  }
}
