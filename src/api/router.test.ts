import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingHttpHeaders } from 'node:http';
import { connect, type AddressInfo } from 'node:net';
import { after, test } from 'node:test';
import { text } from 'node:stream/consumers';
import { Type } from 'typebox';
import { HttpError, StoreError } from '../base/errors.ts';
import { silentLog } from '../base/log.ts';
import { ParameterError } from '../protocol/parameters.ts';
import { clearCookie } from './answer.ts';
import { jsonEndpoint, rawEndpoint, Reply, upgradeEndpoint, type Caller, type Endpoint, type Permission } from './endpoint.ts';
import type { Gatekeeper } from './gatekeeper.ts';
import { Router, type AccessEntry } from './router.ts';

const none = Type.Object({});
const any: Permission = { kind: 'any' };
const audit: Permission = { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Audit'] };
const store = Type.String({ minLength: 3, pattern: '^[a-z0-9]+$' });

const asked: Array<Readonly<Record<string, string>>> = [];
const gatekeeper: Gatekeeper = {
  authenticate: (request) => {
    const user = request.headers.authorization;
    if (user === 'broken') return Promise.reject(new StoreError('store.read', 'user.cfg is gone'));
    return Promise.resolve(user === undefined ? null : { authId: user, remoteAddress: '::1' });
  },
  allowed: (permission, caller, uriParameters) => {
    asked.push(uriParameters);
    return Promise.resolve(permission.kind !== 'root' && caller.authId === 'admin@pbs');
  },
};

const endpoints: Endpoint[] = [
  jsonEndpoint({ method: 'GET', path: '/ping', description: '', parameters: none, permission: { kind: 'public' }, handler: (_, caller) => Promise.resolve({ pong: true, who: caller.authId }) }),
  jsonEndpoint({ method: 'GET', path: '/version', description: '', parameters: none, permission: any, handler: () => Promise.resolve({ release: '3' }) }),
  jsonEndpoint({ method: 'GET', path: '/config/remote', description: '', parameters: none, permission: any, handler: () => Promise.resolve(new Reply([], { digest: 'd' })) }),
  jsonEndpoint({ method: 'DELETE', path: '/config/remote/{name}', description: '', parameters: Type.Object({ name: Type.String() }), permission: any, handler: (p) => Promise.reject(new HttpError(404, `remote '${p.name}' does not exist.`)) }),
  jsonEndpoint({
    method: 'PUT',
    path: '/config/datastore/{store}',
    description: '',
    parameters: Type.Object({ store, comment: Type.Optional(Type.String({ maxLength: 8 })), n: Type.Optional(Type.Integer()) }),
    permission: audit,
    handler: (p) => Promise.resolve({ ...p }),
  }),
  jsonEndpoint({ method: 'GET', path: '/nodes', description: '', parameters: none, permission: { kind: 'root' }, handler: () => Promise.resolve([]) }),
  jsonEndpoint({ method: 'GET', path: '/nodes/{node}/tasks', description: '', parameters: Type.Object({ node: Type.String() }), permission: any, handler: () => Promise.resolve(new Reply([], { total: 0 })) }),
  jsonEndpoint({
    method: 'GET',
    path: '/fail/{how}',
    description: '',
    parameters: Type.Object({ how: Type.String() }),
    permission: any,
    handler: (p) => {
      if (p.how === 'bug') return Promise.reject(new TypeError('secret detail'));
      if (p.how === 'store') return Promise.reject(new StoreError('store.full', 'cannot write', { cause: new Error('disk full'), hint: 'Make room.' }));
      if (p.how === 'exists') return Promise.reject(new ParameterError([['id', "job 'x' already exists."]]));
      return Promise.reject(new HttpError(401, 'permission check failed.'));
    },
  }),
  rawEndpoint({
    method: 'GET',
    path: '/raw/download',
    description: '',
    parameters: Type.Object({ name: Type.String() }),
    permission: any,
    handler: async (p, _caller, _request, response) => {
      response.setHeader('content-type', 'application/octet-stream');
      response.write('half');
      if (p.name === 'breaks') throw new StoreError('store.read', 'disk gone');
      await new Promise<void>((resolve) => response.end(resolve));
    },
  }),
  rawEndpoint({ method: 'POST', path: '/raw/upload', description: '', parameters: none, permission: any, body: 'stream', handler: async (_p, _c, request, response) => void response.end(String((await text(request)).length)) }),
  upgradeEndpoint({
    method: 'GET',
    path: '/reader',
    description: '',
    parameters: Type.Object({ store }),
    permission: any,
    handler: async (p, _caller, upgrade) => {
      if (upgrade.protocol === undefined) throw new HttpError(400, 'missing Upgrade header');
      if (upgrade.protocol !== 'echo') throw new HttpError(400, 'invalid protocol name');
      const socket = await upgrade.accept('echo');
      if (p.store === 'breaks') throw new Error('after the upgrade');
      socket.pipe(socket);
    },
  }),
];

const seen: AccessEntry[] = [];
const failures: string[] = [];
const router = new Router({ endpoints, gatekeeper, log: { ...silentLog, error: (line) => failures.push(line) }, delays: { unauthorizedMs: 0, forbiddenMs: 0 }, onAccess: (entry) => seen.push(entry) });

const server = createServer({ shouldUpgradeCallback: (request) => router.wantsUpgrade(request) }, (request, response) => void router.handle(request, response));
server.on('upgrade', (request, socket, head) => {
  void router.upgrade(request, socket, head).then((outcome) => {
    if (outcome === 'answered') server.emit('connection', socket);
  });
});
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const port = (server.address() as AddressInfo).port;
after(() => {
  server.close();
  server.closeAllConnections();
});

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

async function send(method: string, path: string, options: { as?: string | null; type?: string; body?: string | Buffer } = {}): Promise<Answer> {
  const { as = 'admin@pbs', type, body } = options;
  const headers = { ...(as === null ? {} : { authorization: as }), ...(type === undefined ? {} : { 'content-type': type }), ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }) };
  const request = httpRequest({ port, host: '127.0.0.1', method, path, headers, agent: false });
  request.end(body);
  const [response] = (await once(request, 'response')) as [import('node:http').IncomingMessage];
  return { status: response.statusCode!, headers: response.headers, body: await text(response) };
}

