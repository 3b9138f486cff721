import { basename } from 'node:path';
import { logLevelOf } from '../terminal/log-level.ts';
import { errorText, exitFailure } from '../terminal/program.ts';
import { bytesTo, programInterrupts, sinkTo } from './process-io.ts';
import type { PxarIo } from './pxar/pxar-io.ts';
import { runPxar } from './pxar/program.ts';

/** `pxar` on this process's streams. */
export function processPxarIo(): PxarIo {
  const { env, stdin, stdout, stderr } = process;
  return { stdin, stdout: sinkTo(stdout), stdoutBytes: bytesTo(stdout), stderr: sinkTo(stderr), interrupts: programInterrupts, searchPath: env['PATH'] ?? '', logLevel: logLevelOf('PXAR_LOG', env['PXAR_LOG'], sinkTo(stderr)) };
}

/** Runs `farshore-pxar` as this process: `process.argv`, environment, streams. Sets the exit code. */
export async function startPxar(): Promise<void> {
  const { env, stdout, stderr } = process;
  // A reader that leaves (`| head`) is no reason for a stack trace.
  stdout.on('error', () => {
    process.exitCode ??= exitFailure;
  });
  try {
    const program = basename(process.argv[1] ?? 'farshore-pxar');
    process.exitCode = await runPxar(process.argv.slice(2), { ...processPxarIo(), program, completion: { line: env['COMP_LINE'], point: env['COMP_POINT'] } });
  } catch (e) {
    stderr.write(errorText(e));
    process.exitCode = exitFailure;
  }
}
