import assert from 'node:assert/strict';
import { createHash, randomBytes } from 'node:crypto';
import { once } from 'node:events';
import type { ServerHttp2Stream } from 'node:http2';
import type { TLSSocket } from 'node:tls';
import { test } from 'node:test';
import { AbortedError, HttpError, NetworkError } from '../base/errors.ts';
import { answerFrame, endStream, frame, frameType, openedStreams, u32 } from '../../test/support/http2-frames.ts';
import { startScriptedRemote, switchingProtocols } from '../../test/support/scripted-remote.ts';
import type { RemoteScript, ScriptedRemote } from '../../test/support/scripted-remote.ts';
import { ReaderClient } from './reader-client.ts';
import type { ReaderOptions } from './reader-client.ts';
import { RateLimiter } from './rate-limit.ts';
import { RemoteEndpoint } from './remote-endpoint.ts';

const maxBytes = 16 * 1024 * 1024;

function endpointOf(remote: ScriptedRemote): RemoteEndpoint {
  return new RemoteEndpoint({ host: '127.0.0.1', port: remote.port, authId: 'sync@pbs!offsite', secret: 'se:cret', fingerprint: remote.fingerprint });
}

async function open(remote: ScriptedRemote, options: Partial<ReaderOptions> = {}): Promise<ReaderClient> {
  return ReaderClient.open(endpointOf(remote), { store: 'main', ns: 'a/b', backupType: 'vm', backupId: '100', backupTime: 1_760_000_000, ...options });
}

const digestOf = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest();
const digest = Buffer.alloc(32, 7);

function answer(stream: ServerHttp2Stream, body: Uint8Array, fields: Record<string, string | number> = {}): void {
  stream.respond({ ':status': 200, 'content-type': 'application/octet-stream', ...fields });
  stream.end(body);
}

/** Expects a NetworkError with `code`. */
function net(code: string): (e: unknown) => boolean {
  return (e) => {
    assert.ok(e instanceof NetworkError, `${e as Error}`);
    assert.equal(e.code, code, e.message);
    return true;
  };
}

/** A remote that answers the upgrade and then speaks raw frames: `act` is called with the first opened stream's id. */
function rawScript(act: (socket: TLSSocket, streamId: number) => void, atOnce: Buffer = frame(frameType.settings, 0, 0)): RemoteScript {
  return {
    onUpgrade: (socket, request) => {
      socket.write(Buffer.concat([Buffer.from(switchingProtocols(request)), atOnce]));
      let seen = Buffer.alloc(0);
      let acted = false;
      socket.on('data', (bytes: Buffer) => {
        seen = Buffer.concat([seen, bytes]);
        const id = openedStreams(seen)[0];
        if (id === undefined || acted) return;
        acted = true;
        act(socket, id);
      });
    },
  };
}

test('the upgrade request is the reference client\'s, and bytes after the 101 are not lost', async () => {
  let asked: { url: string; headers: NodeJS.Dict<string | string[]> } | undefined;
  const script = rawScript((socket, id) => socket.write(Buffer.concat([answerFrame(id, { ':status': '200' }), frame(frameType.data, endStream, id, Buffer.from('hello'))])));
  await using remote = await startScriptedRemote({
    onUpgrade: (socket, request) => {
      asked = { url: request.url!, headers: request.headers };
      script.onUpgrade!(socket, request);
    },
  });
  const client = await open(remote);
  assert.equal((await client.chunk(digest, { maxBytes })).toString(), 'hello');
  assert.equal(asked?.url, '/api2/json/reader?backup-id=100&backup-time=1760000000&backup-type=vm&debug=false&ns=a%2Fb&store=main');
  assert.equal(asked.headers['authorization'], 'PBSAPIToken sync@pbs!offsite:se%3Acret');
  assert.equal(asked.headers['upgrade'], 'proxmox-backup-reader-protocol-v1');
  client.close();
  await client.closed;
});

