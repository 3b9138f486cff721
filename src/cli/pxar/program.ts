import { commandTree, withExamples, type CommandNode } from '../../terminal/command.ts';
import { completionText } from '../../terminal/completion.ts';
import { helpCommand } from '../../terminal/help.ts';
import { completionCommand } from '../../terminal/shell-completion.ts';
import { runProgram, type ProgramContext } from '../../terminal/program.ts';
import { pxarExamples } from '../examples.ts';
import { pxarCommands, type PxarCommand } from './commands.ts';
import type { PxarIo } from './pxar-io.ts';

/** Everything that the program of its own touches. */
export interface PxarProgramIo extends PxarIo, ProgramContext {
  /** `COMP_LINE`, `COMP_POINT`. */
  completion: { line: string | undefined; point: string | undefined };
}

/** The command tree with `help` and `completion`; `io` is asked for when a command runs. */
export function pxarTree(io: () => PxarIo): CommandNode<PxarCommand> {
  const tree: CommandNode<PxarCommand> = commandTree<PxarCommand>([...withExamples(pxarCommands(io), pxarExamples), helpCommand(() => tree), completionCommand('farshore-pxar')]);
  return tree;
}

/** Runs `farshore-pxar` with the words after the program's name and resolves with the exit code (spec client-cli 1, 10). */
export async function runPxar(argv: readonly string[], io: PxarProgramIo): Promise<number> {
  const tree = pxarTree(() => io);
  if (argv[0] === 'bashcomplete') {
    io.stdout.write(await completionText(tree, io.completion.line, io.completion.point, null));
    return 0;
  }
  return runProgram(tree, argv, io);
}
