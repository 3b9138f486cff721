import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { peakRssMiB } from './process-meter.ts';

/** What a program wrote, and how it ended; `status` null: it was killed, by its time limit as a rule. */
export interface Ran {
  status: number | null;
  stdout: string;
  stderr: string;
}

export interface RunOptions {
  env?: Record<string, string>;
  /** Default 120 s. */
  timeoutMs?: number;
  cwd?: string;
  /** Told of the process as soon as there is one. */
  onSpawn?: (pid: number) => void;
}

/** Who the reference's client talks to. */
export interface ClientTarget {
  host: string;
  port: number;
  fingerprint: string;
  /** User or token. */
  authId: string;
  /** Password or the token's secret. */
  secret: string;
  store: string;
}

/** The program that runs the reference: `PEER`, or beside the repository. */
const program = process.env['PEER'] ?? fileURLToPath(new URL('../../../shared/peer/peer', import.meta.url));
/** This side of the network that the instances are in. */
export const hostAddress = '10.77.0.254';

/** Names and address numbers that a kind of run takes its instances from; other runs on this machine may hold some of them. */
export interface PeerNumbers {
  prefix: string;
  first: number;
  last: number;
}

const testNumbers: PeerNumbers = { prefix: 'ix', first: 100, last: 119 };

/** Why the reference cannot run here; null when it can. */
export function peerMissing(): string | null {
  if (!existsSync(program)) return 'the reference server is not here (PEER or ../shared/peer/peer)';
  if (process.getuid?.() === 0 && spawnSync('unshare', ['--mount', '--net', '--uts', 'true']).status === 0) return null;
  return 'the reference server needs root and Linux namespaces';
}

/** Runs a program to its end. Not synchronous: a server under test may live in this process. */
export function runProgram(command: string, argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
  const { promise, resolve, reject } = Promise.withResolvers<Ran>();
  const child = spawn(command, argv, { env: { ...process.env, ...options.env }, cwd: options.cwd, stdio: ['ignore', 'pipe', 'pipe'], timeout: options.timeoutMs ?? 120_000, killSignal: 'SIGKILL' });
  if (child.pid !== undefined) options.onSpawn?.(child.pid);
  const out = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) child[name].setEncoding('utf8').on('data', (text: string) => (out[name] += text));
  child.on('error', reject);
  child.on('close', (status) => resolve({ status, ...out }));
  return promise;
}

/** What the run wrote to stdout; throws with everything that it wrote when it failed. */
export function succeeded(ran: Ran, what: string): string {
  if (ran.status !== 0) throw new Error(`${what}: exit ${ran.status}\n${ran.stdout}${ran.stderr}`);
  return ran.stdout;
}

interface Claim {
  name: string;
  number: number;
  folder: string;
}

/** Folders of a run. Datastores lie in memory where there is enough: making and removing their 65,536 folders is most of what a test waits for. */
interface PeerFolders {
  state: string;
  /** The programs, and the client's home. */
  home: string;
}

async function makeFolders(): Promise<PeerFolders> {
  const home = await mkdtemp(join(tmpdir(), 'farshore-peer-'));
  const state = hasRoom('/dev/shm') ? await mkdtemp('/dev/shm/farshore-peer-') : join(home, 'state');
  await mkdir(state, { recursive: true });
  // The daemons run as another user.
  for (const folder of [home, state]) await chmod(folder, 0o755);
  for (const folder of ['client', 'run']) await mkdir(join(home, folder), { mode: 0o700 });
  return { home, state };
}

function hasRoom(path: string): boolean {
  if (!existsSync(path)) return false;
  const { bavail, bsize } = statfsSync(path);
  return bavail * bsize > 2 * 1024 ** 3;
}

function environment({ state, home }: PeerFolders): Record<string, string> {
  return { PEER_STATE: state, PEER_BIN: join(home, 'bin') };
}

/** Takes an address number that no other run has, and cleans up what a run that was killed left under it. */
function claimNumber({ prefix, first, last }: PeerNumbers): Claim {
  for (let number = first; number <= last; number += 1) {
    const name = `${prefix}${number}`;
    const folder = join(tmpdir(), `farshore-peer-number-${number}`);
    if (!makeFolder(folder) && !takeOver(folder, name)) continue;
    if (existsSync(`/sys/class/net/pv-${name}`)) {
      rmSync(folder, { recursive: true });
      continue;
    }
    writeFileSync(join(folder, 'pid'), String(process.pid));
    return { name, number, folder };
  }
  throw new Error(`all instances ${prefix}${first} to ${last} are in use`);
}

function makeFolder(path: string): boolean {
  try {
    mkdirSync(path);
    return true;
  } catch {
    return false;
  }
}

function takeOver(folder: string, name: string): boolean {
  const pid = readIfThere(join(folder, 'pid'));
  if (pid === '' || existsSync(`/proc/${pid}`)) return false;
  const left = readIfThere(join(folder, 'folders'));
  if (left !== '') {
    const folders = JSON.parse(left) as PeerFolders;
    spawnSync(program, ['wipe', name], { env: { ...process.env, ...environment(folders) }, timeout: 120_000 });
    for (const one of [folders.state, folders.home]) rmSync(one, { recursive: true, force: true });
  }
  return true;
}

function readIfThere(path: string): string {
  return existsSync(path) ? readFileSync(path, 'utf8') : '';
}

