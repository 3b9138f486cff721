import assert from 'node:assert/strict';
import { connect } from 'node:net';
import { test } from 'node:test';
import type { TLSSocket } from 'node:tls';
import { parseGroupFilter } from '../../src/replication/group-filter.ts';
import { converse, listeningServer, madeToken, rawHttps } from '../support/raw-https.ts';

/** What is too long, too deep, too many or too slow ends with its own connection and costs nobody else anything. */

const last = 'GET /last HTTP/1.1\r\nHost: x\r\n\r\n';
const answerToLast = /no such file: 'last'$/;
const body = (type: string, content: string, path = '/api2/json/access/ticket', more = ''): string =>
  `POST ${path} HTTP/1.1\r\nHost: x\r\n${more}Content-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(content)}\r\n\r\n${content}`;
const form = 'application/x-www-form-urlencoded';
const json = 'application/json';

test('headers and request lines beyond 16 KiB end the connection', async (t) => {
  const { port } = await listeningServer(t);
  const hostile = [
    [`GET /a HTTP/1.1\r\nHost: x\r\nX: ${'a'.repeat(17_000)}\r\n\r\n`],
    ['GET /a HTTP/1.1\r\nHost: x\r\n', `X: ${'a'.repeat(5_000_000)}`],
    [`GET /a HTTP/1.1\r\nHost: x\r\n${'a:b\r\n'.repeat(5000)}\r\n`],
    [`GET /${'a'.repeat(1_000_000)} HTTP/1.1\r\nHost: x\r\n\r\n`],
    ['a'.repeat(1_000_000)],
    [`POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n${'t:u\r\n'.repeat(10_000)}\r\n`],
  ];
  for (const pieces of hostile) assert.match(await converse(port, pieces), /^(?:HTTP\/1\.1 4[03][01] |$)/, pieces[0]!.slice(0, 60));
  // Long, but not too long.
  await converse(port, [`GET /a HTTP/1.1\r\nHost: x\r\n${'a:b\r\n'.repeat(500)}\r\n`, last], answerToLast);
  assert.match(await converse(port, [`GET /${'a'.repeat(4000)} HTTP/1.1\r\nHost: x\r\n\r\n`, last], answerToLast), /^HTTP\/1\.1 414 /);
});

test('bodies: nesting, items, fields, names and sizes are bounded, refused quickly and with a short answer', async (t) => {
  const ground = await listeningServer(t);
  const { port } = ground;
  const login = `Authorization: ${await madeToken(ground, 'admin@pbs', 'Admin')}\r\n`;
  const nested = (open: string, close: string, depth: number): string => open.repeat(depth) + close.repeat(depth);
  const many = (n: number): string => Array.from({ length: n }, (_, i) => `a${i}=${i}`).join('&');
  const hostile: Array<[string, RegExp]> = [
    [body(json, nested('[', ']', 200_000)), /nested deeper than 100 levels$/],
    [body(json, nested('{"a":', '}', 40_000)), /nested deeper than 100 levels$/],
    [body(json, '['.repeat(500_000)), /nested deeper than 100 levels$/],
    [body(json, `{${Array.from({ length: 40_000 }, (_, i) => `"a${i}":1`).join(',')}}`), /parameter verification failed:[^]{0,20000}$/],
    [body(json, `{"__proto__":{"a":1},"constructor":1,"toString":2}`), /'__proto__': schema does not allow/],
    [body(json, `{"username":${'9'.repeat(300_000)}}`), /'username': Expected string value/],
    [body(form, many(40_000)), /more than 10000 parameters$/],
    [body(form, many(5000)), /parameter verification failed:[^]{0,20000}$/],
    [body(form, `username=${'a'.repeat(500_000)}`), /parameter verification failed/],
    [body(form, '&'.repeat(500_000)), /more than 10000 parameters$/],
    [body(form, `a=${'%'.repeat(500_000)}`), /'a': schema does not allow/],
    [body(form, `a=${'x'.repeat(600_000)}`), /Request body too large$/],
    // An array of a method that takes one: `delete` of a sync job.
    [body(json, `{"delete":[${'"comment",'.repeat(20_000)}"comment"]}`, '/api2/json/config/sync/job', login).replace('POST', 'PUT'), /'delete': array may only contain 10000 elements/],
  ];
  for (const [bytes, answer] of hostile) {
    const received = await converse(port, [bytes, last], answerToLast);
    const end = received.indexOf('HTTP/1.1 404');
    assert.match(received.slice(0, end), answer, bytes.slice(0, 200));
    assert.ok(received.length < 30_000, 'the answer is short');
  }
});

