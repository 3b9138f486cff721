import assert from 'node:assert/strict';
import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, statfsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { unpackGoldenDatastore } from './golden.ts';

const program = fileURLToPath(new URL('../../bin/farshore', import.meta.url));
const node = [process.execPath, '--disable-warning=ExperimentalWarning'] as const;
const readyPattern = /ready: https:\/\/(?:\[[^\]]+\]|[^:]+):(\d+) fingerprint ([0-9a-f:]+)/;
const startLimitMs = 30_000;
const stopLimitMs = 40_000;
const commandLimitMs = 120_000;

/** What a process wrote, and how it ended. */
export interface Outcome {
  /** Null: ended by `signal`. */
  code: number | null;
  signal: NodeJS.Signals | null;
  stdout: string;
  stderr: string;
}

export interface ProcessOptions {
  env?: Record<string, string> | undefined;
  /** Runs as this user and group. */
  uid?: number | undefined;
  limitMs?: number | undefined;
  /** Hears of each line of stdout. */
  onLine?: ((line: string) => void) | undefined;
}

/** One installation and what a person does with it: server processes and commands, all of them the real program. */
export class FarshoreHost implements AsyncDisposable {
  readonly home: string;
  port = 0;
  fingerprint = '';
  /** Lines of the running (or last) server's log. */
  log: string[] = [];
  readonly #uid: number | undefined;
  #server: ChildProcess | null = null;

  /** `uid`: the user that the server and the commands run as. */
  constructor(home: string, options: { uid?: number } = {}) {
    this.home = home;
    this.#uid = options.uid;
  }

  /** Of the running server. */
  get pid(): number {
    const pid = this.#server?.pid;
    assert.ok(pid !== undefined, 'a server is running');
    return pid;
  }

