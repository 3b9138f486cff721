import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { mkdir, rmdir, utimes } from 'node:fs/promises';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { test } from 'node:test';
import { BackupClient, backupProtocol, backupTarget, ok, type BackupRequest } from '../../test/support/backup-client.ts';
import { backupServer, type BackupServer } from '../../test/support/backup-server.ts';
import { goldenStore } from '../../test/support/datastore.ts';
import { digestOf, noise, noiseChunks } from '../../test/support/made-snapshots.ts';
import { createLockedGroup } from '../datastore/groups.ts';
import { setVerifyState } from '../datastore/snapshots.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import { encodeBlob } from '../format/data-blob.ts';
import { decodeManifestBlob } from '../format/manifest.ts';

const done = '200 {"data":null}';

function host(id: string, time: number): BackupSnapshot {
  return { type: 'host', id, time };
}

async function refusal(server: BackupServer, request: BackupRequest, protocol: string | null = backupProtocol): Promise<string> {
  const answer = await server.upgrade(request.as ?? 'admin@pbs', backupTarget(request), protocol);
  assert.ok(!(answer instanceof Duplex), `${request.snapshot.id} was upgraded`);
  return `${answer.status} ${String(answer.body)}`;
}

async function idle(server: BackupServer): Promise<void> {
  while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 2));
  // What follows a task's end.
  await new Promise(setImmediate);
}

/** A finished backup with one blob and, unless there are none, an archive of chunks. */
async function backUp(server: BackupServer, request: BackupRequest, chunks: readonly Buffer[] = []): Promise<string> {
  const client = await BackupClient.open(server, request);
  const [task] = server.tasks.running().filter((one) => one.workerType === 'backup');
  if (chunks.length > 0) await client.archive('root.pxar.didx', chunks);
  ok(await client.blob('x.conf.blob', encodeBlob(Buffer.from('x'), { compress: false })));
  ok(await client.manifest());
  ok(await client.finish());
  await client.end();
  await idle(server);
  return task!.upid;
}

test('the checks before a session, in order, and what they leave', async (t) => {
  const golden = await goldenStore();
  const { path } = golden.store;
  golden.store.close();
  const server = await backupServer(t, { path });
  t.after(() => golden[Symbol.asyncDispose]());
  await mkdir(join(path, 'host/plain/2026-01-01T00:00:00Z'));
  const cases: Array<[answer: string, request: BackupRequest, protocol?: string | null]> = [
    ["400 parameter verification failed - 'backup-time': value must have a minimum value of 1 (got 0)", { snapshot: host('x', 0), as: 'nobody@pbs' }],
    ["403 missing permissions 'Datastore.Backup' on '/datastore/other'", { snapshot: host('x', 5), as: 'alice@pbs', store: 'other' }, null],
    ["403 missing permissions 'Datastore.Backup' on '/datastore/main/site-a'", { snapshot: host('x', 5), as: 'sync@pbs!offsite', ns: 'site-a' }, null],
    ["400 no such datastore 'other'", { snapshot: host('x', 5), store: 'other' }, null],
    ['400 missing Upgrade header', { snapshot: host('x', 5), ns: 'no/such' }, null],
    ['400 invalid protocol name', { snapshot: host('x', 5), ns: 'no/such' }, 'proxmox-backup-reader-protocol-v1'],
    ['404 namespace not found', { snapshot: host('benchmark', 5), ns: 'no/such' }],
    ['400 unable to run benchmark without --benchmark flags', { snapshot: host('benchmark', 5) }],
    ["400 benchmark flags is only allowed on 'host/benchmark'", { snapshot: host('x', 5), benchmark: true }],
    ['400 backup owner check failed (alice@pbs != admin@pbs)', { snapshot: host('plain', 5), as: 'alice@pbs' }],
    ['400 backup timestamp is older than last backup.', { snapshot: host('plain', 1_760_086_400) }],
    ['400 backup directory already exists.', { snapshot: host('plain', 1_767_225_600), ns: '' }],
  ];
  for (const [answer, request, protocol = backupProtocol] of cases) assert.equal(await refusal(server, request, protocol), answer);
  assert.equal(server.tasks.running().length, 0);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
  assert.ok(!existsSync(join(path, 'host/x')));
  // Nothing is locked any more.
  const owned = await BackupClient.open(server, { snapshot: host('plain', 1_790_000_000) });
  assert.equal(await owned.call('GET', '/previous_backup_time'), '200 {"data":1760086400}');
});

