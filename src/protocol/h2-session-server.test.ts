import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { Readable, type Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import * as fc from 'fast-check';
import { Type } from 'typebox';
import { HttpError, StoreError } from '../base/errors.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { clientHello, decodeFrames, ping, requestFrame, windowUpdate } from '../../test/support/http2-client-frames.ts';
import { frame, frameType } from '../../test/support/http2-frames.ts';
import { h2Client, h2Request, socketServer } from '../../test/support/http2-client.ts';
import { RawReply, readAnnouncedBody, serveSession, sessionEndpoint, type SessionEnd, type SessionEndpoint, type SessionOptions } from './h2-session-server.ts';

const held = { streams: 0 };

const endpoints: SessionEndpoint[] = [
  sessionEndpoint({ method: 'POST', path: '/finish', parameters: Type.Object({}), handler: () => Promise.resolve(undefined) }),
  sessionEndpoint({ method: 'PUT', path: '/dynamic_index', parameters: Type.Object({ wid: Type.Integer({ maximum: 256 }), 'digest-list': Type.Optional(Type.Array(Type.String())) }), handler: (p) => Promise.resolve({ ...p }) }),
  sessionEndpoint({
    method: 'POST',
    path: '/blob',
    body: 'stream',
    parameters: Type.Object({ size: Type.Integer() }),
    handler: async (p, { body }) => (await readAnnouncedBody(body, p.size, (received) => `got blob with unexpected length (${received} != ${p.size})`)).length,
  }),
  sessionEndpoint({ method: 'GET', path: '/refuse', body: 'stream', parameters: Type.Object({ status: Type.Integer() }), handler: (p) => Promise.reject(new HttpError(p.status, 'not this way')) }),
  sessionEndpoint({ method: 'GET', path: '/broken', parameters: Type.Object({}), handler: () => Promise.reject(new StoreError('store.read', 'reading failed', { cause: new Error('EIO') })) }),
  sessionEndpoint({ method: 'GET', path: '/bytes', body: 'stream', parameters: Type.Object({ n: Type.Integer() }), handler: (p) => Promise.resolve(new RawReply(Buffer.alloc(p.n, 7))) }),
  sessionEndpoint({
    method: 'GET',
    path: '/stream',
    body: 'stream',
    parameters: Type.Object({ pieces: Type.Integer() }),
    handler: (p) => {
      held.streams += 1;
      let left = p.pieces;
      const source = new Readable({ highWaterMark: 65_536, read: function read() { this.push(left-- > 0 ? Buffer.alloc(65_536) : null); } });
      return Promise.resolve(new RawReply(source, () => (held.streams -= 1)));
    },
  }),
];

interface Fixture {
  port: number;
  ends: SessionEnd[];
  lines: string[];
  settled: () => Promise<void>;
}

async function fixture(t: TestContext, more: Partial<SessionOptions> = {}): Promise<Fixture> {
  const ends: SessionEnd[] = [];
  const lines: string[] = [];
  const log: ProgressLog = { ...silentLog, info: (line) => lines.push(line) };
  const server = await socketServer(async (socket: Duplex) => ends.push(await serveSession(socket, { endpoints, log, unauthorizedDelayMs: 0, ...more })));
  t.after(server.close);
  return { port: server.port, ends, lines, settled: server.settled };
}

/** Collects what a raw connection receives until `enough` says so or it ends. */
async function receive(socket: Socket, enough: (bytes: Buffer) => boolean = () => false): Promise<Buffer> {
  let bytes = Buffer.alloc(0);
  socket.on('error', () => {});
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    bytes = Buffer.concat([bytes, piece as Buffer]);
    if (enough(bytes)) break;
  }
  return bytes;
}