const json = 'application/json;charset=UTF-8';

// Answers of the reference to the same kind of request: status, content type, body.
const table: Array<[request: string, status: number, type: string | undefined, body: string, options?: Parameters<typeof send>[2]]> = [
  ['GET /api2', 404, undefined, "invalid api path '/api2'"],
  ['GET /api2/', 404, undefined, "invalid api path '/api2'"],
  ['GET /api2/xml/version', 400, undefined, "Unsupported output format 'xml'.", { as: null }],
  ['GET /api2/json/./version', 400, undefined, 'path contains illegal components', { as: null }],
  ['GET /api2/json', 200, json, '{"data":[{"subdir":"config"},{"subdir":"fail"},{"subdir":"nodes"},{"subdir":"ping"},{"subdir":"raw"},{"subdir":"reader"},{"subdir":"version"}]}'],
  ['GET /api2/extjs/config?x=1', 200, json, '{"data":[{"subdir":"datastore"},{"subdir":"remote"}],"status":200,"success":true}'],
  ['GET //api2//json//version', 200, json, '{"data":{"release":"3"}}'],
  ['GET /api2/json/ver%73ion?', 200, json, '{"data":{"release":"3"}}'],
  ['GET /api2/json/%2e%2e/version', 404, json, "Path '/api2/json/%2e%2e/version' not found."],
  ['GET /api2/json/a%2Fb', 404, json, "Path '/api2/json/a%2Fb' not found."],
  ['GET //api2/json/nosuch/', 404, json, "Path '/api2/json/nosuch' not found."],
  ['POST /api2/json/config', 404, json, "Path '/api2/json/config' not found."],
  ['PATCH /api2/json/version', 404, json, "Path '/api2/json/version' not found."],
  ['GET /api2/json/nodes/x/nothing', 404, json, "Path '/api2/json/nodes/x/nothing' not found."],
  ['GET /api2/json/nosuch', 401, undefined, 'authentication failed', { as: null }],
  ['GET /api2/extjs/version', 401, undefined, 'authentication failed', { as: null }],
  ['GET /api2/json/version', 401, undefined, 'authentication failed', { as: 'broken' }],
  ['GET /api2/json/ping', 200, json, '{"data":{"pong":true,"who":""}}', { as: null }],
  ['POST /api2/json/ping', 401, undefined, 'authentication failed', { as: null }],
  ['GET /api2/json/ping?x=1', 400, json, "parameter verification failed - 'x': schema does not allow additional properties.", { as: null }],
  ['GET /api2/json/nodes?x=1', 403, json, 'permission check failed'],
  ['GET /api2/extjs/nodes?x=1', 200, json, '{"errors":{},"message":"permission check failed","status":403,"success":false}'],
  ['PUT /api2/json/config/datastore/-?x=1', 403, json, 'permission check failed', { as: 'low@pbs' }],
  ['GET /api2/json/version', 400, json, 'unsupported content type Ok("text/foo")', { type: 'text/foo' }],
  ['GET /api2/json/version?x=1', 200, json, '{"data":{"release":"3"}}', { type: 'application/json; charset=x', body: '{}' }],
  ['GET /api2/json/version', 400, json, "parameter verification failed - 'x': schema does not allow additional properties.", { body: 'x=1' }],
  ['PUT /api2/json/config/datastore/main?n=5', 200, json, '{"data":{"comment":"a b","n":5,"store":"main"}}', { type: 'application/x-www-form-urlencoded', body: 'comment=a+b' }],
  ['PUT /api2/json/config/datastore/main?n=5', 200, json, '{"data":{"comment":"a b","store":"main"}}', { type: 'application/json', body: '{"comment":"a b","store":"other"}' }],
  ['PUT /api2/json/config/datastore/main', 200, json, '{"data":{"store":"main"}}', { type: 'application/json' }],
  ['PUT /api2/json/config/datastore/main', 400, json, 'Expected object - got array.', { type: 'application/json', body: '[1]' }],
  ['PUT /api2/extjs/config/datastore/main?n=a&b=1', 200, json, '{"errors":{"n":"invalid digit found in string","b":"schema does not allow additional properties."},"message":"parameter verification errors","status":400,"success":false}'],
  ['DELETE /api2/json/config/remote/a%2Fb', 404, json, "remote 'a/b' does not exist."],
  ['GET /api2/json/config/remote', 200, json, '{"data":[],"digest":"d"}'],
  ['GET /api2/extjs/config/remote', 200, json, '{"data":[],"digest":"d","status":200,"success":true}'],
  ['GET /api2/json/nodes/localhost/tasks', 200, json, '{"data":[],"total":0}'],
  ['GET /api2/json/fail/exists', 400, json, "parameter verification failed - 'id': job 'x' already exists."],
  ['GET /api2/json/fail/store', 400, json, 'cannot write: disk full'],
  ['GET /api2/json/fail/bug', 500, json, 'internal error, see the server log'],
  ['GET /api2/json/fail/login', 401, json, 'permission check failed.'],
  ['GET /api2/extjs/fail/login', 200, json, '{"errors":{},"message":"permission check failed.","status":401,"success":false}'],
  ['GET /api2/json/raw/download?x=1', 400, json, "parameter verification failed:\n- 'x': schema does not allow additional properties."],
  ['GET /api2/json/raw/download?name=a', 200, 'application/octet-stream', 'half', { type: 'text/foo', body: '{"x":1}' }],
  ['POST /api2/json/raw/upload', 200, undefined, '600000', { body: Buffer.alloc(600_000) }],
  ['GET /nosuch', 404, undefined, "no such file: 'nosuch'", { as: null }],
  ['POST /nosuch', 400, undefined, 'invalid http method for path', { as: null }],
  ['GET /api2/json/reader?store=main', 400, json, 'missing Upgrade header'],
];

