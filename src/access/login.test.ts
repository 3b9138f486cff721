import assert from 'node:assert/strict';
import { createHmac } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { accessUnderTest, noYescrypt, type AccessUnderTest } from '../../test/support/accounts.ts';
import { tfaFile, type UserFactors } from '../config/tfa-config.ts';
import { LoginError, ticketInfo, type LoginRequest } from './login.ts';
import { parseTotp, totpCode } from './totp.ts';

const nowMs = 1_795_485_533_000;

/** What is wrong with a login, for the auth log. */
async function reasonOf(access: AccessUnderTest, request: LoginRequest): Promise<string> {
  try {
    await access.login.login(request);
  } catch (e) {
    assert.ok(e instanceof LoginError, String(e));
    assert.deepEqual([e.status, e.message, e.claimed], [401, 'permission check failed.', request.username], 'the caller learns nothing');
    return e.reason;
  }
  return assert.fail('logged in');
}

test('golden users log in with their passwords', { skip: noYescrypt }, async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  for (const [username, password] of [['admin@pbs', 'labsecret123'], ['alice@pbs', 'alice-pw-1']] as const) {
    const result = await access.login.login({ username, password });
    assert.equal(result.username, username);
    assert.match(result.ticket, new RegExp(`^PBS:${username}:6B04EF5D::`));
    assert.equal(await access.authenticator.authenticate({ method: 'PUT', cookies: [`PBSAuthCookie=${result.ticket}`], authorization: undefined, csrfToken: result.csrfToken }), username);
    assert.equal(ticketInfo(result.ticket), `PBS:${username}:6B04EF5D::ticketinfo`);
  }
});

test('failed logins say nothing but to the log', { skip: noYescrypt }, async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  assert.equal(await reasonOf(access, { username: 'admin@pbs', password: 'labsecret124' }), 'invalid credentials');
  assert.equal(await reasonOf(access, { username: 'admin@pbs', password: '' }), 'invalid credentials');
  assert.equal(await reasonOf(access, { username: 'nobody@pbs', password: 'labsecret123' }), 'user account disabled or expired.');
  assert.equal(await reasonOf(access, { username: 'sync@pbs', password: 'labsecret123' }), 'invalid credentials');
  assert.equal(await reasonOf(access, { username: 'sync@pbs!offsite', password: 'labsecret123' }), 'invalid user id');
  assert.equal(await reasonOf(access, { username: 'x', password: 'labsecret123' }), 'invalid user id');
  assert.match(await reasonOf(access, { username: 'root@pam', password: 'labsecret123' }), /realm 'pam' \(pam\) is not supported/);
  await assert.rejects(access.login.login({ username: 'admin@pbs', password: undefined }), { status: 400, message: 'no password provided' });
});

test('disabled and expired users do not log in, and their tickets end', { skip: noYescrypt }, async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  const { ticket } = await access.login.login({ username: 'alice@pbs', password: 'alice-pw-1' });
  const authenticate = () => access.authenticator.authenticate({ method: 'GET', cookies: [`PBSAuthCookie=${ticket}`], authorization: undefined, csrfToken: undefined });
  await access.changer.updateUser('alice@pbs', { set: { expire: nowMs / 1000 + 10 } });
  assert.equal(await authenticate(), 'alice@pbs');
  access.clock.ms += 10_000;
  await assert.rejects(authenticate(), { status: 401, message: 'authentication failed', reason: 'user account disabled or expired.' });
  await access.changer.updateUser('alice@pbs', { set: { expire: 0, enable: false } });
  assert.equal(await reasonOf(access, { username: 'alice@pbs', password: 'alice-pw-1' }), 'user account disabled or expired.');
  await access.changer.updateUser('alice@pbs', { set: { enable: true } });
  assert.equal(await authenticate(), 'alice@pbs');
});

test('a ticket as password renews it, for its user and in its time only', { skip: noYescrypt }, async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  const { ticket } = await access.login.login({ username: 'admin@pbs', password: 'labsecret123' });
  access.clock.ms += 7200_000;
  const renewed = await access.login.login({ username: 'admin@pbs', password: ticket });
  assert.notEqual(renewed.ticket, ticket);
  assert.equal(await reasonOf(access, { username: 'alice@pbs', password: ticket }), 'ticket of another user');
  assert.equal(await reasonOf(access, { username: 'admin@pbs', password: ticket, allowTicket: false }), 'invalid credentials');
  access.clock.ms += 1000;
  assert.equal(await reasonOf(access, { username: 'admin@pbs', password: ticket }), 'invalid credentials');
});

test('another kind of hash still works and becomes yescrypt', { skip: noYescrypt }, async (t) => {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  const path = join(access.paths.config, 'shadow.json');
  // crypt(3) SHA-256 of `Hello world!`, from the specification of that method.
  writeFileSync(path, JSON.stringify({ alice: '$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5' }));
  await access.login.login({ username: 'alice@pbs', password: 'Hello world!' });
  assert.match((JSON.parse(readFileSync(path, 'utf8')) as { alice: string }).alice, /^\$y\$j9T\$/);
  await access.login.login({ username: 'alice@pbs', password: 'Hello world!' });
});

// RFC 6238 and RFC 4226 test vectors (8 and 6 digits, key `12345678901234567890`).
const secret = 'GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ';
const address = `otpauth://totp/alice?secret=${secret}&issuer=x`;