test('offers what the reference offers, with a smaller window for streams', async (t) => {
  const { port } = await fixture(t);
  const socket = connect(port, '127.0.0.1');
  socket.write(clientHello());
  const bytes = await receive(socket, (all) => decodeFrames(all).some((one) => one.type === windowUpdate));
  socket.destroy();
  const frames = decodeFrames(bytes);
  const { payload } = frames.find((one) => one.type === frameType.settings && one.flags === 0)!;
  const settings: Record<number, number> = {};
  for (let at = 0; at < payload.length; at += 6) settings[payload.readUInt16BE(at)] = payload.readUInt32BE(at + 2);
  assert.deepEqual(settings, { 3: 200, 4: 4_194_304, 5: 4_194_304, 6: 16_384 });
  const update = frames.find((one) => one.type === windowUpdate)!;
  assert.deepEqual([update.stream, update.payload.readUInt32BE()], [0, 33_488_897]);
});

test('envelope, routing and errors', async (t) => {
  const { port, lines } = await fixture(t);
  const client = await h2Client(port);
  const json = 'application/json;charset=UTF-8';
  const form = { 'content-type': 'application/x-www-form-urlencoded' };
  const type = { 'content-type': 'application/json' };
  const table: Array<[line: string, status: number, contentType: string | undefined, body: string, options?: Parameters<typeof h2Request>[3]]> = [
    ['POST /finish', 200, json, '{"data":null}'],
    ['POST //finish/?', 200, json, '{"data":null}', { headers: form }],
    ['POST /fin%69sh', 200, json, '{"data":null}'],
    ['GET /finish', 404, json, "Path '/finish' not found."],
    ['GET //no/such', 404, json, "Path '/no/such' not found."],
    ['GET /.x', 400, json, 'path contains illegal components'],
    ['GET /', 200, json, '{"data":[{"subdir":"blob"},{"subdir":"broken"},{"subdir":"bytes"},{"subdir":"dynamic_index"},{"subdir":"finish"},{"subdir":"refuse"},{"subdir":"stream"}]}'],
    ['PUT /dynamic_index?wid=9', 200, json, '{"data":{"digest-list":["a"],"wid":2}}', { headers: type, body: Buffer.from('{"wid":2,"digest-list":["a"]}') }],
    ['PUT /dynamic_index?wid=9', 400, undefined, "parameter verification failed - 'wid': property is missing and it is not optional", { headers: type }],
    ['PUT /dynamic_index?wid=9', 200, json, '{"data":{"wid":9}}', { headers: form }],
    ['PUT /dynamic_index?wid=257', 400, undefined, "parameter verification failed - 'wid': value must have a maximum value of 256 (got 257)"],
    ['PUT /dynamic_index', 400, json, 'unsupported content type Ok("text/plain")', { headers: { 'content-type': 'text/plain' } }],
    ['PUT /dynamic_index', 400, json, 'Request body too large', { headers: type, body: Buffer.alloc(512 * 1024, 32) }],
    ['POST /blob?size=600000', 200, json, '{"data":600000}', { headers: form, body: Buffer.alloc(600_000) }],
    ['POST /blob?size=5', 400, json, 'got blob with unexpected length (4 != 5)', { body: Buffer.alloc(4) }],
    ['POST /blob?size=5', 400, json, 'got blob with unexpected length (6 != 5)', { body: Buffer.alloc(6) }],
    ['GET /refuse?status=401', 401, json, 'not this way'],
    ['GET /broken', 400, json, 'reading failed: EIO'],
  ];
  for (const [line, status, contentType, body, options] of table) {
    const [method, path] = line.split(' ') as [string, string];
    const answer = await h2Request(client, method, path, options);
    assert.deepEqual([answer.status, answer.headers['content-type'], String(answer.body)], [status, contentType, body], line);
    assert.equal(Number(answer.headers['content-length']), answer.body.length, line);
    assert.ok(answer.headers['date'] !== undefined);
  }
  assert.ok(lines.includes('GET /refuse: 401 Unauthorized: not this way'));
  client.close();
});

