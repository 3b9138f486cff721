import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { emptyStore, goldenStore, RecordingLog } from '../../test/support/datastore.ts';
import { readFixture } from '../../test/support/golden.ts';
import { toHex, type Digest } from '../base/bytes.ts';
import { silentLog } from '../base/log.ts';
import { parseSnapshot, snapshotPath, type BackupSnapshot } from '../format/backup-path.ts';
import { archiveKind, ChunkIndex, encodeDynamicIndex } from '../format/chunk-index.ts';
import { encodeBlob } from '../format/data-blob.ts';
import { verifyState, type Manifest } from '../format/manifest.ts';
import { archiveContent } from './archive-check.ts';
import type { Datastore } from './datastore.ts';
import { createLockedGroup, listGroups } from './groups.ts';
import { listNamespaces } from './namespaces.ts';
import { listSnapshots, loadManifest, setVerifyState } from './snapshots.ts';
import { percentageText, verifyGroup, verifyNamespaces, verifySnapshot, type VerifyOptions } from './verify.ts';

const upid = 'UPID:test:00000001:00000002:00000003:6B04EF42:verify:main:root@pam:';
const plain = parseSnapshot('host/plain/2025-10-10T08:53:20Z');
const crypt = parseSnapshot('host/crypt/2025-10-10T08:56:40Z');
const image = parseSnapshot('vm/100/2025-10-10T09:00:00Z');
const deep = parseSnapshot('host/deep/2025-10-09T09:03:20Z');

function options(log: RecordingLog, more: Partial<VerifyOptions> = {}): VerifyOptions {
  return { upid, log, ignoreVerified: false, ...more };
}

async function states(store: Datastore): Promise<Map<string, string | undefined>> {
  const found = new Map<string, string | undefined>();
  for (const namespace of await listNamespaces(store)) {
    for (const group of await listGroups(store, namespace)) {
      for (const snapshot of await listSnapshots(store, namespace, group)) {
        const path = snapshotPath(namespace, snapshot);
        const loaded = await loadManifest(store, namespace, snapshot).catch(() => null);
        const state = loaded === null ? null : verifyState(loaded.manifest);
        found.set(path, state?.upid === upid ? state.state : undefined);
      }
    }
  }
  return found;
}

function filePath(store: Datastore, snapshot: BackupSnapshot, name: string, namespace = ''): string {
  return join(store.snapshotPath(namespace, snapshot), name);
}

function firstDigest(store: Datastore, snapshot: BackupSnapshot, name: string, namespace = ''): Digest {
  const kind = archiveKind(name);
  assert.ok(kind !== 'blob');
  return ChunkIndex.parse(kind, readFileSync(filePath(store, snapshot, name, namespace))).digest(0);
}

function chunkPath(store: Datastore, digest: Digest): string {
  const hex = toHex(digest);
  return join(store.path, '.chunks', hex.slice(0, 4), hex);
}

function flip(path: string, at: number): void {
  const bytes = readFileSync(path);
  const position = at < 0 ? bytes.length + at : at;
  bytes[position] = bytes[position]! ^ 0x20;
  writeFileSync(path, bytes);
}

/** What depends on the clock and on the machine, and what only one of the two logs has, taken out. */
const comparable = (lines: readonly string[]): string[] =>
  lines
    .filter((line) => !line.startsWith('  in namespace '))
    .map((line) => line.replace(/ {2}verified .* seconds, speed .* MiB\/s \((\d+) errors\)/, '  verified ($1 errors)'));

test('the whole golden datastore is good, and the log is the recorded one', async () => {
  await using golden = await goldenStore();
  const log = new RecordingLog();
  const summary = await verifyNamespaces(golden.store, {}, options(log));
  assert.deepEqual(summary, { verifiedSnapshots: 12, skippedSnapshots: 0 });
  const recorded = readFixture('tasks/verify-main.txt').toString('utf8').trimEnd().split('\n');
  assert.equal(recorded.pop(), 'TASK OK');
  assert.deepEqual(comparable(log.lines), comparable(recorded));
  assert.deepEqual(log.warnings, []);
  for (const [path, state] of await states(golden.store)) assert.equal(state, 'ok', path);
  assert.ok(log.lines.includes("  in namespace 'site-a/dept-b'"));
});

