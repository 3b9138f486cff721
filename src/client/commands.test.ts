import assert from 'node:assert/strict';
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { ClientHome, nobody, ScriptedPrompter, type ClientRun } from '../../test/support/client-runs.ts';
import { clientServer, type ClientServer } from '../../test/support/client-server.ts';
import { fixturePath, goldenPassphrase } from '../../test/support/golden.ts';

/** Commands that change or tell something on a whole server; texts as the reference's client printed them. */

const snapshot = 'host/plain/2025-10-10T08:53:20Z';

interface Ground {
  server: ClientServer;
  home: ClientHome;
  /** What it printed; fails when the run did. */
  ok: (...argv: string[]) => Promise<string>;
  /** The first line of its error; fails when the run did not. */
  refused: (...argv: string[]) => Promise<string>;
}

function refusal(run: ClientRun): string {
  assert.equal(run.exit, 255, run.stdout);
  return /^Error: (.*)$/m.exec(run.stderr)?.[1] ?? run.stderr;
}

async function ground(t: TestContext): Promise<Ground> {
  const server = await clientServer(t, { own: true });
  const home = await ClientHome.make(t, server);
  const ok = async (...argv: string[]): Promise<string> => {
    const run = await home.run(argv);
    assert.deepEqual([run.exit, run.stderr], [0, ''], argv.join(' '));
    return run.stdout;
  };
  return { server, home, ok, refused: async (...argv) => refusal(await home.run(argv)) };
}

test('notes, protection, the log and the removal of a snapshot', async (t) => {
  const { home, ok, refused } = await ground(t);
  assert.equal(await ok('snapshot', 'notes', 'show', snapshot), '\n');
  // Longer than a query may be.
  const notes = `two\nlines\n${'x'.repeat(5000)}`;
  assert.equal(await ok('snapshot', 'notes', 'update', snapshot, notes), '');
  assert.equal(await ok('snapshot', 'notes', 'show', snapshot), `${notes}\n`);
  assert.equal(await ok('snapshot', 'notes', 'update', snapshot, 'short'), '');
  assert.equal(await ok('snapshot', 'notes', 'show', snapshot, '--output-format', 'json'), '{"notes":"short"}\n');
  assert.equal(await ok('snapshot', 'protected', 'show', snapshot), 'false\n');
  assert.equal(await ok('snapshot', 'protected', 'update', snapshot, 'true'), '');
  assert.equal(await ok('snapshot', 'protected', 'show', snapshot, '--output-format', 'json-pretty'), '{\n  "protected": true\n}\n');
  assert.equal(await refused('snapshot', 'forget', snapshot), 'failed to delete snapshot - cannot remove protected snapshot');
  assert.equal(await ok('snapshot', 'protected', 'update', snapshot, 'no'), '');

  const log = join(home.path, 'backup.log');
  await writeFile(log, 'all went well\n'.repeat(100));
  assert.equal(await ok('upload-log', snapshot, log), 'Result: {\n  "data": null\n}\n');
  assert.equal((await home.run(['restore', snapshot, 'client.log', '-'])).stderr.includes('manifest does not contain'), true);
  assert.equal(await refused('snapshot', 'upload-log', snapshot, log), 'backup already contains a log.');
  assert.equal(await refused('snapshot', 'upload-log', snapshot, '/nosuch'), 'unable to read "/nosuch" - No such file or directory (os error 2)');

  assert.equal(await ok('forget', snapshot), '');
  assert.match(await refused('snapshot', 'forget', snapshot), /^failed to delete snapshot - /);
  assert.equal(await refused('snapshot', 'forget', 'host/plain'), "unable to parse backup snapshot path 'host/plain'");
});

