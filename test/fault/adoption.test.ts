import assert from 'node:assert/strict';
import { execFile, spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdir, readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import { DigestSet } from '../../src/base/digest-set.ts';
import { errorCode } from '../../src/base/errors.ts';
import { createChunkStore } from '../../src/datastore/chunk-store-layout.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { AdoptedCopies } from '../../src/replication/adopted-copies.ts';
import { addGoldenDatastore, addRemote, datastoreFolder, FarshoreHost, readerToken } from '../support/farshore-host.ts';
import { temporaryFolder } from '../support/golden.ts';

test('a server that is killed while it takes a copy over has no datastore and no half record, and takes it over afterwards; only who may change the datastore says whose copy it is', async () => {
  await using folder = await datastoreFolder();
  await using source = new FarshoreHost(join(folder.path, 'source'));
  await addGoldenDatastore(source, 'main', join(folder.path, 'main'));
  await source.start();
  const secret = await readerToken(source, 'main');
  const carried = join(folder.path, 'carried');
  await createChunkStore(carried);
  await promisify(execFile)('cp', ['-a', `${join(folder.path, 'main')}/.`, carried]);
  assert.equal(spawnSync('chmod', ['-R', 'u=rwX,g=rX,o=', join(carried, '.chunks')]).status, 0);
  // As root it would belong to the service's user, where there is one.
  if (process.getuid?.() === 0) spawnSync('chown', ['-R', 'backup:backup', carried]);
  await using host = new FarshoreHost(join(folder.path, 'home'));
  await host.start([], { FARSHORE_FAILPOINT: 'adoption.before-rename=kill' });
  const create = ['datastore', 'create', 'carried', carried, '--reuse-datastore', 'true'];
  const cut = await host.run(create);
  assert.notEqual(cut.code, 0);
  assert.equal((await host.stop('SIGTERM')).signal, 'SIGKILL', `it was killed before: ${cut.stdout}${cut.stderr}`);
  await host.start();
  assert.deepEqual(await host.json('datastore', 'list'), []);
  assert.match(await host.ok(...create), /found 8 groups, 12 snapshots/);

  await addRemote(host, 'upstream', source, secret);
  const password = 'correct-horse-battery';
  await host.ok('user', 'create', 'op@pbs', '--password', password);
  await host.ok('sync-job', 'create', 'nightly', '--store', 'carried', '--remote', 'upstream', '--remote-store', 'main', '--owner', 'op@pbs');
  for (const [path, role] of [['/datastore/carried', 'DatastoreBackup'], ['/datastore/carried', 'DatastoreAudit'], ['/remote/upstream', 'RemoteSyncOperator']] as const) await host.ok('acl', 'update', path, role, '--auth-id', 'op@pbs');
  const rest = new RestClient(new RemoteEndpoint({ host: '127.0.0.1', port: host.port, authId: 'op@pbs', secret: password, fingerprint: host.fingerprint }));
  try {
    await assert.rejects(rest.post('admin/sync/nightly/run', { 'adopted-from': 'upstream/main' }), /missing permissions 'Datastore\.Modify' on '\/datastore\/carried'/);
    await host.ok('acl', 'update', '/datastore/carried', 'DatastoreAdmin', '--auth-id', 'op@pbs');
    assert.match(String((await rest.post('admin/sync/nightly/run', { 'adopted-from': 'upstream/main' })).data), /^UPID:/);
  } finally {
    rest.close();
  }
  const kept = join(host.home, 'state', 'adopted');
  assert.deepEqual((await readdir(kept)).toSorted(), ['carried.chunks', 'carried.claim.json']);
  const { size } = await stat(join(kept, 'carried.chunks'));
  assert.ok(size > 0 && size % 32 === 0);
});

test('a full disk while the chunks of a copy are written down: what was there stays, nothing half counts, and with room it works', async (t) => {
  await using folder = await temporaryFolder();
  const disk = join(folder.path, 'disk');
  await mkdir(disk);
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=512k', 'tmpfs', disk]).status !== 0) {
    t.diagnostic('a file system cannot be mounted here: nothing is tested');
    return;
  }
  using _mounted = { [Symbol.dispose]: () => void spawnSync('umount', ['-l', disk]) };
  const digests = (seed: string, count: number): DigestSet => {
    const set = new DigestSet();
    for (let i = 0; i < count; i += 1) set.add(createHash('sha256').update(`${seed}${i}`).digest());
    return set;
  };
  const adopted = new AdoptedCopies(disk);
  const claim = { remote: 'hq', store: 'main', identity: 'hq:8007:sync@pbs' };
  const counted = async (): Promise<number | undefined> => (await adopted.of('main', 'hq', 'main', claim.identity))?.size;
  await adopted.record('main', digests('first', 100));
  await adopted.claim('main', claim);
  await assert.rejects(adopted.record('main', digests('second', 40_000)), (e) => errorCode(e) === 'ENOSPC');
  assert.equal(await counted(), undefined, 'whose copy it is must be said again');
  await adopted.claim('main', claim);
  assert.equal(await counted(), 100);
  assert.equal(spawnSync('mount', ['-o', 'remount,size=8m', disk]).status, 0);
  await adopted.record('main', digests('second', 40_000));
  await adopted.claim('main', claim);
  assert.equal(await counted(), 40_000);
});