test('a session begins only when its upgrade request has left, however slowly that went', async () => {
  const script = rawScript((socket, id) => socket.write(Buffer.concat([answerFrame(id, { ':status': '200' }), frame(frameType.data, endStream, id, Buffer.from('hello'))])));
  await using remote = await startScriptedRemote(script);
  // The answer and the first frames are here while the bucket still holds back the report of the request's write.
  const client = await open(remote, { limiter: new RateLimiter({ rateIn: 50_000_000, rateOut: 10_000, burstOut: 500 }) });
  assert.equal((await client.chunk(digest, { maxBytes })).toString(), 'hello');
  client.close();
  await client.closed;
});

test('requests in the session are the reference client\'s', async () => {
  const seen: Array<Record<string, unknown>> = [];
  await using remote = await startScriptedRemote({
    onStream: (stream, headers) => {
      seen.push(Object.fromEntries(Object.entries(headers)));
      answer(stream, Buffer.alloc(0));
    },
  });
  const client = await open(remote);
  await client.downloadTo('index.json.blob', () => {}, { maxBytes });
  await client.chunk(digest, { maxBytes });
  await client.speedtest();
  client.close();
  const common = { ':method': 'GET', ':scheme': 'https', ':authority': 'localhost:8007', 'content-type': 'application/x-www-form-urlencoded' };
  const paths = ['/download?file-name=index.json.blob', `/chunk?digest=${'07'.repeat(32)}`, '/speedtest'];
  assert.deepEqual(seen.map(({ 'user-agent': _agent, ...rest }) => rest), paths.map((path) => ({ ...common, ':path': path })));
});

test('a refused upgrade is an HttpError with the remote\'s text', async () => {
  await using remote = await startScriptedRemote({
    onUpgrade: (socket) => socket.end('HTTP/1.1 400 Bad Request\r\ncontent-length: 9\r\n\r\nnot today'),
  });
  await assert.rejects(open(remote), (e) => e instanceof HttpError && e.status === 400 && e.message === 'not today');
});

test('other answers to the upgrade are protocol errors', async () => {
  for (const text of ['HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nhi', 'HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: other\r\n\r\n', 'ICY 200 OK\r\n\r\n']) {
    await using remote = await startScriptedRemote({ onUpgrade: (socket) => socket.end(text) });
    await assert.rejects(open(remote), net('net.protocol'), text);
  }
  await using remote = await startScriptedRemote({ onUpgrade: (socket) => socket.destroy() });
  await assert.rejects(open(remote), net('net.reset'));
});

test('500 chunks at once arrive whole through 200 streams', async () => {
  const chunks = new Map(Array.from({ length: 500 }, (_, i) => randomBytes(1 + i * 137)).map((bytes) => [digestOf(bytes).toString('hex'), bytes]));
  await using remote = await startScriptedRemote({
    onStream: (stream, headers) => {
      const bytes = chunks.get(new URLSearchParams(headers[':path']!.split('?')[1]).get('digest')!)!;
      answer(stream, bytes, { 'content-length': bytes.length });
    },
  });
  let counted = 0;
  const client = await open(remote, { onBytes: (n) => (counted += n) });
  const all = [...chunks].map(async ([hex, bytes]) => assert.ok((await client.chunk(Buffer.from(hex, 'hex'), { maxBytes })).equals(bytes)));
  assert.equal(client.inFlight, 500);
  await Promise.all(all);
  assert.equal(client.inFlight, 0);
  assert.equal(counted, [...chunks.values()].reduce((sum, bytes) => sum + bytes.length, 0));
  client.close();
  await client.closed;
});

test('many 4 MiB chunks in flight do not end the session', async () => {
  const body = Buffer.alloc(4 * 1024 * 1024, 7);
  await using remote = await startScriptedRemote({ onStream: (stream) => answer(stream, body, { 'content-length': body.length }) });
  const client = await open(remote);
  const got = await Promise.all(Array.from({ length: 40 }, () => client.chunk(digest, { maxBytes })));
  assert.ok(got.every((one) => one.equals(body)));
  assert.ok(client.wireBytes.read > 40 * body.length);
  client.close();
});

