import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { request } from 'node:http';
import { join } from 'node:path';
import { test } from 'node:test';
import { contentServer } from '../../../../test/support/content-server.ts';
import { goldenArchive, goldenFile } from '../../../../test/support/golden.ts';
import { ChunkIndex } from '../../../format/chunk-index.ts';
import { decodeBlob, encodeBlob } from '../../../format/data-blob.ts';

const base = '/api2/json/admin/datastore/main';
const newest = 'backup-id=plain&backup-time=1760086400&backup-type=host';
const folder = 'host/plain/2025-10-10T08:53:20Z';

test('files as they are stored', async (t) => {
  const server = await contentServer(t);
  for (const name of ['index.json.blob', 'root.pxar.didx', 'catalog.pcat1.didx']) {
    const answer = await server.http('admin@pbs', 'GET', `${base}/download?${newest}&file-name=${name}`);
    assert.deepEqual([answer.status, answer.headers['content-type'], answer.headers['transfer-encoding']], [200, 'application/octet-stream', 'chunked']);
    assert.deepEqual(answer.body, goldenFile(`${folder}/${name}`));
  }
  const text = async (as: string, query: string): Promise<string> => {
    const { status, body } = await server.http(as, 'GET', `${base}/download?${query}`);
    return `${status} ${String(body)}`;
  };
  for (const query of [`${newest}&file-name=none.blob`, `${newest}&file-name=owner`, `backup-id=plain&backup-time=1&backup-type=host&file-name=index.json.blob`]) {
    assert.equal(await text('admin@pbs', query), '400 File open failed: No such file or directory (os error 2)');
  }
  assert.equal(await text('admin@pbs', `${newest}&file-name=..%2Fowner`), "400 parameter verification failed - 'file-name': value does not match the regex pattern");
  assert.equal(await text('alice@pbs', `${newest}&file-name=index.json.blob`), '400 backup owner check failed (alice@pbs != admin@pbs)');
  assert.equal(await text('nobody@pbs', `${newest}&file-name=index.json.blob`), '403 permission check failed - missing Datastore.Read|Datastore.Backup on /datastore/main');
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('decoded content, checked chunk by chunk', async (t) => {
  const server = await contentServer(t);
  const decoded = (query: string): ReturnType<typeof server.http> => server.http('admin@pbs', 'GET', `${base}/download-decoded?${query}`);
  const archive = await decoded(`${newest}&file-name=root.pxar.didx`);
  assert.equal(archive.status, 200);
  assert.ok(archive.body.equals(goldenArchive(`${folder}/root.pxar.didx`)));
  const image = await decoded('backup-id=100&backup-time=1760086800&backup-type=vm&file-name=drive-scsi0.img.fidx');
  assert.ok(image.body.equals(goldenArchive('vm/100/2025-10-10T09:00:00Z/drive-scsi0.img.fidx')));
  const config = await decoded('backup-id=100&backup-time=1760086800&backup-type=vm&file-name=qemu-server.conf.blob');
  assert.deepEqual(config.body, decodeBlob(goldenFile('vm/100/2025-10-10T09:00:00Z/qemu-server.conf.blob')));
  const text = async (query: string): Promise<string> => {
    const { status, body } = await decoded(query);
    return `${status} ${String(body)}`;
  };
  assert.equal(await text('backup-id=crypt&backup-time=1760086600&backup-type=host&file-name=root.pxar.didx'), "400 cannot decode 'root.pxar.didx' - is encrypted");
  assert.equal(await text(`${newest}&file-name=owner`), "400 failed to parse archive type for 'owner'");
  assert.equal(await text('backup-id=plain&backup-time=1&backup-type=host&file-name=root.pxar.didx'), "400 manifest not found for snapshot 'host/plain/1970-01-01T00:00:01Z'");
  assert.equal(await text(`${newest}&file-name=none.didx`), "400 manifest does not contain file 'none.didx'");
});

test('damage is an answer before the first byte, and a cut connection after it', async (t) => {
  const server = await contentServer(t);
  const target = `${base}/download-decoded?${newest}&file-name=root.pxar.didx`;
  const second = '11a0d2264f85c6d11183e76fd1dddaa74d92f723cd3e8241faf32b7747989f1d';
  const chunk = join(server.path, '.chunks', second.slice(0, 4), second);
  const bytes = await readFile(chunk);
  bytes[bytes.length - 1]! ^= 1;
  await writeFile(chunk, bytes);
  await assert.rejects(server.http('admin@pbs', 'GET', target), { code: 'ECONNRESET' });
  // A whole chunk with a good checksum that is another one.
  const [, entry] = [...ChunkIndex.parse('dynamic', goldenFile(`${folder}/root.pxar.didx`)).entries()];
  await writeFile(chunk, encodeBlob(Buffer.alloc(entry!.end - entry!.start), { compress: true }));
  await assert.rejects(server.http('admin@pbs', 'GET', target), { code: 'ECONNRESET' });
  const index = join(server.path, folder, 'root.pxar.didx');
  const raw = await readFile(index);
  raw[raw.length - 1]! ^= 1;
  await writeFile(index, raw);
  const answer = await server.http('admin@pbs', 'GET', target);
  assert.deepEqual([answer.status, String(answer.body)], [400, 'wrong index checksum']);
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 0, write: 0 });
});

test('a caller who leaves ends the download; the snapshot is free afterwards', async (t) => {
  const server = await contentServer(t);
  const asked = request({ port: server.port, host: '127.0.0.1', path: `${base}/download-decoded?${newest}&file-name=root.pxar.didx`, headers: { authorization: 'admin@pbs' }, agent: false });
  asked.on('error', () => {});
  asked.end();
  const [response] = (await once(asked, 'response')) as [import('node:http').IncomingMessage];
  await once(response, 'data');
  assert.deepEqual(server.datastores.activeOperations('main'), { read: 1, write: 0 });
  asked.destroy();
  while (server.datastores.activeOperations('main').read > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  const locks = await server.datastores.use('main', 'lookup', (store) => Promise.resolve(store.locks));
  using _free = await locks.snapshot('', { type: 'host', id: 'plain', time: 1760086400 }, 'exclusive');
});
