import assert from 'node:assert/strict';
import { accessSync, chmodSync, chownSync, constants, mkdirSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { pause } from '../../src/base/async.ts';
import { resolveInstallation } from '../../src/config/home.ts';
import { silentLog } from '../../src/base/log.ts';
import { compose } from '../../src/server/composition.ts';
import { addGoldenDatastore, addRemote, datastoreFolder, FarshoreHost, readerToken } from '../support/farshore-host.ts';
import { ManualClock } from '../support/manual-clock.ts';

type Folder = Awaited<ReturnType<typeof datastoreFolder>>;
/** The user `nobody`. */
const ordinaryUser = 65_534;
const isRoot = process.getuid?.() === 0;

interface ListedTask {
  upid: string;
  worker_type: string;
  status?: string;
}

suite('farshore server', () => {
  let folder: Folder;
  let host: FarshoreHost;

  before(async () => {
    folder = await datastoreFolder();
    host = new FarshoreHost(join(folder.path, 'one'));
    await host.start();
  });

  after(async () => {
    await host[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** Starts a server that must not come up, and returns what it says. */
  async function refused(home: string, words: readonly string[], env: Record<string, string> = {}): Promise<string> {
    const outcome = await new FarshoreHost(home).run(['server', ...words], { env, limitMs: 20_000 });
    assert.equal(outcome.code, 255, outcome.stderr);
    assert.equal(outcome.stderr.match(/^Error: /gm)?.length, 1, outcome.stderr);
    assert.doesNotMatch(outcome.stderr, /^\s+at /m, 'no stack trace');
    return outcome.stderr;
  }

  test('says in one line when it is ready, where, and with which fingerprint', async () => {
    const ready = host.log.filter((line) => line.includes('ready'));
    assert.equal(ready.length, 1);
    assert.match(ready[0]!, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z INFO {2}farshore \S+ ready: https:\/\/127\.0\.0\.1:\d+ fingerprint [0-9a-f]{2}(?::[0-9a-f]{2}){31}$/);
    assert.ok((await host.ok('cert', 'info')).includes(host.fingerprint));
  });

  test('two servers on one host, each found by its home; the second with JSON as log, an object a line', async () => {
    await using other = new FarshoreHost(join(folder.path, 'two'));
    await other.start(['--log-format', 'json']);
    assert.notEqual(other.port, host.port);
    assert.notEqual(other.fingerprint, host.fingerprint);
    await other.ok('user', 'create', 'other@pbs');
    assert.doesNotMatch(await host.ok('user', 'list'), /other@pbs/);
    assert.equal((await other.run(['datastore', 'show', 'nosuch'])).code, 255);
    assert.deepEqual(await other.stop('SIGINT'), { code: 0, signal: null });
    const entries = other.log.map((line) => JSON.parse(line) as { level: string; time: string; msg: string });
    assert.ok(entries.every(({ level, time, msg }) => ['info', 'warn'].includes(level) && !Number.isNaN(Date.parse(time)) && msg !== ''));
    assert.ok(entries.some(({ msg }) => msg.includes("no such datastore 'nosuch'")), 'a refused request is in the log');
    assert.equal(entries.at(-1)!.msg, 'stopped');
  });

  test('a second server with the same home is refused, and the first goes on', async () => {
    assert.match(await refused(host.home, ['--listen', '127.0.0.1:0']), /another server is running: it answers on .*farshore\.sock\n\nHint: Stop it first, or use another FARSHORE_HOME/);
    await host.ok('user', 'list');
  });

  test('addresses that cannot be used', async () => {
    const home = join(folder.path, 'three');
    assert.match(await refused(home, ['--listen', 'nonsense']), /'nonsense' is no address to listen on\n\nHint: Write ADDR:PORT/);
    assert.match(await refused(home, ['--listen', '127.0.0.1:65536']), /'127\.0\.0\.1:65536' is no address/);
    assert.match(await refused(home, [], { FARSHORE_LISTEN: '127.0.0.1:http' }), /'127\.0\.0\.1:http' is no address/);
    assert.match(await refused(home, ['--listen', `127.0.0.1:${host.port}`]), /cannot listen on 127\.0\.0\.1:\d+\n\nCaused by:\n.*EADDRINUSE.*\n\nHint: Another program uses this port/);
    await using third = new FarshoreHost(home);
    await third.start([], { FARSHORE_LISTEN: '127.0.0.1:0' });
    assert.ok(third.port > 0, 'FARSHORE_LISTEN is where it listens');
  });

  test('a home that cannot be written or is no path', async () => {
    assert.match(await refused('/proc/farshore', ['--listen', '127.0.0.1:0']), /cannot make the folder \/proc\/farshore\/etc\n\nCaused by:\n.*\n\nHint: .*FARSHORE_HOME/);
    const closed = join(folder.path, 'closed');
    mkdirSync(closed);
    chmodSync(closed, 0o555);
    // Root may write everywhere.
    const uid = isRoot && mayRun(ordinaryUser) ? { uid: ordinaryUser } : {};
    if (!isRoot || 'uid' in uid) {
      const outcome = await new FarshoreHost(join(closed, 'home'), uid).run(['server', '--listen', '127.0.0.1:0'], { limitMs: 20_000 });
      assert.equal(outcome.code, 255);
      assert.match(outcome.stderr, /^Error: cannot make the folder .*\/closed\/home\/etc\n\nCaused by:\n.*EACCES/);
    }
    const relative = await new FarshoreHost('here').run(['server'], { limitMs: 20_000 });
    assert.deepEqual([relative.code, relative.stderr.split('\n')[0]], [1, "Error: FARSHORE_HOME 'here' is not an absolute path"]);
  });

  test('runs as an ordinary user', { skip: !isRoot ? 'every test here runs as one' : mayRun(ordinaryUser) ? false : 'this checkout is closed to other users' }, async () => {
    const home = join(folder.path, 'nobody');
    await using nobody = new FarshoreHost(home, { uid: ordinaryUser });
    await addGoldenDatastore(nobody, 'main', join(folder.path, 'nobody-store'));
    for (const top of [home, join(folder.path, 'nobody-store')]) for (const path of [top, ...readdirSync(top, { recursive: true, encoding: 'utf8' }).map((name) => join(top, name))]) chownSync(path, ordinaryUser, ordinaryUser);
    await nobody.start();
    assert.match(await nobody.ok('verify', 'main', '--ignore-verified', 'false'), /percentage done: 100\.00%.*\nTASK OK\n$/);
    const mixed = await new FarshoreHost(home).run(['user', 'list']);
    assert.equal(mixed.code, 0, 'root may use the socket of another user’s server');
    assert.deepEqual(await nobody.stop(), { code: 0, signal: null });
  });
});

/** Whether other users can read this checkout and run this Node. */
function mayRun(uid: number): boolean {
  if (process.seteuid === undefined || !isRoot) return false;
  process.seteuid(uid);
  try {
    accessSync(process.execPath, constants.R_OK);
    readdirSync(join(import.meta.dirname, '..', '..', 'src'));
    return true;
  } catch {
    return false;
  } finally {
    process.seteuid(0);
  }
}

suite('a server that ends in the middle of a sync', () => {
  let folder: Folder;
  let hq: FarshoreHost;
  let branch: FarshoreHost;

  before(async () => {
    folder = await datastoreFolder();
    hq = new FarshoreHost(join(folder.path, 'hq'));
    branch = new FarshoreHost(join(folder.path, 'branch'));
    await addGoldenDatastore(hq, 'main', join(folder.path, 'main'));
    await Promise.all([hq.start(), branch.start()]);
    const [secret] = await Promise.all([readerToken(hq, 'main'), branch.ok('datastore', 'create', 'offsite', join(folder.path, 'copy'))]);
    await addRemote(branch, 'pbs-hq', hq, secret);
    await branch.ok('sync-job', 'create', 'nightly', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite', '--rate-in', '1MiB', '--burst-in', '1MiB');
  });

  after(async () => {
    await hq[Symbol.asyncDispose]();
    await branch[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** Runs the job and ends the server as soon as data flows; what the command and the server say. */
  async function cut(signal: 'SIGTERM' | 'SIGKILL'): Promise<{ command: Awaited<ReturnType<FarshoreHost['run']>>; server: Awaited<ReturnType<FarshoreHost['stop']>> }> {
    const flowing = Promise.withResolvers<void>();
    const running = branch.run(['sync-job', 'run', 'nightly'], { onLine: (line) => line.includes('sync archive') && flowing.resolve() });
    await Promise.race([flowing.promise, running.then(({ stdout, stderr }) => assert.fail(`ended before data flowed\n${stdout}${stderr}\n${branch.log.join("\n")}`))]);
    const server = await branch.stop(signal);
    return { command: await running, server };
  }

  async function lastSync(): Promise<ListedTask> {
    const tasks = (await branch.json('task', 'list', '--all')) as ListedTask[];
    // The newest is listed first.
    const found = tasks.find(({ worker_type: type }) => type === 'syncjob');
    assert.ok(found !== undefined);
    return found;
  }

  async function verifies(): Promise<void> {
    assert.match(await branch.ok('verify', 'offsite', '--ignore-verified', 'false'), /TASK OK\n$/);
  }

  test('SIGTERM: the task gets a final line, the process ends with 0, and what is stored is sound', async () => {
    const { command, server } = await cut('SIGTERM');
    assert.deepEqual(server, { code: 0, signal: null });
    assert.deepEqual(branch.log.slice(-3).map((line) => line.replace(/^\S+ INFO {2}/, '')), ['received SIGTERM', 'stopping', 'stopped']);
    assert.equal(command.code, 255);
    assert.equal(command.stderr.match(/^Error: /gm)?.length, 1, command.stderr);
    assert.match(command.stderr, /^Hint: the server cannot be reached any more; .* task log 'UPID:.*'$|task failed \(status sync aborted\)/m);
    await branch.start();
    const task = await lastSync();
    assert.equal(task.status, 'sync aborted');
    const log = await branch.run(['task', 'log', task.upid]);
    assert.match(log.stdout, /TASK ERROR: sync aborted\n$/);
    await verifies();
  });

  test('SIGKILL: the task is unknown afterwards, and what is stored is sound', async () => {
    const { command, server } = await cut('SIGKILL');
    assert.deepEqual(server, { code: null, signal: 'SIGKILL' });
    assert.equal(command.code, 255);
    assert.match(command.stderr, /^Error: /m);
    await branch.start();
    assert.equal((await lastSync()).status, 'unknown');
    await verifies();
  });

  test('the next run completes, and the one after it moves nothing', async () => {
    await branch.ok('sync-job', 'update', 'nightly', '--delete', 'rate-in', '--delete', 'burst-in');
    assert.match(await branch.ok('sync-job', 'run', 'nightly'), /^Summary: sync job pulled .*\n(?:.*\n)*TASK OK\n$/m);
    assert.match(await branch.ok('sync-job', 'run', 'nightly'), /found no new data to pull/);
    await verifies();
    const known = (await branch.json('garbage-collection', 'list')) as Array<{ store: string }>;
    assert.deepEqual(known.map(({ store }) => store), ['offsite']);
  });
});

test('jobs start when they are due, once, and not again when the clock is set back', async () => {
  await using folder = await datastoreFolder();
  const home = join(folder.path, 'home');
  await addGoldenDatastore(new FarshoreHost(home), 'main', join(folder.path, 'main'));
  const clock = new ManualClock('2026-03-02T10:00:30Z');
  const composition = await compose({ installation: resolveInstallation({ env: { FARSHORE_HOME: home }, isRoot, homeDirectory: '/' }), programVersion: '0', log: silentLog, clock });
  const caller = { authId: 'root@pam', remoteAddress: 'unix' };
  const call = async (method: 'GET' | 'POST', path: string, parameters: Record<string, unknown> = {}): Promise<unknown> => {
    const result = await composition.router.call({ method, path, caller, parameters });
    assert.ok(result.ok, JSON.stringify(result));
    return result.data;
  };
  const runs = async (): Promise<string[]> => ((await call('GET', '/nodes/localhost/tasks')) as ListedTask[]).map(({ worker_type: type, status }) => `${type} ${status}`).filter((text) => !text.startsWith('logrotate')).toSorted();
  /** A pass does not wait for the jobs that it starts: `count` finished runs in all are waited for. */
  const passAt = async (time: string, count: number): Promise<string[]> => {
    clock.set(time);
    await composition.scheduler.pass();
    for (let left = 200; left > 0 && (await runs()).filter((text) => text.endsWith(' OK')).length < count; left -= 1) await pause(25);
    await composition.tasks.idle();
    return runs();
  };
  try {
    await call('POST', '/config/verify', { id: 'often', store: 'main', schedule: '*:0/1' });
    await call('POST', '/config/prune', { id: 'keep', store: 'main', schedule: '*:0/5', 'keep-last': 9 });
    assert.deepEqual(await passAt('2026-03-02T10:00:59Z', 0), [], 'nothing is due yet');
    assert.deepEqual(await passAt('2026-03-02T10:01:00Z', 1), ['verificationjob OK']);
    await passAt('2026-03-02T10:01:00Z', 1);
    await passAt('2026-03-02T09:58:00Z', 1);
    const all = ['prunejob OK', 'verificationjob OK', 'verificationjob OK'];
    assert.deepEqual(await passAt('2026-03-02T10:05:00Z', 3), all, 'once an event, and not again after the clock was set back');
    const [job] = (await call('GET', '/admin/verify')) as Array<Record<string, unknown>>;
    assert.deepEqual([job?.['last-run-state'], job?.['next-run']], ['OK', Date.parse('2026-03-02T10:06:00Z') / 1000]);
  } finally {
    await composition.close(0);
  }
});