test('error answers carry the text and leave the session alive', async () => {
  await using remote = await startScriptedRemote({
    onStream: (stream, headers) => {
      const status = Number(/f(\d+)/.exec(headers[':path']!)?.[1] ?? 200);
      stream.respond({ ':status': status, 'content-type': 'application/json;charset=UTF-8' });
      stream.end(status === 200 ? 'fine' : `text ${status}`);
    },
  });
  const client = await open(remote);
  for (const status of [400, 401, 404, 500]) {
    await assert.rejects(client.download(`f${status}`, { maxBytes }), (e) => e instanceof HttpError && e.status === status && e.message === `text ${status}`);
  }
  assert.equal((await client.chunk(digest, { maxBytes })).toString(), 'fine');
  assert.equal(client.failure, undefined);
  client.close();
  await assert.rejects(client.chunk(digest, { maxBytes }), AbortedError);
});

test('a body that is cut off is never taken for whole', async () => {
  const head = (id: number): Buffer => Buffer.concat([answerFrame(id, { ':status': '200' }), frame(frameType.data, 0, id, Buffer.alloc(1000, 65))]);
  const cuts: Record<string, { code: string; act: (socket: TLSSocket, id: number) => void }> = {
    'connection closed': { code: 'net.reset', act: (socket, id) => socket.end(head(id)) },
    'connection reset': { code: 'net.reset', act: (socket, id) => socket.write(head(id), () => socket.destroy()) },
    'stream reset, no error': { code: 'net.reset', act: (socket, id) => socket.write(Buffer.concat([head(id), frame(frameType.reset, 0, id, u32(0))])) },
    'stream reset, cancel': { code: 'net.reset', act: (socket, id) => socket.write(Buffer.concat([head(id), frame(frameType.reset, 0, id, u32(8))])) },
    'stream reset, internal error': { code: 'net.reset', act: (socket, id) => socket.write(Buffer.concat([head(id), frame(frameType.reset, 0, id, u32(2))])) },
    'goaway without error, then closed': { code: 'net.reset', act: (socket, id) => socket.end(Buffer.concat([head(id), frame(frameType.goaway, 0, 0, u32(id, 0))])) },
    'goaway before this stream': { code: 'net.reset', act: (socket, id) => socket.write(Buffer.concat([head(id), frame(frameType.goaway, 0, 0, u32(0, 0))])) },
    'goaway with error': { code: 'net.protocol', act: (socket, id) => socket.write(Buffer.concat([head(id), frame(frameType.goaway, 0, 0, u32(id, 2))])) },
    'no HTTP/2': { code: 'net.protocol', act: (socket, id) => socket.write(Buffer.concat([head(id), Buffer.from('HTTP/1.1 400 Bad Request\r\n\r\n')])) },
  };
  for (const [name, { code, act }] of Object.entries(cuts)) {
    await using remote = await startScriptedRemote(rawScript(act));
    const whole = await open(remote);
    await assert.rejects(whole.chunk(digest, { maxBytes }), net(code), name);
    whole.close();
    const streamed = await open(remote);
    await assert.rejects(streamed.downloadTo('x.fidx', () => {}, { maxBytes }), net(code), name);
    assert.equal(streamed.inFlight, 0, name);
    streamed.close();
    await Promise.all([whole.closed, streamed.closed]);
  }
});

test('every form of a whole body is taken for whole, also by a slow reader', async () => {
  // Within the first window: this remote does not wait for a larger one.
  const data = (id: number, flags: number, length: number): Buffer => frame(frameType.data, flags, id, Buffer.alloc(length, 65));
  const bodies: Record<string, [number, (id: number) => Buffer[]]> = {
    'header only': [0, (id) => [answerFrame(id, { ':status': '200' }, endStream)]],
    'end with the last data': [3000, (id) => [answerFrame(id, { ':status': '200' }), data(id, 0, 1000), data(id, endStream, 2000)]],
    'end in an empty frame': [60_000, (id) => [answerFrame(id, { ':status': '200' }), ...Array.from({ length: 6 }, () => data(id, 0, 10_000)), data(id, endStream, 0)]],
    'end in trailers': [60_000, (id) => [answerFrame(id, { ':status': '200' }), ...Array.from({ length: 6 }, () => data(id, 0, 10_000)), answerFrame(id, { 'x-sum': 'y' }, endStream)]],
    'end, then reset without error': [60_000, (id) => [answerFrame(id, { ':status': '200' }), ...Array.from({ length: 6 }, () => data(id, 0, 10_000)), data(id, endStream, 0), frame(frameType.reset, 0, id, u32(0))]],
  };
  for (const [name, [length, frames]] of Object.entries(bodies)) {
    await using remote = await startScriptedRemote(rawScript((socket, id) => socket.write(Buffer.concat(frames(id)))));
    const whole = await open(remote);
    assert.equal(await whole.chunk(digest, { maxBytes }).then((got) => got.length, String), length, name);
    whole.close();
    const streamed = await open(remote);
    let pauses = 0;
    const total = await streamed.downloadTo('x.fidx', async () => void (pauses++ < 3 && (await new Promise((resolve) => setTimeout(resolve, 30)))), { maxBytes });
    assert.equal(total, length, name);
    streamed.close();
  }
});