test('TOTP codes are those of the RFC', () => {
  const eight = parseTotp(`${address}&digits=8`);
  assert.equal(totpCode(eight, Math.floor(59 / 30)), '94287082');
  assert.equal(totpCode(eight, Math.floor(1_111_111_109 / 30)), '07081804');
  assert.equal(totpCode(eight, Math.floor(20_000_000_000 / 30)), '65353130');
  assert.equal(totpCode(parseTotp(address), 1), '287082');
  for (const bad of ['x', 'otpauth://hotp/a?secret=GEZD', 'otpauth://totp/a', `${address}&digits=0`, `${address}&period=0`, `${address}&algorithm=MD5`, 'otpauth://totp/a?secret=!!']) {
    assert.throws(() => parseTotp(bad), (e: Error & { code?: string }) => e.code === 'access.totp' && !e.message.includes(secret), bad);
  }
});

async function withFactors(t: TestContext, factors: UserFactors): Promise<AccessUnderTest> {
  const access = await accessUnderTest(t, { golden: 'source', nowMs });
  await tfaFile(access.paths).update((content) => {
    content.users['alice@pbs'] = factors;
  });
  return access;
}

const first: LoginRequest = { username: 'alice@pbs', password: 'alice-pw-1' };

test('TOTP: a challenge, then a code that counts once', { skip: noYescrypt }, async (t) => {
  const access = await withFactors(t, { totp: [{ id: 'a', enable: true, entry: address }] });
  const challenge = await access.login.login(first);
  assert.deepEqual([challenge.isChallenge, challenge.csrfToken], [true, 'invalid']);
  assert.match(challenge.ticket, /^PBS:!tfa!{"totp"%3Atrue}:/);
  await assert.rejects(access.authenticator.authenticate({ method: 'GET', cookies: [`PBSAuthCookie=${challenge.ticket}`], authorization: undefined, csrfToken: undefined }), { status: 401 });
  assert.notEqual(await reasonOf(access, { username: 'alice@pbs', password: challenge.ticket }), '', 'a challenge is no ticket');

  const second = (code: string, ticket = challenge.ticket): LoginRequest => ({ username: 'alice@pbs', password: code, tfaChallenge: ticket });
  const code = totpCode(parseTotp(address), Math.floor(nowMs / 30_000));
  assert.equal(await reasonOf(access, second('totp:000000')), 'wrong second factor');
  assert.match(await reasonOf(access, second('webauthn:{}')), /not supported/);
  assert.match(await reasonOf(access, second(`totp:${code}`, challenge.ticket.replace('true', 'false'))), /bad signature/);
  const done = await access.login.login(second(`totp:${code}`));
  assert.equal(done.isChallenge, false);
  assert.equal(await reasonOf(access, second(`totp:${code}`)), 'wrong second factor', 'a code counts once');
  assert.equal((await access.login.login({ username: 'alice@pbs', password: done.ticket })).isChallenge, false, 'a renewal asks for no factor');
  assert.equal(await reasonOf(access, second(`totp:${code}`, done.ticket)), 'invalid ticket - bad signature', 'a ticket is no challenge');
  access.clock.ms += 601_000;
  assert.match(await reasonOf(access, second('totp:000000')), /expired/);
});

test('TOTP locks after eight failures until a recovery key is used', { skip: noYescrypt }, async (t) => {
  const typed = 'aaaa-bbbb-cccc-dddd';
  const entry = createHmac('sha256', '0123456789abcdef').update(typed).digest('hex');
  const access = await withFactors(t, { totp: [{ id: 'a', enable: true, entry: address }], recovery: { secret: '0123456789abcdef', entries: [null, entry, null] } });
  const challenge = await access.login.login(first);
  assert.match(challenge.ticket, /^PBS:!tfa!{"totp"%3Atrue,"recovery"%3A\[1\]}:/);
  const second = (password: string): LoginRequest => ({ username: 'alice@pbs', password, tfaChallenge: challenge.ticket });
  for (let i = 0; i < 8; i += 1) await reasonOf(access, second('totp:000000'));
  const code = totpCode(parseTotp(address), Math.floor(nowMs / 30_000));
  assert.equal(await reasonOf(access, second(`totp:${code}`)), 'wrong second factor');
  assert.equal((await access.login.login(second(`recovery:${typed}`))).isChallenge, false);
  assert.equal(await reasonOf(access, second(`recovery:${typed}`)), 'wrong second factor', 'a key counts once');
  assert.equal((await access.login.login(second(`totp:${code}`))).isChallenge, false);
});

test('a user whose only factor is not supported does not get in without', { skip: noYescrypt }, async (t) => {
  const access = await withFactors(t, { webauthn: [{ enable: true }] });
  const challenge = await access.login.login(first);
  assert.equal(challenge.isChallenge, true);
  assert.notEqual(await reasonOf(access, { ...first, password: 'alice-pw-1', tfaChallenge: challenge.ticket }), '');
  writeFileSync(tfaFile(access.paths).path, '{"users":{"alice@pbs":{"totp":"?"}}}');
  assert.match(await reasonOf(access, first), /tfa\.json/);
  writeFileSync(tfaFile(access.paths).path, '{"users":{"alice@pbs":{"totp":[{"id":"a","enable":false,"entry":"x"}]}}}');
  assert.equal((await access.login.login(first)).isChallenge, false);
});
