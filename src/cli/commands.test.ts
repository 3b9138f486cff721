import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CannedServer, runWith } from '../../test/support/manager-runs.ts';
import type { Run, SeenCall } from '../../test/support/manager-runs.ts';
import { splitShellLine } from '../terminal/completion.ts';
import { errorText } from '../terminal/program.ts';
import { StoreError } from '../base/errors.ts';

async function run(line: string, server = new CannedServer()): Promise<Run & { calls: SeenCall[] }> {
  const { done, last } = splitShellLine(line);
  const outcome = await runWith(server, [...done, last].slice(1));
  return { ...outcome, calls: server.calls };
}

const secret = '04679a4a-0609-47d9-bfaa-cbe760d2a4ed';
const fingerprint = Array.from({ length: 32 }, () => 'aa').join(':');

suite('the way to a replicated datastore, line by line', () => {
  const cases: Array<[string, string, string, unknown]> = [
    ['farshore user create sync@pbs --comment "Offsite Sync"', 'POST', '/access/users', { userid: 'sync@pbs', comment: 'Offsite Sync' }],
    [
      `farshore remote create pbs-hq --host pbs.hq.example.com --auth-id 'sync@pbs!offsite' --password '${secret}' --fingerprint '${fingerprint}'`,
      'POST',
      '/config/remote',
      { name: 'pbs-hq', host: 'pbs.hq.example.com', 'auth-id': 'sync@pbs!offsite', password: secret, fingerprint },
    ],
    [
      "farshore sync-job create offsite-nightly --remote pbs-hq --remote-store main --store offsite --schedule 'mon..fri 02:30' --rate-in 50MiB --group-filter 'type:vm' --group-filter 'type:ct' --remove-vanished false --comment 'Nightly pull from HQ'",
      'POST',
      '/config/sync',
      {
        id: 'offsite-nightly',
        remote: 'pbs-hq',
        'remote-store': 'main',
        store: 'offsite',
        schedule: 'mon..fri 02:30',
        'rate-in': '50MiB',
        'group-filter': ['type:vm', 'type:ct'],
        'remove-vanished': false,
        comment: 'Nightly pull from HQ',
      },
    ],
    [
      "farshore prune-job create offsite-prune --store offsite --schedule 'sun 04:00' --keep-daily 14 --keep-weekly 8 --keep-monthly 12",
      'POST',
      '/config/prune',
      { id: 'offsite-prune', store: 'offsite', schedule: 'sun 04:00', 'keep-daily': 14, 'keep-weekly': 8, 'keep-monthly': 12 },
    ],
    ['farshore sync-job update offsite-nightly --rate-in 52428800 --delete comment --delete ns', 'PUT', '/config/sync/offsite-nightly', { 'rate-in': '52428800', delete: ['comment', 'ns'] }],
    ['farshore sync-job remove offsite-nightly', 'DELETE', '/config/sync/offsite-nightly', {}],
    ['farshore verify-job create weekly --store offsite --ignore-verified false', 'POST', '/config/verify', { id: 'weekly', store: 'offsite', 'ignore-verified': false }],
    ["farshore task stop 'UPID:pbs1:00000074:000FB300:0000001D:6B0545D4:sync:a\\x3ab:sync@pbs!offsite:'", 'DELETE', `/nodes/localhost/tasks/${encodeURIComponent('UPID:pbs1:00000074:000FB300:0000001D:6B0545D4:sync:a\\x3ab:sync@pbs!offsite:')}`, {}],
    ["farshore user delete-token sync@pbs offsite", 'DELETE', '/access/users/sync%40pbs/token/offsite', {}],
  ];
  for (const [line, method, target, body] of cases) {
    test(line.slice(0, 60), async () => {
      const { calls, ...outcome } = await run(line, new CannedServer({ 'GET /config/datastore': { data: [{ name: 'offsite' }] }, 'GET /config/remote': { data: [{ name: 'pbs-hq' }] } }));
      assert.deepEqual(outcome, { stdout: '', stderr: '', exit: 0 });
      assert.deepEqual(calls.filter((call) => call.method !== 'GET'), [{ method, target, body }]);
    });
  }

  test('a sync job over names that do not exist is created with a warning for each', async () => {
    const { stderr, exit } = await run('farshore sync-job create nightly --remote pbs-hq --remote-store main --store ofsite');
    assert.equal(exit, 0);
    assert.deepEqual(stderr.match(/there is no \S+ '\S+'/g), ["there is no datastore 'ofsite'", "there is no remote 'pbs-hq'"]);
    const local = await run('farshore sync-job create nightly --remote-store main --store offsite', new CannedServer({ 'GET /config/datastore': { data: [{ name: 'offsite' }] } }));
    assert.deepEqual(local.stderr.match(/there is no \S+ '\S+'/g), ["there is no datastore 'main'"]);
  });

  test('generate-token prints the secret once', async () => {
    const server = new CannedServer({ 'POST /access/users/sync@pbs/token/offsite': { data: { value: secret, tokenid: 'sync@pbs!offsite' } } });
    const { stdout, exit, calls } = await run('farshore user generate-token sync@pbs offsite --comment "Pull from offsite PBS"', server);
    assert.equal(stdout, `Result: {\n  "tokenid": "sync@pbs!offsite",\n  "value": "${secret}"\n}\n`);
    assert.equal(exit, 0);
    assert.deepEqual(calls[0]!.body, { comment: 'Pull from offsite PBS' });
  });

  for (const [line, path, data] of [
    ['farshore sync-job run nightly', '/admin/sync/nightly/run', {}],
    ['farshore prune-job run weekly', '/admin/prune/weekly/run', {}],
    ['farshore verify-job run monthly', '/admin/verify/monthly/run', {}],
    ['farshore verify offsite --outdated-after 30', '/admin/datastore/offsite/verify', { 'outdated-after': 30 }],
    ['farshore garbage-collection start offsite', '/admin/datastore/offsite/gc', {}],
    ['farshore pull pbs-hq main offsite --max-depth 0', '/pull', { remote: 'pbs-hq', 'remote-store': 'main', store: 'offsite', 'max-depth': 0 }],
    ['farshore push main pbs-hq offsite', '/push', { store: 'main', remote: 'pbs-hq', 'remote-store': 'offsite' }],
    ['farshore datastore create offsite /data/offsite', '/config/datastore', { name: 'offsite', path: '/data/offsite' }],
  ] as const) {
    test(`${line} starts a task`, async () => {
      const { stdout, calls } = await run(`${line} --output-format json`, new CannedServer({ [`POST ${path}`]: { data: 'UPID:x' } }));
      assert.equal(stdout, '"UPID:x"\n');
      assert.deepEqual(calls, [{ method: 'POST', target: path, body: data }]);
    });
  }

  test('task list asks for running tasks, or for all', async () => {
    assert.deepEqual((await run('farshore task list')).calls[0]!.target, '/nodes/localhost/tasks?running=1&start=0&limit=50');
    assert.deepEqual((await run('farshore task list --all --limit 4')).calls[0]!.target, '/nodes/localhost/tasks?running=0&start=0&limit=4');
  });

  test('version', async () => {
    assert.deepEqual(await run('farshore version'), { stdout: 'farshore 1.2.3\n', stderr: '', exit: 0, calls: [] });
  });
});

