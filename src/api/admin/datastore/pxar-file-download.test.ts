import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { request, type IncomingMessage } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { zstdDecompressSync } from 'node:zlib';
import { contentServer, type ContentServer } from '../../../../test/support/content-server.ts';
import { readFixture } from '../../../../test/support/golden.ts';
import { readTar, readZip } from '../../../../test/support/packed-files.ts';
import type { RecordedEntry } from '../../../../test/support/recorded-tree.ts';
import type { HttpAnswer } from '../../../../test/support/api-ground.ts';

const base = '/api2/json/admin/datastore/main';

/** The recorded trees, and what they are called. */
const trees = [
  { snapshot: 'backup-id=plain&backup-time=1760086400&backup-type=host', archive: 'root.pxar.didx', expected: 'plain', hasCatalog: true },
  { snapshot: 'backup-id=split&backup-time=1760090000&backup-type=host', archive: 'root.mpxar.didx', expected: 'split', hasCatalog: false },
] as const;

function recorded(name: string): RecordedEntry[] {
  return JSON.parse(readFixture(`expected/${name}.json`).toString()) as RecordedEntry[];
}

/** Path of an entry in the archive, as latin1. */
function pathOf({ path, pathHex }: RecordedEntry): string {
  return (pathHex === undefined ? Buffer.from(path) : Buffer.from(pathHex, 'hex')).toString('latin1');
}

function encoded(path: string): string {
  return encodeURIComponent(Buffer.from(path, 'latin1').toString('base64'));
}

interface Listed {
  filepath: string;
  type: string;
  leaf: boolean;
  size?: number;
  mtime?: number;
}

const letters: Record<string, string> = { directory: 'd', file: 'f', symlink: 'l', fifo: 'p', socket: 's', char: 'c', block: 'b' };

async function listed(server: ContentServer, query: string, path: string): Promise<Listed[]> {
  const { status, body } = await server.http('admin@pbs', 'GET', `${base}/catalog?${query}&filepath=${path}`);
  assert.equal(status, 200, String(body));
  return (JSON.parse(String(body)) as { data: Listed[] }).data;
}

/** Everything below `path`: path in the archive and its entry. */
async function walked(server: ContentServer, query: string, path: string, prefix: string): Promise<Map<string, Listed>> {
  const found = new Map<string, Listed>();
  for (const entry of await listed(server, query, path)) {
    const full = Buffer.from(entry.filepath, 'base64').toString('latin1');
    assert.ok(full.startsWith(prefix), full);
    found.set(full.slice(prefix.length), entry);
    if (!entry.leaf) for (const [below, one] of await walked(server, query, encodeURIComponent(entry.filepath), prefix)) found.set(below, one);
  }
  return found;
}

test('every directory is listed, from the catalog and from the archive', async (t) => {
  const server = await contentServer(t);
  for (const { snapshot, archive, expected, hasCatalog } of trees) {
    const entries = recorded(expected).filter(({ path }) => path !== '.');
    const check = (found: Map<string, Listed>): void => {
      assert.deepEqual([...found.keys()].sort(), entries.map(pathOf).sort());
      for (const entry of entries) {
        const one = found.get(pathOf(entry))!;
        assert.ok(one.type === letters[entry.type] || (one.type === 'h' && entry.type === 'file'), `${entry.path}: ${one.type}`);
        assert.equal(one.leaf, entry.type !== 'directory');
        if (one.type !== 'f') continue;
        assert.equal(one.size, entry.size);
        assert.equal(one.mtime, Number(BigInt(entry.mtimeNs) / 1_000_000_000n), entry.path);
      }
    };
    check(await walked(server, `${snapshot}&archive-name=${archive}`, 'root', '/'));
    if (!hasCatalog) continue;
    check(await walked(server, snapshot, encoded(`/${archive}`), `${archive}/`));
    assert.deepEqual((await listed(server, snapshot, '/')).map(({ filepath, leaf }) => [Buffer.from(filepath, 'base64').toString(), leaf]), [['/root.pxar.didx', false]]);
  }
});

