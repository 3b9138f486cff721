import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, rm, stat, writeFile } from 'node:fs/promises';
import { request as httpRequest, type IncomingMessage } from 'node:http';
import { connect, createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import { text } from 'node:stream/consumers';
import { after, test, type TestContext } from 'node:test';
import { connect as connectTls, type ConnectionOptions, type TLSSocket } from 'node:tls';
import * as fc from 'fast-check';
import { Type } from 'typebox';
import { jsonEndpoint, upgradeEndpoint, type Endpoint } from '../api/endpoint.ts';
import { Router } from '../api/router.ts';
import { systemClock } from '../base/clock.ts';
import { ConfigError, HttpError, StoreError } from '../base/errors.ts';
import { silentLog, type ProgressLog } from '../base/log.ts';
import { RawReply, serveSession, sessionEndpoint } from '../protocol/h2-session-server.ts';
import { makeCertificate } from '../../test/support/certificate.ts';
import { clientHello, decodeFrames, requestFrame } from '../../test/support/http2-client-frames.ts';
import { h2ClientOn, h2Request } from '../../test/support/http2-client.ts';
import { ensureCertificate } from './certificate.ts';
import type { ListenAddress } from './listen-address.ts';
import { listenTls, listenUnix, type Listener, type TlsListenerOptions } from './listener.ts';

const folder = await mkdtemp(join(tmpdir(), 'listener-'));
after(() => rm(folder, { recursive: true }));

function certificateNamed(name: string): ReturnType<typeof ensureCertificate> {
  return ensureCertificate({ files: { certificate: join(folder, `${name}.pem`), key: join(folder, `${name}.key`) }, hostName: name, rights: { mode: 0o640, owner: null }, clock: systemClock, log: silentLog });
}
const certificate = await certificateNamed('first');
const second = await certificateNamed('second');

/** Held open by `/slow` until a test lets go. */
const slow: Array<() => void> = [];
const sessions = { open: 0, ended: 0 };

const sessionEndpoints = [
  sessionEndpoint({ method: 'GET', path: '/bytes', body: 'stream', parameters: Type.Object({ n: Type.Integer() }), handler: (p) => Promise.resolve(new RawReply(Buffer.alloc(p.n, 7))) }),
  sessionEndpoint({ method: 'POST', path: '/speedtest', body: 'stream', parameters: Type.Object({}), handler: async (_p, { body }) => void (await text(body)) }),
];

const endpoints: Endpoint[] = [
  jsonEndpoint({ method: 'GET', path: '/whoami', description: '', parameters: Type.Object({}), permission: { kind: 'any' }, handler: (_p, caller) => Promise.resolve([caller.authId, caller.remoteAddress]) }),
  jsonEndpoint({ method: 'GET', path: '/slow', description: '', parameters: Type.Object({}), permission: { kind: 'any' }, handler: () => new Promise((resolve) => slow.push(() => resolve('done'))) }),
  upgradeEndpoint({
    method: 'GET',
    path: '/reader',
    description: '',
    parameters: Type.Object({ store: Type.String() }),
    permission: { kind: 'any' },
    handler: async (_p, _caller, upgrade) => {
      if (upgrade.protocol !== 'proxmox-backup-reader-protocol-v1') throw new HttpError(400, 'invalid protocol name');
      const socket = await upgrade.accept(upgrade.protocol);
      sessions.open += 1;
      await serveSession(socket, { endpoints: sessionEndpoints, log: silentLog });
      sessions.ended += 1;
    },
  }),
];
const router = new Router({
  endpoints,
  gatekeeper: { authenticate: (request) => Promise.resolve({ authId: 'op@pbs', remoteAddress: request.socket.remoteAddress ?? '' }), allowed: () => Promise.resolve(true) },
  log: silentLog,
});

async function listen(t: TestContext, more: Partial<TlsListenerOptions> = {}): Promise<{ listener: Listener; port: number }> {
  const listener = await listenTls({ router, address: { host: '127.0.0.1', port: 0 }, certificate, log: silentLog, ...more });
  t.after(() => listener.close(0));
  return { listener, port: (listener.address as ListenAddress).port };
}

async function secure(port: number, tcp: Socket = connect(port, '127.0.0.1')): Promise<TLSSocket> {
  const socket = connectTls({ socket: tcp, rejectUnauthorized: false });
  socket.on('error', () => {});
  await once(socket, 'secureConnect');
  return socket;
}

/** What comes back until `pattern` is in it or the connection ends. */
async function until(socket: Socket, pattern: RegExp): Promise<string> {
  let received = '';
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    received += (piece as Buffer).toString('latin1');
    if (pattern.test(received)) break;
  }
  return received;
}

