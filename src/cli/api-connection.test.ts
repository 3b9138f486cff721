import assert from 'node:assert/strict';
import { mkdtemp, rename, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { Type } from 'typebox';
import { CannedServer } from '../../test/support/manager-runs.ts';
import { jsonEndpoint, rawEndpoint } from '../api/endpoint.ts';
import { Router } from '../api/router.ts';
import { silentLog } from '../base/log.ts';
import { HttpError, NetworkError } from '../base/errors.ts';
import { FoundServer, fillPath, inProcessConnection, isListening, socketConnection } from './api-connection.ts';
import type { ApiConnection } from './api-connection.ts';

const answers = {
  'GET /config/remote/a b/x': { data: [1], digest: 'd', total: 1 },
  'PUT /config/remote/hq': { status: 400, text: "no such remote 'hq'" },
  'GET /broken': () => 'no object',
};

suite('a connection', () => {
  let folder: string;
  let socketPath: string;
  let http: Server;
  const server = new CannedServer(answers);

  before(async () => {
    folder = await mkdtemp(join(tmpdir(), 'farshore-cli-'));
    socketPath = join(folder, 'farshore.sock');
    http = createServer(server.handle);
    await new Promise<void>((resolve) => http.listen(socketPath, resolve));
  });

  after(async () => {
    http.close();
    await rm(folder, { recursive: true });
  });

  const kinds: Array<[string, () => Promise<ApiConnection>]> = [
    ['socket', async () => socketConnection(socketPath)],
    ['in-process', async () => inProcessConnection(await server.open())],
  ];
  for (const [kind, connect] of kinds) {
    test(`${kind}: path, query, body, siblings of data`, async () => {
      const api = await connect();
      server.calls.length = 0;
      assert.deepEqual(await api.call('GET', '/config/remote/{name}/x', { name: 'a b', limit: 5, all: true, none: undefined, ns: ['a', 'b&c'] }), { data: [1], digest: 'd', total: 1 });
      await api.call('POST', '/pull', { store: 'main', 'group-filter': ['type:vm'], 'max-depth': 0, flag: false });
      await api.call('DELETE', '/config/remote/{name}', { name: 'hq', digest: 'x' });
      assert.deepEqual(server.calls, [
        { method: 'GET', target: '/config/remote/a%20b/x?limit=5&all=1&ns=a&ns=b%26c', body: null },
        { method: 'POST', target: '/pull', body: { store: 'main', 'group-filter': ['type:vm'], 'max-depth': 0, flag: false } },
        { method: 'DELETE', target: '/config/remote/hq', body: { digest: 'x' } },
      ]);
      await api.close();
    });

    test(`${kind}: errors`, async () => {
      const api = await connect();
      await assert.rejects(api.call('PUT', '/config/remote/{name}', { name: 'hq' }), (e: unknown) => e instanceof HttpError && e.status === 400 && e.message === "no such remote 'hq'");
      await assert.rejects(api.call('GET', '/broken'), (e: unknown) => e instanceof NetworkError && e.code === 'net.protocol');
      await api.close();
    });
  }

  test('the running server is preferred, the one in this process is made only without it', async () => {
    let made = 0;
    const openLocal = async (): ReturnType<typeof server.open> => {
      made += 1;
      return server.open();
    };
    const running = new FoundServer({ socketPath, openLocal });
    await running.call('GET', '/x');
    await running.close();
    assert.equal(made, 0);

    const local = new FoundServer({ socketPath: join(folder, 'none.sock'), openLocal });
    const closedBefore = server.closed;
    await Promise.all([local.call('GET', '/x'), local.call('GET', '/y')]);
    await local.close();
    assert.deepEqual([made, server.closed - closedBefore], [1, 1]);

    const unused = new FoundServer({ socketPath: join(folder, 'none.sock'), openLocal });
    await unused.close();
    assert.equal(made, 1);
  });

  test('nobody there', async () => {
    assert.equal(await isListening(socketPath), true);
    assert.equal(await isListening(join(folder, 'none.sock')), false);
    // What a server that was killed leaves behind: a socket that refuses.
    const killed = createServer();
    await new Promise<void>((resolve) => killed.listen(join(folder, 'killed.sock'), resolve));
    await rename(join(folder, 'killed.sock'), join(folder, 'stale.sock'));
    await new Promise((resolve) => killed.close(resolve));
    assert.equal(await isListening(join(folder, 'stale.sock')), false);
    const api = new FoundServer({ socketPath: join(folder, 'none.sock'), openLocal: null });
    await assert.rejects(api.call('GET', '/x'), (e: unknown) => e instanceof NetworkError && e.code === 'net.connect' && e.message === 'client error (Connect)' && e.hint !== undefined);
    await api.close();
  });

  test('a connection that breaks during a call', async () => {
    const breaking = createServer((request) => request.socket.destroy());
    const path = join(folder, 'breaking.sock');
    await new Promise<void>((resolve) => breaking.listen(path, resolve));
    await assert.rejects(socketConnection(path).call('GET', '/x'), NetworkError);
    breaking.close();
  });
});

test('closing breaks off a call that hangs', async () => {
  const api = inProcessConnection({ handle: () => {}, close: async () => {} });
  const call = assert.rejects(api.call('GET', '/x'), NetworkError);
  await api.close();
  await call;
});

test('the real router answers in this process as root@pam', async () => {
  const callers: unknown[] = [];
  const echo = jsonEndpoint({
    method: 'PUT',
    path: '/echo/{name}',
    description: 'Echo.',
    parameters: Type.Object({ name: Type.String(), count: Type.Optional(Type.Integer({ minimum: 1 })) }),
    permission: { kind: 'root' },
    handler: async (parameters, caller) => {
      callers.push(caller);
      return parameters;
    },
  });
  const lines = rawEndpoint({
    method: 'GET',
    path: '/log',
    description: 'Lines.',
    parameters: Type.Object({ 'test-status': Type.Optional(Type.Boolean()) }),
    permission: { kind: 'any' },
    handler: async (parameters, _caller, _request, response) => {
      response.end(JSON.stringify({ data: [{ n: 1, t: 'a' }], active: parameters['test-status'] }));
    },
  });
  const caller = { authId: 'root@pam', remoteAddress: 'unix' };
  const router = new Router({ endpoints: [echo, lines], gatekeeper: { authenticate: async () => null, allowed: async (_permission, { authId }) => authId === 'root@pam' }, log: silentLog });
  const api = inProcessConnection({ handle: (request, response) => void router.handle(request, response, caller), close: async () => {} });
  assert.deepEqual(await api.call('PUT', '/echo/{name}', { name: 'a/ü', count: 3 }), { data: { name: 'a/ü', count: 3 } });
  assert.deepEqual(callers, [caller]);
  await assert.rejects(api.call('PUT', '/echo/{name}', { name: 'a', count: 0 }), { message: "parameter verification failed - 'count': value must have a minimum value of 1 (got 0)" });
  assert.deepEqual(await api.call('GET', '/log', { 'test-status': true }), { data: [{ n: 1, t: 'a' }], active: true });
  await api.close();
});

test('names in braces come from the parameters, the rest stays', () => {
  assert.deepEqual(fillPath('/a/{store}/b/{token-name}', { store: 'x/y', 'token-name': 'ü', more: 1, gone: undefined }), { path: '/a/x%2Fy/b/%C3%BC', rest: { more: 1 } });
});
