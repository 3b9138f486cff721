import assert from 'node:assert/strict';
import type { IncomingMessage, ServerResponse } from 'node:http';
import { test } from 'node:test';
import { deflateSync } from 'node:zlib';
import { AbortedError, HttpError, NetworkError } from '../base/errors.ts';
import { startScriptedRemote } from '../../test/support/scripted-remote.ts';
import type { ScriptedRemote } from '../../test/support/scripted-remote.ts';
import { RemoteEndpoint } from './remote-endpoint.ts';
import { RestClient } from './rest-client.ts';
import type { RestClientOptions } from './rest-client.ts';

function clientOf(remote: ScriptedRemote, options: RestClientOptions & { authId?: string } = {}): RestClient & Disposable {
  const endpoint = new RemoteEndpoint({ host: '127.0.0.1', port: remote.port, authId: options.authId ?? 'sync@pbs!offsite', secret: 's/ecret', fingerprint: remote.fingerprint });
  const client = new RestClient(endpoint, options);
  return Object.assign(client, { [Symbol.dispose]: () => client.close() });
}

function net(code: string): (e: unknown) => boolean {
  return (e) => {
    assert.ok(e instanceof NetworkError, `${e as Error}`);
    assert.equal(e.code, code, e.message);
    return true;
  };
}

interface Seen {
  method: string;
  url: string;
  headers: IncomingMessage['headers'];
  body: string;
}

function recorder(seen: Seen[], answer: (request: Seen, response: ServerResponse) => void): (request: IncomingMessage, response: ServerResponse) => void {
  return (request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      const one = { method: request.method!, url: request.url!, headers: request.headers, body: Buffer.concat(parts).toString() };
      seen.push(one);
      answer(one, response);
    });
  };
}

const json = (response: ServerResponse, value: unknown, fields: Record<string, string | string[]> = {}): unknown => response.writeHead(200, { 'content-type': 'application/json;charset=UTF-8', ...fields }).end(JSON.stringify(value));

test('parameters go where the reference expects them, on kept connections', async () => {
  const seen: Seen[] = [];
  await using remote = await startScriptedRemote({ onRequest: recorder(seen, (_one, response) => json(response, { data: seen.length, digest: 'abc' })) });
  using client = clientOf(remote);
  assert.deepEqual(await client.get('admin/datastore/main/snapshots', { ns: 'a/b', 'backup-type': undefined, all: true, delete: ['x', 'y'] }), { data: 1, digest: 'abc' });
  await client.post('/admin/datastore/main/namespace', { name: 'a', depth: 3 });
  await client.put('config/x', { comment: 'ä +' });
  await client.delete('config/x');
  assert.deepEqual(seen.map(({ method, url, body }) => [method, url, body]), [
    ['GET', '/api2/json/admin/datastore/main/snapshots?all=true&delete=x&delete=y&ns=a%2Fb', ''],
    ['POST', '/api2/json/admin/datastore/main/namespace', '{"name":"a","depth":3}'],
    ['PUT', '/api2/json/config/x?comment=%C3%A4+%2B', ''],
    ['DELETE', '/api2/json/config/x', ''],
  ]);
  for (const one of seen) assert.equal(one.headers['authorization'], 'PBSAPIToken sync@pbs!offsite:s%2Fecret');
  assert.equal(remote.accepted, 1);
});

test('another status is an HttpError with the bare text', async () => {
  await using remote = await startScriptedRemote({
    onRequest: (request, response) => response.writeHead(Number(/(\d+)/.exec(request.url!.slice(9))![1]), { 'content-type': 'application/json;charset=UTF-8' }).end(request.url!.endsWith('empty') ? '' : "no such datastore 'x'"),
  });
  using client = clientOf(remote);
  for (const status of [301, 400, 401, 403, 404, 500]) {
    await assert.rejects(client.get(`s/${status}`), (e) => e instanceof HttpError && e.status === status && e.message === "no such datastore 'x'");
  }
  await assert.rejects(client.get('s/503/empty'), (e) => e instanceof HttpError && e.message === 'HTTP status 503');
});

test('a user logs in once, renews with the ticket, and again with the password after a 401', async () => {
  const seen: Seen[] = [];
  let ticketCount = 0;
  let refuseTickets = false;
  const clock = { ms: 0, now: () => clock.ms };
  await using remote = await startScriptedRemote({
    onRequest: recorder(seen, (one, response) => {
      if (one.url !== '/api2/json/access/ticket') {
        if (one.url.endsWith('/401')) response.writeHead(401).end('authentication failed');
        else json(response, { data: null });
        return;
      }
      const { password } = JSON.parse(one.body) as { password: string };
      if (refuseTickets && password !== 's/ecret') response.writeHead(401).end('permission check failed.');
      else json(response, { data: { username: 'u@pbs', ticket: `PBS:u@pbs:${++ticketCount}::a+b/c`, CSRFPreventionToken: `csrf${ticketCount}` } });
    }),
  });
  using client = clientOf(remote, { authId: 'u@pbs', clock });
  await Promise.all([client.get('a'), client.get('b')]);
  clock.ms += 14 * 60_000;
  await client.post('c');
  clock.ms += 60_000;
  await client.get('d');
  refuseTickets = true;
  clock.ms += 20 * 60_000;
  await client.get('e');
  await assert.rejects(client.get('401'), (e) => e instanceof HttpError && e.status === 401);
  await client.get('f');
  const logins = seen.filter((one) => one.url.endsWith('/access/ticket')).map((one) => (JSON.parse(one.body) as { password: string }).password);
  assert.deepEqual(logins, ['s/ecret', 'PBS:u@pbs:1::a+b/c', 'PBS:u@pbs:2::a+b/c', 's/ecret', 's/ecret']);
  const post = seen.find((one) => one.url === '/api2/json/c')!;
  assert.equal(decodeURIComponent(post.headers['cookie']!), 'PBSAuthCookie=PBS:u@pbs:1::a+b/c');
  assert.equal(post.headers['csrfpreventiontoken'], 'csrf1');
  assert.ok(seen.every((one) => one.headers['authorization'] === undefined));
});