/**
 * A running reference server, in namespaces of its own at an address of its own, with nothing configured. Goes away with everything that it holds
 * when disposed: `await using peer = await Peer.start();`.
 */
export class Peer implements AsyncDisposable {
  readonly name: string;
  readonly host: string;
  readonly port = 8007;
  /** SHA-256 of its certificate, pairs with colons. */
  readonly fingerprint: string;
  readonly #folders: PeerFolders;
  readonly #claim: Claim;

  private constructor(claim: Claim, folders: PeerFolders, fingerprint: string) {
    this.name = claim.name;
    this.host = `10.77.0.${claim.number}`;
    this.fingerprint = fingerprint;
    this.#claim = claim;
    this.#folders = folders;
  }

  static async start(numbers: PeerNumbers = testNumbers): Promise<Peer> {
    const claim = claimNumber(numbers);
    const folders = await makeFolders();
    const env = environment(folders);
    try {
      writeFileSync(join(claim.folder, 'folders'), JSON.stringify(folders));
      const { name } = claim;
      const run = async (...argv: string[]): Promise<string> => succeeded(await runProgram(program, argv, { env }), `peer ${argv.join(' ')}`);
      await run('up', name, String(claim.number));
      // A packet from inside tells this side's address table that the number has a new network card; whether anything answers does not matter.
      await runProgram(program, ['exec', name, 'bash', '-c', `true <>/dev/tcp/${hostAddress}/9`], { env });
      return new Peer(claim, folders, (await run('fingerprint', name)).trim());
    } catch (e) {
      await wipe(claim, folders);
      throw e;
    }
  }

  /** Folder on this side that its processes see as `/data`. */
  get dataFolder(): string {
    return join(this.#folders.state, this.name, 'data');
  }

  /** Folder on this side of its log files and task logs. */
  get logFolder(): string {
    return join(this.#folders.state, this.name, 'log');
  }

  /** Folder on this side of its configuration. */
  get configFolder(): string {
    return join(this.#folders.state, this.name, 'etc');
  }

  /** Stops its daemons, runs `work` and starts them again, on the same data. The certificate must stay. */
  async restartAround(work: () => Promise<void>): Promise<void> {
    succeeded(await this.#run(['down', this.name], {}), 'peer down');
    await work();
    succeeded(await this.#run(['up', this.name, String(this.#claim.number)], {}), 'peer up');
    await this.#run(['exec', this.name, 'bash', '-c', `true <>/dev/tcp/${hostAddress}/9`], {});
  }

  /** The most memory that its main daemon has had, in MiB. */
  peakRssMiB(): number {
    return peakRssMiB(Number(readFileSync(join(this.#folders.state, this.name, 'proxy.pid'), 'utf8')));
  }

  /** A command as root in the instance's namespaces. */
  exec(command: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return this.#run(['exec', this.name, ...command], options);
  }

  /** The manager, however it ends. */
  tryManager(argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return this.exec(['env', 'LC_ALL=C.UTF-8', 'proxmox-backup-manager', ...argv], options);
  }

  /** What the manager prints; throws when it fails. */
  async manager(...argv: string[]): Promise<string> {
    return succeeded(await this.tryManager(argv), `proxmox-backup-manager ${argv.join(' ')}`);
  }

  /** The manager's result as data. */
  async managerJson(...argv: string[]): Promise<unknown> {
    return JSON.parse(await this.manager(...argv, '--output-format', 'json')) as unknown;
  }

  /** A user or token of this server as a target of the client. */
  target(authId: string, secret: string, store: string): ClientTarget {
    return { host: this.host, port: this.port, fingerprint: this.fingerprint, authId, secret, store };
  }

  /** The client, on this side, however it ends. */
  tryClient(target: ClientTarget, argv: readonly string[], options: RunOptions = {}): Promise<Ran> {
    return this.#run(['client', ...argv], {
      ...options,
      env: {
        // Nothing of the user's own keys, tickets and settings.
        HOME: join(this.#folders.home, 'client'),
        XDG_CONFIG_HOME: join(this.#folders.home, 'client', 'config'),
        XDG_CACHE_HOME: join(this.#folders.home, 'client', 'cache'),
        XDG_RUNTIME_DIR: join(this.#folders.home, 'run'),
        LC_ALL: 'C.UTF-8',
        TZ: 'UTC',
        PBS_REPOSITORY: `${target.authId}@${target.host}:${target.port}:${target.store}`,
        PBS_PASSWORD: target.secret,
        PBS_FINGERPRINT: target.fingerprint,
        ...options.env,
      },
    });
  }

  /** What the client prints to stdout; throws when it fails. */
  async client(target: ClientTarget, argv: readonly string[], options: RunOptions = {}): Promise<string> {
    return succeeded(await this.tryClient(target, argv, options), `proxmox-backup-client ${argv.join(' ')}`);
  }

  #run(argv: readonly string[], options: RunOptions): Promise<Ran> {
    return runProgram(program, argv, { ...options, env: { ...options.env, ...environment(this.#folders) } });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await wipe(this.#claim, this.#folders);
  }
}

async function wipe(claim: Claim, folders: PeerFolders): Promise<void> {
  const ran = await runProgram(program, ['wipe', claim.name], { env: environment(folders) });
  for (const folder of [folders.state, folders.home, claim.folder]) await rm(folder, { recursive: true, force: true });
  succeeded(ran, 'peer wipe');
}
