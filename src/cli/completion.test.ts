import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import { CannedServer, runWith } from '../../test/support/manager-runs.ts';
import type { CannedAnswer } from '../../test/support/manager-runs.ts';

/** The installation of the recording. */
const answers: Record<string, CannedAnswer> = {
  'GET /access/users': { data: [{ userid: 'alice@pbs' }, { userid: 'root@pam' }, { userid: 'sync@pbs' }] },
  'GET /access/users/sync@pbs/token': { data: [{ 'token-name': 'offsite' }] },
  'GET /config/datastore': { data: [{ name: 'main' }, { name: 'offsite' }] },
  'GET /config/remote': { data: [{ name: 'pbs-hq' }, { name: 'hq-alice' }] },
  'GET /config/remote/pbs-hq/scan': { data: [{ store: 'main' }] },
  'GET /config/remote/pbs-hq/scan/main/namespaces': { data: [{ ns: '' }, { ns: 'site-a' }, { ns: 'site-a/dept-b' }] },
  'GET /config/remote/pbs-hq/scan/main/groups': {
    data: ['host/alices', 'host/crypt', 'host/plain', 'host/signed', 'host/split', 'vm/100'].map((group) => ({ 'backup-type': group.split('/')[0], 'backup-id': group.split('/')[1] })),
  },
  'GET /admin/datastore/offsite/namespace': {
    data: ['', 'copy', 'copy/site-a', 'copy/site-a/dept-b', 'pushed', 'pushed/site-a', 'pushed/site-a/dept-b', 'site-a', 'site-a/dept-b', 'slow1', 'slow2'].map((ns) => ({ ns })),
  },
  'GET /nodes/localhost/tasks': { data: [] },
};

async function complete(line: string | undefined, point: string | undefined): Promise<string> {
  const run = await runWith(new CannedServer(answers), ['bashcomplete'], { io: { completion: { line, point } } });
  assert.deepEqual([run.stderr, run.exit], ['', 0]);
  return run.stdout;
}

suite('recorded completions', () => {
  const text = readFileSync(new URL('../../test/fixtures/cli/manager/completion.txt', import.meta.url), 'utf8');
  const blocks = [...text.matchAll(/^\$ COMP_LINE='([^']*)' COMP_POINT=(\d+) .*\n([^$]*?)(?=\n\$|$(?![^]))/gm)];
  assert.ok(blocks.length >= 22);
  for (const [, line = '', point = '', output = ''] of blocks) {
    test(`${line}|${point}`, async () => {
      const found = (await complete(line, point)).split('\n').slice(0, -1);
      const expected = output.split('\n').slice(0, -1);
      assert.deepEqual(found.sort(), expected.sort());
    });
  }
});

test('missing variables and a server that fails give nothing', async () => {
  assert.equal(await complete(undefined, '3'), '');
  assert.equal(await complete('farshore us', undefined), '');
  assert.equal(await complete('farshore us', 'x'), '');
  const failing = new CannedServer({ 'GET /access/users': { status: 400, text: 'no' } });
  assert.deepEqual(await runWith(failing, ['bashcomplete'], { io: { completion: { line: 'farshore user update ', point: '21' } } }), { stdout: '', stderr: '', exit: 0 });
});

test('a remote that does not answer leaves the fixed group filters', async () => {
  const server = new CannedServer({ ...answers, 'GET /config/remote/pbs-hq/scan/main/groups': { status: 400, text: 'timeout' } });
  const line = 'farshore pull pbs-hq main offsite --group-filter type:';
  const run = await runWith(server, ['bashcomplete'], { io: { completion: { line, point: String(line.length) } } });
  assert.equal(run.stdout, 'type:ct\ntype:host\ntype:vm\n');
});

test('a job names its remote', async () => {
  const server = new CannedServer({ ...answers, 'GET /config/sync/nightly': { data: { remote: 'pbs-hq', 'remote-store': 'main' } } });
  const line = 'farshore sync-job update nightly --remote-ns site-a/';
  const run = await runWith(server, ['bashcomplete'], { io: { completion: { line, point: String(line.length) } } });
  assert.equal(run.stdout, 'site-a/dept-b\n');
});