test('expressions from users cannot keep the server: none goes back, none grows without bound', () => {
  // A matcher that goes back would need longer than the universe has for each of these.
  for (const evil of ['^(a+)+$', '^(a|a)*$', '(.*)*b$', '((a*)*)*b', '(x+x+)+y', `${'(?:a?)'.repeat(100)}${'a'.repeat(100)}$`]) {
    const filter = parseGroupFilter(`regex:${evil}`);
    assert.equal(filter.matches({ type: 'host', id: `${'a'.repeat(50_000)}!` }), false, evil);
  }
  for (const large of ['((a{100}){100}){100}', '(((((a{30}){30}){30}){30}){30})', '('.repeat(900), 'a'.repeat(2000)]) assert.throws(() => parseGroupFilter(`regex:${large}`), { code: 'config.group-filter' }, large.slice(0, 30));
});

/** Sends one byte of `bytes` after the other, `again` when they are all sent, until the connection ends. */
async function trickle(socket: TLSSocket | ReturnType<typeof connect>, bytes: string, again: string): Promise<void> {
  let at = 0;
  const all = (): string => (at < bytes.length ? bytes[at]! : again[(at - bytes.length) % again.length]!);
  const timer = setInterval(() => {
    if (socket.writable) socket.write(all());
    at += 1;
  }, 10);
  socket.resume();
  if (!socket.closed) await new Promise((resolve) => socket.once('close', resolve));
  clearInterval(timer);
}

test('who sends a byte now and then is not waited for, and nobody waits for him', async (t) => {
  const { port, listener } = await listeningServer(t, { handshakeMs: 5000, headersMs: 3000, requestMs: 5000, stalledMs: 600_000 });
  const slow: Array<Promise<void>> = [];
  for (let i = 0; i < 20; i += 1) {
    slow.push(trickle(await rawHttps(port), 'GET /a HTTP/1.1\r\nHost: x\r\n', 'X: y\r\n'));
    slow.push(trickle(await rawHttps(port), 'POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n', 'a'));
    slow.push(trickle(await rawHttps(port), 'POST /api2/json/access/ticket HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n', '1\r\na\r\n'));
    const handshake = connect(port, '127.0.0.1').on('error', () => {});
    slow.push(trickle(handshake, '\x16\x03\x01\x02\x00', 'a'));
    const plain = connect(port, '127.0.0.1').on('error', () => {});
    slow.push(trickle(plain, 'GET /a HTTP/1.1\r\nHost: x\r\n', 'X: y\r\n'));
  }
  await converse(port, [last], answerToLast);
  await Promise.all(slow);
  while (listener.connections() > 0) await new Promise((resolve) => setTimeout(resolve, 2));
});

test('answers that nobody reads stop their connection, and end it', async (t) => {
  const { port, listener, server } = await listeningServer(t, { stalledMs: 3000 });
  const asked = 2000;
  const socket = await rawHttps(port);
  socket.pause();
  let closed = false;
  socket.once('close', () => (closed = true));
  let served = 0;
  const { router } = server.composition;
  const handle = router.handle.bind(router);
  router.handle = (...args) => {
    served += 1;
    return handle(...args);
  };
  socket.write('GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(asked));
  while (listener.connections() > 0) await new Promise((resolve) => setTimeout(resolve, 5));
  assert.ok(served > 0 && served < asked / 4, `${served} of ${asked} answers were made`);
  socket.resume();
  if (!closed) await new Promise((resolve) => socket.once('close', resolve));
});
