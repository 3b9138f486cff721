import { spawn, type ChildProcess } from 'node:child_process';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { FarshoreError } from '../../base/errors.ts';
import { pause } from '../../base/async.ts';

const root = dirname(dirname(dirname(dirname(fileURLToPath(import.meta.url)))));
/** Files that come with the package, for the demo's data. */
export const fixturesFolder = join(root, 'test', 'fixtures');

export interface CommandResult {
  exitCode: number;
  stdout: string;
  stderr: string;
}

export interface HostOutput {
  /** A line for the reader: the command as a person would type it, and what it prints. */
  line(text: string): void;
  /** Text that overwrites itself (a progress line), or null where there is no terminal. */
  progress: ((text: string) => void) | null;
}

const readyPattern = /ready: https:\/\/(?:\[[^\]]+\]|[^:]+):(\d+) fingerprint ([0-9a-f:]+)/;
const startLimitMs = 30_000;

/**
 * One of the demo's two hosts: a folder with an installation of its own, a server process, and the commands that a person would type
 * there. Everything runs as separate processes of the real programs.
 */
export class DemoHost {
  readonly name: string;
  readonly folder: string;
  readonly #output: HostOutput;
  #server: ChildProcess | null = null;
  port = 0;
  fingerprint = '';

  constructor(name: string, folder: string, output: HostOutput) {
    this.name = name;
    this.folder = folder;
    this.#output = output;
  }

  /** Starts `farshore server` on a free port and waits until it says that it is ready. */
  async start(): Promise<void> {
    const child = spawn(process.execPath, [join(root, 'bin', 'farshore'), 'server', '--listen', '127.0.0.1:0'], { env: this.#environment({}), stdio: ['ignore', 'ignore', 'pipe'] });
    this.#server = child;
    const lines: string[] = [];
    const ready = Promise.withResolvers<void>();
    createInterface({ input: child.stderr }).on('line', (line) => {
      lines.push(line);
      const match = readyPattern.exec(line);
      if (match === null) return;
      this.port = Number(match[1]);
      this.fingerprint = match[2]!;
      ready.resolve();
    });
    child.once('exit', (code, signal) => ready.reject(new FarshoreError('demo.server', `the server of ${this.name} ended (${signal ?? String(code)}): ${lines.join('; ')}`)));
    const timer = setTimeout(() => ready.reject(new FarshoreError('demo.server', `the server of ${this.name} was not ready in time`)), startLimitMs);
    try {
      await ready.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the server: `SIGTERM` as a person would, `SIGKILL` as a power cut would. */
  async stop(signal: 'SIGTERM' | 'SIGKILL'): Promise<void> {
    const child = this.#server;
    this.#server = null;
    if (child === null || child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((resolve) => child.once('exit', resolve));
    child.kill(signal);
    await gone;
  }

  /** Runs a command of the manager, shown to the reader with what it printed. Throws when it fails, unless `mayFail`. */
  async farshore(words: readonly string[], options: { show?: 'all' | 'command' | 'nothing'; mayFail?: boolean; onLine?: (line: string) => void } = {}): Promise<CommandResult> {
    return this.#run('farshore', words, {}, options);
  }

  async client(words: readonly string[], environment: Record<string, string>, options: { show?: 'all' | 'command' | 'nothing'; mayFail?: boolean } = {}): Promise<CommandResult> {
    return this.#run('farshore-client', words, environment, options);
  }

  async #run(
    program: string,
    words: readonly string[],
    environment: Record<string, string>,
    { show = 'all', mayFail = false, onLine }: { show?: 'all' | 'command' | 'nothing'; mayFail?: boolean; onLine?: (line: string) => void },
  ): Promise<CommandResult> {
    if (show !== 'nothing') this.#output.line(`${this.name}$ ${program} ${words.map(shown).join(' ')}`);
    const child = spawn(process.execPath, [join(root, 'bin', program), ...words], { env: this.#environment(environment), stdio: ['ignore', 'pipe', 'pipe'] });
    const gather = async (stream: NodeJS.ReadableStream): Promise<string> => {
      const lines: string[] = [];
      for await (const line of createInterface({ input: stream })) {
        lines.push(line);
        onLine?.(line);
        if (show === 'all') this.#output.line(`  ${line}`);
      }
      return lines.join('\n');
    };
    const exited = new Promise<number>((resolve) => child.once('exit', (code) => resolve(code ?? 255)));
    const [stdout, stderr, exitCode] = await Promise.all([gather(child.stdout), gather(child.stderr), exited]);
    if (exitCode !== 0 && !mayFail) throw new FarshoreError('demo.command', `${program} ${words.join(' ')} failed on ${this.name}: ${stderr === '' ? stdout : stderr}`);
    return { exitCode, stdout, stderr };
  }

  #environment(more: Record<string, string>): NodeJS.ProcessEnv {
    return { ...process.env, LC_ALL: 'C.UTF-8', FARSHORE_HOME: this.folder, HOME: this.folder, XDG_CONFIG_HOME: join(this.folder, 'config'), XDG_RUNTIME_DIR: join(this.folder, 'run'), ...more };
  }
}

/** A word as a person would have to quote it; secrets are not shown. */
function shown(word: string): string {
  if (/^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/.test(word)) return "'TOKEN-SECRET'";
  return /^[A-Za-z0-9_.,:/@=+%-]+$/.test(word) ? word : `'${word}'`;
}

/** Waits for `condition`, asking every 50 ms. */
export async function waitUntil(condition: () => boolean, limitMs: number): Promise<boolean> {
  const end = performance.now() + limitMs;
  while (!condition()) {
    if (performance.now() > end) return false;
    await pause(50);
  }
  return true;
}
