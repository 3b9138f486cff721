import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { mkdir, readFile, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { hostAddress, Peer, succeeded, type ClientTarget, type PeerNumbers } from '../test/support/peer.ts';
import { peakRssMiB, type ProcessFigures } from '../test/support/process-meter.ts';
import { nodeOptions } from './source-server.ts';

const ourProgram = fileURLToPath(new URL('../bin/farshore-client', import.meta.url));
const preload = ['--import', new URL('process-report.ts', import.meta.url).href];
/** Node's options for a program that reports to `BENCH_REPORT`. */
export const reportingNode = [...nodeOptions, ...preload];
const numbers: PeerNumbers = { prefix: 'bx', first: 150, last: 152 };
const limitMs = 3_600_000;
const lookEveryMs = 10;

/** What a command took. */
export interface CommandRun {
  seconds: number;
  figures: Partial<ProcessFigures>;
}

/** A program that backs up and restores. */
export interface BackupClientProgram extends AsyncDisposable {
  /** Address under which it reaches a server on this host. */
  readonly serverAddress: string;
  run(target: ClientTarget, argv: readonly string[]): Promise<CommandRun>;
}

/** Our client. Its files are in `folder`. */
export async function ourClient(folder: string): Promise<BackupClientProgram> {
  await mkdir(folder);
  const report = join(folder, 'report.json');
  return {
    serverAddress: '127.0.0.1',
    run: async (target, argv) => {
      const env = {
        ...process.env,
        HOME: folder,
        XDG_RUNTIME_DIR: folder,
        PBS_REPOSITORY: `${target.authId}@${target.host}:${target.port}:${target.store}`,
        PBS_PASSWORD: target.secret,
        PBS_FINGERPRINT: target.fingerprint,
        BENCH_REPORT: report,
      };
      const profiling = process.env['PROFILE'] === undefined ? [] : ['--cpu-prof', `--cpu-prof-dir=${process.env['PROFILE']}`];
      const startedMs = performance.now();
      const child = spawn(process.execPath, [...reportingNode, ...profiling, ourProgram, ...argv], { env, stdio: ['ignore', 'ignore', 'pipe'], timeout: limitMs, killSignal: 'SIGKILL' });
      let stderr = '';
      child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text));
      const [code] = (await once(child, 'close')) as [number | null];
      const seconds = (performance.now() - startedMs) / 1000;
      if (code !== 0) throw new Error(`farshore-client ${argv.join(' ')}: exit ${code}\n${stderr}`);
      return { seconds, figures: JSON.parse(await readFile(report, 'utf8')) as ProcessFigures };
    },
    [Symbol.asyncDispose]: () => rm(folder, { recursive: true, force: true }),
  };
}

/** The reference's client. */
export async function peerClient(): Promise<BackupClientProgram> {
  const peer = await Peer.start(numbers);
  return {
    serverAddress: hostAddress,
    run: async (target, argv) => {
      const ended = new AbortController();
      let watched: Promise<{ startedMs: number; mebibytes: number }> | undefined;
      const ran = await peer.tryClient(target, argv, { timeoutMs: limitMs, onSpawn: (pid) => void (watched = watch(pid, ended.signal)) });
      const endedMs = performance.now();
      ended.abort();
      succeeded(ran, `the reference's client ${argv.join(' ')}`);
      const { startedMs, mebibytes } = await watched!;
      return { seconds: (endedMs - startedMs) / 1000, figures: { peakRssMiB: mebibytes } };
    },
    [Symbol.asyncDispose]: () => peer[Symbol.asyncDispose](),
  };
}

/** When the client took the place of the shell that prepares it, and the most memory that it was seen to have. */
async function watch(pid: number, signal: AbortSignal): Promise<{ startedMs: number; mebibytes: number }> {
  const found = { startedMs: performance.now(), mebibytes: 0 };
  let isClient = false;
  while (!signal.aborted) {
    const wasClient = isClient;
    isClient = nameOf(pid).startsWith('proxmox-backup');
    if (isClient && !wasClient) found.startedMs = performance.now();
    const mebibytes = isClient ? memoryOf(pid) : NaN;
    if (mebibytes > found.mebibytes) found.mebibytes = mebibytes;
    await sleep(lookEveryMs);
  }
  return found;
}

function nameOf(pid: number): string {
  try {
    return readFileSync(`/proc/${pid}/comm`, 'utf8');
  } catch {
    return '';
  }
}

function memoryOf(pid: number): number {
  try {
    return peakRssMiB(pid);
  } catch {
    return NaN;
  }
}
