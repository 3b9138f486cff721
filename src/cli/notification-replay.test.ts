import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CannedServer, recordings, runWith, throughPipe, type Recording } from '../../test/support/manager-runs.ts';
import { WholeServer } from '../../test/support/whole-server.ts';

/** What a test of a target says depends on the network that it was recorded in. */
const elsewhere = 'notification target test hook';

/** Lists of the reference are in no order. */
function comparable(what: string, text: string): unknown[] {
  const json = / list .*json$/.exec(what);
  const lines = json === null ? text.trimEnd().split('\n') : (JSON.parse(text) as unknown[]).map((entry) => JSON.stringify(entry));
  return / list\b/.test(what) ? lines.map((line) => line.replace(/,$/, '')).toSorted() : lines;
}

function expected({ stdout, stderr, argv }: Recording): { stdout: string; stderr: string } {
  // The reference's manager sends the test itself; here the server does, and its log has the line about the user.
  const lines = stderr.replace(/^'root@pam' does not have .*\n/, '');
  return argv.join(' ') === elsewhere ? { stdout, stderr: lines.slice(0, 'Error: Could not test target: '.length) } : { stdout, stderr: lines };
}

test('every recorded notification command of the reference does and prints the same here, one after another', async () => {
  await using server = await WholeServer.make();
  const { router } = server.composition;
  const openLocal = async (): ReturnType<CannedServer['open']> => ({
    handle: (request, response) => void router.handle(request, response, { authId: 'root@pam', remoteAddress: 'unix' }),
    close: async () => {},
  });
  const runs = recordings('notification');
  assert.ok(runs.length >= 40);
  for (const recording of runs) {
    const what = recording.argv.join(' ');
    const run = await runWith(new CannedServer(), recording.argv, { program: 'proxmox-backup-manager', io: { server: { socketPath: '/nonexistent/farshore.sock', openLocal } } });
    const wanted = expected(recording);
    if (recording.pipe !== '') {
      const pipe = recording.pipe.startsWith('|') ? `2>&1 ${recording.pipe}` : recording.pipe;
      assert.deepEqual(comparable(what, throughPipe(run, pipe)!), comparable(what, wanted.stdout), what);
      continue;
    }
    assert.deepEqual(comparable(what, run.stdout), comparable(what, wanted.stdout), what);
    assert.equal(what === elsewhere ? run.stderr.slice(0, wanted.stderr.length) : run.stderr, wanted.stderr, what);
    assert.equal(run.exit, recording.exit, what);
  }
});
