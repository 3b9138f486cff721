import { homedir, hostname } from 'node:os';
import { basename } from 'node:path';
import { isatty } from 'node:tty';
import { systemClock } from '../base/clock.ts';
import { runClient } from '../client/main.ts';
import { userFolders } from '../client/user-folders.ts';
import { errorText, exitFailure } from '../terminal/program.ts';
import { StreamLineInput } from '../terminal/line-input.ts';
import { TerminalPrompter } from '../terminal/terminal-prompter.ts';
import { ownBackground } from './own-background.ts';
import { bytesTo, outputSettings, packageVersion, pauseOrWake, programInterrupts, sinkTo } from './process-io.ts';

/** Runs the backup client as this process: `process.argv`, environment, terminal. Sets the exit code. */
export async function startClient(): Promise<void> {
  const { env, stdin, stdout, stderr } = process;
  // A reader that leaves (`| head`) is no reason for a stack trace.
  stdout.on('error', () => {
    process.exitCode ??= exitFailure;
  });
  const { background, stderr: log } = ownBackground(sinkTo(stderr));
  try {
    process.exitCode = await runClient(process.argv.slice(2), {
      program: basename(process.argv[1] ?? 'farshore-client'),
      version: packageVersion(),
      stdout: sinkTo(stdout),
      stdoutBytes: bytesTo(stdout),
      stderr: log,
      output: outputSettings(env, stdout.isTTY ? stdout.columns : undefined),
      drawsProgress: isatty(stderr.fd),
      interrupts: programInterrupts,
      pause: pauseOrWake,
      prompter: new TerminalPrompter(stdin, sinkTo(stderr)),
      background,
      lineInput: new StreamLineInput(stdin, stdout),
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