test('namespaces are made, listed and deleted', async (t) => {
  const { ok, refused } = await ground(t);
  const before = await ok('namespace', 'list');
  assert.equal(await refused('namespace', 'create'), 'root namespace is always present');
  assert.equal(await ok('namespace', 'create', 'new'), '');
  assert.equal(await ok('namespace', 'create', 'new/b'), '');
  assert.match(await refused('namespace', 'create', 'q/r'), /./);
  assert.equal(await ok('namespace', 'list', 'new'), 'new\nnew/b\n');
  assert.equal(await ok('namespace', 'list', 'new', '--max-depth', '0'), 'new\n');
  assert.equal(await ok('namespace', 'list', 'new', '--output-format', 'json'), '{"data":[{"ns":"new"},{"ns":"new/b"}]}\n');
  assert.equal(await ok('namespace', 'list', '--max-depth', '0'), '');
  assert.equal(await refused('namespace', 'delete'), 'root namespace cannot be deleted');
  assert.equal(await refused('namespace', 'move', '--target-ns', 'x'), 'root namespace cannot be moved');
  assert.equal(await ok('namespace', 'delete', 'new', '--dry-run'), 'would remove namespace new/b\nwould remove namespace new\n');
  const groups = await ok('namespace', 'delete', 'site-a', '--dry-run');
  assert.match(groups, /would keep namespace site-a: it has \d+ group\(s\); --delete-groups removes them, too\n/);
  assert.doesNotMatch(groups, /would remove site-a:/);
  assert.match(await ok('namespace', 'delete', 'site-a', '--delete-groups', '--dry-run'), /would remove site-a:(?:vm|ct|host)\/[^]*would remove namespace site-a\n/);
  assert.equal(await ok('namespace', 'delete', 'new/b'), '');
  assert.equal(await ok('namespace', 'delete', 'new', '--delete-groups'), '');
  assert.equal(await ok('namespace', 'list'), before);
});

test('a group is pruned, changes its owner, and goes when that is confirmed', async (t) => {
  const { home, ok, refused } = await ground(t);
  const table = (rows: string[]): string =>
    [
      '┌─────────────────────────────────┬──────────────────────────┬────────┐',
      '│ snapshot                        │                     date │ action │',
      '╞═════════════════════════════════╪══════════════════════════╪════════╡',
      rows.join('\n├─────────────────────────────────┼──────────────────────────┼────────┤\n'),
      '└─────────────────────────────────┴──────────────────────────┴────────┘\n',
    ].join('\n');
  const removed = '│ host/split/2025-10-09T08:55:00Z │ Thu Oct  9 08:55:00 2025 │ remove │';
  const kept = '│ host/split/2025-10-10T09:53:20Z │ Fri Oct 10 09:53:20 2025 │   keep │';
  assert.equal(await ok('prune', 'host/split', '--keep-last', '1', '--dry-run'), table([removed, kept]));
  assert.equal(await ok('prune', 'host/split', '--keep-last', '1', '--dry-run', '--quiet'), table([removed]));
  assert.equal(await ok('prune', 'host/split'), table([kept.replace('10-10T09:53:20Z │ Fri Oct 10 09:53:20', '10-09T08:55:00Z │ Thu Oct  9 08:55:00'), kept]));
  const json = JSON.parse(await ok('prune', 'host/split', '--keep-last', '1', '--output-format', 'json')) as unknown[];
  assert.deepEqual(json, [
    { 'backup-id': 'split', 'backup-time': 1_760_000_100, 'backup-type': 'host', keep: false, protected: false },
    { 'backup-id': 'split', 'backup-time': 1_760_090_000, 'backup-type': 'host', keep: true, protected: false },
  ]);
  assert.equal((JSON.parse(await ok('snapshot', 'list', 'host/split', '--output-format', 'json')) as unknown[]).length, 1);
  assert.match((await home.run(['prune', 'host/split', '--keep-last', '0'])).stderr, /^Error: parameter verification failed - 'keep-last'/);

  assert.equal(await refused('change-owner', 'host/split', 'nosuch@pbs'), "user 'nosuch@pbs' is inactive or non-existent");
  assert.equal(await ok('change-owner', 'host/split', 'alice@pbs'), '');
  assert.match(await ok('list', '--output-format', 'json'), /"backup-id":"split","backup-type":"host".*?"owner":"alice@pbs"/);

  const forget = async (group: string, ...answers: string[]): Promise<ClientRun> => home.run(['group', 'forget', group], { prompter: answers.length === 0 ? nobody : new ScriptedPrompter(...answers) });
  const question = 'Delete group "host/split" with 1 snapshot(s)? [y/N]: ';
  assert.equal((await forget('host/split')).stdout, `${question}Abort.\n`);
  assert.equal((await forget('host/split', 'n')).stdout, `${question}Abort.\n`);
  assert.equal(refusal(await forget('host/split', 'foo')), "unexpected choice 'foo'! Use enter for default or use 'y' or 'n'");
  assert.equal((await forget('host/split', 'y')).stdout, `${question}Successfully deleted group!\n`);
  const gone = await forget('host/split', 'y');
  assert.equal(refusal(gone), 'Unable to find backup group!');
});

