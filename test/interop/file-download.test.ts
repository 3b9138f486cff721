import assert from 'node:assert/strict';
import { mkdirSync, readdirSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { request, type RequestOptions } from 'node:https';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { RemoteEndpoint } from '../../src/protocol/remote-endpoint.ts';
import { RestClient } from '../../src/protocol/rest-client.ts';
import { FarshoreServer } from '../support/farshore-server.ts';
import { readTar, readZip } from '../support/packed-files.ts';
import { adminAccount, makeAdmin } from '../support/peer-backups.ts';
import { hostAddress, Peer, type ClientTarget } from '../support/peer.ts';
import { SeededRandom, testSeed, writeRandomTree } from '../support/random-tree.ts';
import { writeSpecialKinds } from '../support/special-kinds.ts';

interface Answer {
  status: number;
  type: string | undefined;
  body: Buffer;
}

/** GET below a datastore, as the administrator. */
async function asker(target: ClientTarget): Promise<(path: string, query: Record<string, string>) => Promise<Answer>> {
  const rest = new RestClient(new RemoteEndpoint({ host: target.host, port: target.port, authId: target.authId, secret: target.secret, fingerprint: target.fingerprint }));
  const headers = { ...(await rest.authHeaders()) };
  rest.close();
  return (path, query) =>
    new Promise((resolve, reject) => {
      const options: RequestOptions = { host: target.host, port: target.port, path: `/api2/json/admin/datastore/main/${path}?${new URLSearchParams(query).toString()}`, headers, rejectUnauthorized: false, agent: false };
      request(options, (response) => {
        buffer(response).then((body) => resolve({ status: response.statusCode!, type: response.headers['content-type'], body }), reject);
      })
        .on('error', reject)
        .end();
    });
}

function encoded(path: string): string {
  return Buffer.from(path, 'latin1').toString('base64');
}

test('both servers list and hand out the same of the same snapshots', async (t) => {
  const seed = testSeed();
  t.diagnostic(`seed ${seed}`);
  const work = await mkdtemp(join(tmpdir(), 'farshore-interop-'));
  t.after(async () => rm(work, { recursive: true, force: true }));
  const tree = join(work, 'tree');
  mkdirSync(tree);
  writeRandomTree(tree, seed, { size: 4 * 1024 * 1024, files: 60 });
  writeSpecialKinds(tree, new SeededRandom(seed + 1));
  mkdirSync(join(tree, 'x'.repeat(120), 'y'.repeat(90)), { recursive: true });
  await writeFile(join(tree, 'x'.repeat(120), 'y'.repeat(90), 'z'.repeat(40)), 'deep');
  await using peer = await Peer.start();
  await peer.manager('datastore', 'create', 'main', '/data/main');
  const admin = await makeAdmin(peer, 'main');
  await peer.client(admin, ['backup', `root.pxar:${tree}`, '--backup-id', 'plain', '--backup-time', '1760000000']);
  await peer.client(admin, ['backup', `root.pxar:${tree}`, '--backup-id', 'split', '--backup-time', '1760000000', '--change-detection-mode', 'data']);
  await using farshore = await FarshoreServer.start(join(work, 'farshore'));
  await farshore.manager('datastore', 'create', 'main', join(peer.dataFolder, 'main'), '--reuse-datastore', 'true');
  await farshore.manager('user', 'create', adminAccount.authId, '--password', adminAccount.password);
  await farshore.manager('acl', 'update', '/', 'Admin', '--auth-id', adminAccount.authId);
  const theirs = await asker(admin);
  const ours = await asker(farshore.target(hostAddress, adminAccount.authId, adminAccount.password, 'main'));
  const snapshot = (id: string): Record<string, string> => ({ 'backup-type': 'host', 'backup-id': id, 'backup-time': '1760000000' });
  const both = async (path: string, query: Record<string, string>): Promise<[Answer, Answer]> => Promise.all([ours(path, query), theirs(path, query)]);
  const equal = async (path: string, query: Record<string, string>): Promise<Answer> => {
    const [our, their] = await both(path, query);
    const where = `${path} ${JSON.stringify(query)}`;
    assert.deepEqual([our.status, our.type, our.body.length], [their.status, their.type, their.body.length], `${where}: ${our.body.toString('latin1', 0, 200)} | ${their.body.toString('latin1', 0, 200)}`);
    if (our.type?.startsWith('application/json') === true) assert.deepEqual(our.body.toString(), their.body.toString(), where);
    else assert.ok(our.body.equals(their.body), where);
    return our;
  };
  interface Listed {
    filepath: string;
    type: string;
  }
  const listings = [
    { query: { ...snapshot('plain') }, top: '/' },
    { query: { ...snapshot('plain'), 'archive-name': 'root.pxar.didx' }, top: 'root' },
    { query: { ...snapshot('split'), 'archive-name': 'root.mpxar.didx' }, top: '/' },
  ];
  for (const { query, top } of listings) {
    const folders = [top];
    const files: Listed[] = [];
    for (let folder = folders.pop(); folder !== undefined; folder = folders.pop()) {
      const { data } = JSON.parse((await equal('catalog', { ...query, filepath: folder })).body.toString()) as { data: Listed[] };
      for (const entry of data) (entry.type === 'd' ? folders : files).push(entry.type === 'd' ? (entry.filepath as never) : (entry as never));
    }
    assert.ok(files.length > 40);
    for (const [i, { filepath, type }] of files.entries()) if (i % 3 === 0 || type !== 'f') await equal('pxar-file-download', { ...query, filepath });
  }
  for (const [path, query] of [
    ['catalog', { filepath: encoded('root.pxar.didx/nope') }],
    ['catalog', { filepath: '!' }],
    ['catalog', { filepath: '/', 'archive-name': 'none.pxar.didx' }],
    ['catalog', { filepath: encoded('/many-attributes'), 'archive-name': 'root.pxar' }],
    ['pxar-file-download', { filepath: encoded('/root.pxar.didx/none') }],
    ['pxar-file-download', { filepath: encoded('/root.pxar.didx/') }],
    ['pxar-file-download', { filepath: encoded('/a.log') }],
  ] as const) {
    const [our, their] = await both(path, { ...snapshot('plain'), ...query });
    assert.equal(our.status, their.status);
    if (!their.body.toString().includes('File {')) assert.equal(our.body.toString().replaceAll(peer.dataFolder, '/data'), their.body.toString());
  }

  const folders = readdirSync(tree, { withFileTypes: true }).filter((entry) => entry.isDirectory()).map(({ name }) => Buffer.from(name).toString('latin1')).filter((name) => /^[ -~]+$/.test(name)).slice(-4);
  for (const [id, archive] of [
    ['plain', 'root.pxar.didx'],
    ['split', 'root.mpxar.didx'],
  ] as const) {
    for (const path of ['', ...folders.map((name) => `/${name}`)]) {
      const query = { ...snapshot(id), filepath: encoded(`/${archive}${path}`) };
      const [ourZip, theirZip] = await both('pxar-file-download', query);
      const [our, their] = [readZip(ourZip.body), readZip(theirZip.body)];
      assert.deepEqual(our.map(({ name, mode }) => [name, mode]), their.map(({ name, mode }) => [name, mode]));
      for (const [i, { name, content, mode }] of our.entries()) {
        // The reference leaves hard links empty, and keeps the NUL behind the target of a symbolic link.
        const kept = their[i]!.content;
        if ((mode & 0o170000) === 0o120000) assert.ok(kept.equals(Buffer.concat([content, Buffer.of(0)])) || kept.equals(content), name);
        else if (kept.length > 0) assert.ok(kept.equals(content), name);
      }
      const [ourTar, theirTar] = await both('pxar-file-download', { ...query, tar: '1' });
      const tars = [ourTar, theirTar].map(({ body }) => readTar(zstdDecompressSync(body)));
      const comparable = tars.map((members) =>
        members.map((member, i) => {
          // In a folder below the root the reference makes an empty file of a hard link; times before 1970 it spells wrong.
          const isLink = tars[0]![i]!.kind === '1' || (tars[1]![i]!.kind !== '1' && tars[1]![i]!.content.length === 0 && path !== '');
          const old = tars[0]![i]!.mtime < 0;
          return { ...member, mtime: old ? 0 : member.mtime, ...(isLink ? { kind: '', link: '', content: '' } : {}) };
        }),
      );
      assert.deepEqual(comparable[0], comparable[1]);
    }
  }
});
