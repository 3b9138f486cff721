import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { addGoldenDatastore, datastoreFolder, FarshoreHost, readerToken } from '../support/farshore-host.ts';
import { clientHello, clientPreface, decodeFrames, ping, requestFrame, windowUpdate } from '../support/http2-client-frames.ts';
import { frame, frameType, u32 } from '../support/http2-frames.ts';
import { rawHttps } from '../support/raw-https.ts';

/**
 * What HTTP/2 allows one frame at a time and nobody can bear by the million. Whoever does it has been let in, so his session ends and the server, a process of its
 * own here, goes on with the memory that it had.
 */

const [priority, pushPromise, continuation, unknown] = [2, 5, 9, 0x77];
const endHeaders = 4;
const endStream = 1;

function repeated(bytes: Buffer, count: number): Buffer {
  return Buffer.concat(Array.from({ length: count }, () => bytes));
}

function literal(name: string, value: string): Buffer {
  return Buffer.concat([Buffer.from([0, name.length]), Buffer.from(name), Buffer.from([value.length]), Buffer.from(value)]);
}

const request = Buffer.concat([literal(':method', 'GET'), literal(':scheme', 'https'), literal(':authority', 'x'), literal(':path', '/speedtest')]);
const upload = Buffer.concat([literal(':method', 'POST'), literal(':scheme', 'https'), literal(':authority', 'x'), literal(':path', '/speedtest')]);
const streamId = (i: number): number => 2 * i + 1;
const resetFrame = (id: number): Buffer => frame(frameType.reset, 0, id, u32(8));
const noWindow = Buffer.concat([clientPreface, frame(frameType.settings, 0, 0, Buffer.from([0, 4, 0, 0, 0, 0]))]);

interface Flood {
  /** The `i`th piece that is sent. */
  piece: (i: number) => Buffer;
  hello?: Buffer;
  /** The client reads nothing. */
  unread?: boolean;
}

/** Each must end its session. */
const floods: Readonly<Record<string, Flood>> = {
  'SETTINGS that want to be acknowledged': { piece: () => repeated(frame(frameType.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100])), 100) },
  'SETTINGS whose acknowledgements are not read': { piece: () => repeated(frame(frameType.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100])), 100), unread: true },
  'PING': { piece: () => repeated(frame(ping, 0, 0, Buffer.alloc(8)), 100) },
  'PING whose answers are not read': { piece: () => repeated(frame(ping, 0, 0, Buffer.alloc(8)), 100), unread: true },
  'requests that are reset at once': { piece: (i) => Buffer.concat([requestFrame(streamId(i), 'GET', '/speedtest'), resetFrame(streamId(i))]) },
  'refused requests that are reset at once': { piece: (i) => Buffer.concat([requestFrame(streamId(i), 'GET', '/nosuch'), resetFrame(streamId(i))]) },
  'headers without end': { piece: (i) => (i === 0 ? frame(frameType.headers, 0, 1, request) : frame(continuation, 0, 1, repeated(literal('x-a', 'b'.repeat(100)), 100))) },
  'empty CONTINUATION without end': { piece: (i) => (i === 0 ? frame(frameType.headers, 0, 1, request) : repeated(frame(continuation, 0, 1), 100)) },
  'header blocks of 64 KiB': { piece: (i) => frame(frameType.headers, endHeaders | endStream, streamId(i), Buffer.concat([request, repeated(literal('x-a', 'b'.repeat(100)), 600)])) },
  'more streams than allowed, nothing of them read': { piece: (i) => requestFrame(streamId(i), 'GET', '/speedtest'), hello: noWindow },
  'windows that grow by one': { piece: () => repeated(frame(windowUpdate, 0, 0, u32(1)), 100) },
  'a window beyond its limit': { piece: () => frame(windowUpdate, 0, 0, u32(0x7fffffff)) },
  'a window that grows by nothing': { piece: () => frame(windowUpdate, 0, 0, u32(0)) },
  'priorities of streams that nobody opened': { piece: (i) => Buffer.concat(Array.from({ length: 100 }, (_, k) => frame(priority, 0, streamId(i * 100 + k), Buffer.from([0, 0, 0, 0, 5])))) },
  'frames of unknown types': { piece: () => repeated(frame(unknown, 0, 0, Buffer.alloc(100)), 100) },
  'empty DATA': { piece: (i) => (i === 0 ? frame(frameType.headers, endHeaders, 1, upload) : repeated(frame(frameType.data, 0, 1), 100)) },
  'DATA behind the end of a stream': { piece: (i) => (i === 0 ? requestFrame(1, 'GET', '/speedtest') : repeated(frame(frameType.data, 0, 1, Buffer.alloc(10)), 100)) },
  'a promise by the client': { piece: () => frame(pushPromise, endHeaders, 1, u32(2)) },
  'a stream of the server opened by the client': { piece: () => requestFrame(2, 'GET', '/speedtest') },
  'a frame larger than any': { piece: () => Buffer.concat([Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]), Buffer.alloc(1_000_000)]) },
  'a stream that comes back': { piece: (i) => requestFrame(i === 0 ? 5 : 3, 'GET', '/speedtest') },
};

