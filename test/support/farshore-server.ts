import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir } from 'node:fs/promises';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { runProgram, succeeded, type ClientTarget, type Ran, type RunOptions } from './peer.ts';

const program = fileURLToPath(new URL('../../bin/farshore', import.meta.url));
const readyWithinMs = 30_000;

/** `farshore server` as a process of its own, over an installation in the folder `home`. */
export class FarshoreServer implements AsyncDisposable {
  readonly home: string;
  readonly port: number;
  readonly fingerprint: string;
  /** What it writes to stderr. */
  readonly log: readonly string[];
  readonly #process: ChildProcess;
  #stopped = false;

  private constructor(home: string, ready: { port: number; fingerprint: string }, log: readonly string[], child: ChildProcess) {
    this.home = home;
    this.port = ready.port;
    this.fingerprint = ready.fingerprint;
    this.log = log;
    this.#process = child;
  }

  /** Listens on a free port of every address; `home` is made when it is missing. `node`: this Node with these options runs it. */
  static async start(home: string, { node, env }: { node?: readonly string[]; env?: Readonly<Record<string, string>> } = {}): Promise<FarshoreServer> {
    await mkdir(home, { recursive: true });
    const [command, words] = node === undefined ? [program, []] : [process.execPath, [...node, program]];
    const child = spawn(command, [...words, 'server', '--listen', '0.0.0.0:0'], { env: { ...process.env, ...env, FARSHORE_HOME: home }, stdio: ['ignore', 'inherit', 'pipe'] });
    const log: string[] = [];
    const ready = Promise.withResolvers<{ port: number; fingerprint: string }>();
    createInterface({ input: child.stderr }).on('line', (line) => {
      log.push(line);
      const match = / ready: https:\/\/\S+:(\d+) fingerprint (\S+)/.exec(line);
      if (match !== null) ready.resolve({ port: Number(match[1]), fingerprint: match[2]! });
    });
    const failed = (what: string): void => ready.reject(new Error(`farshore server ${what}\n${log.join('\n')}`));
    child.once('error', (e) => failed(e.message));
    child.once('exit', (code, signal) => failed(`ended with ${code ?? signal}`));
    const timer = setTimeout(() => failed('was not ready in time'), readyWithinMs);
    try {
      return new FarshoreServer(home, await ready.promise, log, child);
    } catch (e) {
      child.kill('SIGKILL');
      throw e;
    } finally {
      clearTimeout(timer);
    }
  }

  get pid(): number {
    return this.#process.pid!;
  }

  /** The manager, however it ends. */
  tryManager(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return runProgram(program, argv, { ...options, env: { LC_ALL: 'C.UTF-8', TZ: 'UTC', ...options.env, FARSHORE_HOME: this.home } });
  }

  /** What the manager prints; throws when it fails. */
  async manager(...argv: string[]): Promise<string> {
    return succeeded(await this.tryManager(argv), `farshore ${argv.join(' ')}`);
  }

  /** A user or token of this server as a target of the client, seen from the address `host`. */
  target(host: string, authId: string, secret: string, store: string): ClientTarget {
    return { host, port: this.port, fingerprint: this.fingerprint, authId, secret, store };
  }

  /** Ends it as a service manager would; throws when it does not end cleanly. */
  async stop(): Promise<void> {
    if (this.#stopped) return;
    this.#stopped = true;
    if (this.#process.exitCode !== null || this.#process.signalCode !== null) throw this.#ended('ended by itself');
    const ended = once(this.#process, 'exit') as Promise<[number | null, string | null]>;
    const timer = setTimeout(() => this.#process.kill('SIGKILL'), readyWithinMs);
    this.#process.kill('SIGTERM');
    const [code, signal] = await ended;
    clearTimeout(timer);
    if (code !== 0) throw this.#ended(`ended with ${code ?? signal}`);
  }

  #ended(what: string): Error {
    return new Error(`farshore server ${what}\n${this.log.slice(-40).join('\n')}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop();
  }
}
