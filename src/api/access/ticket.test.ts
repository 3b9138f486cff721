import assert from 'node:assert/strict';
import { once } from 'node:events';
import { request as httpRequest, type IncomingHttpHeaders, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { test } from 'node:test';
import { accessApi, addEve, evePassword, recordedMs } from '../../../test/support/access-api.ts';
import { noYescrypt } from '../../../test/support/accounts.ts';
import { readFixture } from '../../../test/support/golden.ts';
import { clearCookie } from '../answer.ts';
import { parseTotp, totpCode } from '../../access/totp.ts';

interface Recorded {
  status: number;
  contentType: string | null;
  body: unknown;
}
const recorded = JSON.parse(readFixture('api/access-source.json').toString()) as Record<string, Recorded>;

interface Answer {
  status: number;
  headers: IncomingHttpHeaders;
  body: string;
}

async function send(port: number, method: string, path: string, form: Record<string, string> = {}, headers: Record<string, string> = {}): Promise<Answer> {
  const body = new URLSearchParams(form).toString();
  const request = httpRequest({ host: '127.0.0.1', port, method, path, agent: false, headers: { ...headers, 'content-type': 'application/x-www-form-urlencoded', 'content-length': body.length } });
  request.end(body);
  const [response] = (await once(request, 'response')) as [IncomingMessage];
  return { status: response.statusCode!, headers: response.headers, body: await text(response) };
}

const ticketPath = '//api2/json//access/ticket';

function dataOf(answer: Answer): Record<string, string> {
  assert.equal(answer.status, 200, answer.body);
  return (JSON.parse(answer.body) as { data: Record<string, string> }).data;
}

test("login and its failure are the reference's, byte for byte but for ticket and token", { skip: noYescrypt }, async (t) => {
  const { server, authLog } = await accessApi(t);
  const good = await send(server.port, 'POST', ticketPath, { username: 'admin@pbs', password: 'labsecret123' });
  const theirs = recorded['POST /access/ticket']!;
  assert.deepEqual([good.status, good.headers['content-type'], good.headers['set-cookie']], [theirs.status, theirs.contentType, undefined]);
  const shape = (body: string): string => body.replaceAll(/[A-Za-z0-9+/]{43,}/g, 'SIGNATURE');
  assert.equal(shape(good.body), `{"data":{"CSRFPreventionToken":"6B04EF5D:SIGNATURE","ticket":"PBS:admin@pbs:6B04EF5D::SIGNATURE","username":"admin@pbs"},"status":200,"success":true}`);
  assert.deepEqual(Object.keys(dataOf(good)), Object.keys((theirs.body as { data: object }).data));
  const bad = await send(server.port, 'POST', ticketPath, { username: 'admin@pbs', password: 'labsecret124' });
  const refused = recorded['POST /access/ticket (wrong password)']!;
  assert.deepEqual([bad.status, bad.headers['content-type'], bad.body, bad.headers['set-cookie']], [refused.status, refused.contentType, refused.body, [clearCookie]]);
  assert.equal(authLog[0], "successful auth for user 'admin@pbs'");
  assert.match(authLog[1]!, /^authentication failure; rhost=127\.0\.0\.1:\d+ user=admin@pbs msg=invalid credentials$/);
  assert.equal(authLog.length, 2);
});

test('a ticket renews itself, but is nobody else\'s password', async (t) => {
  const api = await accessApi(t);
  await addEve(api);
  const { port } = api.server;
  const { ticket } = dataOf(await send(port, 'POST', ticketPath, { username: 'eve@pbs', password: evePassword }));
  api.clock.ms += 3_600_000;
  const renewed = dataOf(await send(port, 'POST', ticketPath, { username: 'eve@pbs', password: ticket! }));
  assert.notEqual(renewed['ticket'], ticket);
  assert.equal((await send(port, 'POST', ticketPath, { username: 'alice@pbs', password: ticket! })).status, 401);
  assert.equal((await send(port, 'POST', ticketPath, { username: 'eve@pbs' })).body, 'no password provided');
  assert.equal((await send(port, 'POST', ticketPath, { username: 'eve', password: 'x' })).body, "parameter verification failed - 'username': value does not match the regex pattern");
  const extjs = await send(port, 'POST', '/api2/extjs/access/ticket', { username: 'eve@pbs', password: 'wrong' });
  assert.deepEqual([extjs.status, JSON.parse(extjs.body)], [200, { errors: {}, message: 'permission check failed.', status: 401, success: false }]);
  assert.equal(extjs.headers['set-cookie'], undefined);
});

test('http-only: the ticket is in the cookie only, and the cookie renews it', async (t) => {
  const api = await accessApi(t);
  await addEve(api);
  const { port } = api.server;
  const first = await send(port, 'POST', ticketPath, { username: 'eve@pbs', password: evePassword, 'http-only': '1' });
  const [cookie] = first.headers['set-cookie']!;
  assert.match(cookie!, /^__Host-PBSAuthCookie=PBS:eve@pbs:6B04EF5D::[A-Za-z0-9+/]+; Secure; SameSite=Lax; HttpOnly; Path=\/;$/);
  assert.deepEqual(Object.keys(dataOf(first)), ['CSRFPreventionToken', 'ticket-info', 'username']);
  assert.equal(dataOf(first)['ticket-info'], 'PBS:eve@pbs:6B04EF5D::ticketinfo');
  const ticket = cookie!.slice(cookie!.indexOf('=') + 1, cookie!.indexOf(';'));
  const withCookie = { cookie: `__Host-PBSAuthCookie=${ticket}` };
  const login = (form: Record<string, string>, headers = withCookie): Promise<Answer> => send(port, 'POST', ticketPath, { 'http-only': '1', ...form }, headers);

  api.authLog.length = 0;
  assert.equal(dataOf(await login({ username: 'eve@pbs' }))['username'], 'eve@pbs');
  assert.equal(dataOf(await login({ username: 'eve@pbs', password: 'wrong' }))['username'], 'eve@pbs', 'the cookie counts first');
  assert.deepEqual(api.authLog, Array(2).fill("successful auth for user 'eve@pbs'"));
  await api.changer.createUser({ userid: 'bob@pbs' }, { password: 'bob-password-1' });
  assert.equal((await login({ username: 'bob@pbs' })).status, 401, "somebody else's cookie");
  assert.equal(dataOf(await login({ username: 'bob@pbs', password: 'bob-password-1' }))['username'], 'bob@pbs', 'and then the password');
  const bobs = dataOf(await send(port, 'POST', ticketPath, { username: 'bob@pbs', password: 'bob-password-1' }))['ticket']!;
  assert.equal((await login({ username: 'bob@pbs', password: bobs })).status, 401, 'after an unusable cookie the password is none that is a ticket');
  assert.equal((await login({ username: 'eve@pbs' }, { cookie: '__Host-PBSAuthCookie=garbage' })).body, 'no password provided');
  api.clock.ms += 7_201_000;
  assert.equal((await login({ username: 'eve@pbs' })).status, 401, 'expired');
});

test('a second factor: the challenge is no success, is not set as a cookie, and is answered with a code', async (t) => {
  const api = await accessApi(t);
  await addEve(api);
  const address = 'otpauth://totp/x?secret=JBSWY3DPEHPK3PXP';
  await api.tfa.update((content) => void (content.users['eve@pbs'] = { totp: [{ id: 'a', entry: address }] }));
  const { port } = api.server;
  const asked = await send(port, 'POST', ticketPath, { username: 'eve@pbs', password: evePassword, 'http-only': '1' });
  assert.equal(asked.headers['set-cookie'], undefined);
  const { ticket: challenge, CSRFPreventionToken: csrf } = dataOf(asked);
  assert.match(challenge!, /^PBS:!tfa!\{"totp"%3Atrue\}:/);
  assert.equal(csrf, 'invalid');
  assert.deepEqual(api.authLog, []);
  const code = totpCode(parseTotp(address), Math.floor(recordedMs / 1000 / 30));
  const passed = await send(port, 'POST', ticketPath, { username: 'eve@pbs', password: `totp:${code}`, 'tfa-challenge': challenge! });
  assert.match(dataOf(passed)['ticket']!, /^PBS:eve@pbs:/);
  assert.deepEqual(api.authLog, ["successful auth for user 'eve@pbs'"]);
});

test('logout clears the cookie', async (t) => {
  const { server } = await accessApi(t);
  const answer = await send(server.port, 'DELETE', '/api2/json/access/ticket');
  assert.deepEqual([answer.status, answer.headers['content-type'], answer.body, answer.headers['set-cookie']], [200, undefined, '{"data":{},"status":200,"success":true}', [clearCookie]]);
});