test('lengths that lie are found', async () => {
  for (const [announced, sent] of [[100, 99], [100, 101], [5, 0], [0, 5]] as const) {
    await using remote = await startScriptedRemote(
      rawScript((socket, id) => socket.write(Buffer.concat([answerFrame(id, { ':status': '200', 'content-length': `${announced}` }), frame(frameType.data, endStream, id, Buffer.alloc(sent))]))),
    );
    for (const ask of [async (c: ReaderClient) => c.chunk(digest, { maxBytes }), async (c: ReaderClient) => c.downloadTo('a.blob', () => {}, { maxBytes })]) {
      const client = await open(remote);
      await assert.rejects(ask(client), net('net.protocol'), `${announced} ${sent}`);
      client.close();
    }
  }
});

test('bodies are cut at the limit, whether announced or endless', async () => {
  await using remote = await startScriptedRemote({
    onStream: (stream, headers) => {
      if (headers[':path']!.startsWith('/chunk')) {
        stream.respond({ ':status': 200, 'content-length': 20_000_000 });
        return;
      }
      stream.respond({ ':status': 200 });
      const more = (): void => {
        while (!stream.destroyed && stream.write(Buffer.alloc(65_536)));
        if (!stream.destroyed) stream.once('drain', more);
      };
      more();
    },
  });
  const client = await open(remote);
  await assert.rejects(client.chunk(digest, { maxBytes }), net('net.protocol'));
  let taken = 0;
  await assert.rejects(client.downloadTo('endless.blob', (piece) => void (taken += piece.length), { maxBytes: 1_000_000 }), net('net.protocol'));
  assert.ok(taken <= 1_000_000);
  await assert.rejects(client.speedtest(), net('net.protocol'));
  assert.equal(client.inFlight, 0);
  client.close();
});

test('an empty body, a body without announced length and a half-read body', async () => {
  await using remote = await startScriptedRemote({
    onStream: (stream, headers) => answer(stream, headers[':path']!.includes('empty') ? Buffer.alloc(0) : Buffer.alloc(300_000, 1)),
  });
  const client = await open(remote);
  assert.equal(await client.downloadTo('empty.blob', () => {}, { maxBytes }), 0);
  assert.equal((await client.chunk(digest, { maxBytes })).length, 300_000);
  for await (const piece of await client.download('x.blob', { maxBytes })) {
    assert.ok(piece.length > 0);
    break;
  }
  assert.equal(client.inFlight, 0);
  await assert.rejects(client.downloadTo('x.blob', () => Promise.reject(new Error('disk full')), { maxBytes }), /disk full/);
  assert.equal(client.inFlight, 0);
  assert.equal((await client.chunk(digest, { maxBytes })).length, 300_000);
  client.close();
  await client.closed;
});

test('a stall ends the session and fails every request once', async () => {
  for (const stage of ['no answer', 'in the middle'] as const) {
    await using remote = await startScriptedRemote({
      onStream: (stream) => {
        if (stage === 'no answer') return;
        stream.respond({ ':status': 200, 'content-length': 1000 });
        stream.write(Buffer.alloc(500));
      },
    });
    const client = await open(remote, { stallTimeoutMs: 100 });
    const failed = await Promise.allSettled([client.chunk(digest, { maxBytes }), client.chunk(digest, { maxBytes }), client.downloadTo('x.blob', () => {}, { maxBytes })]);
    for (const one of failed) assert.ok(one.status === 'rejected' && net('net.stalled')(one.reason));
    await client.closed;
    assert.equal(client.failure?.code, 'net.stalled');
    await assert.rejects(client.chunk(digest, { maxBytes }), net('net.stalled'));
  }
});