test('answers as the reference does', async () => {
  for (const [line, status, type, body, options] of table) {
    const [method, path] = line.split(' ') as [string, string];
    const answer = await send(method, path, options);
    const expected = body.replace(/:\n- '(x)': (.*)$/, " - '$1': $2");
    assert.deepEqual([answer.status, answer.headers['content-type'], answer.body], [status, type, expected], line);
    assert.equal(answer.headers['set-cookie']?.[0], status === 401 ? clearCookie : undefined, line);
  }
});

test('programmer errors are in the log with their stack, and only there', async () => {
  failures.length = 0;
  await send('GET', '/api2/json/fail/bug');
  assert.match(failures.join('\n'), /GET \/api2\/json\/fail\/bug: TypeError: secret detail\n {4}at/);
});

test('path and query over 3072 bytes are 414 with nothing in it', async () => {
  const fits = `/api2/json/${'a'.repeat(3061)}`;
  assert.equal((await send('GET', fits)).status, 404);
  assert.equal((await send('GET', `/${fits}`)).status, 404);
  const answer = await send('GET', `${fits}a`, { as: null });
  assert.deepEqual([answer.status, answer.body, answer.headers['content-length']], [414, '', '0']);
  assert.equal((await send('GET', `/api2/json/version?${'a'.repeat(3072)}`)).status, 414);
});