  /** `farshore server` on a free port of 127.0.0.1; `words` are added. Throws with its log when it ends before it is ready. */
  async start(words: readonly string[] = [], env: Record<string, string> = {}): Promise<void> {
    const listen = words.includes('--listen') || env['FARSHORE_LISTEN'] !== undefined ? [] : ['--listen', '127.0.0.1:0'];
    const child = this.#spawn(['server', ...listen, ...words], { env });
    const log: string[] = [];
    this.log = log;
    this.#server = child;
    const ready = Promise.withResolvers<void>();
    createInterface({ input: child.stderr! }).on('line', (line) => {
      log.push(line);
      const match = readyPattern.exec(line);
      if (match === null) return;
      this.port = Number(match[1]);
      this.fingerprint = match[2]!;
      ready.resolve();
    });
    const failed = (what: string): void => ready.reject(new Error(`farshore server ${what}\n${log.join('\n')}`));
    child.once('error', (e) => failed(e.message));
    child.once('exit', (code, signal) => failed(`ended with ${signal ?? String(code)}`));
    const timer = setTimeout(() => failed('was not ready in time'), startLimitMs);
    try {
      await ready.promise;
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the server and says how it ended. */
  async stop(signal: 'SIGTERM' | 'SIGINT' | 'SIGKILL' = 'SIGTERM'): Promise<{ code: number | null; signal: NodeJS.Signals | null }> {
    const child = this.#server;
    assert.ok(child !== null, 'a server was started');
    this.#server = null;
    if (child.exitCode === null && child.signalCode === null) {
      const gone = once(child, 'exit');
      child.kill(signal);
      const timer = setTimeout(() => child.kill('SIGKILL'), stopLimitMs);
      await gone;
      clearTimeout(timer);
    }
    return { code: child.exitCode, signal: child.signalCode };
  }

  /** A command of the manager, however it ends. */
  async run(words: readonly string[], options: ProcessOptions = {}): Promise<Outcome> {
    const child = this.#spawn(words, options);
    const timer = setTimeout(() => child.kill('SIGKILL'), options.limitMs ?? commandLimitMs);
    const outcome: Outcome = { code: null, signal: null, stdout: '', stderr: '' };
    child.stderr!.setEncoding('utf8').on('data', (text: string) => (outcome.stderr += text));
    createInterface({ input: child.stdout! }).on('line', (line) => {
      outcome.stdout += `${line}\n`;
      options.onLine?.(line);
    });
    [outcome.code, outcome.signal] = (await once(child, 'close')) as [number | null, NodeJS.Signals | null];
    clearTimeout(timer);
    return outcome;
  }

  /** What a command prints; throws when it fails. */
  async ok(...words: string[]): Promise<string> {
    const outcome = await this.run(words);
    if (outcome.code !== 0) throw new Error(`farshore ${words.join(' ')}: exit ${outcome.code ?? outcome.signal}\n${outcome.stdout}${outcome.stderr}`);
    return outcome.stdout;
  }

  /** What a command prints with `--output-format json`. */
  async json(...words: string[]): Promise<unknown> {
    return JSON.parse(await this.ok(...words, '--output-format', 'json'));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.#server !== null) await this.stop();
  }

  #spawn(words: readonly string[], { env = {}, uid = this.#uid }: ProcessOptions): ChildProcess {
    const environment = { ...process.env, LC_ALL: 'C.UTF-8', TZ: 'UTC', FARSHORE_HOME: this.home, ...env };
    return spawn(node[0], [node[1], program, ...words], { env: environment, stdio: ['ignore', 'pipe', 'pipe'], ...(uid === undefined ? {} : { uid, gid: uid }) });
  }
}

/** A temp folder for whole datastores: in memory where there is room, since making and removing their 65,536 folders is most of what a test waits for. */
export async function datastoreFolder(): Promise<{ path: string } & AsyncDisposable> {
  const path = await mkdtemp(join(hasRoom('/dev/shm') ? '/dev/shm' : tmpdir(), 'farshore-e2e-'));
  // Servers of other users look into it.
  await chmod(path, 0o755);
  return { path, [Symbol.asyncDispose]: () => rm(path, { recursive: true, force: true }) };
}

function hasRoom(path: string): boolean {
  if (!existsSync(path)) return false;
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize > 1024 ** 3;
}

/** Configures an empty datastore as `name`, without the 65,536 folders that a server makes ahead. Before the server starts. */
export async function addEmptyDatastore(host: FarshoreHost, name: string, folder: string): Promise<void> {
  await mkdir(join(folder, '.chunks'), { recursive: true });
  await writeFile(join(folder, '.lock'), '');
  await configureDatastore(host, name, folder);
}

/** Configures the golden datastore as `name`, for reading; only the chunk folders in use are made, so this is quick. Before the server starts. */
export async function addGoldenDatastore(host: FarshoreHost, name: string, folder: string): Promise<void> {
  await mkdir(folder, { recursive: true });
  await unpackGoldenDatastore(folder);
  await writeFile(join(folder, '.lock'), '', { flag: 'a' });
  await configureDatastore(host, name, folder);
}

async function configureDatastore(host: FarshoreHost, name: string, folder: string): Promise<void> {
  await mkdir(join(host.home, 'etc'), { recursive: true, mode: 0o700 });
  await writeFile(join(host.home, 'etc', 'datastore.cfg'), `datastore: ${name}\n\tpath ${folder}\n\n`, { flag: 'a', mode: 0o640 });
}

/** Makes the token `user!offsite` that may read a datastore, its user too; the secret. */
export async function readerToken(host: FarshoreHost, store: string, user = 'sync@pbs'): Promise<string> {
  await host.ok('user', 'create', user);
  const secret = secretIn(await host.ok('user', 'generate-token', user, 'offsite'));
  for (const authId of [user, `${user}!offsite`]) await host.ok('acl', 'update', `/datastore/${store}`, 'DatastoreReader', '--auth-id', authId);
  return secret;
}

/** Makes the token `user!offsite` that may do everything in datastores, its user too; the secret. */
export async function adminToken(host: FarshoreHost, user = 'sync@pbs'): Promise<string> {
  await host.ok('user', 'create', user);
  const secret = secretIn(await host.ok('user', 'generate-token', user, 'offsite'));
  for (const authId of [user, `${user}!offsite`]) await host.ok('acl', 'update', '/datastore', 'DatastoreAdmin', '--auth-id', authId);
  return secret;
}

/** The secret in what `user generate-token` prints. */
export function secretIn(text: string): string {
  const secret = /"value": "([^"]+)"/.exec(text)?.[1];
  assert.ok(secret !== undefined, text);
  return secret;
}

/** `remote create` for a host, with what `fields` changes. */
export async function addRemote(host: FarshoreHost, name: string, source: FarshoreHost, secret: string, fields: Record<string, string> = {}): Promise<void> {
  const options = { host: '127.0.0.1', port: String(source.port), 'auth-id': 'sync@pbs!offsite', password: secret, fingerprint: source.fingerprint, ...fields };
  await host.ok('remote', 'create', name, ...Object.entries(options).flatMap(([key, value]) => [`--${key}`, value]));
}

/**
 * Asserts that a command failed with exactly one error of the program (`Error: ...` on stderr), without a stack trace, and that stdout and stderr together
 * match each of `says`.
 */
export function assertFailed(outcome: Outcome, ...says: RegExp[]): void {
  const all = outcome.stdout + outcome.stderr;
  assert.equal(outcome.code, 255, `exit code\n${all}`);
  assert.equal(outcome.stderr.match(/^Error: /gm)?.length, 1, `one error\n${all}`);
  assert.doesNotMatch(all, /^\s+at .*[(/].*:\d+:\d+\)?$|internal error/m, 'no stack trace');
  for (const one of says) assert.match(all, one);
}
