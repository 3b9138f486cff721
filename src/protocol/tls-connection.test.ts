import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { networkInterfaces } from 'node:os';
import { test } from 'node:test';
import { AbortedError, NetworkError } from '../base/errors.ts';
import { makeCertificate } from '../../test/support/certificate.ts';
import { startScriptedRemote } from '../../test/support/scripted-remote.ts';
import { CertificateError } from './network-error.ts';
import { RateLimiter } from './rate-limit.ts';
import { RemoteEndpoint } from './remote-endpoint.ts';
import { connectTls } from './tls-connection.ts';
import type { ConnectOptions } from './tls-connection.ts';

function endpoint(port: number, fields: { host?: string; fingerprint?: string } = {}): RemoteEndpoint {
  return new RemoteEndpoint({ host: '127.0.0.1', port, authId: 'sync@pbs!offsite', secret: 'x', ...fields });
}

async function connects(at: RemoteEndpoint, options: ConnectOptions = {}): Promise<string> {
  const connection = await connectTls(at, options);
  connection.socket.destroy();
  return connection.fingerprint;
}

function net(code: string): (e: unknown) => boolean {
  return (e) => {
    assert.ok(e instanceof NetworkError, `${e as Error}`);
    assert.equal(e.code, code, e.message);
    return true;
  };
}

/** A TCP server that treats each connection with `act`. */
async function withTcpServer(act: (socket: Socket) => void, use: (port: number) => Promise<void>): Promise<void> {
  const open = new Set<Socket>();
  const server = createServer((socket) => {
    open.add(socket);
    socket.on('error', () => {});
    act(socket);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  try {
    await use((server.address() as AddressInfo).port);
  } finally {
    for (const socket of open) socket.destroy();
    server.close();
  }
}

const other = Array.from({ length: 32 }, () => 'ab').join(':');

test('a fingerprint pins, in either case, and needs no valid chain', async () => {
  const expired = await makeCertificate({ dns: ['elsewhere.example'], ip: [], notBefore: new Date(0), notAfter: new Date(86_400_000) });
  await using remote = await startScriptedRemote({ certificate: expired });
  assert.equal(await connects(endpoint(remote.port, { fingerprint: expired.fingerprint.toUpperCase() })), expired.fingerprint);
});

test('another fingerprint is refused, also when the chain is valid', async () => {
  let requests = 0;
  await using remote = await startScriptedRemote({ onRequest: () => (requests += 1) });
  const trusted = [remote.certificate.cert];
  for (const options of [{}, { trusted }]) {
    await assert.rejects(connects(endpoint(remote.port, { fingerprint: other }), options), (e) => {
      assert.ok(e instanceof CertificateError);
      assert.equal(e.code, 'net.fingerprint');
      assert.equal(e.expected, other);
      assert.equal(e.seen, remote.fingerprint);
      return true;
    });
  }
  assert.equal(requests, 0);
});

test('without a fingerprint the chain, the dates and the host name must be valid', async () => {
  const old = await makeCertificate({ notBefore: new Date(0), notAfter: new Date(86_400_000) });
  const elsewhere = await makeCertificate({ dns: ['elsewhere.example'], ip: [] });
  const local = await makeCertificate({ dns: ['localhost'], ip: [] });
  await using named = await startScriptedRemote({ certificate: local });
  await using good = await startScriptedRemote({});
  await using expired = await startScriptedRemote({ certificate: old });
  await using misnamed = await startScriptedRemote({ certificate: elsewhere });
  const trusted = [good.certificate.cert, old.cert, elsewhere.cert, local.cert];
  // Below a rate limit the TLS layer does not see the socket and its address.
  const limiter = new RateLimiter({ rateIn: 10_000_000 });
  assert.equal(await connects(endpoint(good.port), { trusted, limiter }), good.fingerprint);
  assert.equal(await connects(endpoint(good.port), { trusted }), good.fingerprint);
  assert.equal(await connects(endpoint(good.port, { host: 'localhost' }), { trusted }), good.fingerprint);
  const refused: Array<[number, ConnectOptions, RegExp, string]> = [
    [good.port, {}, /self-signed/, good.fingerprint],
    [expired.port, { trusted }, /expired/, old.fingerprint],
    [misnamed.port, { trusted }, /another host name/, elsewhere.fingerprint],
    [named.port, { trusted, limiter }, /another host name/, local.fingerprint],
  ];
  for (const [port, options, message, seen] of refused) {
    await assert.rejects(connects(endpoint(port), options), (e) => {
      assert.ok(e instanceof CertificateError);
      assert.equal(e.code, 'net.certificate');
      assert.equal(e.seen, seen);
      assert.match(e.message, message);
      return true;
    });
  }
});

test('IPv6 addresses work where the host has them, and are written in brackets', async () => {
  assert.equal(endpoint(8007, { host: '[::1]' }).authority, '[::1]:8007');
  if (!Object.values(networkInterfaces()).flat().some((one) => one?.address === '::1')) return;
  await using remote = await startScriptedRemote({ host: '::1' });
  assert.equal(await connects(endpoint(remote.port, { host: '::1', fingerprint: remote.fingerprint })), remote.fingerprint);
  assert.equal(await connects(endpoint(remote.port, { host: '[::1]' }), { trusted: [remote.certificate.cert] }), remote.fingerprint);
});

test('each way of not being there has its code', async () => {
  let closedPort = 0;
  await withTcpServer(() => {}, (port) => {
    closedPort = port;
    return Promise.resolve();
  });
  await assert.rejects(connects(endpoint(closedPort)), net('net.refused'));
  await assert.rejects(connects(endpoint(8007, { host: 'no-such-host.invalid' })), net('net.name-not-found'));
  await withTcpServer((socket) => socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')), async (port) => assert.rejects(connects(endpoint(port)), net('net.not-tls')));
  await withTcpServer((socket) => socket.write('SSH-2.0-OpenSSH_9.2\r\n'), async (port) => assert.rejects(connects(endpoint(port)), net('net.not-tls')));
  await withTcpServer((socket) => socket.on('data', () => socket.destroy()), async (port) => assert.rejects(connects(endpoint(port)), net('net.reset')));
  await withTcpServer((socket) => socket.on('data', () => socket.resetAndDestroy()), async (port) => assert.rejects(connects(endpoint(port)), net('net.reset')));
  await withTcpServer(() => {}, async (port) => assert.rejects(connects(endpoint(port), { connectTimeoutMs: 50 }), net('net.timeout')));
});

test('an abort ends every step and leaves no connection', async () => {
  await assert.rejects(connects(endpoint(8007), { signal: AbortSignal.abort() }), AbortedError);
  const controller = new AbortController();
  let closed: Promise<void> | undefined;
  await withTcpServer(
    (socket) => {
      closed = new Promise((resolve) => socket.on('close', () => resolve()));
      socket.resume();
      controller.abort();
    },
    async (port) => {
      await assert.rejects(connects(endpoint(port), { signal: controller.signal }), AbortedError);
      await closed;
    },
  );
});
