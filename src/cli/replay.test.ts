import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { CannedServer, recordings, runWith, throughPipe } from '../../test/support/manager-runs.ts';
import type { CannedAnswer, Recording } from '../../test/support/manager-runs.ts';

const program = 'proxmox-backup-manager';

/** Texts that are not the reference's: the role and the fault of a calendar event are described in our own words. */
function ours(text: string): string {
  return text
    .replace(/ {13}Enum representing roles via[^]*?used in this enum definition\.\n/g, '             Role: a named set of privileges.\n')
    .replace('Context("weekday")', 'expected a day of the week');
}

async function compare(recording: Recording, server = new CannedServer()): Promise<void> {
  const { environment } = recording;
  const settings = {
    border: environment['PROXMOX_OUTPUT_NO_BORDER'] === undefined,
    header: environment['PROXMOX_OUTPUT_NO_HEADER'] === undefined,
    unicode: environment['LC_ALL'] !== 'C',
    defaultFormat: environment['PROXMOX_OUTPUT_FORMAT'],
  };
  const run = await runWith(server, recording.argv, { program, settings });
  if (recording.pipe === '') {
    assert.equal(run.stdout.replace(/\n+$/, '\n'), ours(recording.stdout));
    assert.equal(run.stderr, ours(recording.stderr));
    assert.equal(run.exit, recording.exit);
  } else {
    assert.equal(throughPipe(run, recording.pipe), ours(recording.stdout));
  }
}

function named(recording: Recording): string {
  return `${Object.entries(recording.environment).map(([name, value]) => `${name}=${value} `).join('')}${recording.argv.join(' ')} ${recording.pipe}`.trim();
}

for (const file of ['usage-errors', 'help']) {
  suite(`recorded ${file}`, () => {
    // `--help` is an error there; here it shows help (usage of `--help`: man-pages.test.ts).
    const runs = recordings(file).filter(({ argv }) => !argv.includes('--help'));
    assert.ok(runs.length >= 5);
    for (const recording of runs) test(named(recording), async () => compare(recording));
  });
}

suite('recorded usage errors among other runs', () => {
  const files = ['user', 'acl', 'datastore', 'remote', 'sync-job', 'prune-job', 'task', 'traffic-control'];
  const runs = files.flatMap(recordings).filter((one) => /Error: parameter verification failed/.test(one.stdout + one.stderr) && (one.pipe !== '' || one.stderr.includes('Usage:')));
  // Values with a grammar of their own are the server's to check.
  const checked = runs.filter((one) => !/(group-filter|rate-in)|push2|p2/.test(one.argv.join(' ')));
  assert.ok(checked.length >= 6);
  for (const recording of checked) test(named(recording), async () => compare(recording));
});