suite('acl update for a token', () => {
  const roles = { data: [{ roleid: 'DatastoreReader', privs: ['Datastore.Audit', 'Datastore.Read', 'Datastore.Verify'] }, { roleid: 'NoAccess', privs: [] }] };
  const server = (held: Record<string, boolean> | null): CannedServer =>
    new CannedServer({ 'GET /access/roles': roles, 'GET /access/permissions': { data: held === null ? {} : { '/datastore/main': held } } });
  const line = "farshore acl update /datastore/main DatastoreReader --auth-id 'sync@pbs!offsite'";

  test('whose user has nothing there: a warning with the missing command, exit 0', async () => {
    const { stdout, stderr, exit, calls } = await run(line, server(null));
    assert.deepEqual([stdout, exit], ['', 0]);
    assert.match(stderr, /^Warning: .*'sync@pbs' lacks on \/datastore\/main: Datastore\.Audit, Datastore\.Read, Datastore\.Verify\.\n/);
    assert.match(stderr, /\n {4}farshore acl update \/datastore\/main DatastoreReader --auth-id sync@pbs\n$/);
    assert.deepEqual(calls[0], { method: 'PUT', target: '/access/acl', body: { path: '/datastore/main', role: 'DatastoreReader', 'auth-id': 'sync@pbs!offsite' } });
    assert.equal(calls.find((call) => call.target.startsWith('/access/permissions'))!.target, '/access/permissions?auth-id=sync%40pbs&path=%2Fdatastore%2Fmain');
  });

  test('whose user has all of it: nothing', async () => {
    assert.equal((await run(line, server({ 'Datastore.Audit': true, 'Datastore.Read': true, 'Datastore.Verify': true }))).stderr, '');
  });

  test('whose user has a part, or has it only on this path', async () => {
    assert.match((await run(line, server({ 'Datastore.Audit': true, 'Datastore.Read': false }))).stderr, /: Datastore\.Read, Datastore\.Verify\.\n/);
    const own = await run(`${line} --propagate 0`, server({ 'Datastore.Audit': false, 'Datastore.Read': false }));
    assert.match(own.stderr, /: Datastore\.Verify\.\n/);
    assert.match(own.stderr, /--auth-id sync@pbs --propagate 0\n$/);
  });

  test('no question for users, deletions and roles without privileges', async () => {
    assert.equal((await run(line.replace('!offsite', ''), server(null))).calls.length, 1);
    assert.equal((await run(`${line} --delete`, server(null))).calls.length, 1);
    assert.equal((await run(line.replace('DatastoreReader', 'NoAccess'), server(null))).stderr, '');
  });

  test('a check that fails does not hide that the entry was written', async () => {
    const { stderr, exit } = await run(line, new CannedServer({ 'GET /access/roles': { status: 500, text: 'oops' } }));
    assert.equal(exit, 0);
    assert.match(stderr, /^Warning: .*could not be checked: oops\n$/);
  });
});

