import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import { test, type TestContext } from 'node:test';
import { WholeServer } from '../../test/support/whole-server.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import type { AuditEvent, AuditLine } from '../access/audit-line.ts';
import { AuditTrail, maskedParameters } from './audit-trail.ts';
import type { Caller } from './endpoint.ts';

type Send = (method: string, path: string, body?: Record<string, unknown>, headers?: Record<string, string>) => Promise<{ status: number; data: unknown }>;

/** The whole API over plain HTTP; `caller`: who is let in without credentials. */
async function http(t: TestContext, server: WholeServer, caller?: Caller): Promise<Send> {
  const listener = createServer((request, response) => void server.composition.router.handle(request, response, caller));
  listener.listen(0, '127.0.0.1');
  await once(listener, 'listening');
  t.after(() => listener.close());
  const { port } = listener.address() as AddressInfo;
  return async (method, path, body, headers = {}) => {
    const request = httpRequest({ port, host: '127.0.0.1', method, path: `/api2/json${path}`, agent: false, headers: { ...headers, ...(body === undefined ? {} : { 'content-type': 'application/json' }) } });
    request.end(body === undefined ? undefined : JSON.stringify(body));
    const [response] = (await once(request, 'response')) as [IncomingMessage];
    const content = await text(response);
    return { status: response.statusCode ?? 0, data: content.startsWith('{') ? (JSON.parse(content) as { data: unknown }).data : content };
  };
}

const root: Caller = { authId: 'root@pam', remoteAddress: 'unix' };

/** Lines that were written since, oldest first, without what differs from run to run. */
async function written(server: WholeServer): Promise<Array<Partial<AuditLine>>> {
  const lines = await server.composition.audit.newest(1000);
  return lines.toReversed().map(({ seq: _seq, time: _time, prev: _prev, hash: _hash, ...line }) => line);
}

test('changes are written down with who, from where, what and the outcome; refused ones, too; what only reads is not', async (t) => {
  await using server = await WholeServer.make();
  const local = await http(t, server, root);
  const remote = await http(t, server);
  await local('POST', '/access/users', { userid: 'ci@pbs', password: 'very secret words' });
  const { data: token } = await local('POST', '/access/users/ci@pbs/token/deploy', {});
  const secret = (token as { value: string }).value;
  const asToken = { authorization: `PBSAPIToken=ci@pbs!deploy:${secret}` };
  assert.equal((await remote('GET', '/access/users', undefined, asToken)).status, 200);
  assert.equal((await remote('POST', '/config/traffic-control', { name: 'office', network: ['10.0.0.0/8'] }, asToken)).status, 403);
  assert.equal((await local('POST', '/config/traffic-control', { name: 'office', network: ['nowhere'] })).status, 400);
  assert.equal((await remote('GET', '/access/users')).status, 401);
  assert.equal((await remote('POST', '/access/ticket', { username: 'ci@pbs', password: 'very wrong words' })).status, 401);
  assert.equal((await remote('POST', '/access/ticket', { username: 'ci@pbs', password: 'very secret words' })).status, 200);

  const address = '127.0.0.1';
  const lines = await written(server);
  assert.deepEqual(lines.map(({ event, auth, address: from, method, path, status }) => [event, auth, from, method, path, status]), [
    ['call', 'root@pam', 'unix', 'POST', '/access/users', 200],
    ['call', 'root@pam', 'unix', 'POST', '/access/users/ci@pbs/token/deploy', 200],
    ['call', 'ci@pbs!deploy', address, 'POST', '/config/traffic-control', 403],
    ['call', 'root@pam', 'unix', 'POST', '/config/traffic-control', 400],
    ['login-failure', '', address, 'GET', '/api2/json/access/users', 401],
    ['login-failure', '', address, 'POST', '/access/ticket', 401],
    ['call', '', address, 'POST', '/access/ticket', 200],
  ]);
  assert.deepEqual(lines[0]?.parameters, { userid: 'ci@pbs', password: '***' });
  assert.deepEqual(lines[5]?.parameters, { username: 'ci@pbs', password: '***' });
  assert.match(lines[3]?.message ?? '', /'network/);
  const all = JSON.stringify(lines);
  for (const hidden of ['very secret words', 'very wrong words', secret]) assert.ok(!all.includes(hidden));

  assert.equal((await remote('GET', '/farshore/audit', undefined, asToken)).status, 403);
  assert.equal((await remote('GET', '/farshore/audit/verify', undefined, asToken)).status, 403);
  assert.equal(((await local('GET', '/farshore/audit?limit=2')).data as unknown[]).length, 2);
  assert.equal(((await local('GET', '/farshore/audit?auth=ci@pbs')).data as unknown[]).length, 1);
  const verified = (await local('GET', '/farshore/audit/verify')).data as { lines: number; bad: unknown };
  assert.deepEqual([verified.lines, verified.bad], [lines.length, null]);
});

test('tasks are written down when they start, by whomever', async () => {
  await using server = await WholeServer.make();
  const { upid, finished } = await server.composition.tasks.start({ workerType: 'logrotate', workerId: '', authId: 'root@pam' }, async () => {});
  await finished;
  assert.deepEqual(await written(server), [{ event: 'task', auth: 'root@pam', address: 'local', upid }]);
});

test('secrets, long texts and lists do not get in; failed logins do not fill the disk', async () => {
  const many = Array.from({ length: 100 }, (_, i) => i);
  assert.deepEqual(maskedParameters({ password: 'a', key: '{}', 'new-password': 'b', secret: ['name=x,value=y'], url: 'https://u:p@host/x', comment: 'x'.repeat(1000), list: many, absent: undefined, n: 1, deep: { token: 'x', name: 'y' } }), {
    password: '***', key: '***', 'new-password': '***', secret: '***', url: 'https://***@host/x', comment: `${'x'.repeat(256)}... (1000 characters)`, list: [...many.slice(0, 32), '... (100 items)'], n: 1, deep: { token: '***', name: 'y' },
  });
  const lines: AuditEvent[] = [];
  const clock = new ManualClock('2026-11-25T12:00:00Z');
  const trail = new AuditTrail({ append: async (event) => void lines.push(event) }, clock);
  const attempt = { address: '192.0.2.1', method: 'GET', path: '/version' };
  for (let i = 0; i < 1000; i += 1) await trail.refused(attempt);
  assert.equal(lines.length, 600);
  clock.ms += 60_000;
  await trail.refused(attempt);
  assert.equal(lines.at(-1)?.omitted, 400);
  await trail.refused(attempt);
  assert.equal(lines.at(-1)?.omitted, undefined);
});
