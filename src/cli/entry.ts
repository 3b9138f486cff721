import { readFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { basename, join } from 'node:path';
import { isatty } from 'node:tty';
import { pause } from '../base/async.ts';
import { AbortedError } from '../base/errors.ts';
import { resolveInstallation } from '../config/home.ts';
import type { InterruptSource } from '../terminal/interrupts.ts';
import { demoCommand } from './demo-command.ts';
import { errorText } from '../terminal/program.ts';
import { runManager } from './main.ts';
import type { ManagerIo } from './main.ts';
import { openLocalServer, serverCommand } from './server-command.ts';
import type { OutputSettings, TextSink } from '../terminal/output.ts';

type Environment = Readonly<Record<string, string | undefined>>;

/** True when the locale's charset is UTF-8; with no locale at all it is not (spec manager-cli 2.3). */
export function isUtf8Locale(env: Environment): boolean {
  const locale = [env['LC_ALL'], env['LC_CTYPE'], env['LANG']].find((value) => value !== undefined && value !== '') ?? 'C';
  return /\.utf-?8(@|$)/i.test(locale);
}

/** Output settings from the environment. `columns`: width of the terminal, undefined when stdout is none. */
export function outputSettings(env: Environment, columns: number | undefined): OutputSettings {
  return {
    defaultFormat: env['PROXMOX_OUTPUT_FORMAT'],
    border: env['PROXMOX_OUTPUT_NO_BORDER'] === undefined,
    header: env['PROXMOX_OUTPUT_NO_HEADER'] === undefined,
    unicode: isUtf8Locale(env),
    width: columns,
    timeZone: undefined,
  };
}

/** SIGINT; the default behaviour is back when nobody listens. */
const processInterrupts: InterruptSource = {
  listen: (handler) => {
    process.on('SIGINT', handler);
    return () => process.off('SIGINT', handler);
  },
};

async function pauseOrWake(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await pause(milliseconds, signal);
  } catch (e) {
    if (!(e instanceof AbortedError)) throw e;
  }
}

function sinkTo(stream: NodeJS.WriteStream): TextSink {
  return {
    write: (text) => {
      stream.write(text);
    },
  };
}

/** Version of this package. */
function packageVersion(): string {
  const manifest = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as { version: string };
  return manifest.version;
}

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
      commands: [serverCommand(environment), demoCommand(environment)],
      completion: { line: env['COMP_LINE'], point: env['COMP_POINT'] },
    };
    process.exitCode = await runManager(process.argv.slice(2), io);
  } catch (e) {
    stderr.write(errorText(e));
    process.exitCode = 1;
  }
}
