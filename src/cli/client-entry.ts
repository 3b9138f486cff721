import { homedir, hostname } from 'node:os';
import { basename } from 'node:path';
import { isatty } from 'node:tty';
import { systemClock } from '../base/clock.ts';
import { runClient } from '../client/main.ts';
import type { ByteOutput } from '../client/restore-target.ts';
import { userFolders } from '../client/user-folders.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';
import { errorText, exitFailure } from '../terminal/program.ts';
import { TerminalPrompter } from '../terminal/terminal-prompter.ts';
import { outputSettings, packageVersion, pauseOrWake, processInterrupts, sinkTo } from './process-io.ts';

/** What ends a client in the middle: it cleans up and fails. */
const interrupts: InterruptSource = {
  listen: (handler) => {
    const stopInterrupt = processInterrupts.listen(handler);
    process.on('SIGTERM', handler);
    process.on('SIGHUP', handler);
    return () => {
      stopInterrupt();
      process.off('SIGTERM', handler);
      process.off('SIGHUP', handler);
    };
  },
};

function bytesTo(stream: NodeJS.WriteStream): ByteOutput {
  return {
    write: (bytes) =>
      new Promise((resolve, reject) => {
        stream.write(bytes, (e) => (e === null || e === undefined ? resolve() : reject(e)));
      }),
  };
}

/** Runs the backup client as this process: `process.argv`, environment, terminal. Sets the exit code. */
export async function startClient(): Promise<void> {
  const { env, stdin, stdout, stderr } = process;
  // A reader that leaves (`| head`) is no reason for a stack trace.
  stdout.on('error', () => {
    process.exitCode ??= exitFailure;
  });
  try {
    process.exitCode = await runClient(process.argv.slice(2), {
      program: basename(process.argv[1] ?? 'farshore-client'),
      version: packageVersion(),
      stdout: sinkTo(stdout),
      stdoutBytes: bytesTo(stdout),
      stderr: sinkTo(stderr),
      output: outputSettings(env, stdout.isTTY ? stdout.columns : undefined),
      drawsProgress: isatty(stderr.fd),
      interrupts,
      pause: pauseOrWake,
      prompter: new TerminalPrompter(stdin, sinkTo(stderr)),
      variables: env,
      folders: userFolders(env, homedir()),
      clock: systemClock,
      hostName: hostname(),
      completion: { line: env['COMP_LINE'], point: env['COMP_POINT'] },
    });
  } catch (e) {
    stderr.write(errorText(e));
    process.exitCode = exitFailure;
  }
}
