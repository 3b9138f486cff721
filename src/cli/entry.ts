import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { isatty } from 'node:tty';
import { resolveInstallation } from '../config/home.ts';
import { demoCommand } from './demo-command.ts';
import { importCommand } from './import-command.ts';
import { errorText } from '../terminal/program.ts';
import { runManager } from './main.ts';
import type { ManagerIo } from './main.ts';
import { pxarCommands } from './pxar/commands.ts';
import { processPxarIo } from './pxar-entry.ts';
import { openLocalServer, serverCommand } from './server-command.ts';
import { outputSettings, packageVersion, pauseOrWake, processInterrupts, sinkTo } from './process-io.ts';

/** Runs the manager as this process: `process.argv`, environment, terminal. Sets the exit code. */
export async function startManager(): Promise<void> {
  // A reader that leaves (`| head`) is no reason for a stack trace.
  process.stdout.on('error', () => {
    process.exitCode = 101;
  });
  const { env, stdout, stderr } = process;
  const program = basename(process.argv[1] ?? 'farshore');
  try {
    const paths = resolveInstallation({ env, isRoot: process.getuid?.() === 0, homeDirectory: homedir() });
    const version = packageVersion();
    const environment = { installation: paths, version, env };
    const io: ManagerIo = {
      program,
      version,
      stdout: sinkTo(stdout),
      stderr: sinkTo(stderr),
      output: outputSettings(env, stdout.isTTY ? stdout.columns : undefined),
      drawsProgress: isatty(stderr.fd),
      interrupts: processInterrupts,
      pause: pauseOrWake,
      server: { socketPath: join(paths.run, 'farshore.sock'), openLocal: () => openLocalServer(environment, (text) => stderr.write(`${text}\n`)) },
      commands: [serverCommand(environment), demoCommand(environment), importCommand(paths), ...pxarCommands(processPxarIo, ['pxar'])],
      completion: { line: env['COMP_LINE'], point: env['COMP_POINT'] },
    };
    process.exitCode = await runManager(process.argv.slice(2), io);
  } catch (e) {
    stderr.write(errorText(e));
    process.exitCode = 1;
  }
}
