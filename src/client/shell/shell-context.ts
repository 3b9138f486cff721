import type { MatchPattern } from '../../pxar/match-pattern.ts';
import type { Command } from '../../terminal/command.ts';
import type { ProgramContext } from '../../terminal/program.ts';
import type { ShellPath, ShellTree } from './shell-tree.ts';

/** What a shell remembers between commands. */
export interface ShellState {
  readonly tree: ShellTree;
  directory: ShellPath;
  /** What is to be restored, by text of the pattern. */
  readonly selected: Map<string, MatchPattern>;
  hasEnded: boolean;
}

/** What a command of the shell may use. */
export interface ShellContext extends ProgramContext {
  readonly state: ShellState;
  /** Ends the command. */
  readonly signal: AbortSignal;
  /** Writes a line of bytes. */
  line(bytes: Uint8Array | string): Promise<void>;
  readonly timeZone: string | undefined;
}

/** Completion: of a path, or of nothing. */
export type ShellCommand = Command<ShellContext, null> & { completesPath?: 'entry' | 'directory' };