test('files come as they are, hard links with their content', async (t) => {
  const server = await contentServer(t);
  for (const { snapshot, archive, expected } of trees) {
    // All contents are in the zip below; here some, and every name of a file with several.
    for (const entry of recorded(expected).filter(({ type, linkedWith }, i) => type === 'file' && (i % 8 === 0 || linkedWith !== undefined))) {
      const answer = await server.http('admin@pbs', 'GET', `${base}/pxar-file-download?${snapshot}&filepath=${encoded(`${archive}/${pathOf(entry)}`)}`);
      assert.deepEqual([answer.status, answer.headers['content-type']], [200, 'application/octet-stream']);
      assert.equal(createHash('sha256').update(answer.body).digest('hex'), entry.sha256, entry.path);
    }
  }
});

async function packed(server: ContentServer, snapshot: string, path: string, tar: boolean): Promise<HttpAnswer> {
  return server.http('admin@pbs', 'GET', `${base}/pxar-file-download?${snapshot}&tar=${tar ? 1 : 0}&filepath=${encoded(path)}`);
}

test('a directory comes as zip or as tar, with everything in it', async (t) => {
  const server = await contentServer(t);
  for (const { snapshot, archive, expected } of trees) {
    const entries = recorded(expected).filter(({ path }) => path !== '.');
    const zipped = readZip((await packed(server, snapshot, `/${archive}`, false)).body);
    const inZip = entries.filter(({ type }) => ['directory', 'file', 'symlink'].includes(type));
    assert.deepEqual(zipped.map(({ name }) => name).sort(), inZip.map((entry) => `${pathOf(entry)}${entry.type === 'directory' ? '/' : ''}`).sort());
    for (const entry of inZip) {
      const member = zipped.find(({ name }) => name.replace(/\/$/, '') === pathOf(entry))!;
      if (entry.type !== 'symlink') assert.equal(member.mode & 0o7777, Number(entry.mode), entry.path);
      if (entry.type === 'file') assert.equal(createHash('sha256').update(member.content).digest('hex'), entry.sha256, entry.path);
      if (entry.type === 'symlink') assert.equal(member.content.toString(), entry.target);
    }
    const tarred = readTar(zstdDecompressSync((await packed(server, snapshot, `/${archive}`, true)).body));
    const inTar = entries.filter(({ type }) => type !== 'socket');
    assert.deepEqual(tarred.map(({ name }) => name).sort(), inTar.map(pathOf).sort());
    for (const entry of inTar) {
      const member = tarred.find(({ name }) => name === pathOf(entry))!;
      const floor = BigInt(entry.mtimeNs) >= 0n ? BigInt(entry.mtimeNs) / 1_000_000_000n : -((999_999_999n - BigInt(entry.mtimeNs)) / 1_000_000_000n);
      assert.deepEqual([member.uid, member.gid, member.mtime], [entry.uid, entry.gid, Number(floor)], entry.path);
      if (entry.type === 'symlink') assert.deepEqual([member.kind, member.link], ['2', entry.target]);
      if (entry.type !== 'file') continue;
      const file = member.kind === '1' ? tarred.find(({ name }) => name === member.link)! : member;
      assert.equal(createHash('sha256').update(file.content).digest('hex'), entry.sha256, entry.path);
    }
    assert.ok(tarred.some(({ kind }) => kind === '1'), 'the tree has hard links');
  }
});