/** The data of a recorded JSON run. */
function dataOf(file: string, argv: string): unknown {
  const found = recordings(file).find((one) => one.argv.join(' ').startsWith(argv) && one.argv.includes('--output-format') && /^[[{]/.test(one.stdout));
  assert.ok(found !== undefined, argv);
  return JSON.parse(found.stdout);
}

/** Recorded table number `nth` of `argv`. */
function tableOf(file: string, argv: string, nth = 0): Recording {
  const found = recordings(file).filter((one) => one.argv.join(' ') === argv && one.stdout !== '' && Object.keys(one.environment).length === 0)[nth];
  assert.ok(found !== undefined, argv);
  return found;
}

suite('recorded tables', () => {
  const cases: Array<[file: string, argv: string, nth: number, answer: string, data: () => unknown]> = [
    ['user', 'user list', 1, 'GET /access/users', () => dataOf('user', 'user list')],
    ['token', 'user list-tokens sync@pbs', 0, 'GET /access/users/sync@pbs/token', () => dataOf('token', 'user list-tokens sync@pbs')],
    ['datastore', 'datastore list', 1, 'GET /config/datastore', () => dataOf('datastore', 'datastore list')],
    ['datastore', 'datastore show offsite', 0, 'GET /config/datastore/offsite', () => dataOf('datastore', 'datastore show offsite')],
    ['remote', 'remote list', 0, 'GET /config/remote', () => dataOf('remote', 'remote list')],
    ['remote', 'remote show backup2', 0, 'GET /config/remote/backup2', () => dataOf('remote', 'remote show backup2')],
    ['sync-job', 'sync-job list --sync-direction all', 0, 'GET /config/sync', () => [...syncJobs(), ...(dataOf('sync-job', 'sync-job list --sync-direction push') as unknown[])]],
    ['sync-job', 'sync-job show hq-nightly', 0, 'GET /config/sync/hq-nightly', () => dataOf('sync-job', 'sync-job show hq-nightly')],
    ['prune-job', 'prune-job list', 1, 'GET /config/prune', () => dataOf('prune-job', 'prune-job list')],
    ['verify-job', 'verify-job list', 0, 'GET /config/verify', () => dataOf('verify-job', 'verify-job list')],
    ['traffic-control', 'traffic-control list', 0, 'GET /config/traffic-control', () => dataOf('traffic-control', 'traffic-control list')],
    ['traffic-control', 'traffic-control show office', 0, 'GET /config/traffic-control/office', () => (dataOf('traffic-control', 'traffic-control list') as unknown[])[1]],
    ['traffic-control', 'traffic-control traffic', 0, 'GET /admin/traffic-control', () => dataOf('traffic-control', 'traffic-control traffic')],
    ['garbage-collection', 'garbage-collection list', 1, 'GET /admin/gc', () => dataOf('garbage-collection', 'garbage-collection list')],
    ['task', 'task list', 0, 'GET /nodes/localhost/tasks', () => dataOf('task', 'task list')],
    ['permissions', 'user permissions sync@pbs!offsite', 0, 'GET /access/permissions', () => dataOf('permissions', 'user permissions sync@pbs')],
    ['node', 'node show', 0, 'GET /nodes/localhost/config', () => ({})],
    ['node', 'node show', 1, 'GET /nodes/localhost/config', () => dataOf('node', 'node show')],
    ['node', 'node server-identity', 0, 'GET /nodes/localhost/identity', () => dataOf('node', 'node server-identity')],
    ['realms', 'openid list', 0, 'GET /config/access/openid', () => [{ realm: 'sso', 'client-id': 'pbs', 'issuer-url': 'https://sso.example.com', comment: 'Single sign-on' }]],
    ['realms', 'openid show sso', 0, 'GET /config/access/openid/sso', () => ({ realm: 'sso', 'client-id': 'pbs', 'issuer-url': 'https://sso.example.com', comment: 'Single sign-on' })],
    ['versions', 'versions', 0, 'GET /nodes/localhost/apt/versions', () => dataOf('versions', 'versions')],
  ];
  for (const [file, argv, nth, answer, data] of cases) {
    test(`${argv} (${file})`, async () => {
      await compare(tableOf(file, argv, nth), new CannedServer({ [answer]: { data: data() } }));
    });
  }

  function syncJobs(): unknown[] {
    return [dataOf('sync-job', 'sync-job show hq-nightly'), { id: 'local-1', 'remote-store': 'main', store: 'offsite', 'max-depth': 0 }];
  }

  test('acl list, sorted by ugid only', async () => {
    const data = [
      { path: '/', propagate: true, roleid: 'Admin', ugid: 'alice@pbs', ugid_type: 'user' },
      { path: '/access', propagate: true, roleid: 'Audit', ugid: 'sync@pbs', ugid_type: 'user' },
      { path: '/datastore/main', propagate: true, roleid: 'DatastoreReader', ugid: 'sync@pbs', ugid_type: 'user' },
      { path: '/datastore/main', propagate: true, roleid: 'DatastoreReader', ugid: 'sync@pbs!offsite', ugid_type: 'user' },
      { path: '/datastore/main/site-a', propagate: false, roleid: 'DatastoreBackup', ugid: 'alice@pbs', ugid_type: 'user' },
    ];
    await compare(tableOf('acl', 'acl list'), new CannedServer({ 'GET /access/acl': { data } }));
  });
});

suite('recorded table formats', () => {
  const users = [
    { comment: 'Offsite Sync', enable: false, expire: 1_800_000_000, userid: 'sync@pbs' },
    { comment: 'Superuser', userid: 'root@pam' },
    { comment: 'Backup operator', email: 'alice@example.com', firstname: 'Alice', userid: 'alice@pbs' },
  ];
  const answers: Record<string, CannedAnswer> = {
    'GET /access/users': { data: users },
    'GET /config/datastore/main': { data: { name: 'main', path: '/datastore/main' } },
    'GET /access/users/alice@pbs/token': { data: [] },
  };
  const runs = recordings('table-formats').filter((one) => one.argv[0] !== 'node' && one.pipe === '');
  assert.ok(runs.length >= 7);
  for (const recording of runs) test(named(recording), async () => compare(recording, new CannedServer(answers)));
});

suite('JSON output', () => {
  for (const [file, argv, answer] of [
    ['user', 'user list --output-format json-pretty', 'GET /access/users'],
    ['sync-job', 'sync-job show hq-nightly --output-format json-pretty', 'GET /config/sync/hq-nightly'],
    ['garbage-collection', 'garbage-collection list --output-format json-pretty', 'GET /admin/gc'],
  ] as const) {
    test(argv, async () => {
      const recording = tableOf(file, argv);
      await compare(recording, new CannedServer({ [answer]: { data: JSON.parse(recording.stdout) } }));
    });
  }
});

test('an error of the server is printed unchanged, without usage', async () => {
  const recording = recordings('user').find((one) => one.argv.join(' ') === 'user create bob@nosuch')!;
  await compare(recording, new CannedServer({ 'POST /access/users': { status: 400, text: "unknown realm 'nosuch'" } }));
});
