import type * as terminal from '../terminal/command.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';
import type { OutputSettings, TextSink } from '../terminal/output.ts';
import type { ApiConnection } from './api-connection.ts';

/** What a running command may use. */
export interface CommandContext {
  /** Connects at the first call. */
  readonly api: ApiConnection;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly output: OutputSettings;
  /** True when stderr is a terminal: progress may be drawn there. */
  readonly drawsProgress: boolean;
  readonly interrupts: InterruptSource;
  /** Waits between two polls of a followed task; an abort of `signal` ends the waiting early. */
  readonly pause: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  /** Words that call this program in texts for people, e.g. `farshore`. */
  readonly program: string;
}

/** A command of the manager. */
export type Command = terminal.Command<CommandContext, ApiConnection>;
export type CommandNode = terminal.CommandNode<Command>;
/** Candidates for a value, asked of the API. */
export type Completion = terminal.Completion<ApiConnection>;
