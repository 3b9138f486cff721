import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test, type TestContext } from 'node:test';
import { accessApi, addEve, evePassword, type AccessApi } from '../../../test/support/access-api.ts';
import { parseTotp, totpCode } from '../../access/totp.ts';

const secret = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const address = `otpauth://totp/Test:eve%40pbs?secret=${secret}&period=30&digits=6&algorithm=SHA1&issuer=Test`;
const eve = '/access/tfa/eve@pbs';

interface Ground extends AccessApi {
  /** The code that the second factor shows now. */
  code: () => string;
}

async function ground(t: TestContext): Promise<Ground> {
  const api = await accessApi(t);
  await addEve(api);
  return { ...api, code: () => totpCode(parseTotp(address), Math.floor(api.clock.ms / 30_000)) };
}

test('a TOTP entry is added after its code was right, named, switched off and removed', async (t) => {
  const { server, code, tfa, login, clock } = await ground(t);
  const wanted = { type: 'totp', description: 'phone', totp: address, value: code(), password: evePassword };
  const refused: Array<[Record<string, unknown>, string]> = [
    [{ password: undefined }, '401 missing password'],
    [{ password: 'not-the-password' }, '401 invalid credentials'],
    [{ description: undefined }, "400 'description' is required for new entries"],
    [{ totp: undefined }, "400 'totp' type requires both 'totp' and 'value' parameters"],
    [{ value: undefined }, "400 'totp' type requires both 'totp' and 'value' parameters"],
    [{ totp: 'nonsense' }, '400 not an otpauth uri'],
    [{ value: '000000' }, '400 failed to verify TOTP challenge'],
    [{ challenge: 'x' }, "400 'challenge' parameter is invalid for 'totp' entries"],
    [{ type: 'u2f' }, '400 no u2f configuration available'],
    [{ type: 'webauthn' }, '400 no webauthn configuration available'],
  ];
  for (const [change, expected] of refused) {
    const parameters = Object.fromEntries(Object.entries({ ...wanted, ...change }).filter(([, value]) => value !== undefined));
    assert.equal(await server.refusal('eve@pbs', 'POST', eve, parameters), expected, JSON.stringify(change));
  }
  assert.deepEqual(tfa.load().value.users, {}, 'nothing was stored');

  const { id } = (await server.data('eve@pbs', 'POST', eve, wanted)) as { id: string };
  assert.match(id, /^[0-9a-f-]{36}$/);
  const created = Math.floor(clock.ms / 1000);
  assert.deepEqual(await server.data('eve@pbs', 'GET', eve), [{ created, description: 'phone', id, type: 'totp' }]);
  assert.deepEqual(tfa.load().value.users['eve@pbs']!.totp, [{ id, description: 'phone', created, entry: `otpauth://totp/Test:eve%40pbs?secret=${secret}&digits=6&algorithm=SHA1&period=30&issuer=Test` }]);

  const challenge = await login.login({ username: 'eve@pbs', password: evePassword });
  assert.equal(challenge.isChallenge, true);
  assert.equal((await login.login({ username: 'eve@pbs', password: `totp:${code()}`, tfaChallenge: challenge.ticket })).isChallenge, false);

  assert.equal(await server.refusal('eve@pbs', 'PUT', `${eve}/${id}`, { enable: false }), '401 missing password');
  assert.equal(await server.refusal('eve@pbs', 'PUT', `${eve}/other`, { enable: false, password: evePassword }), '404 no such entry: eve@pbs/other');
  await server.data('eve@pbs', 'PUT', `${eve}/${id}`, { enable: false, description: 'old phone', password: evePassword });
  assert.deepEqual(await server.data('eve@pbs', 'GET', `${eve}/${id}`), { created, description: 'old phone', enable: false, id, type: 'totp' });
  assert.equal((await login.login({ username: 'eve@pbs', password: evePassword })).isChallenge, false, 'what is switched off is not asked for');
  await server.data('eve@pbs', 'PUT', `${eve}/${id}`, { enable: true, password: evePassword });
  assert.equal((await login.login({ username: 'eve@pbs', password: evePassword })).isChallenge, true);

  assert.equal(await server.refusal('eve@pbs', 'DELETE', `${eve}/${id}`), '401 missing password');
  assert.equal(await server.refusal('eve@pbs', 'DELETE', `${eve}/other`, { password: evePassword }), '404 no such tfa entry: eve@pbs/other');
  await server.data('eve@pbs', 'DELETE', `${eve}/${id}`, { password: evePassword });
  assert.deepEqual(tfa.load().value.users, {});
});

