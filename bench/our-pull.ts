import { execFile } from 'node:child_process';
import { mkdir, rm } from 'node:fs/promises';
import { promisify } from 'node:util';
import { fileURLToPath } from 'node:url';
import type { PullProcessOptions, PullProcessResult } from '../test/support/pull-process.ts';
import type { Contestant } from './contestant.ts';
import { makeDatastore, targetPath } from './made-source.ts';
import { nodeOptions, type PullSource } from './source-server.ts';

const program = fileURLToPath(new URL('../test/support/pull-process.ts', import.meta.url));
/** The reference's way over the line (spec sync 4.4): one connection, twenty chunks in flight, one snapshot after another. */
export const oneConnection = { fixedChunks: 20, maxLanes: 1, parallelSnapshots: 1 } as const;

export async function runPullProcess(options: PullProcessOptions, limits: { timeout?: number; signal?: AbortSignal } = {}): Promise<PullProcessResult> {
  const profiling = process.env['PROFILE'] === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env['PROFILE']}`];
  const argv = [...nodeOptions, ...profiling, program, JSON.stringify(options)];
  const { stdout } = await promisify(execFile)(process.execPath, argv, { maxBuffer: 2 ** 26, killSignal: 'SIGKILL', ...limits });
  return JSON.parse(stdout) as PullProcessResult;
}

/** Our engine in a process of its own; `way` changes how it goes over the line. */
export async function openOurs(source: PullSource, folder: string, way: Pick<PullProcessOptions, 'fixedChunks' | 'maxLanes' | 'parallelSnapshots'> = {}): Promise<Contestant> {
  await mkdir(folder);
  await makeDatastore(targetPath(folder));
  return {
    servicePort: source.port,
    target: targetPath(folder),
    pull: async (port, limitMs, signal) => {
      const startedMs = performance.now();
      try {
        const { seconds, ...figures } = await runPullProcess({ folder, port, fingerprint: source.fingerprint, secret: source.secret, tuning: {}, ...way }, { timeout: limitMs, signal });
        return { seconds, finished: true, figures };
      } catch (e) {
        if (signal.aborted || (e as { killed?: boolean }).killed !== true) throw e;
        return { seconds: (performance.now() - startedMs) / 1000, finished: false, figures: {} };
      }
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}