test('what cannot be had is refused in the words of the reference', async (t) => {
  const server = await contentServer(t);
  const [plain, split] = [trees[0].snapshot, trees[1].snapshot];
  const crypt = 'backup-id=crypt&backup-time=1760086600&backup-type=host';
  const refused = async (as: string, what: string, query: string): Promise<string> => {
    const { status, body } = await server.http(as, 'GET', `${base}/${what}?${query}`);
    return `${status} ${String(body)}`;
  };
  const path = encoded;
  for (const [what, query, expected] of [
    ['catalog', `${plain}&filepath=!!`, '400 base64 decoding of path failed - error decoding base64 data'],
    ['catalog', `${plain}&filepath=${path('root.pxar.didx/nope')}`, '400 path "root.pxar.didx/nope" not found in catalog'],
    ['catalog', `${plain}&filepath=`, '400 path "" not found in catalog'],
    ['catalog', `${crypt}&filepath=/`, "400 cannot decode 'catalog.pcat1.didx' - is encrypted"],
    ['catalog', `${split}&filepath=/`, `400 unable to read dynamic index '"${server.path}/host/split/2025-10-10T09:53:20Z/catalog.pcat1.didx"' - Unable to open dynamic index "${server.path}/host/split/2025-10-10T09:53:20Z/catalog.pcat1.didx" - No such file or directory (os error 2)`],
    ['catalog', `${split}&archive-name=x.mpxar.didx&filepath=/`, '400 archive not found in manifest'],
    ['catalog', `${split}&archive-name=root.pxar&filepath=${path('/nope')}`, `400 lookup failed - error opening '"/nope"'`],
    ['catalog', `${split}&archive-name=root.pxar&filepath=${path('/../')}`, '400 lookup failed - cannot enter parent directory in archive'],
    ['catalog', 'backup-id=none&backup-time=1&backup-type=host&filepath=/', "400 manifest not found for snapshot 'host/none/1970-01-01T00:00:01Z'"],
    ['pxar-file-download', `${plain}&filepath=/`, '400 error decoding base64 data'],
    ['pxar-file-download', `${plain}&filepath=${path('/')}`, "400 failed to parse archive type for ''"],
    ['pxar-file-download', `${plain}&filepath=${path('/foo')}`, "400 failed to parse archive type for 'foo'"],
    ['pxar-file-download', `${plain}&filepath=${path('/zz.pxar.didx/a')}`, '400 archive not found in manifest'],
    ['pxar-file-download', `${plain}&filepath=${path('/root.pxar.didx/nope')}`, `400 error opening '"nope"'`],
    ['pxar-file-download', `${plain}&filepath=${path('/root.pxar.didx/')}`, `400 error opening '""'`],
    ['pxar-file-download', `${plain}&filepath=${path('/root.pxar.didx/../x')}`, '400 cannot enter parent directory in archive'],
    ['pxar-file-download', `${crypt}&filepath=${path('/root.pxar.didx/a')}`, "400 cannot decode 'root.pxar.didx' - is encrypted"],
  ] as const) {
    assert.equal(await refused('admin@pbs', what, query), expected);
  }
  for (const what of ['catalog', 'pxar-file-download']) {
    assert.equal(await refused('nobody@pbs', what, `${plain}&filepath=${path('/root.pxar.didx')}`), '403 permission check failed - missing Datastore.Read|Datastore.Backup on /datastore/main');
    assert.equal(await refused('alice@pbs', what, `${plain}&filepath=${path('/root.pxar.didx')}`), '400 backup owner check failed (alice@pbs != admin@pbs)');
  }
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('a caller who leaves ends the download; a damaged chunk cuts it', async (t) => {
  const server = await contentServer(t);
  const target = `${base}/pxar-file-download?${trees[0].snapshot}&filepath=${encoded('/root.pxar.didx')}`;
  const asked = request({ port: server.port, host: '127.0.0.1', path: target, headers: { authorization: 'admin@pbs' }, agent: false });
  asked.on('error', () => {});
  asked.end();
  const [response] = (await once(asked, 'response')) as [IncomingMessage];
  await once(response, 'data');
  asked.destroy();
  while (server.datastores.activeOperations('main').read > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const second = '11a0d2264f85c6d11183e76fd1dddaa74d92f723cd3e8241faf32b7747989f1d';
  await writeFile(join(server.path, '.chunks', second.slice(0, 4), second), 'damaged');
  const cut = await server.http('admin@pbs', 'GET', target).then(
    ({ status }) => `status ${status}`,
    (e: unknown) => (e as { code: string }).code,
  );
  assert.ok(cut === 'ECONNRESET' || cut === 'status 400', cut);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});