test('threads and order change nothing', async () => {
  await using golden = await goldenStore({ chunkOrder: 'none' });
  const log = new RecordingLog();
  await verifyNamespaces(golden.store, {}, options(log, { readThreads: 8, verifyThreads: 8 }));
  assert.ok(log.lines.includes('using 8 read and 8 verify thread(s)'));
  for (const [path, state] of await states(golden.store)) assert.equal(state, 'ok', path);
});

interface Damage {
  what: string;
  /** Makes the damage; returns the digest that must be named. */
  make(store: Datastore): Digest | null;
  /** Snapshots that must be listed as failed; others must be good. */
  harmed: string[];
  expect: RegExp;
  /** Nothing can be stored in the manifest. */
  stateless?: boolean;
  /** The chunk must be set aside. */
  setAside?: boolean;
}

const damages: Damage[] = [
  {
    what: 'a flipped bit in a plain chunk',
    make: (store) => {
      const digest = firstDigest(store, image, 'drive-scsi0.img.fidx');
      flip(chunkPath(store, digest), -7);
      return digest;
    },
    harmed: ['vm/100/2025-10-10T09:00:00Z', 'vm/100/2025-10-09T09:00:00Z'],
    expect: /can't verify chunk, load failed - store 'main', unable to load chunk '[0-9a-f]{64}' - /,
    setAside: true,
  },
  {
    what: 'a flipped bit in an encrypted chunk',
    make: (store) => {
      const digest = firstDigest(store, crypt, 'catalog.pcat1.didx');
      flip(chunkPath(store, digest), -1);
      return digest;
    },
    harmed: ['host/crypt/2025-10-10T08:56:40Z'],
    expect: /can't verify chunk, load failed/,
    setAside: true,
  },
  {
    what: 'a truncated chunk',
    make: (store) => {
      const digest = firstDigest(store, plain, 'catalog.pcat1.didx');
      truncateSync(chunkPath(store, digest), 100);
      return digest;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /can't verify chunk, load failed/,
    setAside: true,
  },
  {
    what: 'an empty chunk',
    make: (store) => {
      const digest = firstDigest(store, plain, 'catalog.pcat1.didx');
      truncateSync(chunkPath(store, digest), 0);
      return digest;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /unable to load chunk .* - .*too small/,
    setAside: true,
  },
  {
    what: 'a missing chunk',
    make: (store) => {
      const digest = firstDigest(store, deep, 'etc.pxar.didx', 'site-a/dept-b');
      rmSync(chunkPath(store, digest));
      return digest;
    },
    harmed: ['ns/site-a/ns/dept-b/host/deep/2025-10-09T09:03:20Z'],
    expect: /unable to load chunk .* does not exist/,
  },
  {
    what: 'other content with a right CRC',
    make: (store) => {
      const digest = firstDigest(store, plain, 'root.pxar.didx');
      writeFileSync(chunkPath(store, digest), encodeBlob(Buffer.alloc(4096, 1), { compress: true }));
      return digest;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /detected chunk with wrong digest\./,
    setAside: true,
  },
  {
    what: 'a plain chunk where an encrypted one belongs',
    make: (store) => {
      const digest = firstDigest(store, crypt, 'catalog.pcat1.didx');
      writeFileSync(chunkPath(store, digest), encodeBlob(Buffer.alloc(4096, 1), { compress: true }));
      return digest;
    },
    harmed: ['host/crypt/2025-10-10T08:56:40Z'],
    expect: /chunk CryptMode None does not match index CryptMode Encrypt/,
  },
  {
    what: 'a flipped bit in an index',
    make: (store) => {
      flip(filePath(store, image, 'drive-scsi0.img.fidx'), -1);
      return null;
    },
    harmed: ['vm/100/2025-10-10T09:00:00Z'],
    expect: /^verify main:vm\/100\/2025-10-10T09:00:00Z\/drive-scsi0\.img\.fidx failed: wrong index checksum$/,
  },
  {
    what: "a flipped bit in an index header's checksum",
    make: (store) => {
      flip(filePath(store, image, 'drive-scsi0.img.fidx'), 0x21);
      return null;
    },
    harmed: ['vm/100/2025-10-10T09:00:00Z'],
    expect: /drive-scsi0\.img\.fidx failed: wrong index checksum in its header$/,
  },
  {
    what: 'a shortened index',
    make: (store) => {
      const path = filePath(store, plain, 'root.pxar.didx');
      truncateSync(path, statSync(path).size - 40);
      return null;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /root\.pxar\.didx failed: wrong size \(22091406 != \d+\)$/,
  },
  {
    what: 'a missing index',
    make: (store) => {
      rmSync(filePath(store, plain, 'root.pxar.didx'));
      return null;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /root\.pxar\.didx failed: .*ENOENT/,
  },
  {
    what: 'a flipped bit in a blob',
    make: (store) => {
      flip(filePath(store, image, 'qemu-server.conf.blob'), -1);
      return null;
    },
    harmed: ['vm/100/2025-10-10T09:00:00Z'],
    expect: /qemu-server\.conf\.blob failed: wrong index checksum$/,
  },
  {
    what: 'a flipped bit in the client log, which no manifest lists',
    make: (store) => {
      flip(filePath(store, parseSnapshot('host/plain/2025-10-09T08:53:20Z'), 'client.log.blob'), -1);
      return null;
    },
    harmed: ['host/plain/2025-10-09T08:53:20Z'],
    expect: /client\.log\.blob failed: /,
  },
  {
    what: 'a flipped bit in a manifest',
    make: (store) => {
      flip(filePath(store, plain, 'index.json.blob'), -1);
      return null;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /^verify main:host\/plain\/2025-10-10T08:53:20Z - manifest load error: unable to load blob '".*index\.json\.blob"': /,
    stateless: true,
  },
  {
    what: "another snapshot's manifest",
    make: (store) => {
      const other = readFileSync(filePath(store, parseSnapshot('host/plain/2025-10-09T08:53:20Z'), 'index.json.blob'));
      writeFileSync(filePath(store, plain, 'index.json.blob'), other);
      return null;
    },
    harmed: ['host/plain/2025-10-10T08:53:20Z'],
    expect: /manifest load error: it is the manifest of another snapshot/,
    stateless: true,
  },
];

/** Every snapshot of the golden datastore that names the chunk. */
async function users(store: Datastore, digest: Digest): Promise<string[]> {
  const found: string[] = [];
  for (const namespace of await listNamespaces(store)) {
    for (const group of await listGroups(store, namespace)) {
      for (const snapshot of await listSnapshots(store, namespace, group)) {
        for (const file of snapshot.files) {
          const kind = archiveKind(file);
          if (kind === 'blob') continue;
          const index = ChunkIndex.parse(kind, readFileSync(filePath(store, snapshot, file, namespace)));
          if ([...index.entries()].some((entry) => toHex(entry.digest) === toHex(digest))) found.push(snapshotPath(namespace, snapshot));
        }
      }
    }
  }
  return [...new Set(found)];
}

for (const damage of damages) {
  test(`finds ${damage.what}`, async () => {
    await using golden = await goldenStore();
    const { store } = golden;
    const digest = damage.make(store);
    const harmed = digest === null ? damage.harmed : await users(store, digest);
    for (const path of damage.harmed) assert.ok(harmed.includes(path), path);
    const log = new RecordingLog();
    await assert.rejects(verifyNamespaces(store, {}, options(log)), { code: 'store.verify-failed', message: 'verification failed - please check the log for details' });
    assert.ok(log.lines.some((line) => damage.expect.test(line)), log.lines.join('\n'));
    const list = log.lines.slice(log.lines.indexOf('Failed to verify the following snapshots/groups:') + 1);
    assert.deepEqual(list.toSorted(), harmed.map((path) => `\t${path}`).toSorted());
    for (const [path, state] of await states(store)) {
      if (!harmed.includes(path)) assert.equal(state, 'ok', path);
      else assert.equal(state, damage.stateless === true ? undefined : 'failed', path);
    }
    if (digest === null) return;
    assert.ok(log.warnings.some((line) => line.includes(toHex(digest))));
    const names = readdirSync(join(store.path, '.chunks', toHex(digest).slice(0, 4)));
    assert.equal(names.includes(`${toHex(digest)}.0.bad`), damage.setAside === true);
    if (damage.setAside === true) assert.ok(!names.includes(toHex(digest)));
  });
}

test('snapshots outside of the run that need a corrupt chunk are named and marked', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const digest = firstDigest(store, image, 'drive-scsi0.img.fidx');
  rmSync(chunkPath(store, digest));
  const log = new RecordingLog();
  await assert.rejects(verifySnapshot(store, '', image, options(log)), { code: 'store.verify-failed' });
  assert.deepEqual(
    log.lines.filter((line) => line.startsWith('corrupt chunks also harm')),
    ['corrupt chunks also harm snapshot vm/100/2025-10-09T09:00:00Z, marked as failed'],
  );
  assert.equal((await states(store)).get('vm/100/2025-10-09T09:00:00Z'), 'failed');
});

/** A finished snapshot with one dynamic index and the chunks that are given. */
async function makeSnapshot(store: Datastore, snapshot: BackupSnapshot, entries: Array<{ data: Buffer; claimedLength?: number }>): Promise<Digest[]> {
  await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
  await using writer = await group.createSnapshot(snapshot.time);
  let end = 0;
  const list = [];
  for (const { data, claimedLength } of entries) {
    const digest = hash('sha256', data, 'buffer');
    await store.chunks.insert(digest, encodeBlob(data, { compress: true }));
    end += claimedLength ?? data.byteLength;
    list.push({ end, digest });
  }
  const staged = await writer.stage('root.pxar.didx', encodeDynamicIndex({ uuid: Buffer.alloc(16), ctime: 1, entries: list }), 1e6);
  const content = await archiveContent(staged.path, 'root.pxar.didx');
  await writer.commit('root.pxar.didx');
  const manifest: Manifest = {
    backupType: snapshot.type,
    backupId: snapshot.id,
    backupTime: snapshot.time,
    files: [{ filename: 'root.pxar.didx', cryptMode: 'none', ...content }],
    signature: null,
    unprotected: {},
  };
  await writer.publish(manifest, ['root.pxar.didx']);
  return list.map((entry) => entry.digest);
}

test('an index that claims a wrong length fails alone: the chunk stays, whichever comes first', async () => {
  for (const [honestTime, lyingTime] of [
    [1000, 2000],
    [2000, 1000],
  ] as const) {
    await using empty = await emptyStore();
    const { store } = empty;
    const data = Buffer.from('content of a chunk that two snapshots share');
    const [digest] = await makeSnapshot(store, { type: 'host', id: 'x', time: honestTime }, [{ data }]);
    await makeSnapshot(store, { type: 'host', id: 'x', time: lyingTime }, [{ data, claimedLength: data.byteLength + 1 }]);
    const log = new RecordingLog();
    await assert.rejects(verifyNamespaces(store, {}, options(log)), { code: 'store.verify-failed' });
    const all = [...(await states(store))].toSorted(([a], [b]) => (a < b ? -1 : 1));
    assert.deepEqual(all.map(([, state]) => state), honestTime < lyingTime ? ['ok', 'failed'] : ['failed', 'ok']);
    assert.ok(log.lines.includes(`chunk ${toHex(digest!)}: detected chunk with wrong length (${data.byteLength + 1} != ${data.byteLength})`));
    assert.ok((await store.chunks.size(digest!)) !== null);
  }
});

test('what was verified recently is left out', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  const snapshot: BackupSnapshot = { type: 'host', id: 'x', time: 1000 };
  await makeSnapshot(store, snapshot, [{ data: Buffer.from('x') }]);
  const started = 0x6b04ef42;
  const run = async (days: number, more: Partial<VerifyOptions>): Promise<string[]> => {
    const log = new RecordingLog();
    await verifyGroup(store, '', snapshot, { upid, log, clock: { now: () => (started + days * 86_400) * 1000 }, ...more });
    return log.lines;
  };
  const skipped = 'SKIPPED: verify main:host/x/1970-01-01T00:16:40Z (recently verified)';
  assert.ok(!(await run(0, {})).includes(skipped));
  assert.ok((await run(1000, {})).includes(skipped));
  assert.ok((await run(1000, { outdatedAfter: 1000 })).includes(skipped));
  assert.ok(!(await run(1001, { outdatedAfter: 1000 })).includes(skipped));
  assert.ok((await run(0.99, { outdatedAfter: 0 })).includes(skipped));
  assert.ok(!(await run(1, { outdatedAfter: 0 })).includes(skipped));
  await setVerifyState(store, '', snapshot, 'failed', upid);
  assert.ok((await run(1000, {})).includes(skipped));
  assert.ok(!(await run(0, { ignoreVerified: false })).includes(skipped));
  await setVerifyState(store, '', snapshot, 'ok', 'no upid');
  const lines = await run(0, {});
  assert.ok(lines.some((line) => line.startsWith('error reading manifest: ')));
  assert.ok(!lines.includes(skipped));
});

test('snapshots in use, unfinished or gone are skipped and said so; a benchmark is left out', async () => {
  await using empty = await emptyStore();
  const { store } = empty;
  const snapshot: BackupSnapshot = { type: 'host', id: 'x', time: 1000 };
  await makeSnapshot(store, snapshot, [{ data: Buffer.from('x') }]);
  await makeSnapshot(store, { type: 'host', id: 'benchmark', time: 1000 }, [{ data: Buffer.from('x') }]);
  await using group = await createLockedGroup(store, '', snapshot, 'root@pam');
  await using writer = await group.createSnapshot(2000);
  await writer.stage('a.blob', encodeBlob(Buffer.from('a'), { compress: false }), 1000);
  const log = new RecordingLog();
  assert.deepEqual(await verifyNamespaces(store, {}, options(log)), { verifiedSnapshots: 1, skippedSnapshots: 1 });
  assert.ok(log.lines.includes('found 1 groups'));
  assert.ok(log.lines.some((line) => /^SKIPPED: verify main:host\/x\/1970-01-01T00:33:20Z - could not acquire snapshot lock: unable to acquire shared snapshot lock ".*\/locks\/main\/host-x-1970/.test(line)));
  await writer.close();
  const gone = new RecordingLog();
  assert.deepEqual(await verifySnapshot(store, '', { ...snapshot, time: 2000 }, options(gone)), { verifiedSnapshots: 0, skippedSnapshots: 1 });
  assert.deepEqual(gone.lines, ['SKIPPED: verify main:host/x/1970-01-01T00:33:20Z - snapshot does not exist (anymore).']);
  rmSync(filePath(store, snapshot, 'index.json.blob'));
  const unfinished = new RecordingLog();
  await verifySnapshot(store, '', snapshot, options(unfinished));
  assert.deepEqual(unfinished.lines, ['SKIPPED: verify main:host/x/1970-01-01T00:16:40Z - it has no manifest: unfinished backup']);
});

test('an abort ends it between chunks and leaves the state as it was', async () => {
  await using golden = await goldenStore();
  const { store } = golden;
  const controller = new AbortController();
  const log = new RecordingLog();
  const info = log.info.bind(log);
  log.info = (message: string): void => {
    if (message === '  check drive-scsi0.img.fidx') controller.abort();
    info(message);
  };
  await assert.rejects(verifySnapshot(store, '', image, options(log, { signal: controller.signal })), { code: 'aborted' });
  assert.equal((await states(store)).get('vm/100/2025-10-10T09:00:00Z'), undefined);
});

test('a namespace that is not there, and a group that is not there, are failures', async () => {
  await using empty = await emptyStore();
  const log = new RecordingLog();
  await assert.rejects(verifyNamespaces(empty.store, { namespace: 'nowhere' }, options(log)), { code: 'store.verify-failed' });
  assert.ok(log.lines.includes("error on iterating groups in ns 'nowhere' - ENOENT: No such file or directory"));
  await assert.rejects(verifyGroup(empty.store, '', { type: 'vm', id: '1' }, { upid, log: silentLog }), { code: 'store.verify-failed' });
});

test('percentages', () => {
  assert.equal(percentageText({ done: 0, count: 1 }, 1, 3), '33.33% (1/3 snapshots)');
  assert.equal(percentageText({ done: 2, count: 8 }, 1, 2), '31.25% (2/8 groups, 1/2 snapshots in group #3)');
  assert.equal(percentageText({ done: 7, count: 8 }, 2, 2), '100.00% (8/8 groups)');
});
