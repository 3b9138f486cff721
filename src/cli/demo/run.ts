import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { zstdDecompressSync } from 'node:zlib';
import { FarshoreError, errorChain } from '../../base/errors.ts';
import { formatBackupTime } from '../../format/backup-path.ts';
import type { TextSink } from '../../terminal/output.ts';
import { DemoHost, fixturesFolder, waitUntil, type CommandResult } from './host.ts';
import { tarFiles } from './tar-reader.ts';
import { changeTree, describeTree, makeTree } from './tree.ts';

export interface DemoIo {
  stdout: TextSink;
  stderr: TextSink;
  drawsProgress: boolean;
  /** Leave both installations on disk. */
  keep: boolean;
}

const secretPattern = /"value": "([^"]+)"/;
const summaryPattern = /pulled .* in (\d+) chunks/;
const encryptedSnapshot = 'host/crypt/2025-10-10T08:56:40Z';
const vmSnapshot = 'vm/100/2025-10-10T09:00:00Z';
const keyPassword = 'key-password-1';

/** Runs the demo; 0 when everything came out as it must. */
export async function runDemo(io: DemoIo): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-demo-'));
  const output = { line: (text: string) => io.stdout.write(`${text}\n`), progress: null };
  const story = new Demo(io, folder, new DemoHost('hq', join(folder, 'hq'), output), new DemoHost('branch', join(folder, 'branch'), output));
  try {
    await story.tell();
    return 0;
  } catch (e) {
    io.stderr.write(`\ndemo failed: ${errorChain(e)}\n`);
    return 1;
  } finally {
    await story.end();
    if (io.keep) io.stdout.write(`kept: ${folder}\n`);
    else await rm(folder, { recursive: true, force: true });
  }
}

class Demo {
  readonly #io: DemoIo;
  readonly #folder: string;
  readonly #hq: DemoHost;
  readonly #branch: DemoHost;
  readonly #startedMs = performance.now();
  #step = 0;
  #secret = '';

  constructor(io: DemoIo, folder: string, hq: DemoHost, branch: DemoHost) {
    this.#io = io;
    this.#folder = folder;
    this.#hq = hq;
    this.#branch = branch;
  }