test('a parameter body must stay below 512 KiB', async () => {
  const body = (length: number): Buffer => Buffer.from(`a=${'x'.repeat(length - 2)}`);
  assert.match((await send('PUT', '/api2/json/config/datastore/main', { body: body(512 * 1024 - 1) })).body, /'a': schema does not allow/);
  const answer = await send('PUT', '/api2/json/config/datastore/main', { body: body(512 * 1024) });
  assert.deepEqual([answer.status, answer.body], [400, 'Request body too large']);
  assert.match((await send('PUT', '/api2/json/config/datastore/main', { body: Buffer.from([0x61, 0xff]) })).body, /^Request body not uft8/);
});

test('HEAD is an unknown method with no body', async () => {
  const answer = await send('HEAD', '/api2/json/version');
  assert.deepEqual([answer.status, answer.body], [404, '']);
});

test('an answer that breaks half-way cuts the connection', async () => {
  await assert.rejects(send('GET', '/api2/json/raw/download?name=breaks'), { code: 'ECONNRESET' });
});

test('permissions see URI parameters only', async () => {
  asked.length = 0;
  await send('PUT', '/api2/json/config/datastore/ma%69n', { type: 'application/json', body: '{"store":"other"}' });
  assert.deepEqual(asked, [{ store: 'main' }]);
});

test('the access log gets one entry a request', async () => {
  seen.length = 0;
  await send('GET', '//api2/json/version?_dc=1');
  await send('GET', '/api2/json/version', { as: null });
  assert.deepEqual(seen.map(({ authId, method, target, status, size }) => ({ authId, method, target, status, size })), [
    { authId: 'admin@pbs', method: 'GET', target: '/api2/json/version?_dc=1', status: 200, size: 24 },
    { authId: '', method: 'GET', target: '/api2/json/version', status: 401, size: 21 },
  ]);
});

test('delays: 401 and 403 wait, an answer nobody waits for does not', async () => {
  const waiting = new Router({ endpoints, gatekeeper, log: silentLog, delays: { unauthorizedMs: 60_000, forbiddenMs: 60_000 } });
  for (const headers of [{}, { authorization: 'low@pbs' }]) {
    const slow = createServer();
    slow.listen(0, '127.0.0.1');
    await once(slow, 'listening');
    const request = httpRequest({ port: (slow.address() as AddressInfo).port, host: '127.0.0.1', path: '/api2/json/nodes', headers });
    request.on('error', () => {});
    request.on('response', () => assert.fail('answered at once'));
    request.end();
    const [incoming, response] = (await once(slow, 'request')) as [import('node:http').IncomingMessage, import('node:http').ServerResponse];
    const handled = waiting.handle(incoming, response);
    await new Promise((resolve) => setImmediate(resolve));
    assert.ok(!response.headersSent);
    request.destroy();
    await handled;
    slow.close();
  }
});