test('a slow reader and an idle session are no stall', async () => {
  await using remote = await startScriptedRemote({ onStream: (stream) => answer(stream, Buffer.alloc(2_000_000)) });
  const client = await open(remote, { stallTimeoutMs: 200 });
  const idle = async (): Promise<unknown> => new Promise((resolve) => setTimeout(resolve, 500));
  let pauses = 0;
  const total = await client.downloadTo('x.blob', async () => void (pauses++ < 2 && (await idle())), { maxBytes });
  assert.equal(total, 2_000_000);
  await idle();
  assert.equal((await client.chunk(digest, { maxBytes })).length, 2_000_000);
  client.close();
});

test('the end of the session fails all requests with its reason', async () => {
  const ends: Record<string, { code: string; act: (remote: ScriptedRemote, stream: ServerHttp2Stream) => void }> = {
    reset: { code: 'net.reset', act: (remote) => remote.open.forEach((socket) => socket.resetAndDestroy()) },
    closed: { code: 'net.reset', act: (remote) => remote.open.forEach((socket) => socket.destroy()) },
    goaway: { code: 'net.protocol', act: (_remote, stream) => stream.session!.goaway(11) },
  };
  for (const [name, { code, act }] of Object.entries(ends)) {
    let asked = 0;
    await using remote = await startScriptedRemote({
      onStream: (stream) => {
        asked += 1;
        if (asked === 50) act(remote, stream);
      },
    });
    const client = await open(remote);
    const outcomes = await Promise.allSettled(Array.from({ length: 60 }, async () => client.chunk(digest, { maxBytes })));
    for (const one of outcomes) assert.ok(one.status === 'rejected' && net(code)(one.reason), name);
    await client.closed;
    assert.equal(client.inFlight, 0);
    await assert.rejects(client.chunk(digest, { maxBytes }), net(code), name);
  }
});

test('goaway without error lets answers under way finish and refuses new requests', async () => {
  await using remote = await startScriptedRemote({
    onStream: (stream, _headers, session) => {
      stream.respond({ ':status': 200, 'content-length': 10 });
      stream.write(Buffer.alloc(5));
      session.goaway(0, stream.id);
      setImmediate(() => stream.end(Buffer.alloc(5)));
    },
  });
  const client = await open(remote);
  assert.equal((await client.chunk(digest, { maxBytes })).length, 10);
  await client.closed;
  await assert.rejects(client.chunk(digest, { maxBytes }), net('net.reset'));
});

test('an abort ends opening and reading', async () => {
  const opening = new AbortController();
  await using remote = await startScriptedRemote({ onUpgrade: () => opening.abort() });
  await assert.rejects(open(remote, { signal: opening.signal }), AbortedError);

  await using silent = await startScriptedRemote({ onStream: () => {} });
  const reading = new AbortController();
  const client = await open(silent, { signal: reading.signal });
  const asked = client.chunk(digest, { maxBytes });
  reading.abort();
  await assert.rejects(asked, AbortedError);
  await client.closed;
  await assert.rejects(open(silent, { signal: reading.signal }), AbortedError);
});

test('close fails what is under way and frees the connection', async () => {
  await using remote = await startScriptedRemote({ onStream: () => {} });
  const client = await open(remote);
  const asked = client.chunk(digest, { maxBytes });
  const [socket] = [...remote.open];
  client.close();
  await assert.rejects(asked, AbortedError);
  await client.closed;
  if (!socket!.destroyed) await once(socket!, 'close');
  client.close();
});

test('sessions work under a rate limit', async () => {
  const body = randomBytes(3_000_000);
  await using remote = await startScriptedRemote({ onStream: (stream) => answer(stream, body, { 'content-length': body.length }) });
  const limiter = new RateLimiter({ rateIn: 50_000_000, rateOut: 50_000_000 });
  const client = await open(remote, { limiter });
  const got = await Promise.all([1, 2, 3].map(async () => client.chunk(digest, { maxBytes })));
  for (const one of got) assert.ok(one.equals(body));
  client.close();
  await client.closed;
});
