import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { connect } from 'node:net';
import { Readable, type Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { toHex, type Digest } from '../base/bytes.ts';
import { StoreError } from '../base/errors.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { clientHello, decodeFrames, requestFrame } from '../../test/support/http2-client-frames.ts';
import { h2Client, h2Request, socketServer } from '../../test/support/http2-client.ts';
import { chunksInFlight, serveReaderSession, type ReadableSnapshot, type ReaderSessionOptions } from './reader-session.ts';

const digestOf = (text: string): Buffer => createHash('sha256').update(text).digest();

class FakeSnapshot implements ReadableSnapshot {
  readonly storePath = '/data/main';
  readonly path = '/data/main/host/x/2026-11-24T21:57:56Z';
  readonly files = new Map<string, { content: Buffer; digests: Digest[] }>();
  readonly chunks = new Map<string, Buffer>();
  openFiles = 0;
  /** Pieces read of file streams and chunks read, in all. */
  reads = 0;

  open(fileName: string): ReturnType<ReadableSnapshot['open']> {
    const file = this.files.get(fileName);
    if (file === undefined) return Promise.resolve(null);
    this.openFiles += 1;
    let at = 0;
    const read = (): Buffer | null => {
      this.reads += 1;
      const piece = file.content.subarray(at, at + 65_536);
      at += piece.length;
      return piece.length === 0 ? null : piece;
    };
    return Promise.resolve({
      path: `${this.path}/${fileName}`,
      digests: async function* digests() {
        for (let i = 0; i < file.digests.length; i += 3) yield await Promise.resolve(Buffer.concat(file.digests.slice(i, i + 3)));
      },
      stream: () => new Readable({ read() { this.push(read()); } }),
      close: () => {
        this.openFiles -= 1;
        return Promise.resolve();
      },
    });
  }

  readChunk(digest: Digest): Promise<Buffer> {
    this.reads += 1;
    const chunk = this.chunks.get(toHex(digest));
    if (chunk === undefined) return Promise.reject(new StoreError('store.chunk-missing', 'reading file "/data/main/.chunks/x" failed: No such file or directory (os error 2)'));
    return Promise.resolve(chunk);
  }
}

interface Fixture {
  port: number;
  snapshot: FakeSnapshot;
  lines: string[];
  settled: () => Promise<void>;
}

async function fixture(t: TestContext, more: Partial<ReaderSessionOptions> = {}): Promise<Fixture> {
  const snapshot = new FakeSnapshot();
  const lines: string[] = [];
  const log: ProgressLog = { ...silentLog, info: (line) => lines.push(line) };
  const server = await socketServer((socket: Duplex) => serveReaderSession(socket, { snapshot, log, unauthorizedDelayMs: 0, ...more }));
  t.after(server.close);
  return { port: server.port, snapshot, lines, settled: server.settled };
}

/** `count` chunks of `size` bytes, named by an index file. */
function addIndex(snapshot: FakeSnapshot, name: string, count: number, size: number): string[] {
  const digests = Array.from({ length: count }, (_, i) => digestOf(`${name} ${i}`));
  const content = Buffer.alloc(size, 1);
  for (const digest of digests) snapshot.chunks.set(toHex(digest), content);
  snapshot.files.set(name, { content: Buffer.concat([Buffer.alloc(4096), ...digests]), digests });
  return digests.map(toHex);
}

test('files, chunks and what is logged', async (t) => {
  const { port, snapshot, lines, settled } = await fixture(t, { debug: true });
  const [first] = addIndex(snapshot, 'root.pxar.didx', 7, 1000) as [string];
  snapshot.files.set('index.json.blob', { content: Buffer.from('manifest'), digests: [] });
  const client = await h2Client(port);
  const manifest = await h2Request(client, 'GET', '/download?file-name=index.json.blob', { headers: { 'content-type': 'application/x-www-form-urlencoded' } });
  assert.deepEqual([manifest.status, String(manifest.body), manifest.headers['content-type'], manifest.headers['content-length']], [200, 'manifest', 'application/octet-stream', undefined]);
  const early = await h2Request(client, 'GET', `/chunk?digest=${first}`);
  assert.deepEqual([early.status, String(early.body)], [401, `download chunk ${first} not allowed`]);
  const index = await h2Request(client, 'GET', '/download?file-name=root.pxar.didx');
  assert.deepEqual(index.body, snapshot.files.get('root.pxar.didx')!.content);
  const chunk = await h2Request(client, 'GET', `/chunk?digest=${first}`);
  assert.deepEqual([chunk.status, chunk.headers['content-length'], chunk.body.length], [200, '1000', 1000]);
  client.close();
  await settled();
  assert.equal(snapshot.openFiles, 0);
  assert.deepEqual(lines, [
    'protocol upgrade done',
    'GET /download',
    'download "/data/main/host/x/2026-11-24T21:57:56Z/index.json.blob"',
    'GET /chunk',
    `attempted to download chunk ${first} which is not in registered chunk list`,
    `GET /chunk: 401 Unauthorized: download chunk ${first} not allowed`,
    'GET /download',
    'download "/data/main/host/x/2026-11-24T21:57:56Z/root.pxar.didx"',
    "register chunks in 'root.pxar.didx' as downloadable.",
    'GET /chunk',
    'reader finished successfully',
  ]);
});

test('refusals: names, digests, what is missing', async (t) => {
  const { port, snapshot } = await fixture(t);
  const [lost] = addIndex(snapshot, 'disk.img.fidx', 1, 10) as [string];
  snapshot.chunks.clear();
  const client = await h2Client(port);
  await h2Request(client, 'GET', '/download?file-name=disk.img.fidx');
  const pattern = 'value does not match the regex pattern';
  const table: Array<[path: string, status: number, body: string]> = [
    ['/download?file-name=owner', 400, 'unknown archive type: "owner"'],
    ['/download?file-name=client.log.blob', 404, 'open file "/data/main/host/x/2026-11-24T21:57:56Z/client.log.blob" failed - not found'],
    ['/download?file-name=no.didx', 400, 'Unable to open dynamic index "/data/main/host/x/2026-11-24T21:57:56Z/no.didx" - not found'],
    ['/download?file-name=..%2Fowner.blob', 400, `parameter verification failed - 'file-name': ${pattern}`],
    ['/download?file-name=.x.blob', 400, `parameter verification failed - 'file-name': ${pattern}`],
    ['/chunk?digest=AB', 400, `parameter verification failed - 'digest': ${pattern}`],
    [`/chunk?digest=${lost}`, 400, 'reading file "/data/main/.chunks/x" failed: No such file or directory (os error 2)'],
    ['/', 200, '{"data":[{"subdir":"chunk"},{"subdir":"download"},{"subdir":"speedtest"}]}'],
  ];
  for (const [path, status, body] of table) {
    const answer = await h2Request(client, 'GET', path);
    assert.deepEqual([answer.status, String(answer.body)], [status, body], path);
  }
  const speed = await h2Request(client, 'GET', '/speedtest');
  assert.ok(speed.body.equals(Buffer.alloc(1_048_576, 'A')));
  client.close();
});

test('the digests of one session are no other session\'s', async (t) => {
  const { port, snapshot } = await fixture(t);
  const [first] = addIndex(snapshot, 'a.didx', 1, 10) as [string];
  const one = await h2Client(port);
  await h2Request(one, 'GET', '/download?file-name=a.didx');
  assert.equal((await h2Request(one, 'GET', `/chunk?digest=${first}`)).status, 200);
  // The fixture's sessions share a snapshot, not their state.
  const other = await h2Client(port);
  assert.equal((await h2Request(other, 'GET', `/chunk?digest=${first}`)).status, 401);
  one.close();
  other.close();
});

test('200 streams with 4 MiB chunks at once', async (t) => {
  const { port, snapshot } = await fixture(t);
  const digests = addIndex(snapshot, 'a.didx', 200, 4 * 1024 * 1024);
  const client = await h2Client(port);
  await h2Request(client, 'GET', '/download?file-name=a.didx');
  const lengths = await Promise.all(
    digests.map(async (digest) => {
      const stream = client.request({ ':path': `/chunk?digest=${digest}` });
      let length = 0;
      stream.on('data', (piece: Buffer) => (length += piece.length));
      await once(stream, 'end');
      return length;
    }),
  );
  assert.deepEqual(new Set(lengths), new Set([4 * 1024 * 1024]));
  client.close();
});

test('a client that does not read costs a bounded number of chunks, and ends like any other', async (t) => {
  const { port, snapshot, settled } = await fixture(t);
  const digests = addIndex(snapshot, 'a.didx', 150, 4 * 1024 * 1024);
  const client = connect(port, '127.0.0.1');
  client.write(Buffer.concat([clientHello(), requestFrame(1, 'GET', '/download?file-name=a.didx')]));
  let bytes = Buffer.alloc(0);
  for await (const piece of client.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, piece as Buffer]);
    if (decodeFrames(bytes).some((one) => one.stream === 1 && one.type === 0 && (one.flags & 1) !== 0)) break;
  }
  client.pause();
  snapshot.reads = 0;
  const big = Buffer.alloc(512 * 1024 * 1024 + 4096);
  snapshot.files.set('big.fidx', { content: big, digests: [] });
  for (const [i, digest] of digests.entries()) client.write(requestFrame(3 + 2 * i, 'GET', `/chunk?digest=${digest}`));
  client.write(requestFrame(3 + 2 * digests.length, 'GET', '/download?file-name=big.fidx'));
  // A second session is served meanwhile: long enough for the requests to arrive, and then for more reads to happen if they could.
  const other = await h2Client(port);
  for (let i = 0; i < 2000 && snapshot.reads < chunksInFlight; i += 1) await h2Request(other, 'GET', '/');
  for (let i = 0; i < 50; i += 1) await h2Request(other, 'GET', '/speedtest');
  assert.ok(snapshot.reads >= chunksInFlight, `${snapshot.reads} reads`);
  assert.ok(snapshot.reads < chunksInFlight + 60, `${snapshot.reads} reads`);
  assert.equal(snapshot.openFiles, 1);
  client.destroy();
  other.close();
  await settled();
  assert.equal(snapshot.openFiles, 0);
});