test('recovery keys are shown once, each counts once, and only what checks them is stored', async (t) => {
  const { server, login, tfa } = await ground(t);
  assert.equal(await server.refusal('eve@pbs', 'POST', eve, { type: 'recovery', value: 'x', password: evePassword }), '400 generating recovery tokens does not allow additional parameters');
  const { id, recovery } = (await server.data('eve@pbs', 'POST', eve, { type: 'recovery', password: evePassword })) as { id: string; recovery: string[] };
  assert.equal(id, 'recovery');
  assert.equal(new Set(recovery).size, 10);
  for (const key of recovery) assert.match(key, /^(?:[0-9a-f]{4}-){3}[0-9a-f]{4}$/);
  assert.equal(await server.refusal('eve@pbs', 'POST', eve, { type: 'recovery', password: evePassword }), '400 user already has recovery keys');
  const stored = readFileSync(tfa.path, 'utf8');
  assert.ok(recovery.every((key) => !stored.includes(key)));
  assert.match(stored, /^\{"users":\{"eve@pbs":\{"recovery":\{"secret":"[0-9a-f]{16}","entries":\["[0-9a-f]{64}"/);

  const { ticket } = await login.login({ username: 'eve@pbs', password: evePassword });
  assert.match(ticket, /^PBS:!tfa!\{"recovery"%3A\[0,1,2,3,4,5,6,7,8,9\]\}:/);
  await login.login({ username: 'eve@pbs', password: `recovery:${recovery[3]}`, tfaChallenge: ticket });
  await assert.rejects(login.login({ username: 'eve@pbs', password: `recovery:${recovery[3]}`, tfaChallenge: ticket }), { status: 401 });
  assert.equal(await server.refusal('eve@pbs', 'PUT', `${eve}/recovery`, { enable: false, password: evePassword }), '404 no such entry: eve@pbs/recovery');
  await server.data('root@pam', 'DELETE', `${eve}/recovery`);
  assert.equal((await login.login({ username: 'eve@pbs', password: evePassword })).isChallenge, false);
});

test('who may change whose', async (t) => {
  const { server, changer, acl } = await ground(t);
  assert.equal(await server.refusal('alice@pbs', 'POST', eve, { type: 'recovery', password: 'x' }), '403 permission check failed');
  assert.equal(await server.refusal('root@pam', 'POST', '/access/tfa/nobody@pbs', { type: 'recovery' }), "401 user 'nobody@pbs' does not exists.");
  await changer.createToken({ tokenid: 'admin@pbs!robot' });
  await acl.update((tree) => tree.insert({ path: '/', subject: 'admin@pbs!robot', role: 'Admin', propagate: true }));
  assert.equal(await server.refusal('admin@pbs!robot', 'POST', eve, { type: 'recovery', password: 'x' }), '400 API tokens cannot access this API endpoint');
});

test('a lock is ended; a removed user leaves no second factor behind', async (t) => {
  const { server, tfa, changer } = await ground(t);
  assert.equal(await server.refusal('admin@pbs', 'PUT', '/access/users/eve@pbs/unlock-tfa'), '400 no such user');
  await server.data('root@pam', 'POST', eve, { type: 'recovery' });
  assert.equal(await server.data('admin@pbs', 'PUT', '/access/users/eve@pbs/unlock-tfa'), false);
  await tfa.update((content) => void (content.users['eve@pbs']!['totp-locked'] = true));
  assert.equal(await server.refusal('eve@pbs', 'PUT', '/access/users/eve@pbs/unlock-tfa'), '403 permission check failed');
  assert.equal(await server.data('admin@pbs', 'PUT', '/access/users/eve@pbs/unlock-tfa'), true);
  assert.equal(tfa.load().value.users['eve@pbs']!['totp-locked'], undefined);
  await changer.deleteUser('eve@pbs');
  assert.deepEqual(tfa.load().value.users, {});
});