test('bytes have a length, streams have none', async (t) => {
  const { port } = await fixture(t);
  const client = await h2Client(port);
  const bytes = await h2Request(client, 'GET', '/bytes?n=5000000');
  assert.deepEqual([bytes.headers['content-type'], bytes.headers['content-length'], bytes.body.length], ['application/octet-stream', '5000000', 5_000_000]);
  const stream = await h2Request(client, 'GET', '/stream?pieces=40');
  assert.deepEqual([stream.headers['content-type'], stream.headers['content-length'], stream.body.length], ['application/octet-stream', undefined, 40 * 65_536]);
  client.close();
});

test('with debug every request is in the log', async (t) => {
  const { port, lines } = await fixture(t, { debug: true });
  const client = await h2Client(port);
  await h2Request(client, 'POST', '/finish?');
  assert.deepEqual(lines, ['POST /finish']);
  client.close();
});

test('refused uploads cost the session nothing: their bodies are thrown away', async (t) => {
  const { port } = await fixture(t);
  const client = await h2Client(port);
  // More than the connection's window in all.
  for (let i = 0; i < 12; i += 1) {
    const path = i % 2 === 0 ? '/nosuch' : '/blob?size=1';
    assert.equal((await h2Request(client, 'POST', path, { body: Buffer.alloc(4 * 1024 * 1024) })).status, i % 2 === 0 ? 404 : 400);
  }
  client.close();
});

test('ends cleanly when the client says goodbye or closes its side, with an error when it breaks off', async (t) => {
  const { port, ends, settled } = await fixture(t);
  const polite = await h2Client(port);
  await h2Request(polite, 'POST', '/finish');
  polite.close();
  await once(polite, 'close');
  await settled();
  const silent = connect(port, '127.0.0.1');
  silent.write(Buffer.concat([clientHello(), requestFrame(1, 'POST', '/finish')]));
  await receive(silent, (all) => decodeFrames(all).some((one) => one.type === frameType.data));
  silent.end();
  await receive(silent);
  await settled();
  assert.deepEqual(ends.map((end) => end.error), [null, null]);
  const rude = connect(port, '127.0.0.1');
  rude.write(Buffer.concat([clientHello(), requestFrame(1, 'GET', '/stream?pieces=5000')]));
  await receive(rude, (all) => all.length > 100_000);
  rude.resetAndDestroy();
  await settled();
  assert.ok(ends[2]!.error instanceof Error);
  const wrong = connect(port, '127.0.0.1');
  wrong.write('GET / HTTP/1.1\r\n\r\n');
  await receive(wrong);
  await settled();
  assert.ok(ends[3]!.error instanceof Error);
});

test('an abort closes the connection at once', async (t) => {
  const stop = new AbortController();
  const { port, ends, settled } = await fixture(t, { signal: stop.signal });
  const client = await h2Client(port);
  const stream = client.request({ ':method': 'GET', ':path': '/stream?pieces=100000' });
  stream.on('error', () => {});
  await once(stream, 'data');
  stop.abort(new Error('task aborted'));
  await settled();
  assert.equal(ends[0]!.error?.message, 'task aborted');
});

test('a stream that the client resets lets go of what it held', async (t) => {
  const { port } = await fixture(t);
  const client = await h2Client(port);
  const stream = client.request({ ':method': 'GET', ':path': '/stream?pieces=100000' });
  stream.on('error', () => {});
  await once(stream, 'data');
  assert.equal(held.streams, 1);
  stream.close(8);
  // Frames of one session are handled in order of arrival: behind a few answers the reset was seen.
  for (let i = 0; i < 10; i += 1) await h2Request(client, 'POST', '/finish');
  assert.equal(held.streams, 0);
  client.close();
});