test('one backup of a group at a time; the base cannot be removed meanwhile; a broken one does not count', async (t) => {
  const server = await backupServer(t);
  await backUp(server, { snapshot: host('x', 1000) });
  const locks = join(server.paths.locks, 'main');
  const first = await BackupClient.open(server, { snapshot: host('x', 2000) });
  const writers = (): Promise<number> => server.datastores.use('main', 'lookup', (store) => Promise.resolve(store.processLock.writerCount));
  assert.equal(await writers(), 1);
  assert.equal(await refusal(server, { snapshot: host('x', 3000) }), `400 unable to acquire backup group lock "${locks}/host-x" while creating locked backup group "${server.path}/host/x"`);
  const removal = { 'backup-type': 'host', 'backup-id': 'x' };
  for (const time of [1000, 2000]) assert.match(await server.refusal('admin@pbs', 'DELETE', '/admin/datastore/main/snapshots', { ...removal, 'backup-time': time }), /^400 .*unable to acquire snapshot lock/);
  await first.end();
  await idle(server);
  assert.equal(await writers(), 0);
  await server.datastores.use('main', 'write', async (store) => {
    {
      using _base = await store.locks.snapshot('', host('x', 1000), 'exclusive');
      assert.match(await refusal(server, { snapshot: host('x', 3000) }), /^400 while locking last snapshot during backup 'host\/x\/1970-01-01T00:16:40Z'/);
    }
    {
      using _new = await store.locks.group('', { type: 'host', id: 'new' });
      assert.equal(await refusal(server, { snapshot: host('new', 3000) }), `400 unable to acquire backup group lock "${locks}/host-new" while creating new locked backup group "${server.path}/host/new"`);
    }
    await setVerifyState(store, '', host('x', 1000), 'failed', 'UPID:test:00000001:00000001:00000001:00000001:verify:main:root@pam:');
  });
  // No base: all is to be sent, and older times pass.
  const full = await BackupClient.open(server, { snapshot: host('x', 500) });
  assert.equal(await full.call('GET', '/previous_backup_time'), done);
  assert.equal(await full.previous('index.json.blob'), '400 no valid previous backup');
});

test('owners: a group belongs to its maker; a user goes on with the groups of own tokens, not the other way round', async (t) => {
  const server = await backupServer(t);
  await server.datastores.use('main', 'write', async (store) => {
    for (const [id, owner] of [['token', 'admin@pbs!a'], ['user', 'admin@pbs']] as const) {
      await using group = await createLockedGroup(store, '', { type: 'host', id }, owner);
      await using writer = await group.createSnapshot(1000);
      await writer.publish({ backupType: 'host', backupId: id, backupTime: 1000, files: [], signature: null, unprotected: {} }, []);
    }
  });
  await backUp(server, { snapshot: host('token', 2000), as: 'admin@pbs' });
  assert.equal(await refusal(server, { snapshot: host('user', 2000), as: 'alice@pbs' }), '400 backup owner check failed (alice@pbs != admin@pbs)');
  await backUp(server, { snapshot: host('new', 2000), as: 'alice@pbs' });
  assert.equal(readFileSync(join(server.path, 'host/new/owner'), 'utf8'), 'alice@pbs\n');
});

test('the task log of a backup is that of the reference', async (t) => {
  const server = await backupServer(t);
  const upid = await backUp(server, { snapshot: host('demo', 1000) }, noiseChunks('log', 3));
  const { result, lines } = await server.ended(upid);
  assert.equal(result.state, 'OK');
  assert.match(upid, /:backup:main\\x3ahost-demo:admin@pbs:$/);
  const snapshot = join(server.path, 'host/demo/1970-01-01T00:16:40Z');
  assert.deepEqual(
    lines.map((line) => line.replace(/^(UUID|Checksum): [0-9a-f]+$/, '$1')),
    [
      'starting new backup on datastore \'main\' from ::1: "host/demo/1970-01-01T00:16:40Z"',
      'created new dynamic index 1 ("host/demo/1970-01-01T00:16:40Z/root.pxar.didx")',
      "Upload statistics for 'root.pxar.didx'",
      'UUID',
      'Checksum',
      'Size: 196608',
      'Chunk count: 3',
      'Upload size: 196608 (100%)',
      'Compression: 100%',
      'successfully closed dynamic index 1',
      `add blob "${snapshot}/x.conf.blob" (13 bytes, comp: 13)`,
      `add blob "${snapshot}/index.json.blob" (${lines.find((line) => line.includes('index.json.blob'))!.match(/\((\d+) bytes/)![1]} bytes, comp: ${lines.find((line) => line.includes('index.json.blob'))!.match(/comp: (\d+)/)![1]})`,
      'successfully finished backup',
      'backup finished successfully',
      'TASK OK',
    ],
  );
  const { unprotected } = decodeManifestBlob(readFileSync(join(snapshot, 'index.json.blob')));
  assert.deepEqual(Object.keys(unprotected['chunk_upload_stats'] as object).toSorted(), ['compressed_size', 'count', 'duplicates', 'size']);
});