/** A session gets as far as this many pieces or is not ended by them. */
const mostPieces = 60_000;
/** Of memory, for all of them; each brings some hundred MB if they were kept. */
const mostGrowthMiB = 150;

suite('HTTP/2 floods', () => {
  let folder: Awaited<ReturnType<typeof datastoreFolder>>;
  let host: FarshoreHost;
  let secret: string;

  before(async () => {
    folder = await datastoreFolder();
    host = new FarshoreHost(join(folder.path, 'home'));
    await addGoldenDatastore(host, 'main', join(folder.path, 'main'));
    await host.start();
    secret = await readerToken(host, 'main');
  });

  after(async () => {
    await host[Symbol.asyncDispose]();
    await folder[Symbol.asyncDispose]();
  });

  async function session(): Promise<TLSSocket> {
    const socket = await rawHttps(host.port);
    const time = Date.parse('2025-10-10T08:53:20Z') / 1000;
    socket.write(
      `GET /api2/json/reader?store=main&backup-type=host&backup-id=plain&backup-time=${time} HTTP/1.1\r\nHost: x\r\nAuthorization: PBSAPIToken=sync@pbs!offsite:${secret}\r\n` +
        'Connection: Upgrade\r\nUpgrade: proxmox-backup-reader-protocol-v1\r\n\r\n',
    );
    let received = '';
    for await (const piece of socket.iterator({ destroyOnReturn: false })) {
      received += (piece as Buffer).toString('latin1');
      if (received.includes('\r\n\r\n')) break;
    }
    assert.match(received, /^HTTP\/1\.1 101 /);
    return socket;
  }

  function residentMiB(): number {
    return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${host.pid}/status`, 'utf8'))![1]) / 1024;
  }

  /** Sends pieces until the server closes the connection; how many it took. */
  async function flooded({ piece, hello = clientHello(), unread = false }: Flood): Promise<number> {
    const socket = await session();
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()));
    if (unread) socket.pause();
    else socket.resume();
    socket.write(hello);
    let sent = 0;
    for (; sent < mostPieces && !socket.destroyed; sent += 1) {
      if (socket.write(piece(sent))) continue;
      // A client that reads nothing learns of the end by its next write at the latest.
      await Promise.race([closed, new Promise<void>((resolve) => socket.once('drain', () => resolve()))]);
    }
    if (sent === mostPieces) socket.destroy();
    // The end may lie behind what was not read.
    socket.resume();
    await closed;
    return sent;
  }

  /** A call of a session of its own. */
  async function isServing(): Promise<void> {
    const socket = await session();
    socket.write(Buffer.concat([clientHello(), requestFrame(1, 'GET', '/nosuch')]));
    let received = Buffer.alloc(0);
    for await (const piece of socket.iterator({ destroyOnReturn: false })) {
      received = Buffer.concat([received, piece as Buffer]);
      if (decodeFrames(received).some(({ type, payload }) => type === frameType.data && payload.includes('not found'))) break;
    }
    socket.destroy();
  }

  test('each ends its own session', async (t) => {
    await isServing();
    const before = residentMiB();
    for (const [name, flood] of Object.entries(floods)) {
      await t.test(name, async () => {
        const sent = await flooded(flood);
        assert.ok(sent < mostPieces, `${sent} pieces were taken`);
        await isServing();
      });
    }
    const growth = residentMiB() - before;
    assert.ok(growth < mostGrowthMiB, `${growth.toFixed(0)} MiB more than before`);
  });

  test('headers that unpack to much, and streams that are never read, are held within bounds', async () => {
    const before = residentMiB();
    // An entry of the table of 4000 bytes, named 4000 times: 16 MB from 8 KB, 200 times.
    const entry = Buffer.concat([Buffer.from([0x40, 1]), Buffer.from('z'), Buffer.from([0x7f, 0x81, 0x1e]), Buffer.alloc(4000, 0x78)]);
    const bomb = (i: number): Buffer => frame(frameType.headers, endHeaders | endStream, streamId(i), Buffer.concat([request, entry, Buffer.alloc(4000, 0xbe)]));
    const held: TLSSocket[] = [];
    for (const [hello, piece] of [
      [clientHello(), bomb],
      [noWindow, (i: number) => requestFrame(streamId(i), 'GET', '/speedtest')],
    ] as const) {
      const socket = await session();
      socket.resume();
      socket.write(hello);
      for (let i = 0; i < 190; i += 1) socket.write(piece(i));
      socket.write(frame(ping, 0, 0, Buffer.from('all read')));
      held.push(socket);
    }
    await isServing();
    const growth = residentMiB() - before;
    assert.ok(growth < mostGrowthMiB, `${growth.toFixed(0)} MiB more than before`);
    for (const socket of held) socket.destroy();
  });

  test('the server was not troubled: nothing unexpected in its log, and it ends cleanly', async () => {
    assert.deepEqual(host.log.filter((line) => / ERROR /.test(line)), []);
    assert.deepEqual(await host.stop(), { code: 0, signal: null });
  });
});
