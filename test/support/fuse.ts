import { spawn } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** What mounts need of a machine. */

const program = fileURLToPath(new URL('../../bin/farshore-client', import.meta.url));
const recorder = fileURLToPath(new URL('record-tree-process.ts', import.meta.url));
const administer = 1n << 21n;

/** Why nothing can be mounted here; false when it can. For the `skip` of tests. */
export function fuseMissing(): string | false {
  if (process.geteuid?.() !== 0) return 'mounting needs root';
  if (!existsSync('/dev/fuse')) return 'there is no /dev/fuse here';
  const capabilities = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0';
  if ((BigInt(`0x${capabilities}`) & administer) === 0n) return 'mounting needs CAP_SYS_ADMIN';
  return /\tfuse$/m.test(readFileSync('/proc/filesystems', 'utf8')) ? false : 'the kernel has no FUSE';
}

/** Why no image can be mapped here; false when one can. */
export function loopMissing(): string | false {
  const missing = fuseMissing();
  if (missing !== false) return missing;
  return existsSync('/dev/loop-control') && existsSync('/dev/loop0') ? false : 'there are no loop devices here';
}

/** What a process wrote, and how it ended. */
export interface ProcessRun {
  stdout: string;
  stderr: string;
  code: number | null;
}

export interface RunningProcess {
  pid: number;
  kill(signal: NodeJS.Signals): void;
  /** What it has written to stderr so far. */
  stderr(): string;
  ended: Promise<ProcessRun>;
}

/** Starts a program; this process goes on meanwhile, since what is mounted asks a server in it. */
export function startProcess(command: string, argv: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number } = {}): RunningProcess {
  const child = spawn(command, argv, { ...options, stdio: ['ignore', 'pipe', 'pipe'] });
  const out = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (text: string) => (out[name] += text));
  return {
    pid: child.pid ?? 0,
    kill: (signal) => void child.kill(signal),
    stderr: () => out.stderr,
    ended: new Promise((resolve, reject) => {
      child.on('error', reject);
      child.on('close', (code) => resolve({ ...out, code }));
    }),
  };
}

export async function runProcess(command: string, argv: readonly string[], options: { env?: NodeJS.ProcessEnv; cwd?: string; uid?: number } = {}): Promise<ProcessRun> {
  return startProcess(command, argv, options).ended;
}

/** `farshore-client` as a process of its own. */
export function startClientProcess(argv: readonly string[], env: NodeJS.ProcessEnv, options: { cwd?: string; uid?: number } = {}): RunningProcess {
  return startProcess(process.execPath, [program, ...argv], { ...options, env });
}

/** An entry of a tree as `recordTree` has it, with the number of its inode. */
export type MountedEntry = Record<string, unknown> & { path: string; ino: string };

/** The tree at `path`, read by a process of its own. */
export async function recordElsewhere(path: string): Promise<MountedEntry[]> {
  const { stdout, stderr, code } = await runProcess(process.execPath, ['--disable-warning=ExperimentalWarning', recorder, path]);
  if (code !== 0) throw new Error(`reading ${path}: ${stderr}`);
  return JSON.parse(stdout) as MountedEntry[];
}

/** Two trees in a form that is equal when they are: hard links are names with one inode. */
export function comparableTree(entries: readonly MountedEntry[]): Array<Record<string, unknown>> {
  const first = new Map<string, string>();
  const names = new Map<string, number>();
  for (const { ino } of entries) names.set(ino, (names.get(ino) ?? 0) + 1);
  return entries.map(({ ino, linkedWith: _linkedWith, ...entry }) => {
    if (!first.has(ino)) first.set(ino, entry.path);
    return names.get(ino) === 1 ? entry : { ...entry, sameAs: first.get(ino) };
  });
}

/** Whether something is mounted at `path`. */
export function isMounted(path: string): boolean {
  return readFileSync('/proc/self/mounts', 'utf8')
    .split('\n')
    .some((line) => line.split(' ')[1] === path);
}

/** Waits for a condition, not for a time. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  for (const end = Date.now() + 30_000; !condition(); ) {
    if (Date.now() > end) throw new Error(`waited in vain: ${what}`);
    await new Promise((resolve) => void setTimeout(resolve, 20));
  }
}
