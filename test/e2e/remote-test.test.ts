import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { createServer, type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { startBlackHole } from '../support/black-hole.ts';
import { makeCertificate } from '../support/certificate.ts';
import { addGoldenDatastore, addRemote, datastoreFolder, FarshoreHost, readerToken, secretIn } from '../support/farshore-host.ts';
import { startScriptedRemote, type ScriptedRemote } from '../support/scripted-remote.ts';

/** Answer of `remote test --output-format json`. */
interface Report {
  ok: boolean;
  cause?: string;
  'cause-name'?: string;
  hint?: string;
  checks: Array<{ name: string; ok: boolean; detail?: string }>;
  fingerprint?: string;
  version?: string;
  'latency-ms'?: number;
  'bytes-per-second'?: number;
}

/** The REST calls of a test, answered by a server that is all right but for its `version` and the time that it shows. */
function answerAs(version: string, offsetMs: number): (request: IncomingMessage, response: ServerResponse) => void {
  const answers: Record<string, unknown> = {
    version: { version, release: '1', repoid: 'x' },
    'admin/datastore': [{ store: 'main' }],
    'admin/datastore/main/namespace': [{ ns: '' }],
    'admin/datastore/main/groups': [],
  };
  return (request, response) => {
    const path = (request.url ?? '').replace(/^\/+api2\/json\//, '').replace(/\?.*$/, '');
    response.setHeader('date', new Date(Date.now() + offsetMs).toUTCString());
    if (path in answers) response.end(JSON.stringify({ data: answers[path] }));
    else response.writeHead(403).end('permission check failed');
  };
}

suite('remote test names one cause and what mends it', () => {
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
    await Promise.all([hq.start(), branch.start()]);
    secret = await readerToken(hq, 'main');
  });

  after(async () => {
    await hq[Symbol.asyncDispose]();
    await branch[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  /** A remote of its own for `hq` with some fields changed, perhaps a job that uses it, and the test's report. */
  async function report(fields: Record<string, string> = {}, job: Record<string, string> | null = null): Promise<Report & { remote: string; text: string }> {
    count += 1;
    const remote = `hq${count}`;
    await addRemote(branch, remote, hq, secret, fields);
    if (job !== null) {
      const options = { remote, store: 'offsite', 'remote-store': 'main', ...job };
      await branch.ok('sync-job', 'create', `job${count}`, ...Object.entries(options).flatMap(([key, value]) => [`--${key}`, value]));
    }
    const outcome = await branch.run(['remote', 'test', remote, '--output-format', 'json']);
    assert.equal(outcome.stderr, '', outcome.stderr);
    const found = JSON.parse(outcome.stdout) as Report;
    assert.equal(outcome.code, found.ok ? 0 : 255);
    assert.equal(found.cause !== undefined, !found.ok, 'a cause when and only when it failed');
    return { ...found, remote, text: outcome.stdout };
  }

  function assertCause(found: Report, name: string, cause: RegExp, hint: RegExp): void {
    assert.equal(found['cause-name'], name, JSON.stringify(found));
    assert.match(found.cause!, cause);
    assert.match(found.hint!, hint);
    assert.equal(found.checks.filter(({ ok }) => !ok).length, 1, 'one check failed');
  }

  async function scripted(version: string, offsetMs: number, body: (remote: ScriptedRemote) => Promise<void>): Promise<void> {
    await using remote = await startScriptedRemote({ onRequest: answerAs(version, offsetMs) });
    await body(remote);
  }

  test('all well: version, latency, rate, and what the token can see', async () => {
    const plain = await report();
    assert.deepEqual([plain.ok, plain.fingerprint], [true, hq.fingerprint]);
    assert.match(plain.version!, /^\d+\.\d+\.\d+$/);
    assert.ok(plain['latency-ms']! > 0 && plain['bytes-per-second']! > 0, plain.text);
    assert.equal(plain.checks.find(({ name }) => name === 'datastores')?.detail, 'visible: main');
    const used = await report({}, {});
    assert.ok(used['bytes-per-second']! > 0);
    assert.equal(used.checks.find(({ name }) => name === 'pull from main')?.detail, '6 groups, 2 namespaces: site-a, site-a/dept-b');
    assert.match(await branch.ok('remote', 'test', used.remote), /^ok {5}rate {12}[0-9.]+ [KMG]iB\/s over one connection$/m);
  });

  test('no such name', async () => {
    assertCause(await report({ host: 'no-such-host.invalid' }), 'name-not-found', /'no-such-host\.invalid' cannot be resolved|was not resolved/, /`getent hosts no-such-host\.invalid`/);
  });

  test('port closed', async () => {
    const server = createServer().listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    await new Promise((resolve) => server.close(resolve));
    assertCause(await report({ port: String(port) }), 'port-closed', new RegExp(`127\\.0\\.0\\.1:${port} refuses the connection`), /`systemctl status proxmox-backup-proxy`/);
  });

  test('port filtered: the packets are dropped', async () => {
    await using hole = await startBlackHole();
    assertCause(await report({ port: String(hole.port) }), 'filtered', /does not answer within 10 s/, /`ping 127\.0\.0\.1`, and allow TCP port \d+/);
  });

  test('not TLS', async () => {
    const server = createServer((socket) => void socket.on('error', () => {}).end('220 mail.example ESMTP\r\n')).listen(0, '127.0.0.1');
    await new Promise((resolve) => server.once('listening', resolve));
    const { port } = server.address() as AddressInfo;
    const found = await report({ port: String(port) });
    server.close();
    assertCause(found, 'not-tls', /does not speak TLS/, /a backup server's port is 8007/);
  });

  test('another fingerprint: both are shown, and the command that is named mends it', async () => {
    const wrong = Array.from({ length: 32 }, () => 'ab').join(':');
    const found = await report({ fingerprint: wrong });
    assertCause(found, 'fingerprint', new RegExp(`has fingerprint ${hq.fingerprint}, expected ${wrong}`), /`proxmox-backup-manager cert info` on the remote/);
    const command = /`farshore (remote update [^`]+)`/.exec(found.hint!)?.[1];
    assert.equal(command, `remote update ${found.remote} --fingerprint ${hq.fingerprint}`);
    await branch.ok(...command.split(' '));
    await branch.ok('remote', 'test', found.remote);
  });

  test('a certificate that nobody vouches for, and one that has expired', async () => {
    await using fresh = await startScriptedRemote({ onRequest: answerAs('4.2', 0) });
    const one = await report({ port: String(fresh.port), fingerprint: fresh.fingerprint });
    assert.equal(one.ok, true, one.text);
    await branch.ok('remote', 'update', one.remote, '--delete', 'fingerprint');
    const outcome = await branch.run(['remote', 'test', one.remote]);
    assert.match(outcome.stdout, /^Cause: the certificate of \S+ cannot be trusted: it is self-signed$/m);
    assert.match(outcome.stdout, new RegExp(`^Mend it with: .*\`farshore remote update ${one.remote} --fingerprint ${fresh.fingerprint}\``, 'm'));

    const certificate = await makeCertificate({ notBefore: new Date('2020-01-01'), notAfter: new Date('2021-01-01') });
    await using old = await startScriptedRemote({ certificate, onRequest: answerAs('4.2', 0) });
    await branch.ok('remote', 'update', one.remote, '--port', String(old.port));
    const expired = await branch.run(['remote', 'test', one.remote]);
    assert.match(expired.stdout, /^Cause: the certificate of \S+ cannot be trusted: it has expired$/m);
    assert.match(expired.stdout, new RegExp(`--fingerprint ${old.fingerprint}`));
  });

  test('the clocks are far apart', async () => {
    await scripted('4.2', -3_600_000, async (remote) => {
      const found = await report({ port: String(remote.port), fingerprint: remote.fingerprint });
      assertCause(found, 'clock', /the clock of the remote is 3(?:599|600|601) s behind ours/, /`timedatectl status` here and on the remote/);
      const outcome = await branch.run(['remote', 'test', found.remote]);
      assert.equal(outcome.code, 255);
      assert.match(outcome.stdout, /^Cause: the clock of the remote is \d+ s behind ours$/m);
    });
  });

  test('clocks a minute apart are a warning only', async () => {
    await scripted('4.2', 60_000, async (remote) => {
      const found = await report({ port: String(remote.port), fingerprint: remote.fingerprint });
      assert.equal(found.ok, true, 'the work goes on');
      assert.match(await branch.ok('remote', 'test', found.remote), /^WARN {3}warning +the clock of the remote is \d+ s ahead of ours; let both keep time: /m);
    });
  });

  test('a remote that is too old', async () => {
    await scripted('2.1', 0, async (remote) => {
      assertCause(await report({ port: String(remote.port), fingerprint: remote.fingerprint }), 'version', /is version 2\.1\.1, older than 2\.2/, /`apt update && apt full-upgrade`/);
    });
  });

  test('wrong secret, disabled token, expired token: the remote does not say which, the hint finds out', async () => {
    const off = secretIn(await hq.ok('user', 'generate-token', 'sync@pbs', 'off', '--enable', 'false'));
    const old = secretIn(await hq.ok('user', 'generate-token', 'sync@pbs', 'old', '--expire', '1'));
    const cases = [['offsite', '00000000-0000-0000-0000-000000000000'], ['off', off], ['old', old]] as const;
    for (const [token, password] of cases) {
      const found = await report({ 'auth-id': `sync@pbs!${token}`, password });
      assertCause(found, 'credentials', new RegExp(`does not accept 'sync@pbs!${token}': the secret is wrong, or the token or its user does not exist, is disabled or expired`), /`proxmox-backup-manager user list-tokens sync@pbs`/);
      assert.match(found.hint!, new RegExp(`\`farshore remote update ${found.remote} --password SECRET\``));
      assert.ok(!found.text.includes(password), 'the secret is not shown');
    }
  });

  test('no such datastore: what there is instead', async () => {
    const wide = await readerToken(hq, 'main', 'wide@pbs');
    for (const authId of ['wide@pbs', 'wide@pbs!offsite']) await hq.ok('acl', 'update', '/datastore', 'DatastoreReader', '--auth-id', authId);
    const found = await report({ 'auth-id': 'wide@pbs!offsite', password: wide }, { 'remote-store': 'mian' });
    assertCause(found, 'no-such-datastore', /the remote has no datastore 'mian'; 'wide@pbs!offsite' can see main/, /`proxmox-backup-manager datastore list`/);
  });

  test('a privilege that the token lacks, and one that its user lacks', async () => {
    const bare = secretIn(await hq.ok('user', 'generate-token', 'sync@pbs', 'bare'));
    const found = await report({ 'auth-id': 'sync@pbs!bare', password: bare }, {});
    assertCause(found, 'privilege', /'sync@pbs!bare' lacks Datastore\.Audit and Datastore\.Read on \/datastore\/main: the token itself, its user, or both/, /`proxmox-backup-manager acl update \/datastore\/main DatastoreReader --auth-id 'sync@pbs!bare'`/);
    // The commands that are named, on the remote, as they stand there.
    for (const [, command] of found.hint!.matchAll(/`proxmox-backup-manager (acl update [^`]+)`/g)) await hq.ok(...command!.split(' ').map((word) => word.replaceAll("'", '')));
    await branch.ok('remote', 'test', found.remote);

    await hq.ok('user', 'create', 'poor@pbs');
    const poor = secretIn(await hq.ok('user', 'generate-token', 'poor@pbs', 'offsite'));
    await hq.run(['acl', 'update', '/datastore/main', 'DatastoreReader', '--auth-id', 'poor@pbs!offsite']);
    const ofUser = await report({ 'auth-id': 'poor@pbs!offsite', password: poor }, {});
    assertCause(ofUser, 'privilege', /'poor@pbs!offsite' lacks Datastore\.Audit and Datastore\.Read on \/datastore\/main/, /acl update \/datastore\/main DatastoreReader --auth-id 'poor@pbs'`/);
  });

  test('a namespace that is not there or not visible', async () => {
    assertCause(await report({}, { 'remote-ns': 'site-x' }), 'namespace', /datastore 'main' has no namespace 'site-x'; 'sync@pbs!offsite' can see site-a, site-a\/dept-b/, /namespace create site-x/);
  });
});