async function noConnections(listener: Listener): Promise<void> {
  while (listener.connections() > 0) await new Promise((resolve) => setTimeout(resolve, 2));
}

const get = (path: string): string => `GET ${path} HTTP/1.1\r\nHost: localhost:8007\r\n\r\n`;
const upgrade = 'GET //api2/json/reader?store=main HTTP/1.1\r\nhost: localhost:8007\r\nconnection: upgrade\r\nUPGRADE: proxmox-backup-reader-protocol-v1\r\n\r\n';

test('TLS without ALPN, with this certificate, and a new one on demand', async (t) => {
  const { listener, port } = await listen(t);
  const socket = await secure(port);
  assert.equal(socket.getPeerCertificate().fingerprint256.toLowerCase(), certificate.fingerprint);
  assert.equal(socket.alpnProtocol, false);
  socket.write(get('//api2/json/whoami'));
  assert.match(await until(socket, /\}/), /^HTTP\/1\.1 200 OK[^]*\{"data":\["op@pbs","127\.0\.0\.1"\]\}$/);
  listener.setCertificate(second);
  const later = await secure(port);
  assert.equal(later.getPeerCertificate().fingerprint256.toLowerCase(), second.fingerprint);
  socket.write(get('/api2/json/whoami'));
  assert.match(await until(socket, /\}/), /200 OK/);
  socket.destroy();
  later.destroy();
  await noConnections(listener);
});

test('several requests on one connection, pipelined too', async (t) => {
  const { port } = await listen(t);
  const socket = await secure(port);
  socket.write(get('/api2/json/whoami').repeat(30));
  assert.equal((await until(socket, /(?:\}[^}]*){30}/)).match(/HTTP\/1\.1 200/g)?.length, 30);
  socket.destroy();
});

test('preface and first request in the same segment as the upgrade request', async (t) => {
  const { port } = await listen(t);
  const socket = await secure(port);
  socket.write(Buffer.concat([Buffer.from(upgrade), clientHello(), requestFrame(1, 'GET', '/bytes?n=70000')]));
  let received = Buffer.alloc(0);
  const body = (): number => {
    const end = received.indexOf('\r\n\r\n') + 4;
    return decodeFrames(received.subarray(end)).reduce((sum, one) => sum + (one.type === 0 ? one.payload.length : 0), 0);
  };
  for await (const piece of socket.iterator({ destroyOnReturn: false })) {
    received = Buffer.concat([received, piece as Buffer]);
    if (body() === 70_000) break;
  }
  assert.match(received.toString('latin1'), /^HTTP\/1\.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: proxmox-backup-reader-protocol-v1\r\ndate: /);
  socket.destroy();
});

async function upgraded(port: number): Promise<TLSSocket> {
  const socket = await secure(port);
  socket.write(get('/api2/json/whoami') + upgrade);
  let received = Buffer.alloc(0);
  for (;;) {
    const [piece] = (await once(socket, 'data')) as [Buffer];
    received = Buffer.concat([received, piece]);
    const at = received.indexOf('HTTP/1.1 101');
    const end = at < 0 ? -1 : received.indexOf('\r\n\r\n', at);
    if (end < 0) continue;
    socket.pause();
    if (end + 4 < received.length) socket.unshift(received.subarray(end + 4));
    return socket;
  }
}

test('a session as the second request of a connection: uploads and downloads of 4 MiB on many streams', async (t) => {
  const { port } = await listen(t);
  const client = await h2ClientOn(await upgraded(port));
  const size = 4 * 1024 * 1024;
  const answers = await Promise.all(Array.from({ length: 48 }, (_, i) => (i % 2 === 0 ? h2Request(client, 'GET', `/bytes?n=${size}`) : h2Request(client, 'POST', '/speedtest', { body: Buffer.alloc(size) }))));
  assert.deepEqual(new Set(answers.map((answer) => answer.body.length)), new Set([size, '{"data":null}'.length]));
  client.close();
});

