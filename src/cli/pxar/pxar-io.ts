import type { ByteOutput } from '../../client/restore-target.ts';
import type { InterruptSource } from '../../terminal/interrupts.ts';
import type { LogLevel } from '../../terminal/log-level.ts';
import type { TextSink } from '../../terminal/output.ts';

/** What `pxar` touches outside itself. */
export interface PxarIo {
  readonly stdin: AsyncIterable<Uint8Array>;
  readonly stdout: TextSink;
  /** The same stream for bytes, with back pressure. */
  readonly stdoutBytes: ByteOutput;
  readonly stderr: TextSink;
  readonly interrupts: InterruptSource;
  /** Folders with programs, for `mount`: `PATH`. */
  readonly searchPath: string;
  /** Of `PXAR_LOG`. */
  readonly logLevel: LogLevel;
}

/** Name that stands for standard input or output. */
export const standardStream = '-';
