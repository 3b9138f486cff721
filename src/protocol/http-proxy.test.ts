import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { test, type TestContext } from 'node:test';
import { ClientHome } from '../../test/support/client-runs.ts';
import { clientServer } from '../../test/support/client-server.ts';
import { parseHttpProxy } from './http-proxy.ts';

/** A proxy that answers with `answer`, and where that begins with 200 opens the tunnel; what it was asked. */
async function proxy(t: TestContext, answer: string): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const sockets = new Set<Socket>();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    socket.once('data', (bytes) => {
      asked.push(bytes.toString());
      socket.pause();
      if (!answer.startsWith('HTTP/1.1 200')) {
        socket.end(answer);
        return;
      }
      const [host = '', port] = /^CONNECT (\S+):(\d+) /.exec(bytes.toString())!.slice(1);
      const through = connect({ host, port: Number(port) });
      sockets.add(through);
      through.on('error', () => socket.destroy());
      through.once('connect', () => {
        socket.write(answer);
        socket.pipe(through).pipe(socket);
      });
    });
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.close();
    for (const socket of sockets) socket.destroy();
  });
  return { port: (server.address() as AddressInfo).port, asked };
}

test('how a proxy is written', () => {
  assert.deepEqual(parseHttpProxy('proxy.example'), { host: 'proxy.example', port: 1080, authorization: null });
  assert.deepEqual(parseHttpProxy('http://[::1]:3128/'), { host: '::1', port: 3128, authorization: null });
  assert.deepEqual(parseHttpProxy('http://me:p%40ss@10.0.0.1:8080'), { host: '10.0.0.1', port: 8080, authorization: `Basic ${Buffer.from('me:p@ss').toString('base64')}` });
  for (const text of ['', 'https://x', 'socks5://x:1', 'x:0', 'x:99999', 'a b', 'http://x/path']) assert.throws(() => parseHttpProxy(text), { code: 'config.proxy' }, text);
});

test('the client connects through it: requests and sessions', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  const { port, asked } = await proxy(t, 'HTTP/1.1 200 Connection established\r\nX: y\r\n\r\n');
  const env = { ALL_PROXY: `http://me:secret@127.0.0.1:${port}` };
  const listed = await home.run(['list', '--output-format', 'json'], { env });
  assert.equal(listed.exit, 0, listed.stderr);
  assert.equal(listed.stderr, `Using proxy connection: 127.0.0.1:${port}\n`);
  const restored = await home.run(['restore', 'vm/100', 'qemu-server.conf', '-'], { env });
  assert.deepEqual([restored.exit, restored.bytes.length > 0], [0, true]);
  const head = `CONNECT 127.0.0.1:${server.port} HTTP/1.1\r\nHost: 127.0.0.1:${server.port}\r\nProxy-Authorization: Basic ${Buffer.from('me:secret').toString('base64')}\r\n\r\n`;
  assert.ok(asked.length >= 3, `${asked.length} connections`);
  assert.deepEqual([...new Set(asked)], [head]);
});

test('a proxy that refuses, and one that is none, end it with the reason', async (t) => {
  const server = await clientServer(t);
  const home = await ClientHome.make(t, server);
  for (const [answer, expected] of [
    ['HTTP/1.1 407 Proxy Authentication Required\r\n\r\n', /proxy 127\.0\.0\.1:\d+ opens no tunnel to 127\.0\.0\.1:\d+: 407 Proxy Authentication Required/],
    ['SSH-2.0-x\r\n\r\n', /does not answer as an HTTP proxy/],
    ['', /closed the connection/],
  ] as const) {
    const { port } = await proxy(t, answer);
    const { exit, stderr } = await home.run(['list'], { env: { ALL_PROXY: `127.0.0.1:${port}` } });
    assert.equal(exit, 255);
    assert.match(stderr, expected);
  }
  const wrong = await home.run(['list'], { env: { ALL_PROXY: 'socks5://me:secret@x' } });
  assert.deepEqual([wrong.exit, wrong.stderr.includes('secret')], [255, false]);
});