test('whatever breaks off at any point, in TLS or inside it, leaves nothing behind', async (t) => {
  const { listener, port } = await listen(t);
  const plain = Buffer.concat([Buffer.from(upgrade), clientHello(), requestFrame(1, 'GET', '/bytes?n=3000000')]);
  for (let length = 0; length <= plain.length; length += 23) {
    for (const leave of ['end', 'destroy', 'reset'] as const) {
      const tcp = connect(port, '127.0.0.1');
      const socket = await secure(port, tcp);
      socket.resume();
      if (length > 0) await new Promise((resolve) => socket.write(plain.subarray(0, length), resolve));
      if (leave === 'reset') tcp.resetAndDestroy();
      else socket[leave]();
    }
  }
  // And in the handshake: a hello cut short, and noise that starts like one.
  for (let length = 1; length < 60; length += 9) {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.end(Buffer.concat([Buffer.from([0x16, 3, 1, 2, 0, 1]), Buffer.alloc(length, length)]));
    socket.resume();
  }
  await noConnections(listener);
  assert.equal(sessions.open, sessions.ended);
  const socket = await secure(port);
  socket.write(get('/api2/json/whoami'));
  assert.match(await until(socket, /\}/), /200 OK/);
  socket.destroy();
});

test('mutated session bytes right behind the upgrade request never end the process', async (t) => {
  const { listener, port } = await listen(t);
  const hello = Buffer.concat([clientHello(), requestFrame(1, 'GET', '/bytes?n=3000')]);
  const changes = fc.array(fc.tuple(fc.nat(hello.length - 1), fc.nat(255)), { maxLength: 4 });
  await fc.assert(
    fc.asyncProperty(changes, fc.nat(hello.length), fc.boolean(), async (list, length, abrupt) => {
      const bytes = Buffer.from(hello);
      for (const [at, value] of list) bytes[at] = value;
      const socket = await secure(port);
      socket.resume();
      await new Promise((resolve) => socket.write(Buffer.concat([Buffer.from(upgrade), bytes.subarray(0, length)]), resolve));
      if (abrupt) socket.destroy();
      else socket.end();
      if (!socket.closed) await once(socket, 'close');
    }),
    { numRuns: 120 },
  );
  await noConnections(listener);
});

test('plain HTTP is sent to https, without Host it is a bad request', async (t) => {
  const { listener, port } = await listen(t);
  const ask = async (request: string): Promise<string> => {
    const socket = connect(port, '127.0.0.1');
    socket.write(request);
    return until(socket, /never/);
  };
  assert.match(await ask('GET /x HTTP/1.1\r\nHost: vault:8007\r\n\r\n'), /^HTTP\/1\.1 301 [^]*location: https:\/\/vault:8007\r\n[^]*content-length: 0/i);
  assert.match(await ask('POST /x HTTP/1.1\r\nHost: vault:8007\r\n\r\n'), /^HTTP\/1\.1 308 /);
  assert.match(await ask('GET /x HTTP/1.0\r\n\r\n'), /^HTTP\/1\.1 400 /);
  await noConnections(listener);
});

test('a connection that says nothing, stops in the handshake or in its headers is ended', async (t) => {
  const { listener, port } = await listen(t, { limits: { handshakeMs: 30, headersMs: 30, keepAliveMs: 60_000 } });
  const silent = connect(port, '127.0.0.1');
  const stuck = connect(port, '127.0.0.1');
  stuck.write(Buffer.from([0x16, 3, 1, 2, 0, 1]));
  const secured = await secure(port);
  secured.write('GET /api2/json/whoami HTTP/1.1\r\nHost: x');
  await Promise.all(
    [silent, stuck, secured].map(async (socket) => {
      socket.on('error', () => {});
      socket.resume();
      if (!socket.closed) await once(socket, 'close');
    }),
  );
  await noConnections(listener);
});

test('an idle keep-alive connection is ended after its time', async (t) => {
  const { port } = await listen(t, { limits: { keepAliveMs: 1 } });
  const socket = await secure(port);
  socket.write(get('/api2/json/whoami'));
  assert.match(await until(socket, /never/), /200 OK/);
});

test('more connections than allowed are closed, with a warning', async (t) => {
  const warnings: string[] = [];
  const log: ProgressLog = { ...silentLog, warn: (line) => warnings.push(line) };
  const { port } = await listen(t, { limits: { connections: 1 }, log });
  const first = await secure(port);
  const extra = connect(port, '127.0.0.1');
  extra.on('error', () => {});
  extra.resume();
  await once(extra, 'close');
  assert.match(warnings[0]!, /more than 1 connections: one from 127\.0\.0\.1 was closed/);
  first.destroy();
});