  async tell(): Promise<void> {
    await this.#startServers();
    await this.#fillSource();
    await this.#grantAccess();
    await this.#configureCopy();
    await this.#syncWithCut();
    await this.#secondRun();
    await this.#followTree();
    await this.#compareFiles();
    await this.#damageAndHeal();
    await this.#restore();
    this.#heading(`done in ${((performance.now() - this.#startedMs) / 1000).toFixed(0)} s`);
    const chunks = await countChunks(join(this.#folder, 'branch-store'));
    this.#say(`An offsite copy of ${chunks} chunks: complete, verified, and restored from the far side. Nothing was left behind on this machine.`);
  }

  async end(): Promise<void> {
    await this.#hq.stop('SIGTERM');
    await this.#branch.stop('SIGTERM');
  }

  async #startServers(): Promise<void> {
    this.#heading('two servers: headquarters (hq) and a branch office (branch)');
    await mkdir(this.#hq.folder);
    await mkdir(this.#branch.folder);
    await Promise.all([this.#hq.start(), this.#branch.start()]);
    for (const host of [this.#hq, this.#branch]) this.#say(`${host.name}: https://127.0.0.1:${host.port}  fingerprint ${host.fingerprint.slice(0, 23)}...`);
  }

  async #fillSource(): Promise<void> {
    this.#heading('hq has real backups: 12 snapshots of 8 groups, plain, encrypted, signed, split, incremental, in three namespaces');
    const store = join(this.#folder, 'hq-store');
    await this.#hq.farshore(['datastore', 'create', 'main', store], { show: 'command' });
    for (const file of tarFiles(zstdDecompressSync(await readFile(join(fixturesFolder, 'datastore', 'main.tar.zst'))))) {
      const path = join(store, file.name);
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, file.content);
    }
    await this.#hq.farshore(['verify', 'main', '--ignore-verified', 'false'], { show: 'command' });
    this.#say('every chunk of the source verifies');
  }

  async #grantAccess(): Promise<void> {
    this.#heading('hq gives the branch a token that may read');
    await this.#hq.farshore(['user', 'create', 'sync@pbs', '--comment', 'Offsite Sync']);
    const token = await this.#hq.farshore(['user', 'generate-token', 'sync@pbs', 'offsite', '--comment', 'Pull from offsite PBS'], { show: 'command' });
    this.#secret = secretPattern.exec(token.stdout)?.[1] ?? '';
    await this.#hq.farshore(['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'sync@pbs!offsite']);
    await this.#hq.farshore(['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'sync@pbs']);
  }

  async #configureCopy(): Promise<void> {
    this.#heading('the branch knows hq, and pulls every night');
    const branch = this.#branch;
    await branch.farshore(['datastore', 'create', 'offsite', join(this.#folder, 'branch-store')], { show: 'command' });
    await branch.farshore([
      'remote', 'create', 'pbs-hq', '--host', '127.0.0.1', '--port', String(this.#hq.port), '--auth-id', 'sync@pbs!offsite',
      '--password', this.#secret, '--fingerprint', this.#hq.fingerprint,
    ]);
    await branch.farshore(['remote', 'test', 'pbs-hq']);
    await branch.farshore([
      'sync-job', 'create', 'offsite-nightly', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite', '--schedule', 'mon..fri 02:30',
      '--rate-in', '3MiB', '--remove-vanished', 'false', '--comment', 'Nightly pull from HQ',
    ]);
    await branch.farshore(['prune-job', 'create', 'offsite-prune', '--store', 'offsite', '--schedule', 'sun 04:00', '--keep-daily', '14', '--keep-weekly', '8', '--keep-monthly', '12']);
  }

  /** Kills the branch's server in the middle of the first run, as a power cut would, and lets the next run go on. */
  async #syncWithCut(): Promise<void> {
    this.#heading('first sync over a line of 3 MiB/s, and a power cut in the middle');
    const branch = this.#branch;
    const progress: string[] = [];
    const first = branch.farshore(['sync-job', 'run', 'offsite-nightly'], { show: 'command', mayFail: true, onLine: (line) => this.#progressLine(line, progress) });
    await waitUntil(() => progress.length >= 1, 20_000);
    await branch.stop('SIGKILL');
    await first;
    const before = await countChunks(join(this.#folder, 'branch-store'));
    this.#say(`the branch's server was killed with ${before} chunks in the copy; it starts again, and the job goes on`);
    await branch.start();
    const second = await branch.farshore(['sync-job', 'run', 'offsite-nightly'], { show: 'command', onLine: (line) => this.#progressLine(line, progress) });
    this.#summary(second);
    // On a busy machine everything may have arrived before the cut; then there is no rest.
    const fetched = Number(summaryPattern.exec(second.stdout)?.[1] ?? 0);
    const all = await countChunks(join(this.#folder, 'branch-store'));
    expect(before > 0, 'chunks had arrived before the cut');
    // The journal is written within a tenth of a second: what arrived in the last one may be fetched again.
    expect(fetched + before <= all + 4, `the second run fetched only the rest (${before} + ${fetched} of ${all})`);
  }

  async #secondRun(): Promise<void> {
    this.#heading('the next run moves nothing');
    const run = await this.#branch.farshore(['sync-job', 'run', 'offsite-nightly'], { show: 'command' });
    this.#summary(run);
    expect(run.stdout.includes('found no new data to pull'), 'nothing was moved');
  }

  /** A directory tree is backed up at hq, changed and backed up again; the copy follows. */
  async #followTree(): Promise<void> {
    this.#heading('hq backs up a directory tree, twice, and the copy follows');
    const hq = this.#hq;
    await hq.farshore(['user', 'create', 'backup@pbs', '--password', 'back-me-up-1'], { show: 'nothing' });
    await hq.farshore(['acl', 'update', '/datastore/main', 'DatastorePowerUser', '--auth-id', 'backup@pbs'], { show: 'command' });
    const environment = { PBS_REPOSITORY: `backup@pbs@127.0.0.1:${hq.port}:main`, PBS_PASSWORD: 'back-me-up-1', PBS_FINGERPRINT: hq.fingerprint };
    const tree = join(this.#folder, 'tree');
    const backup = ['backup', `root.pxar:${tree}`, '--backup-id', 'web-1', '--change-detection-mode', 'metadata'];
    await makeTree(tree);
    await hq.client([...backup, '--backup-time', '1790000000'], environment, { show: 'command' });
    await changeTree(tree);
    await hq.client([...backup, '--backup-time', '1790086400'], environment, { show: 'command' });
    this.#summary(await this.#branch.farshore(['sync-job', 'run', 'offsite-nightly'], { show: 'command' }));
  }

  async #compareFiles(): Promise<void> {
    this.#heading('the copy is byte for byte the source');
    const [source, copy] = [join(this.#folder, 'hq-store'), join(this.#folder, 'branch-store')];
    const names = (await filesOf(source)).filter((name) => !name.endsWith('/owner') && !name.endsWith('/.protected') && !name.startsWith('.'));
    let bytes = 0;
    for (const name of names) {
      // hq verified its snapshots again, which is written into their manifests only.
      const [a, b] = [await readFile(join(source, name)), await readFile(join(copy, name))];
      expect(a.equals(b), `${name} is the same on both sides`);
      bytes += a.byteLength;
    }
    this.#say(`${names.length} indexes, blobs and manifests compared, ${bytes} bytes: all equal`);
    await this.#branch.farshore(['verify', 'offsite', '--ignore-verified', 'false'], { show: 'command' });
    this.#say('every chunk of the copy verifies');
  }

  async #damageAndHeal(): Promise<void> {
    this.#heading('a bit flips on the disk of the branch: verify finds it, resync-corrupt heals it');
    const branch = this.#branch;
    const chunk = await largestChunk(join(this.#folder, 'branch-store'));
    const bytes = await readFile(chunk);
    bytes[bytes.byteLength >> 1]! ^= 0x10;
    await writeFile(chunk, bytes);
    this.#say(`flipped one bit of chunk ${chunk.slice(-64)}`);
    const verify = await branch.farshore(['verify', 'offsite', '--ignore-verified', 'false'], { show: 'command', mayFail: true });
    expect(verify.exitCode !== 0 && verify.stdout.includes(chunk.slice(-64)), 'verify names the chunk');
    for (const line of verify.stdout.split('\n').filter((text) => text.includes(chunk.slice(-64))).slice(0, 3)) this.#say(`  ${line.trim()}`);
    await branch.farshore(['sync-job', 'update', 'offsite-nightly', '--resync-corrupt', 'true']);
    this.#summary(await branch.farshore(['sync-job', 'run', 'offsite-nightly'], { show: 'command' }));
    await branch.farshore(['verify', 'offsite', '--ignore-verified', 'false'], { show: 'command' });
    this.#say('healed: every chunk of the copy verifies again');
  }

  async #restore(): Promise<void> {
    this.#heading('disaster: hq is gone. Restore from the branch, encrypted and plain');
    await this.#hq.stop('SIGKILL');
    const expected = await expectedImages();
    await this.#branch.farshore(['user', 'create', 'restore@pbs', '--password', 'restore-me-1'], { show: 'nothing' });
    await this.#branch.farshore(['acl', 'update', '/datastore/offsite', 'DatastoreReader', '--auth-id', 'restore@pbs'], { show: 'command' });
    const environment = {
      PBS_REPOSITORY: `restore@pbs@127.0.0.1:${this.#branch.port}:offsite`,
      PBS_PASSWORD: 'restore-me-1',
      PBS_FINGERPRINT: this.#branch.fingerprint,
    };
    const image = join(this.#folder, 'data.img');
    const refused = await this.#branch.client(['restore', encryptedSnapshot, 'data.img', image], environment, { mayFail: true });
    expect(refused.exitCode !== 0, 'without its key an encrypted image is refused');
    const withKey = { ...environment, PBS_ENCRYPTION_PASSWORD: keyPassword };
    await this.#branch.client(['restore', encryptedSnapshot, 'data.img', image, '--keyfile', join(fixturesFolder, 'keys', 'kdf-scrypt.key')], withKey);
    await this.#compareImage('data.img', image, expected.get('img1'));
    const disk = join(this.#folder, 'drive-scsi0.img');
    await this.#branch.client(['restore', vmSnapshot, 'drive-scsi0.img', disk], environment);
    await this.#compareImage('drive-scsi0.img', disk, expected.get('disk'));
    const tree = join(this.#folder, 'restored');
    await this.#branch.client(['restore', `host/web-1/${formatBackupTime(1_790_086_400)}`, 'root.pxar', tree], environment, { show: 'command' });
    const [before, after] = [await describeTree(join(this.#folder, 'tree')), await describeTree(tree)];
    expect(before.join('\n') === after.join('\n'), `the restored tree equals the original:\n${before.join('\n')}\n--\n${after.join('\n')}`);
    this.#say(`root.pxar: ${after.length} entries, every field of every entry equals the original`);
  }

  async #compareImage(name: string, path: string, expected: string | undefined): Promise<void> {
    const found = await sha256Of(path);
    expect(found === expected, `${name} is what was backed up (${found} instead of ${String(expected)})`);
    this.#say(`${name}: SHA-256 ${found.slice(0, 16)}... equals the original`);
  }

  #progressLine(line: string, seen: string[]): void {
    const match = /progress: (([\d.]+)% .*)/.exec(line);
    if (match === null) return;
    seen.push(line);
    const full = Math.round(Number(match[2]) / 5);
    this.#io.stdout.write(`  [${'#'.repeat(full)}${'-'.repeat(20 - full)}] ${match[1]!}\n`);
  }

  #summary(run: CommandResult): void {
    for (const line of run.stdout.split('\n')) if (/Summary:|^Reused|^Repaired|: Reused|: Repaired/.test(line)) this.#say(`  ${line}`);
  }

  #heading(text: string): void {
    this.#step += 1;
    this.#io.stdout.write(`\n== ${this.#step}. ${text}\n`);
  }

  #say(text: string): void {
    this.#io.stdout.write(`  ${text}\n`);
  }
}

function expect(holds: boolean, what: string): void {
  if (!holds) throw new FarshoreError('demo.expectation', `this should hold, and does not: ${what}`);
}

async function filesOf(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => relative(folder, join(entry.parentPath, entry.name))).toSorted();
}

async function chunksOf(store: string): Promise<string[]> {
  return (await filesOf(join(store, '.chunks'))).filter((name) => /^[0-9a-f]{4}\/[0-9a-f]{64}$/.test(name)).map((name) => join(store, '.chunks', name));
}

async function countChunks(store: string): Promise<number> {
  return (await chunksOf(store)).length;
}

async function largestChunk(store: string): Promise<string> {
  let largest = { path: '', size: -1 };
  for (const path of await chunksOf(store)) {
    const size = (await readFile(path)).byteLength;
    if (size > largest.size) largest = { path, size };
  }
  return largest.path;
}

async function expectedImages(): Promise<Map<string, string>> {
  const lines = (await readFile(join(fixturesFolder, 'expected', 'images.sha256'), 'utf8')).trim().split('\n');
  return new Map(lines.map((line) => line.split(/\s+/)).map(([sum = '', name = '']) => [name.replace(/^\*/, ''), sum]));
}

async function sha256Of(path: string): Promise<string> {
  const hash = createHash('sha256');
  for await (const piece of createReadStream(path)) hash.update(piece as Buffer);
  return hash.digest('hex');
}
