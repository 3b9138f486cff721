import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import fc from 'fast-check';
import { encodeBlob } from '../../src/format/data-blob.ts';
import { BackupClient } from '../support/backup-client.ts';
import { backupServer, type BackupServer } from '../support/backup-server.ts';
import { digestOf, noise } from '../support/made-snapshots.ts';
import { verifyAll } from '../support/sync-pair.ts';

const MiB4 = 4 * 1024 * 1024;
const chunks = [noise('a', 5000), noise('b', 70_000), noise('c', 1), Buffer.alloc(MiB4, 1), Buffer.alloc(MiB4, 2)];
const archives: ReadonlyArray<readonly [name: string, chunks: readonly number[]]> = [
  ['a.didx', [0, 1, 2, 0]],
  ['b.didx', [1]],
  ['c.fidx', [3, 4, 3, 0]],
  ['d.fidx', [4]],
];

const kind = fc.constantFrom('fixed' as const, 'dynamic' as const);
const wid = fc.integer({ min: 1, max: 5 });
const chunk = fc.integer({ min: 0, max: chunks.length - 1 });
const number = fc.oneof(fc.constantFrom(0, 1, 2, 4, MiB4, 2 * MiB4, 5000), fc.integer({ min: 0, max: 2 ** 40 }));
const name = fc.constantFrom('a.didx', 'b.didx', 'c.fidx', 'd.fidx', 'x.conf.blob', 'index.json.blob', 'y', 'z.didx', '..%2Fowner.blob', '.protected');

/** One call that may be right or wrong; whatever it is, the session must stand it. */
type Noise = (client: BackupClient) => Promise<string | Buffer>;

const calls: fc.Arbitrary<Noise> = fc.oneof(
  fc.tuple(kind, name, fc.option(number)).map(([k, n, size]): Noise => (client) => client.call('POST', `/${k}_index?archive-name=${n}${size === null ? '' : `&size=${size}`}`)),
  fc.tuple(name, number, chunk).map(([n, size, c]): Noise => (client) => client.call('POST', `/fixed_index?archive-name=${n}&size=${size}&reuse-csum=${digestOf(chunks[c]!).toString('hex')}`)),
  fc.tuple(kind, wid, chunk, fc.option(number), fc.option(chunk)).map(
    ([k, w, c, size, other]): Noise =>
      (client) =>
        client.chunk(k, w, chunks[c]!, { ...(size === null ? {} : { size }), ...(other === null ? {} : { digest: digestOf(chunks[other]!).toString('hex') }) }),
  ),
  fc.tuple(kind, wid, fc.array(fc.tuple(chunk, number), { maxLength: 3 })).map(
    ([k, w, list]): Noise =>
      (client) =>
        client.append(k, w, list.map(([c]) => digestOf(chunks[c]!).toString('hex')), list.map(([, offset]) => offset)),
  ),
  fc.tuple(kind, wid, number, number, chunk).map(([k, w, count, size, c]): Noise => (client) => client.close(k, w, count, size, digestOf(chunks[c]!).toString('hex'))),
  // Names of the true files among them: they are replaced then, and the manifest does not fit any more.
  fc.tuple(name, chunk, fc.boolean()).map(([n, c, whole]): Noise => (client) => {
    const blob = encodeBlob(chunks[c]!.subarray(0, 100), { compress: false });
    if (!whole) blob[8]! ^= 1;
    return client.call('POST', `/blob?file-name=${n}&encoded-size=${blob.length}`, blob);
  }),
  name.map((n): Noise => (client) => client.previous(n)),
  fc.constantFrom('GET /previous_backup_time', 'POST /finish', 'POST /speedtest', 'GET /', 'PUT /blob', 'GET /dynamic_index').map((text): Noise => (client) => {
    const [method, path] = text.split(' ') as [string, string];
    return client.call(method, path);
  }),
);

const script = fc.record({
  /** Which archives are truly uploaded. */
  archives: fc.uniqueArray(fc.integer({ min: 0, max: archives.length - 1 }), { maxLength: 3 }),
  /** What happens beside each step. */
  noise: fc.array(fc.array(calls, { maxLength: 3 }), { minLength: 1, maxLength: 12 }),
  ending: fc.constantFrom('finish', 'finish', 'leave', 'cut'),
});

async function idle(server: BackupServer): Promise<void> {
  while (server.tasks.running().length > 0) await new Promise((resolve) => setTimeout(resolve, 1));
}

test('whatever a client sends, in whatever order: a backup that is told to be finished verifies, any other is gone', async (t) => {
  const server = await backupServer(t);
  const statuses = new Set<string>();
  let time = 1000;
  let finished = 0;
  await fc.assert(
    fc.asyncProperty(script, async (run) => {
      time += 1000;
      const client = await BackupClient.open(server, { snapshot: { type: 'host', id: 'x', time } });
      const answers: Array<string | Buffer> = [];
      const steps = [
        ...run.archives.flatMap((i) => client.archiveSteps(archives[i]![0], archives[i]![1].map((c) => chunks[c]!))),
        async () => void (await client.blob('true.conf.blob', encodeBlob(noise('true', 50), { compress: false }))),
      ];
      for (const [i, step] of steps.entries()) {
        const beside = (run.noise[i] ?? []).map(async (call) => answers.push(await call(client)));
        // A true step fails where noise was in its way.
        await Promise.all([step().catch(() => {}), ...beside]);
      }
      let done = false;
      if (run.ending !== 'leave') await client.manifest();
      if (run.ending === 'finish') done = (await client.finish()).startsWith('200 ');
      await (run.ending === 'cut' ? client.cut() : client.end());
      await idle(server);
      for (const answer of answers) statuses.add(typeof answer === 'string' ? answer.slice(0, 3) : '200');
      const folder = join(server.path, 'host/x', new Date(time * 1000).toISOString().replace('.000', ''));
      if (done) finished += 1;
      if (done) assert.ok(readdirSync(folder).every((file) => /\.(?:fidx|didx|blob)$/.test(file)), readdirSync(folder).join(' '));
      else if (existsSync(folder)) assert.ok(existsSync(join(folder, 'index.json.blob')));
    }),
    { numRuns: 60 },
  );
  assert.ok(finished > 5, `${finished} finished`);
  assert.deepEqual([...statuses].toSorted(), ['200', '400', '404']);
  assert.ok((await server.datastores.use('main', 'read', verifyAll)) >= finished);
  assert.deepEqual(server.complaints, []);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});