test('one address gets its share of the connections only, and again when it has closed some', async (t) => {
  const warnings: string[] = [];
  const log: ProgressLog = { ...silentLog, warn: (line) => warnings.push(line) };
  const { listener, port } = await listen(t, { limits: { connections: 4 }, log });
  const from = (localAddress: string): Socket => connect({ port, host: '127.0.0.1', localAddress });
  const held = [await secure(port), await secure(port)];
  const extra = connect(port, '127.0.0.1');
  extra.on('error', () => {});
  extra.resume();
  await once(extra, 'close');
  assert.deepEqual(warnings, ['more than 2 connections from 127.0.0.1: one was closed']);
  const other = await secure(port, from('127.0.0.2'));
  held[0]!.destroy();
  while (listener.connections() > 2) await new Promise((resolve) => setTimeout(resolve, 2));
  const again = await secure(port);
  for (const socket of [held[1]!, other, again]) socket.destroy();
});

test('a connection on which nothing moves is ended, but not an upgraded one', async (t) => {
  const { port } = await listen(t, { limits: { stalledMs: 3000 } });
  const client = await h2ClientOn(await upgraded(port));
  const busy = await secure(port);
  busy.write(get('/api2/json/slow'));
  busy.resume();
  await once(busy, 'close');
  slow.pop()?.();
  assert.equal((await h2Request(client, 'GET', '/bytes?n=3')).body.length, 3);
  client.destroy();
});

test('TLS 1.2 and later, forward secrecy and authenticated encryption only, no renegotiation', async (t) => {
  const rsa = await makeCertificate({ rsa: true });
  const { listener, port } = await listen(t, { certificate: { certificate: rsa.cert, key: rsa.key, fingerprint: rsa.fingerprint } });
  const outcome = async (options: ConnectionOptions): Promise<string> => {
    // Level 0: old versions and suites are this client's to offer.
    const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, ...options, ciphers: `${options.ciphers ?? 'ALL'}:@SECLEVEL=0` });
    return new Promise((resolve) => {
      socket.once('error', (e) => resolve((e as NodeJS.ErrnoException).code ?? e.message));
      socket.once('secureConnect', () => {
        resolve(`${socket.getProtocol()} ${socket.getCipher().name}`);
        socket.destroy();
      });
    });
  };
  for (const version of ['TLSv1', 'TLSv1.1'] as const) assert.match(await outcome({ minVersion: version, maxVersion: version }), /PROTOCOL_VERSION/, version);
  const older = { maxVersion: 'TLSv1.2' } as const;
  for (const ciphers of ['AES128-SHA', 'AES128-GCM-SHA256', 'AES256-SHA256', 'ECDHE-RSA-AES128-SHA', 'ECDHE-RSA-AES256-SHA384', 'ECDHE-RSA-NULL-SHA', 'AECDH-AES128-SHA', 'DHE-RSA-AES128-SHA']) {
    assert.match(await outcome({ ...older, ciphers }), /HANDSHAKE_FAILURE/, ciphers);
  }
  assert.equal(await outcome({ ...older, ciphers: 'ECDHE-RSA-AES256-GCM-SHA384' }), 'TLSv1.2 ECDHE-RSA-AES256-GCM-SHA384');
  assert.match(await outcome({}), /^TLSv1\.3 /);
  const next = await makeCertificate({ rsa: true });
  listener.setCertificate({ certificate: next.cert, key: next.key, fingerprint: next.fingerprint });
  assert.match(await outcome({ ...older, ciphers: 'AES128-SHA' }), /HANDSHAKE_FAILURE/, 'also after a new certificate');
  assert.match(await outcome({ minVersion: 'TLSv1.1', maxVersion: 'TLSv1.1' }), /PROTOCOL_VERSION/);
  const socket = connectTls({ port, host: '127.0.0.1', rejectUnauthorized: false, maxVersion: 'TLSv1.2' });
  await once(socket, 'secureConnect');
  const refused = await new Promise<Error | null>((resolve) => {
    socket.on('error', resolve);
    socket.renegotiate({}, resolve);
  });
  assert.match(refused?.message ?? 'renegotiated', /no renegotiation/);
  socket.destroy();
});