test('a session that ends before it is finished leaves nothing, whatever was under way', async (t) => {
  const server = await backupServer(t);
  const client = await BackupClient.open(server, { snapshot: host('x', 1000) });
  const [task] = server.tasks.running();
  await client.archive('a.didx', noiseChunks('a', 2));
  ok(await client.blob('b.conf.blob', encodeBlob(Buffer.from('x'), { compress: false })));
  ok(await client.call('POST', '/fixed_index?archive-name=c.fidx&size=5000'));
  ok(await client.manifest());
  assert.deepEqual(readdirSync(join(server.path, 'host/x/1970-01-01T00:16:40Z')).toSorted(), ['a.didx', 'b.conf.blob', 'c.tmp_fidx']);
  await client.end();
  const { result, lines } = await server.ended(task!.upid);
  assert.deepEqual(result.state === 'Error' && result.message, 'backup ended but finished state is not set.');
  assert.deepEqual(lines.slice(-4), [
    'backup ended and finish failed: backup ended but finished state is not set.',
    'removing unfinished backup',
    `removing backup snapshot "${server.path}/host/x/1970-01-01T00:16:40Z"`,
    'TASK ERROR: backup ended but finished state is not set.',
  ]);
  assert.ok(!existsSync(join(server.path, 'host/x')));
  assert.deepEqual(readdirSync(join(server.paths.locks, 'main')), []);
  // A group that was there, but empty, goes too.
  await server.datastores.use('main', 'write', async (store) => {
    const group = await createLockedGroup(store, '', { type: 'host', id: 'x' }, 'admin@pbs');
    await mkdir(join(group.path, '1970-01-01T00:00:01Z'));
    await group.release();
    await rmdir(join(group.path, '1970-01-01T00:00:01Z'));
  });
  await (await BackupClient.open(server, { snapshot: host('x', 1000) })).end();
  await idle(server);
  assert.ok(!existsSync(join(server.path, 'host/x')));
  // Again, under the same time.
  await backUp(server, { snapshot: host('x', 1000) });
});