test('in-process calls: same checks, same texts, no HTTP', async () => {
  const caller: Caller = { authId: 'admin@pbs', remoteAddress: 'unix' };
  const path = '/config/datastore/main';
  const good = await router.call({ method: 'PUT', path, caller, parameters: { n: 5 } });
  assert.ok(good.ok);
  assert.deepEqual({ ...(good.data as object) }, { n: 5, store: 'main' });
  const pairs = await router.call({ method: 'PUT', path, caller, pairs: [['n', '6']] });
  assert.ok(pairs.ok);
  assert.deepEqual({ ...(pairs.data as object) }, { n: 6, store: 'main' });
  assert.deepEqual(await router.call({ method: 'GET', path: '/config/remote', caller }), { ok: true, status: 200, data: [], siblings: { digest: 'd' } });
  assert.deepEqual(await router.call({ method: 'GET', path: '/config', caller }), { ok: true, status: 200, data: [{ subdir: 'datastore' }, { subdir: 'remote' }], siblings: {} });
  const failing = async (method: 'GET' | 'PUT', to: string, as = caller, parameters = {}): Promise<unknown[]> => {
    const result = await router.call({ method, path: to, caller: as, parameters });
    assert.ok(!result.ok);
    return [result.status, result.message, result.hint];
  };
  assert.deepEqual(await failing('PUT', path, caller, { n: '5' }), [400, "parameter verification failed - 'n': Expected integer value.", undefined]);
  assert.deepEqual(await failing('PUT', path, { ...caller, authId: 'low@pbs' }), [403, 'permission check failed', undefined]);
  assert.deepEqual(await failing('GET', '/nosuch'), [404, "Path '/api2/json/nosuch' not found.", undefined]);
  assert.deepEqual(await failing('GET', '/fail/store'), [400, 'cannot write: disk full', 'Make room.']);
  assert.deepEqual(await failing('GET', '/fail/bug'), [500, 'internal error, see the server log', undefined]);
  assert.deepEqual(await failing('GET', '/raw/download', caller, { name: 'a' }), [400, 'GET /raw/download needs an HTTP connection', undefined]);
});

/** Sends `bytes` on a raw connection and returns everything that comes back until `pattern` is there. */
async function converse(bytes: string, pattern: RegExp): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  let received = '';
  socket.write(bytes);
  for await (const piece of socket) {
    received += String(piece);
    if (pattern.test(received)) break;
  }
  socket.destroy();
  return received;
}

const upgradeHeaders = 'Host: x\r\nAuthorization: admin@pbs\r\nConnection: upgrade\r\nUPGRADE: echo\r\n\r\n';

test('an upgrade hands over the socket with what was already read', async () => {
  const received = await converse(`GET //api2/json/reader?store=main HTTP/1.1\r\n${upgradeHeaders}early bird`, /early bird/);
  assert.match(received, /^HTTP\/1\.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: echo\r\ndate: [^\r]+\r\n\r\nearly bird$/);
});

test('a refused upgrade leaves the connection usable, also for what was pipelined', async () => {
  const bad = upgradeHeaders.replace('echo', 'Echo');
  const next = 'GET /api2/json/version HTTP/1.1\r\nHost: x\r\nAuthorization: admin@pbs\r\n\r\n';
  const received = await converse(`GET /api2/json/reader?store=main HTTP/1.1\r\n${bad}${next}GET /api2/json/reader?store=main HTTP/1.1\r\n${upgradeHeaders}and on`, /and on/);
  assert.match(received, /^HTTP\/1\.1 400 Bad Request\r\n[^]*content-type: application\/json;charset=UTF-8[^]*\r\n\r\ninvalid protocol nameHTTP\/1\.1 200 OK[^]*\{"data":\{"release":"3"\}\}HTTP\/1\.1 101 [^]*and on$/i);
});

test('an upgrade with a body is refused and the connection closed: what follows cannot be told apart from it', async () => {
  for (const body of ['Content-Length: 5', 'Transfer-Encoding: chunked']) {
    const headers = upgradeHeaders.replace('\r\n\r\n', `\r\n${body}\r\n\r\n`);
    const received = await converse(`GET /api2/json/reader?store=main HTTP/1.1\r\n${headers}GET /api2/json/version HTTP/1.1\r\n\r\n`, /never/);
    assert.match(received, /^HTTP\/1\.1 400 [^]*cannot have a body$/);
  }
});