test('closing: idle connections at once, busy ones when they are done', async (t) => {
  const { listener, port } = await listen(t);
  const idle = await secure(port);
  idle.write(get('/api2/json/whoami'));
  await until(idle, /\}/);
  const busy = await secure(port);
  busy.write(get('/api2/json/slow'));
  while (slow.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  const closing = listener.close(60_000);
  idle.resume();
  await once(idle, 'close');
  const refused = connect(port, '127.0.0.1');
  await assert.rejects(once(refused, 'connect'), { code: 'ECONNREFUSED' });
  slow.pop()!();
  assert.match(await until(busy, /never/), /\{"data":"done"\}$/);
  await closing;
});

test('closing: what never ends is cut', async (t) => {
  const { listener, port } = await listen(t);
  const client = await h2ClientOn(await upgraded(port));
  const busy = await secure(port);
  busy.write(get('/api2/json/slow'));
  while (slow.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  await listener.close(1);
  assert.equal(listener.connections(), 0);
  slow.pop()!();
  client.destroy();
});

test('a wrapper between TLS and HTTP sees all bytes and keeps the peer\'s address', async (t) => {
  let bytes = 0;
  const wrapSocket = (socket: Socket): Duplex => {
    const wrapped = new Duplex({
      read: () => void socket.resume(),
      write: (piece: Buffer, _encoding, done) => {
        bytes += piece.length;
        socket.write(piece, done);
      },
      final: (done) => void socket.end(done),
      destroy: (e, done) => {
        socket.destroy();
        done(e);
      },
    });
    socket.on('data', (piece: Buffer) => wrapped.push(piece));
    socket.on('end', () => wrapped.push(null));
    socket.on('close', () => wrapped.destroy());
    return wrapped;
  };
  const { listener, port } = await listen(t, { wrapSocket });
  const socket = await secure(port);
  socket.write(get('/api2/json/whoami'));
  assert.match(await until(socket, /\}/), /\["op@pbs","127\.0\.0\.1"\]/);
  assert.ok(bytes > 100);
  socket.destroy();
  const client = await h2ClientOn(await upgraded(port));
  assert.equal((await h2Request(client, 'GET', '/bytes?n=5000000')).body.length, 5_000_000);
  client.destroy();
  await noConnections(listener);
});

test('an address in use or not of this host is an error that says what to do', async (t) => {
  const { port } = await listen(t);
  await assert.rejects(listenTls({ router, address: { host: '127.0.0.1', port }, certificate, log: silentLog }), (e) => e instanceof ConfigError && /cannot listen on 127\.0\.0\.1:/.test(e.message) && /Another program/.test(e.hint ?? ''));
  await assert.rejects(listenTls({ router, address: { host: '192.0.2.1', port: 0 }, certificate, log: silentLog }), ConfigError);
});

test('the local socket: root without credentials, for its owner only', async (t) => {
  const path = join(folder, 'api.sock');
  const listener = await listenUnix({ router, path, log: silentLog });
  t.after(() => listener.close(0));
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const request = httpRequest({ socketPath: path, path: '/api2/json/whoami' });
  request.end();
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  assert.equal(await text(response), '{"data":["root@pam","unix"]}');
  await assert.rejects(listenUnix({ router, path, log: silentLog }), (e) => e instanceof StoreError && e.code === 'store.in-use');
});

test('a socket that a crash left is replaced, anything else is not', async (t) => {
  const path = join(folder, 'stale.sock');
  const dead = createServer();
  dead.listen(path);
  await once(dead, 'listening');
  // A closed server removes its path; a killed one does not. This leaves it as the kill would.
  const handle = (dead as unknown as { _handle: { close(): void } })._handle;
  const { link } = await import('node:fs/promises');
  await link(path, `${path}.kept`);
  handle.close();
  const listener = await listenUnix({ router, path: `${path}.kept`, log: silentLog });
  t.after(() => listener.close(0));
  const file = join(folder, 'file.sock');
  await writeFile(file, 'precious');
  await assert.rejects(listenUnix({ router, path: file, log: silentLog }), StoreError);
  assert.equal((await stat(file)).size, 8);
  await assert.rejects(listenUnix({ router, path: `/${'x'.repeat(107)}`, log: silentLog }), ConfigError);
});