test('an aborted task ends the session and removes what it made', async (t) => {
  const server = await backupServer(t);
  await backUp(server, { snapshot: host('x', 500) });
  const client = await BackupClient.open(server, { snapshot: host('x', 1000) });
  const [task] = server.tasks.running();
  ok(await client.call('POST', '/dynamic_index?archive-name=a.didx'));
  server.tasks.abort(task!.upid);
  const { result, lines } = await server.ended(task!.upid);
  assert.deepEqual(result.state === 'Error' && result.message, 'task aborted');
  assert.deepEqual(lines.slice(-4, -2), ['backup failed: task aborted', 'removing failed backup']);
  assert.deepEqual(readdirSync(join(server.path, 'host/x')).toSorted(), ['1970-01-01T00:08:20Z', 'owner']);
  await idle(server);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('a connection that breaks after finish has made a backup', async (t) => {
  const server = await backupServer(t);
  const client = await BackupClient.open(server, { snapshot: host('x', 1000) });
  const [task] = server.tasks.running();
  ok(await client.blob('b.conf.blob', encodeBlob(Buffer.from('x'), { compress: false })));
  ok(await client.manifest());
  ok(await client.finish());
  // It survives: the next one builds upon it while this session still lasts.
  const next = await BackupClient.open(server, { snapshot: host('x', 2000) });
  assert.equal(await next.call('GET', '/previous_backup_time'), '200 {"data":1000}');
  await client.cut();
  assert.equal((await server.ended(task!.upid)).result.state, 'OK');
  assert.ok(existsSync(join(server.path, 'host/x/1970-01-01T00:16:40Z/index.json.blob')));
});

test('a benchmark is never kept, has no owner, and its task is well in any case', async (t) => {
  const server = await backupServer(t);
  for (const as of ['admin@pbs', 'alice@pbs']) {
    const client = await BackupClient.open(server, { snapshot: host('benchmark', 1000), benchmark: true, as });
    const [task] = server.tasks.running();
    assert.match(task!.upid, /:benchmark:main\\x3ahost-benchmark:/);
    assert.equal(await client.call('POST', '/speedtest', noise('speed', 700_000), 'application/x-www-form-urlencoded'), done);
    if (as === 'alice@pbs') {
      ok(await client.blob('b.conf.blob', encodeBlob(Buffer.from('x'), { compress: false })));
      ok(await client.manifest());
      ok(await client.finish());
    }
    await client.cut();
    const { result, lines } = await server.ended(task!.upid);
    assert.equal(result.state, 'OK');
    assert.deepEqual(lines.slice(-3, -1), ['benchmark finished successfully', `removing backup snapshot "${server.path}/host/benchmark/1970-01-01T00:16:40Z"`]);
    assert.ok(!existsSync(join(server.path, 'host/benchmark')));
  }
});

test('with verify-new a new snapshot is verified by a task of its own', async (t) => {
  const server = await backupServer(t, { verifyNew: true });
  const backup = await backUp(server, { snapshot: host('x', 0x1000) }, noiseChunks('v', 2));
  const state = await verified(join(server.path, 'host/x/1970-01-01T01:08:16Z/index.json.blob'));
  assert.equal(state.state, 'ok');
  assert.match(state.upid, /:verify:main\\x3ahost-x-00001000:admin@pbs:$/);
  assert.ok((await server.ended(state.upid)).lines.includes('Automatically verifying newly added snapshot'));
  assert.ok(!(await server.ended(backup)).lines.some((line) => line.includes('verify')));
  const failed = await BackupClient.open(server, { snapshot: host('x', 0x2000) });
  await failed.end();
  await idle(server);
  assert.deepEqual(server.complaints, []);
});

/** The verify state in a manifest, once it is there. */
async function verified(manifestPath: string): Promise<{ state: string; upid: string }> {
  for (;;) {
    const state = decodeManifestBlob(readFileSync(manifestPath)).unprotected['verify_state'];
    if (state !== undefined) return state as { state: string; upid: string };
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** As if nobody had used the chunks for two days. */
async function age(server: BackupServer, chunks: readonly Buffer[]): Promise<void> {
  const then = Date.now() / 1000 - 172_800;
  for (const chunk of chunks) {
    const hex = digestOf(chunk).toString('hex');
    await utimes(join(server.path, '.chunks', hex.slice(0, 4), hex), then, then);
  }
}

test('garbage collection during a backup spares what it sent, what it found there, and its base', async (t) => {
  const server = await backupServer(t);
  const [base, found, fresh, garbage] = ['base', 'found', 'fresh', 'garbage'].map((name) => noiseChunks(name, 2)) as [Buffer[], Buffer[], Buffer[], Buffer[]];
  await backUp(server, { snapshot: host('x', 1000) }, base);
  await server.datastores.use('main', 'write', async (store) => {
    for (const chunk of [...found, ...garbage]) await store.chunks.insert(digestOf(chunk), encodeBlob(chunk, { compress: false }));
  });
  await age(server, [...base, ...found, ...garbage]);
  const client = await BackupClient.open(server, { snapshot: host('x', 2000) });
  assert.ok(Buffer.isBuffer(await client.previous('root.pxar.didx')));
  const steps = client.archiveSteps('root.pxar.didx', [...base, ...found, ...fresh], [...found, ...fresh]);
  for (const step of steps.slice(0, 5)) await step();
  const collection = await server.ended(await server.collections.start('main', 'root@pam'));
  assert.equal(collection.result.state, 'OK');
  assert.ok(collection.lines.includes('Removed chunks: 2'), collection.lines.join('\n'));
  for (const step of steps.slice(5)) await step();
  ok(await client.manifest());
  ok(await client.finish());
  await client.end();
  await idle(server);
  const verification = String(await server.data('admin@pbs', 'POST', '/admin/datastore/main/verify', {}));
  assert.equal((await server.ended(verification)).result.state, 'OK');
});

const lockHolder = `
  const { ProcessLock } = await import(process.argv[1]);
  ProcessLock.open(process.argv[2]).exclusive();
  process.stdout.write('held');
  setInterval(() => {}, 1000);
`;

test('while garbage collection runs in another process a backup is refused with an answer and leaves nothing', async (t) => {
  const server = await backupServer(t);
  await backUp(server, { snapshot: host('x', 1000) });
  const module = new URL('../datastore/process-lock.ts', import.meta.url).href;
  const holder = spawn(process.execPath, ['--disable-warning=ExperimentalWarning', '--input-type=module', '-e', lockHolder, module, join(server.path, '.lock')], { stdio: ['ignore', 'pipe', 'inherit'] });
  t.after(() => holder.kill('SIGKILL'));
  await once(holder.stdout, 'data');
  assert.equal(await refusal(server, { snapshot: host('x', 2000) }), '400 unable to get shared lock - EAGAIN: Try again');
  await idle(server);
  assert.deepEqual(readdirSync(join(server.path, 'host/x')).toSorted(), ['1970-01-01T00:16:40Z', 'owner']);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});