test('bodies that nobody reads are held up at the client', async (t) => {
  const streamWindow = 20_000;
  let received = (): number => 0;
  const server = await socketServer((socket) => {
    received = () => (socket as Socket).bytesRead;
    const waiting = sessionEndpoint({ method: 'POST', path: '/wait', body: 'stream', parameters: Type.Object({}), handler: (_p, { signal }) => new Promise((resolve) => signal.addEventListener('abort', resolve)) });
    return serveSession(socket, { endpoints: [waiting], log: silentLog, streamWindow });
  });
  t.after(server.close);
  const client = await h2Client(server.port);
  for (let i = 0; i < 50; i += 1) client.request({ ':method': 'POST', ':path': '/wait' }).on('error', () => {}).end(Buffer.alloc(1024 * 1024));
  // A ping runs behind everything that the windows let out.
  for (let i = 0; i < 20; i += 1) await new Promise((resolve) => client.ping(resolve));
  assert.ok(received() > 50 * streamWindow);
  assert.ok(received() < 50 * streamWindow + 100_000, `${received()} bytes`);
  client.destroy();
});

const conversation = Buffer.concat([clientHello(), requestFrame(1, 'POST', '/finish'), requestFrame(3, 'GET', '/bytes?n=70000'), requestFrame(5, 'GET', '/stream?pieces=20'), frame(ping, 0, 0, Buffer.alloc(8))]);

test('bytes split anywhere are the same conversation', async (t) => {
  const { port } = await fixture(t);
  const expected = 13 + 70_000 + 20 * 65_536;
  const bodyLength = (bytes: Buffer): number => decodeFrames(bytes).reduce((sum, one) => sum + (one.type === frameType.data ? one.payload.length : 0), 0);
  const cuts = [1, 3, 8, 9, 17, 24, 33, 50, 100].map((size) => Array.from({ length: Math.ceil(conversation.length / size) }, (_, i) => conversation.subarray(i * size, (i + 1) * size)));
  for (const pieces of cuts) {
    const socket = connect(port, '127.0.0.1');
    socket.setNoDelay(true);
    const received = receive(socket, (all) => bodyLength(all) === expected);
    for (const piece of pieces) {
      await new Promise((resolve) => socket.write(piece, resolve));
      await new Promise((resolve) => setImmediate(resolve));
    }
    assert.equal(bodyLength(await received), expected);
    socket.destroy();
  }
});

test('connections that break off or reset at any byte harm nobody', async (t) => {
  const { port, ends, settled } = await fixture(t);
  let count = 0;
  for (let length = 0; length <= conversation.length; length += 7) {
    for (const leave of ['end', 'destroy', 'resetAndDestroy'] as const) {
      const socket = connect(port, '127.0.0.1');
      socket.on('error', () => {});
      socket.resume();
      if (length > 0) await new Promise((resolve) => socket.write(conversation.subarray(0, length), resolve));
      else await once(socket, 'connect');
      socket[leave]();
      await once(socket, 'close');
      count += 1;
    }
  }
  await settled();
  assert.equal(ends.length, count);
  const client = await h2Client(port);
  assert.equal((await h2Request(client, 'POST', '/finish')).status, 200);
  client.close();
});

test('mutated and invented frames never end the process', async (t) => {
  const { port, settled } = await fixture(t);
  const attack = async (bytes: Buffer): Promise<void> => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.resume();
    socket.end(bytes);
    await once(socket, 'close');
  };
  const mutation = fc.array(fc.tuple(fc.nat(conversation.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }).map((changes) => {
    const bytes = Buffer.from(conversation);
    for (const [at, value] of changes) bytes[at] = value;
    return bytes;
  });
  const invention = fc.array(fc.tuple(fc.nat(12), fc.nat(255), fc.nat(9), fc.uint8Array({ maxLength: 40 })), { maxLength: 8 }).map((frames) => Buffer.concat([clientHello(), ...frames.map(([type, flags, stream, payload]) => frame(type, flags, stream, payload))]));
  await fc.assert(fc.asyncProperty(fc.oneof(mutation, invention), attack), { numRuns: 150 });
  await settled();
  const client = await h2Client(port);
  assert.equal((await h2Request(client, 'POST', '/finish')).status, 200);
  client.close();
});