test('a ticket in a cookie is used as such, and a second factor is explained', async () => {
  const seen: Seen[] = [];
  let ticket: string | undefined;
  await using remote = await startScriptedRemote({
    onRequest: recorder(seen, (one, response) => {
      if (!one.url.endsWith('ticket')) json(response, { data: null });
      else if (ticket === undefined) json(response, { data: { 'ticket-info': 'PBS:u@pbs:1::ticketinfo', CSRFPreventionToken: 'c' } }, { 'set-cookie': ['x=y', '__Host-PBSAuthCookie=PBS%3Au::s; Secure; Path=/'] });
      else json(response, { data: { ticket, CSRFPreventionToken: 'invalid' } });
    }),
  });
  using first = clientOf(remote, { authId: 'u@pbs' });
  await first.get('x');
  assert.equal(seen[1]!.headers['cookie'], '__Host-PBSAuthCookie=PBS%3Au%3A%3As');
  ticket = 'PBS:!tfa!{"totp"%3Atrue}:1::sig';
  using second = clientOf(remote, { authId: 'u@pbs' });
  await assert.rejects(second.get('x'), (e) => e instanceof HttpError && e.status === 401 && /second factor/.test(e.message) && /token/.test(e.hint!));
});

test('answers that are no answers', async () => {
  const answers: Record<string, [string, (response: ServerResponse) => void]> = {
    'no json': ['net.protocol', (response) => response.end('<html>')],
    'no data': ['net.protocol', (response) => response.end('{"success":true}')],
    'not an object': ['net.protocol', (response) => response.end('[]')],
    empty: ['net.protocol', (response) => response.end()],
    'too long': ['net.protocol', (response) => response.end(JSON.stringify({ data: 'x'.repeat(200_000) }))],
    'too long when inflated': ['net.protocol', (response) => response.writeHead(200, { 'content-encoding': 'deflate' }).end(deflateSync(JSON.stringify({ data: 'x'.repeat(200_000) })))],
    'broken compression': ['net.protocol', (response) => response.writeHead(200, { 'content-encoding': 'deflate' }).end('{"data":1}')],
    'cut by length': ['net.reset', (response) => response.writeHead(200, { 'content-length': 100 }).write('{"data":', () => response.destroy())],
    'cut in chunks': ['net.reset', (response) => response.write('{"data":1}', () => response.destroy())],
    'cut compression': ['net.reset', (response) => response.writeHead(200, { 'content-encoding': 'deflate' }).write(deflateSync('{"data":1}').subarray(0, 5), () => response.destroy())],
    'no bytes': ['net.reset', (response) => response.destroy()],
    'silence in the middle': ['net.stalled', (response) => response.write('{"data":')],
    silence: ['net.timeout', () => {}],
  };
  await using remote = await startScriptedRemote({ onRequest: (request, response) => answers[decodeURIComponent(request.url!.slice('/api2/json/'.length))]![1](response) });
  using client = clientOf(remote, { maxReplyBytes: 100_000, stallTimeoutMs: 100, timeoutMs: 300 });
  for (const [name, [code]] of Object.entries(answers)) await assert.rejects(client.get(encodeURIComponent(name)), net(code), name);
});

test('compressed answers are read', async () => {
  await using remote = await startScriptedRemote({
    onRequest: (request, response) => {
      assert.equal(request.headers['accept-encoding'], 'deflate');
      response.writeHead(200, { 'content-encoding': 'deflate' }).end(deflateSync(JSON.stringify({ data: ['ü'.repeat(50_000)] })));
    },
  });
  using client = clientOf(remote);
  assert.deepEqual((await client.get('x')).data, ['ü'.repeat(50_000)]);
});

test('the remote\'s clock is compared, also on errors', async () => {
  const clock = { now: () => Date.parse('2026-11-24T00:00:00Z') };
  await using remote = await startScriptedRemote({ onRequest: (_request, response) => response.writeHead(403, { date: 'Tue, 24 Nov 2026 00:05:00 GMT' }).end('no') });
  using client = clientOf(remote, { clock });
  assert.equal(client.clockOffsetMs, undefined);
  await assert.rejects(client.get('x'), HttpError);
  assert.equal(client.clockOffsetMs, 300_000);
});

test('an abort and a close end what is under way', async () => {
  const controller = new AbortController();
  await using remote = await startScriptedRemote({ onRequest: () => controller.abort() });
  using client = clientOf(remote, { signal: controller.signal });
  await assert.rejects(client.get('x'), AbortedError);
  await assert.rejects(client.get('x'), AbortedError);

  let closing: RestClient | undefined;
  await using other = await startScriptedRemote({ onRequest: () => closing!.close() });
  using second = clientOf(other);
  closing = second;
  await assert.rejects(second.get('x'), AbortedError);
  await assert.rejects(second.get('x'), AbortedError);
});

test('many calls at once share a few connections', async () => {
  await using remote = await startScriptedRemote({ onRequest: (request, response) => void setImmediate(() => json(response, { data: request.url })) });
  using client = clientOf(remote);
  const replies = await Promise.all(Array.from({ length: 100 }, (_, i) => client.get(`n/${i}`)));
  assert.deepEqual(replies.map((reply) => reply.data), replies.map((_, i) => `/api2/json/n/${i}`));
  assert.ok(remote.accepted <= 8, `${remote.accepted}`);
});
