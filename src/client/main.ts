import { commandTree, withExamples, type CommandNode } from '../terminal/command.ts';
import { completionText } from '../terminal/completion.ts';
import { helpCommand } from '../terminal/help.ts';
import { runProgram } from '../terminal/program.ts';
import { completionCommand } from '../terminal/shell-completion.ts';
import type { ClientCommand, ClientContext } from './client-context.ts';
import { withCompletions } from './completions.ts';
import { clientExamples } from './examples.ts';
import { backupCommands } from './commands/backup.ts';
import { benchmarkCommands } from './commands/benchmark.ts';
import { catalogCommands } from './commands/catalog.ts';
import { diffCommands } from './commands/diff.ts';
import { groupCommands } from './commands/groups.ts';
import { keyCommands } from './commands/keys.ts';
import { loginCommands } from './commands/login.ts';
import { mountCommands } from './commands/mount.ts';
import { moveCommands } from './commands/moves.ts';
import { namespaceCommands } from './commands/namespaces.ts';
import { restoreCommands } from './commands/restore.ts';
import { serverCommands } from './commands/server.ts';
import { snapshotCareCommands } from './commands/snapshot-care.ts';
import { snapshotAliases, snapshotCommands } from './commands/snapshots.ts';
import { taskCommands } from './commands/tasks.ts';

/** Everything that the client touches outside itself. */
export interface ClientIo extends ClientContext {
  /** `COMP_LINE`, `COMP_POINT`. */
  completion: { line: string | undefined; point: string | undefined };
}

export const clientCommands: readonly ClientCommand[] = [
  ...backupCommands,
  ...benchmarkCommands,
  ...catalogCommands,
  ...diffCommands,
  ...groupCommands,
  ...keyCommands,
  ...loginCommands,
  ...mountCommands,
  ...moveCommands,
  ...namespaceCommands,
  ...restoreCommands,
  ...serverCommands,
  ...snapshotCareCommands,
  ...snapshotCommands,
  ...taskCommands,
];

/** The command tree with `help` and `completion`. */
export function clientTree(): CommandNode<ClientCommand> {
  const tree: CommandNode<ClientCommand> = commandTree<ClientCommand>([...withExamples(clientCommands.map(withCompletions), clientExamples), helpCommand(() => tree), completionCommand('farshore-client')]);
  return tree;
}

/** Runs the backup client with the words after the program's name and resolves with the exit code (spec client-cli 1). */
export async function runClient(argv: readonly string[], io: ClientIo): Promise<number> {
  const tree = clientTree();
  if (argv[0] === 'bashcomplete') {
    io.stdout.write(await completionText(tree, io.completion.line, io.completion.point, io));
    return 0;
  }
  const alias = snapshotAliases.get(argv[0] ?? '');
  return runProgram(tree, alias === undefined ? argv : [...alias, ...argv.slice(1)], io);
}