test('usage of the datastore, garbage collection and its task', async (t) => {
  const { home, ok, refused } = await ground(t);
  const lines = (await ok('status')).split('\n');
  assert.match(lines[1]!, /^│ total │ [0-9]+ {2}\(100 %\) │$/);
  for (const [at, name] of [[3, 'used '], [5, 'avail']] as const) assert.match(lines[at]!, new RegExp(`^│ ${name} │ +[0-9]+ +\\([0-9]+ %\\) │$`));
  assert.deepEqual(Object.keys(JSON.parse(await ok('status', '--output-format', 'json')) as object), ['avail', 'backend-type', 'total', 'used']);
  assert.match(await ok('server-identity'), /^pbs-instance-id: [0-9a-f]{32}\n$/);

  assert.match(await ok('garbage-collect'), /^starting garbage collection on store main\n[^]*\nTASK OK\n$/);
  const upid = JSON.parse(await ok('garbage-collect', '--output-format', 'json')) as string;
  assert.match(upid, /^UPID:.*:garbage_collection:main:admin@pbs:$/);
  assert.match(await ok('task', 'log', upid), /^starting garbage collection on store main\n[^]*\nTASK OK\n$/);
  const tasks = JSON.parse(await ok('task', 'list', '--all', '--output-format', 'json')) as Array<Record<string, unknown>>;
  assert.deepEqual(tasks.map((task) => [task['worker_type'], task['user'], task['status']]), [['garbage_collection', 'admin@pbs', 'OK'], ['garbage_collection', 'admin@pbs', 'OK']]);
  assert.match(await ok('task', 'list', '--all', '--limit', '1'), /│ starttime +│ endtime +│ upid +│ status │\n/);
  assert.equal(await ok('task', 'list'), '');
  assert.equal(await ok('task', 'stop', upid), '');
  assert.match((await home.run(['task', 'stop', 'UPID:x'])).stderr, /parameter verification failed - 'upid'/);
  assert.match(await refused('task', 'log', 'UPID:localhost:00007C65:0009FA73:0000000B:6B061929:garbage_collection:main:admin@pbs:'), /./);
});

test('a log under a key is encrypted, unless it is only to be signed', async (t) => {
  const { home, server } = await ground(t);
  const log = join(home.path, 'backup.log');
  await writeFile(log, 'all went well\n');
  const key = ['--keyfile', fixturePath('keys/kdf-scrypt.key')];
  const env = { PBS_ENCRYPTION_PASSWORD: goldenPassphrase };
  assert.equal((await home.run(['upload-log', snapshot, log, ...key], { env })).exit, 0);
  const stored = await readFile(join(server.path, snapshot, 'client.log.blob'));
  assert.ok(!stored.includes('all went well'));
  const second = 'vm/100/2025-10-10T09:00:00Z';
  assert.equal((await home.run(['upload-log', second, log, ...key, '--crypt-mode', 'sign-only'], { env })).exit, 0);
  assert.ok((await readFile(join(server.path, second, 'client.log.blob'))).includes('all went well'));
});