test('the rest of a body that is too large is thrown away, and the next request of the connection answered; of a huge one nobody waits for the end', async () => {
  const put = (length: number): string => `PUT /api2/json/config/datastore/main HTTP/1.1\r\nHost: x\r\nAuthorization: admin@pbs\r\nContent-Length: ${length}\r\n\r\n${'x'.repeat(length)}`;
  const next = 'GET /api2/json/version HTTP/1.1\r\nHost: x\r\nAuthorization: admin@pbs\r\n\r\n';
  assert.match(await converse(put(2 * 1024 * 1024) + next, /\}\}$/), /Request body too largeHTTP\/1\.1 200 OK[^]*\{"data":\{"release":"3"\}\}$/);
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  socket.resume();
  socket.write(put(32 * 1024 * 1024));
  await new Promise((resolve) => socket.once('close', resolve));
});

test('a body that breaks off is no fault of the program', async () => {
  const socket = connect(port, '127.0.0.1');
  failures.length = 0;
  seen.length = 0;
  socket.end('PUT /api2/json/config/datastore/main HTTP/1.1\r\nHost: x\r\nAuthorization: admin@pbs\r\nContent-Length: 500\r\n\r\nn=1');
  while (seen.length === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  assert.deepEqual(failures, []);
});

test('JSON that is nested too deep is not parsed', async () => {
  const send400 = async (body: string): Promise<string> => (await send('PUT', '/api2/json/config/datastore/main', { type: 'application/json', body })).body;
  assert.match(await send400(`{"a":${'['.repeat(100)}${']'.repeat(100)}}`), /^unable to parse the JSON body: nested deeper than 100 levels/);
  assert.match(await send400(`{"a":${'['.repeat(99)}${']'.repeat(99)}}`), /'a': schema does not allow/);
  assert.match(await send400(`{"a":"${'[\\\"{'.repeat(300)}"}`), /'a': schema does not allow/);
  assert.match(await send400('['.repeat(200_000)), /nested deeper/);
});

test('Upgrade headers elsewhere are ignored', async () => {
  assert.match(await converse(`GET /api2/json/version HTTP/1.1\r\n${upgradeHeaders}`, /\}\}/), /^HTTP\/1\.1 200 OK/);
});

test('unauthenticated and unknown upgrades are ordinary answers', async () => {
  assert.match(await converse(`GET /api2/json/reader?store=x HTTP/1.1\r\n${upgradeHeaders}`, /verification failed - 'store'/), /^HTTP\/1\.1 400/);
  assert.match(await converse(`GET /api2/json/reader?store=main HTTP/1.1\r\n${upgradeHeaders.replace('Authorization', 'X-None')}`, /authentication failed/), /^HTTP\/1\.1 401[^]*Set-Cookie: __Host/i);
});

test('a handler that fails after the upgrade cuts the connection', async () => {
  assert.match(await converse(`GET /api2/json/reader?store=breaks HTTP/1.1\r\n${upgradeHeaders}`, /never/), /^HTTP\/1\.1 101 .*\r\n\r\n$/s);
});

test('wrong endpoint tables are refused', () => {
  const make = (path: string, name = 'a'): Endpoint => jsonEndpoint({ method: 'GET', path, description: '', parameters: Type.Object({ [name]: Type.String() }), permission: any, handler: () => Promise.resolve(null) });
  const build = (...list: Endpoint[]): Router => new Router({ endpoints: list, gatekeeper, log: silentLog });
  assert.throws(() => build(make('/x/{a}'), make('/x/{a}')), /registered twice/);
  assert.throws(() => build(make('/x/{b}')), /not among the parameters/);
  assert.throws(() => build(make('/x/{a}/y'), make('/x/{b}/z', 'b')), /another endpoint has \{a\}/);
  assert.throws(() => build(make('x')), /x/);
});