test('an abort of the task is an error, a connection that breaks is not', async (t) => {
  const stop = new AbortController();
  const results: Array<Promise<void>> = [];
  const server = await socketServer((socket) => {
    const result = serveReaderSession(socket, { snapshot: new FakeSnapshot(), log: silentLog, signal: stop.signal });
    results.push(result);
    return result.catch(() => {});
  });
  t.after(server.close);
  const rude = connect(server.port, '127.0.0.1');
  rude.write(clientHello());
  await once(rude, 'data');
  rude.resetAndDestroy();
  await server.settled();
  await results[0];
  const client = await h2Client(server.port);
  stop.abort(new Error('task aborted'));
  await assert.rejects(results[1]!, /task aborted/);
  client.destroy();
});

interface Recorded {
  protocol: string;
  request?: string;
  response?: string;
  responseHeaders?: Record<string, string>;
  responseBody?: { bytes: number; sha256: string; base64?: string; text?: string };
}

for (const name of ['restore-split', 'pull-vanished-log']) {
  test(`recorded session ${name}: same status, headers and bytes`, async (t) => {
    const { port, snapshot } = await fixture(t);
    const path = new URL(`../../test/fixtures/wire/reader-${name}.jsonl`, import.meta.url);
    const exchanges = readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line) as Recorded);
    const digests = exchanges.flatMap(({ request }) => /digest=([0-9a-f]{64})/.exec(request!)?.[1] ?? []);
    const bodyOf = ({ responseBody: body }: Recorded): Buffer => (body?.base64 === undefined ? Buffer.alloc(body?.bytes ?? 0) : Buffer.from(body.base64, 'base64'));
    for (const one of exchanges) {
      const file = /file-name=(.*)$/.exec(one.request!)?.[1];
      if (file !== undefined && one.response === '200') snapshot.files.set(file, { content: bodyOf(one), digests: file.endsWith('idx') ? digests.map((digest) => Buffer.from(digest, 'hex')) : [] });
      const digest = /digest=([0-9a-f]{64})/.exec(one.request!)?.[1];
      if (digest !== undefined) snapshot.chunks.set(digest, bodyOf(one));
    }
    const client = await h2Client(port);
    for (const one of exchanges) {
      const request = one.request!;
      const answer = await h2Request(client, 'GET', request.slice('GET '.length), { headers: { 'content-type': 'application/x-www-form-urlencoded' } });
      assert.equal(String(answer.status), one.response, request);
      assert.equal(answer.headers['content-type'], one.responseHeaders!['content-type'], request);
      // The paths in recorded errors are not the original ones.
      if (one.response === '200') assert.equal(answer.headers['content-length'], one.responseHeaders!['content-length'], request);
      if (one.response === '200') assert.equal(answer.body.length, one.responseBody!.bytes);
      else assert.equal(String(answer.body).replaceAll(snapshot.path, 'FOLDER'), one.responseBody!.text!.replace(/"[^"]*\/([^/"]+)"/, '"FOLDER/$1"'));
    }
    client.close();
  });
}
