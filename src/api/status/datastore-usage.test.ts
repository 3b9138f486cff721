import assert from 'node:assert/strict';
import { appendFile, mkdir, statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { apiGround, testServer } from '../../../test/support/api-ground.ts';
import { goldenDatastore, readFixture, temporaryFolder } from '../../../test/support/golden.ts';
import { silentLog } from '../../base/log.ts';
import { aclFile } from '../../config/acl-config.ts';
import { History } from '../../metrics/history.ts';
import { datastoreUsageEndpoints } from './datastore-usage.ts';

const recorded = JSON.parse(readFixture('api/nodes-target.json').toString()) as Record<string, { body: { data: Array<Record<string, unknown>> } }>;
const gcOfMain = (JSON.parse(readFixture('api/datastore-main.json').toString()) as Record<string, Record<string, unknown>>)['status?verbose=1']!['gc-status'];

const nowMs = 1_795_485_566_000;

test('numbers for who may see the content, names for who may see something below, an error where there are none', async (t) => {
  await using folder = await temporaryFolder();
  const empty = join(folder.path, 'empty');
  await mkdir(join(empty, '.chunks'), { recursive: true });
  const ground = await apiGround(t, 'source', { main: await goldenDatastore(), gone: join(folder.path, 'nosuch'), off: empty });
  await appendFile(join(ground.paths.config, 'datastore.cfg'), '\tmaintenance-mode delete\n');
  await aclFile(ground.paths).update((tree) => {
    tree.insert({ path: '/datastore/main/site-a', subject: 'deep@pbs', role: 'DatastoreReader', propagate: true });
  });
  const server = await testServer(t, ground, datastoreUsageEndpoints({ ...ground, clock: { now: () => nowMs }, history: new History(join(folder.path, 'metrics.sqlite'), silentLog) }));
  const usage = (as: string): Promise<Array<Record<string, unknown>>> => server.data(as, 'GET', '/status/datastore-usage') as Promise<Array<Record<string, unknown>>>;

  const [main, gone, off] = await usage('admin@pbs');
  const theirs = recorded['GET /status/datastore-usage']!.body.data[0]!;
  assert.deepEqual(Object.keys(main!).sort(), Object.keys(theirs).sort());
  const { blocks, bsize } = await statfs(await goldenDatastore());
  assert.deepEqual(
    [main!['store'], main!['total'], main!['mount-status'], main!['backend-type'], main!['gc-status'], main!['history'], main!['history-start'], main!['history-delta']],
    ['main', blocks * bsize, theirs['mount-status'], theirs['backend-type'], gcOfMain, [], nowMs / 1000, 1800],
  );
  assert.ok(Number(main!['used']) > 0 && Number(main!['avail']) > 0);
  assert.deepEqual(Object.keys(gone!), ['store', 'mount-status', 'backend-type', 'error']);
  assert.match(String(gone!['error']), /^unable to open chunk store 'gone' at /);
  assert.equal(off!['error'], "datastore 'off' is unavailable: datastore is being deleted");

  assert.deepEqual((await usage('alice@pbs')).map((item) => [item['store'], 'total' in item]), [['main', true]], 'Datastore.Backup is enough');
  assert.deepEqual(await usage('deep@pbs'), [{ store: 'main', 'mount-status': 'nonremovable', 'backend-type': 'filesystem' }]);
  assert.deepEqual(await usage('nobody@pbs'), []);
});
