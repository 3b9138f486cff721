import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { appendFileSync, chmodSync, mkdirSync, writeFileSync } from 'node:fs';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Datastore } from '../../src/datastore/datastore.ts';
import { makeCertificate } from '../support/certificate.ts';
import { addGoldenDatastore, addRemote, assertFailed, datastoreFolder, FarshoreHost, readerToken, secretIn, type Outcome } from '../support/farshore-host.ts';
import { startLyingSource, type Lies } from '../support/lying-source.ts';
import { startScriptedRemote } from '../support/scripted-remote.ts';

const isRoot = process.getuid?.() === 0;
const plain = { type: 'host', id: 'plain', time: Date.parse('2025-10-10T08:53:20Z') / 1000 } as const;

/** What people and far sides get wrong, on two servers with a copy of one group that was finished before. */
suite('one clear error for everything that is wrong', () => {
  let folder: Awaited<ReturnType<typeof datastoreFolder>>;
  let hq: FarshoreHost;
  let branch: FarshoreHost;
  let secret = '';
  let count = 0;

  before(async () => {
    folder = await datastoreFolder();
    hq = new FarshoreHost(join(folder.path, 'hq'));
    branch = new FarshoreHost(join(folder.path, 'branch'));
    await addGoldenDatastore(hq, 'main', join(folder.path, 'main'));
    mkdirSync(join(branch.home, 'etc'), { recursive: true, mode: 0o700 });
    // What is tried again, and waited for, is the business of other tests.
    writeFileSync(join(branch.home, 'etc', 'farshore.json'), '{"sync-attempts": 1, "sync-stall-timeout": 5}');
    await Promise.all([hq.start(), branch.start()]);
    [secret] = await Promise.all([readerToken(hq, 'main'), branch.ok('datastore', 'create', 'offsite', join(folder.path, 'copy'))]);
    await addRemote(branch, 'pbs-hq', hq, secret);
    await branch.ok('pull', 'pbs-hq', 'main', 'offsite', '--group-filter', 'group:vm/100', '--max-depth', '0');
  });

  after(async () => {
    // Everything that was finished before all of this is still there and sound.
    assert.match(await branch.ok('verify', 'offsite', '--ignore-verified', 'false'), /verify offsite:vm\/100\/2025-10-10T09:00:00Z\n(?:.*\n)*verify offsite:vm\/100\/2025-10-09T09:00:00Z\n(?:.*\n)*TASK OK\n$/);
    await hq[Symbol.asyncDispose]();
    await branch[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** A command that must fail without having started a task. */
  async function refused(words: string, ...says: RegExp[]): Promise<Outcome> {
    const outcome = await branch.run(words.split(' '));
    assertFailed(outcome, ...says);
    assert.doesNotMatch(outcome.stdout, /TASK/);
    return outcome;
  }

  /** A pull whose task must end as error; `says` are looked for in what is printed, `status` in the task list. */
  async function pullFails(words: string, status: RegExp, ...says: RegExp[]): Promise<Outcome> {
    const outcome = await branch.run(['pull', ...words.split(' ')], { limitMs: 60_000 });
    assertFailed(outcome, ...says);
    assert.match(outcome.stdout, /^TASK ERROR: .*\n$/m);
    const [newest] = (await branch.json('task', 'list', '--all', '--limit', '1')) as Array<{ status: string; worker_type: string }>;
    assert.equal(newest?.worker_type, 'sync');
    assert.match(newest.status, status);
    return outcome;
  }

  /** A remote of `branch` with a name of its own; the name. */
  async function remote(fields: Record<string, string>): Promise<string> {
    count += 1;
    await addRemote(branch, `remote${count}`, hq, secret, fields);
    return `remote${count}`;
  }

  /** A source that lies about one snapshot. */
  async function lied(lies: Lies, body: (name: string, asked: readonly string[]) => Promise<void>): Promise<void> {
    using store = await Datastore.open({ name: 'main', path: join(folder.path, 'main'), locksRoot: join(folder.path, 'locks') });
    await using source = await startLyingSource(store, plain, lies);
    await body(await remote({ port: String(source.remote.port), fingerprint: source.remote.fingerprint }), source.asked);
  }

  test('names that are not there, with where to look', async () => {
    await refused('verify nosuch', /^Error: no such datastore 'nosuch'\n\nHint: see what there is: farshore datastore list$/m);
    await refused('garbage-collection start nosuch', /no such datastore 'nosuch'/);
    await refused('pull pbs-hq main nosuch', /no such datastore 'nosuch'/);
    await refused('pull nosuch main offsite', /no such remote 'nosuch'\n\nHint: .*farshore remote list/);
    await refused('remote test nosuch', /no such remote 'nosuch'/);
    await refused('sync-job run nosuch', /no such sync 'nosuch'\n\nHint: .*farshore sync-job list/);
    await refused('prune-job run nosuch', /no such prune 'nosuch'\n\nHint: .*farshore prune-job list/);
    await refused('user generate-token nosuch@pbs abc', /no such user 'nosuch@pbs'/);
    const warned = await branch.run(['sync-job', 'create', 'early', '--remote', 'nosuch', '--remote-store', 'main', '--store', 'nosuch']);
    assert.equal(warned.code, 0, 'as the reference, it may come later');
    assert.match(warned.stderr, /^Warning: there is no datastore 'nosuch' yet: .*\nWarning: there is no remote 'nosuch' yet: /);
    assertFailed(await branch.run(['sync-job', 'run', 'early']), /no such datastore 'nosuch'/);
  });

  test('a datastore, and a namespace, that the remote does not have', async () => {
    await pullFails('pbs-hq mian offsite', /remote 'pbs-hq': .* on \/datastore\/mian/, /^Mend it with: .*`proxmox-backup-manager datastore list`/m);
    await pullFails('pbs-hq main offsite --remote-ns nosuch', /datastore 'main' of remote 'pbs-hq' has no namespace 'nosuch'/, /^Mend it with: `farshore remote test pbs-hq`/m);
  });

  test('filters that select nothing are no error, but said', async () => {
    const log = await branch.ok('pull', 'pbs-hq', 'main', 'offsite', '--group-filter', 'group:vm/999', '--group-filter', 'exclude:type:host');
    assert.match(log, /^None of the 8 groups at the source is selected by the group filters: group:vm\/999, exclude:type:host\n(?:.*\n)*TASK OK\n$/m);
  });

  test('filters, schedules and sizes that do not parse: where', async () => {
    await refused('pull pbs-hq main offsite --group-filter typ:vm', /'group-filter': group filter 'typ:vm': unknown filter kind 'typ', expected 'type', 'group' or 'regex'/);
    await refused('pull pbs-hq main offsite --group-filter type:qemu', /type 'qemu' is not vm, ct or host/);
    await refused('pull pbs-hq main offsite --group-filter regex:vm/[0-9', /the regular expression does not parse: .*missing closing \]: `\[0-9`/);
    const job = 'sync-job create badjob --remote pbs-hq --remote-store main --store offsite';
    await refused(`${job} --schedule everyday`, /'schedule': unable to parse calendar event at 'everyday' - expected a day of the week/);
    await refused(`${job} --schedule 24:61`, /'schedule': /);
    await refused('prune-job create badjob --store offsite --schedule daily --keep-daily none', /'keep-daily': invalid digit/);
    await refused(`${job} --rate-in 50Foo`, /'rate-in': byte-size parse error for '50Foo'/);
    assert.equal(((await branch.json('sync-job', 'list')) as Array<{ id: string }>).some(({ id }) => id === 'badjob'), false, 'nothing of it was stored');
  });

  test('a size without unit is bytes', async () => {
    await branch.ok('sync-job', 'create', 'plain-rate', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite', '--rate-in', '52428800');
    const job = (await branch.json('sync-job', 'show', 'plain-rate')) as Record<string, unknown>;
    assert.equal(job['rate-in'], '52428800 B');
    await branch.ok('sync-job', 'remove', 'plain-rate');
  });

  test('namespaces too deep, by themselves and with what is below them', async () => {
    await refused('pull pbs-hq main offsite --ns a/b/c/d/e/f/g/h', /'ns': namespace too deep/);
    await pullFails('pbs-hq main offsite --ns a/b/c/d/e/f/g', /that is more than 7/, /^Mend it with: set max-depth/m);
  });

  test('a wrong secret and a wrong fingerprint', async () => {
    const wrongSecret = await remote({ password: '00000000-0000-0000-0000-000000000000' });
    const out = await pullFails(`${wrongSecret} main offsite`, /remote '\w+': the remote does not accept 'sync@pbs!offsite'/, new RegExp(`^Mend it with: .*\`farshore remote update ${wrongSecret} --password SECRET\``, 'm'));
    assert.doesNotMatch(out.stdout + out.stderr, /00000000-0000/);
    const wrong = Array.from({ length: 32 }, () => 'ab').join(':');
    const wrongPrint = await remote({ fingerprint: wrong });
    await pullFails(`${wrongPrint} main offsite`, new RegExp(`has fingerprint ${hq.fingerprint}, expected ${wrong}`), new RegExp(`^Mend it with: .*\`farshore remote update ${wrongPrint} --fingerprint ${hq.fingerprint}\``, 'm'));
  });

  test('an expired certificate at the source: a pinned fingerprint counts, without it the pull is refused', async () => {
    const { cert, key, fingerprint } = await makeCertificate({ notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') });
    await using old = new FarshoreHost(join(folder.path, 'old'));
    await addGoldenDatastore(old, 'main', join(folder.path, 'old-store'));
    for (const [name, text] of [['proxy.pem', cert], ['proxy.key', key]] as const) writeFileSync(join(old.home, 'etc', name), text, { mode: 0o640 });
    await old.start();
    assert.equal(old.fingerprint, fingerprint);
    assert.ok(old.log.some((line) => / WARN .*expired on 2021-01-01/.test(line)), 'the server itself warns');
    const oldSecret = await readerToken(old, 'main');
    await addRemote(branch, 'pinned', old, oldSecret);
    await branch.ok('pull', 'pinned', 'main', 'offsite', '--group-filter', 'group:vm/999');
    await branch.ok('remote', 'update', 'pinned', '--delete', 'fingerprint');
    await pullFails('pinned main offsite', /cannot be trusted: it has expired/, new RegExp(`^Mend it with: .*--fingerprint ${fingerprint}`, 'm'));
  });

  test('no permission at the source: which privilege, on which path', async () => {
    const bare = secretIn(await hq.ok('user', 'generate-token', 'sync@pbs', 'bare'));
    const name = await remote({ 'auth-id': 'sync@pbs!bare', password: bare });
    await pullFails(`${name} main offsite`, /'sync@pbs!bare' lacks .*Datastore\.Read.* on \/datastore\/main/, /^Mend it with: .*acl update \/datastore\/main DatastoreReader --auth-id 'sync@pbs!bare'/m);
  });

  test('no permission at the target: which privilege, on which path', async () => {
    await branch.ok('user', 'create', 'owner@pbs');
    await branch.ok('sync-job', 'create', 'owned', '--remote', 'pbs-hq', '--remote-store', 'main', '--store', 'offsite', '--owner', 'owner@pbs');
    assertFailed(await branch.run(['sync-job', 'run', 'owned']), /missing permissions 'Datastore\.Backup' on '\/datastore\/offsite'/, /^TASK ERROR: /m);
    await branch.ok('sync-job', 'remove', 'owned');
  });

  test('a remote that is gone, stalls, cuts or is no backup server', async () => {
    await using dead = await startScriptedRemote({});
    const { port } = dead;
    await dead[Symbol.asyncDispose]();
    await pullFails(`${await remote({ port: String(port) })} main offsite`, /remote '\w+': 127\.0\.0\.1:\d+ refuses the connection/, /^Mend it with: nothing listens on port/m);

    const pullFrom = async (onRequest: (request: IncomingMessage, response: ServerResponse) => void, status: RegExp): Promise<void> => {
      await using scripted = await startScriptedRemote({ onRequest });
      await pullFails(`${await remote({ port: String(scripted.port), fingerprint: scripted.fingerprint })} main offsite`, status, /^Mend it with: /m);
    };
    await pullFrom(() => {}, /remote '\w+': 127\.0\.0\.1:\d+ does not answer within 5 s/);
    await pullFrom((request) => request.socket.destroy(), /remote '\w+': 127\.0\.0\.1:\d+ closed the connection/);
    await pullFrom((_request, response) => void response.writeHead(404, { 'content-type': 'text/html' }).end('<h1>Not Found</h1>'), /remote '\w+': .*(?:does not know the backup server's interface|404)/);
    await pullFrom((_request, response) => void response.end('{"data":'), /remote '\w+': /);
  });

  test('a source that lies: what it sent is not stored, the snapshot does not appear', async () => {
    const flipped = (bytes: Buffer | null): Buffer | null => {
      const other = Buffer.from(bytes ?? '');
      if (other.length > 0) other[other.length - 1]! ^= 1;
      return other;
    };
    const only = '--group-filter group:host/plain --max-depth 0 --transfer-last 1';
    await lied({ listing: { groups: [{ 'backup-type': 'host', 'backup-id': '../../evil', 'last-backup': plain.time, 'backup-count': 1, files: [] }] } }, async (name) => {
      await pullFails(`${name} main offsite`, /\.\.\/\.\.\/evil|group/);
    });
    await lied({ body: (file, honest) => (/^[0-9a-f]{64}$/.test(file) ? flipped(honest) : honest) }, async (name, asked) => {
      await pullFails(`${name} main offsite ${only}`, /host\/plain failed - .*[0-9a-f]{64}/);
      assert.ok(asked.some((file) => /^[0-9a-f]{64}$/.test(file)), 'chunks were asked for');
    });
    await lied({ body: (file, honest) => (file === 'index.json.blob' ? flipped(honest) : honest) }, async (name) => {
      await pullFails(`${name} main offsite ${only}`, /host\/plain failed - /);
    });
    assert.doesNotMatch(await branch.ok('verify', 'offsite'), /host\/plain\/2025/, 'no snapshot of it');
  });

  test('a disk that is full; with room again the next pull completes', { skip: isRoot ? false : 'needs root to mount a small file system' }, async (t) => {
    const store = join(folder.path, 'small');
    mkdirSync(store);
    const mounted = mount('-t', 'tmpfs', '-o', 'size=3m,nr_inodes=70000', 'tmpfs', store);
    if (!mounted) {
      t.skip('this root may not mount');
      return;
    }
    try {
      await branch.ok('datastore', 'create', 'small', store);
      const out = await pullFails('pbs-hq main small', /no space left|disk.*full|full/i);
      assert.match(out.stdout, /^Mend it with: .*(?:space|free|prune|garbage)/im);
      assert.match(await branch.ok('verify', 'small', '--ignore-verified', 'false'), /TASK OK\n$/);
      assert.ok(mount('-o', 'remount,size=200m', store));
      assert.match(await branch.ok('pull', 'pbs-hq', 'main', 'small'), /TASK OK\n$/);
      assert.match(await branch.ok('verify', 'small', '--ignore-verified', 'false'), /TASK OK\n$/);
    } finally {
      spawnSync('umount', ['-l', store]);
    }
  });

  test('a target on a file system that is read-only', { skip: isRoot ? false : 'needs root to mount one' }, async (t) => {
    const view = join(folder.path, 'view');
    mkdirSync(view);
    if (!mount('--bind', join(folder.path, 'copy'), view) || !mount('-o', 'remount,bind,ro', view)) {
      t.skip('this root may not mount');
      return;
    }
    try {
      appendFileSync(join(branch.home, 'etc', 'datastore.cfg'), `\ndatastore: readonly\n\tpath ${view}\n`);
      await pullFails('pbs-hq main readonly --group-filter type:ct', /read-only/i, /^Mend it with: /m);
    } finally {
      spawnSync('umount', ['-l', view]);
    }
  });

  test('paths that cannot become a datastore', async () => {
    await refused('datastore create offsite /tmp/farshore-nowhere', /'name': datastore 'offsite' already exists/);
    await refused('datastore create fresh relative/path', /'path': expected an absolute path/);
    for (const [path, says] of [
      ['/proc/farshore', /unable to create chunk store '\/proc\/farshore'.*ENOENT/],
      [join(folder.path, 'copy', 'inside'), /nested datastores not allowed: 'offsite' already in/],
      [join(folder.path, 'main'), /datastore path not empty/],
    ] as const) {
      assertFailed(await branch.run(['datastore', 'create', 'fresh', path], { limitMs: 20_000 }), says, /^TASK ERROR: /m);
    }
  });
});

/** Whether it worked: a container's root may not mount. */
function mount(...words: string[]): boolean {
  return spawnSync('mount', words).status === 0;
}

test('a datastore that the server’s user may not write', { skip: isRoot ? 'root may write everywhere' : false }, async () => {
  await using folder = await datastoreFolder();
  await using host = new FarshoreHost(join(folder.path, 'home'));
  await host.start();
  const closed = join(folder.path, 'closed');
  mkdirSync(closed);
  chmodSync(closed, 0o555);
  assertFailed(await host.run(['datastore', 'create', 'fresh', join(closed, 'store')]), /EACCES|[Pp]ermission denied/);
});
