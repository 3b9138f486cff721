import assert from 'node:assert/strict';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { systemClock } from '../../src/base/clock.ts';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { FlightControl } from '../../src/replication/flight-control.ts';
import { emptyStore } from '../support/datastore.ts';
import { DelayProxy } from '../support/delay-proxy.ts';
import { Peer, type PeerNumbers } from '../support/peer.ts';
import { makeAdmin, makeReaderToken } from '../support/peer-backups.ts';
import { noise } from '../support/made-snapshots.ts';
import { seeded } from '../support/seeded.ts';
import { chunkCount, storedFiles } from '../support/stored-files.ts';
import { hastyRetry, pullInto, verifyAll } from '../support/sync-pair.ts';

const numbers: PeerNumbers = { prefix: 'ix', first: 105, last: 109 };
const kibibyte = 1024;
const mebibyte = 1024 * kibibyte;
const fileSize = 16 * mebibyte;
/** Asked for; the chunker makes them up to four times as long. */
const chunkSize = 64 * kibibyte;
const longestChunk = 4 * chunkSize;
const inFlight = 4;
const cuts = 50;

test('the line to the reference is cut 50 times at any byte: no more than what was on its way is sent again, and later nothing is asked twice', async (t) => {
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  await using peer = await Peer.start(numbers);
  await peer.manager('datastore', 'create', 'main', '/data/main');
  const admin = await makeAdmin(peer, 'main');
  for (const id of ['100', '101', '102']) {
    await mkdir(join(work, id));
    await writeFile(join(work, id, 'file'), noise(id, fileSize));
    await peer.client(admin, ['backup', `root.pxar:${join(work, id)}`, '--backup-type', 'host', '--backup-id', id, '--chunk-size', String(chunkSize / kibibyte)]);
  }
  const secret = await makeReaderToken(peer, 'main', 'sync@pbs', 'offsite');
  const source = storedFiles(join(peer.dataFolder, 'main'));
  assert.ok(chunkCount(source) > (3 * fileSize) / longestChunk, 'the client makes small chunks');

  await using target = await emptyStore();
  await using proxy = await DelayProxy.start({ target: { host: peer.host, port: peer.port } });
  const endpoint = new RemoteEndpoint({ host: '127.0.0.1', port: proxy.port, authId: 'sync@pbs!offsite', secret, fingerprint: peer.fingerprint });
  const random = seeded(11);
  proxy.cutAfter(...Array.from({ length: cuts }, () => Math.floor(random() * 3 * fileSize)));
  const flight = new FlightControl(systemClock, { fixedChunks: inFlight });
  const { report, log } = await pullInto(target.store, target.folder, endpoint, { flight, retry: { ...hastyRetry, attemptsWithoutProgress: 100 } });
  assert.ok(report !== null, log.lines.join('\n'));
  assert.equal(proxy.cuts, cuts);
  // The reference's datastore holds a chunk of its own, of a check of access times.
  const copy = storedFiles(target.store.path);
  assert.deepEqual([report.snapshots, report.fetchedChunks, chunkCount(source)], [3, chunkCount(copy), chunkCount(copy) + 1]);
  for (const [name, sum] of copy) assert.equal(sum, source.get(name), name);
  const unique = report.fetchedBytes;
  const sent = proxy.delivered.down + proxy.lostDown;
  const most = 1.02 * unique + cuts * (inFlight * longestChunk + 64 * kibibyte);
  t.diagnostic(`${sent} bytes for ${unique}`);
  assert.ok(sent <= most, `${sent} bytes for ${unique}, at most ${most}`);

  const before = { connections: proxy.connections, down: proxy.delivered.down };
  const again = await pullInto(target.store, target.folder, endpoint);
  assert.deepEqual([again.report?.snapshots, again.report?.fetchedChunks], [0, 0]);
  // The list of namespaces, and groups and snapshots of the one that there is.
  assert.equal(proxy.connections - before.connections, 3);
  assert.ok(proxy.delivered.down - before.down < 64 * kibibyte);
  assert.equal(await verifyAll(target.store), 3);
});