suite('remote test', () => {
  test('all well', async () => {
    const server = new CannedServer({ 'POST /config/remote/pbs-hq/test': { data: { ok: true, checks: [{ name: 'connect', ok: true, detail: '12 ms' }, { name: 'fingerprint', ok: true, detail: '' }] } } });
    const outcome = await run('farshore remote test pbs-hq', server);
    assert.deepEqual([outcome.stdout, outcome.stderr, outcome.exit], ['ok     connect      12 ms\nok     fingerprint\n', '', 0]);
  });

  test('one cause and the command that mends it', async () => {
    const data = { ok: false, cause: 'the fingerprint differs', hint: 'farshore remote update pbs-hq --fingerprint bb', checks: [{ name: 'tls', ok: false, detail: 'got bb' }] };
    const outcome = await run('farshore remote test pbs-hq', new CannedServer({ 'POST /config/remote/pbs-hq/test': { data } }));
    assert.equal(outcome.stdout, 'FAILED tls  got bb\n\nCause: the fingerprint differs\nMend it with: farshore remote update pbs-hq --fingerprint bb\n');
    assert.equal(outcome.exit, 255);
    const json = await run('farshore remote test pbs-hq --output-format json', new CannedServer({ 'POST /config/remote/pbs-hq/test': { data } }));
    assert.deepEqual([JSON.parse(json.stdout), json.exit], [data, 255]);
  });
});

test('errors: message, numbered causes, hint', () => {
  assert.equal(errorText(new Error('a')), 'Error: a\n');
  assert.equal(errorText(new Error('a', { cause: new Error('b') })), 'Error: a\n\nCaused by:\n    b\n');
  const deep = new StoreError('store.x', 'a', { cause: new Error('b', { cause: 'c' }), hint: 'do this' });
  assert.equal(errorText(deep), 'Error: a\n\nCaused by:\n    0: b\n    1: c\n\nHint: do this\n');
});

test('commands of others are found, listed and run', async () => {
  const { managerTree } = await import('./main.ts');
  const command = { words: ['server'], description: 'Run the server.', parameters: managerTree('1', []).children.get('version')!.command!.parameters, positional: [], run: async () => 3 };
  const outcome = await runWith(new CannedServer(), ['serv'], { io: { commands: [command] } });
  assert.equal(outcome.exit, 3);
  assert.match((await runWith(new CannedServer(), ['help'], { io: { commands: [command] } })).stdout, /^server$/m);
});
