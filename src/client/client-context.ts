import type { Clock } from '../base/clock.ts';
import type { Background } from '../terminal/background.ts';
import type { LineInput } from '../terminal/line-input.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';
import type { OutputSettings, TextSink } from '../terminal/output.ts';
import type { Prompter } from '../terminal/prompter.ts';
import type * as terminal from '../terminal/command.ts';
import type { Variables } from './environment.ts';
import type { ByteOutput } from './restore-target.ts';
import type { UserFolders } from './user-folders.ts';

/** What a running command of the client may use. */
export interface ClientContext {
  /** Name in usage texts: base name of the command as called. */
  readonly program: string;
  /** Of this program. */
  readonly version: string;
  readonly stdout: TextSink;
  /** The same stream for bytes, with back pressure. */
  readonly stdoutBytes: ByteOutput;
  /** Log lines, questions and progress. */
  readonly stderr: TextSink;
  readonly output: OutputSettings;
  /** True when stderr is a terminal: progress may be drawn there. */
  readonly drawsProgress: boolean;
  readonly interrupts: InterruptSource;
  /** Waits between two polls of a followed task; an abort of `signal` ends the waiting early. */
  readonly pause: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
  readonly prompter: Prompter;
  readonly background: Background;
  /** For commands of a shell. */
  readonly lineInput: LineInput;
  readonly variables: Variables;
  readonly folders: UserFolders;
  readonly clock: Clock;
  /** Of this host, as backups say who made them. */
  readonly hostName: string;
  /** PEM certificates trusted beside the system's. */
  readonly trusted?: readonly string[] | undefined;
}

/** A command of the client. Completions of values are asked with its own context. */
export type ClientCommand = terminal.Command<ClientContext, ClientContext>;
