import assert from 'node:assert/strict';
import { createPrivateKey, generateKeyPairSync } from 'node:crypto';
import { readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configFixtures, temporaryInstallation } from '../../test/support/installation.ts';
import { csrfKeyFrom, makeCsrfToken, verifyCsrfToken } from './csrf.ts';
import { loadServerKeys } from './server-keys.ts';
import { signTicket, ticketSigningKey, ticketVerifyKey, verifyTicket } from './ticket.ts';

// Spec rest-api 12.
const exampleKey = '-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIJQKbPAozKnGGQz+7l58os8aqHYpDiZAOiHBJGV+lbAs\n-----END PRIVATE KEY-----\n';
const exampleCsrf = csrfKeyFrom(Buffer.from('sesTFIe5PjgJsld8jwQ+SsQKBWUQhckUBmXgsDZUlLOv5sM/yDRkM5Q4bX6QRIyIgGbUdeV/+bVyBIvztsovaw'));
const exampleNow = 1_795_485_533_000;
const ticket = 'PBS:admin@pbs:6B04EF5D::ubGSPxLAf0GJcRjIhvUtPU5IBpslTnzl5Gllih/FkyrGK8G4i6R1hvUzLsulcHEkgXelrQIaHR3sMy4Xrjf/AA';
const challenge =
  'PBS:!tfa!{"totp"%3Atrue,"recovery"%3A[0,1,2]}:6B04EF5D::IzHm2PHbyXa70TRpG9rxerJIWMAessnq8CyFX+WyCrwKd2OudftcxWf99KxYEKlbz37Trz76XstxwSZafg1qDw';
const csrf = '6B04EF5D:VpJCLX7XHEt1k/Cs3s6E1F33wLdi52t5mDWWPlYfig4';

/** Base64 of the SHA-256 of `6B04EF5D:admin@pbs:legacy-key-legacy`, computed elsewhere. */
const legacyDigest = 'lFHzINgkJlsFoQXWodukeG4fzLqQHHd4T4ULJFNoOKM';

const window = { minAge: -300, maxAge: 7200 };

test('tickets and CSRF tokens are those of the worked examples', () => {
  const key = ticketSigningKey(exampleKey);
  assert.equal(signTicket(key, 'admin@pbs', exampleNow), ticket);
  assert.equal(signTicket(key, '!tfa!{"totp":true,"recovery":[0,1,2]}', exampleNow, 'admin@pbs'), challenge);
  assert.equal(makeCsrfToken(exampleCsrf, 'admin@pbs', exampleNow), csrf);
  assert.equal(exampleCsrf.length, 64);
});

test('a recorded ticket is verified with the recorded key, at its time only', () => {
  const verifyKey = ticketVerifyKey(readFileSync(join(configFixtures, 'source', 'authkey.pub'), 'utf8'));
  const csrfKey = csrfKeyFrom(readFileSync(join(configFixtures, 'source', 'csrf.key')));
  const logins = readFileSync(join(configFixtures, 'logins.jsonl'), 'utf8').split('\n').filter((line) => line.includes('"reply"'));
  assert.equal(logins.length, 2);
  for (const line of logins) {
    const { reply } = JSON.parse(line) as { reply: { ticket: string; username: string; CSRFPreventionToken: string } };
    const time = Number.parseInt(reply.ticket.split(':')[2]!, 16);
    const at = (age: number): { nowMs: number; minAge: number; maxAge: number } => ({ nowMs: (time + age) * 1000, ...window });
    for (const age of [-300, 0, 7200]) {
      assert.deepEqual(verifyTicket(verifyKey, reply.ticket, at(age)), { data: reply.username, time });
      assert.equal(verifyCsrfToken(csrfKey, reply.username, reply.CSRFPreventionToken, at(age).nowMs), null);
    }
    for (const age of [-301, 7201]) {
      assert.ok('problem' in verifyTicket(verifyKey, reply.ticket, at(age)));
      assert.notEqual(verifyCsrfToken(csrfKey, reply.username, reply.CSRFPreventionToken, at(age).nowMs), null);
    }
    assert.notEqual(verifyCsrfToken(csrfKey, 'other@pbs', reply.CSRFPreventionToken, at(0).nowMs), null, 'bound to the user');
  }
});

test('a ticket with anything changed is refused', () => {
  const key = ticketVerifyKey(exampleKey);
  const check = { nowMs: exampleNow, ...window };
  assert.ok('data' in verifyTicket(key, ticket, check));
  assert.ok('data' in verifyTicket(key, `${ticket}==`, check), 'padding is accepted');
  const bad = [
    ticket.replace('admin', 'root'), ticket.replace('6B04EF5D', '6B04EF5E'), ticket.replace('PBS', 'PVE'), ticket.replace('::', ':'), ticket.slice(0, -4), `${ticket}:`, '', 'PBS:::',
    `PBS:admin@pbs:6B04EF5D::${'A'.repeat(86)}`, `PBS:${'a'.repeat(10_000)}:6B04EF5D::AAAA`,
  ];
  for (const one of bad) assert.ok('problem' in verifyTicket(key, one, check), one.slice(0, 100));
  assert.ok('problem' in verifyTicket(key, challenge, check), 'a challenge needs its user');
  assert.ok('problem' in verifyTicket(key, challenge, { ...check, additional: 'alice@pbs' }));
  assert.ok('data' in verifyTicket(key, challenge, { ...check, additional: 'admin@pbs' }));
});

test('RSA keys sign and verify, data is encoded', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const pem = privateKey.export({ type: 'pkcs1', format: 'pem' });
  const signed = signTicket(ticketSigningKey(pem), 'ü:a%\u0001@pam', exampleNow);
  assert.match(signed, /^PBS:%C3%BC%3Aa%%01@pam:6B04EF5D::/);
  const plain = signTicket(ticketSigningKey(pem), 'jürg@pam', exampleNow);
  assert.deepEqual(verifyTicket(ticketVerifyKey(pem), plain, { nowMs: exampleNow, ...window }), { data: 'jürg@pam', time: exampleNow / 1000 });
  const { privateKey: ec } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  assert.throws(() => ticketSigningKey(ec.export({ type: 'pkcs8', format: 'pem' })), /cannot sign tickets/);
});

test('the older CSRF digest and key file are accepted', () => {
  const key = Buffer.from('-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\n');
  assert.deepEqual(csrfKeyFrom(key), key);
  assert.equal(verifyCsrfToken(Buffer.from('legacy-key-legacy'), 'admin@pbs', '6B04EF5D:LEGACY', exampleNow), 'invalid CSRF prevention token - malformed');
  assert.equal(verifyCsrfToken(Buffer.from('legacy-key-legacy'), 'admin@pbs', `6B04EF5D:${legacyDigest}`, exampleNow), null);
  assert.notEqual(verifyCsrfToken(Buffer.from('legacy-key-other'), 'admin@pbs', `6B04EF5D:${legacyDigest}`, exampleNow), null);
});

test('keys are made once, with their modes, and kept', async (t) => {
  const paths = await temporaryInstallation(t);
  const [first, second] = await Promise.all([loadServerKeys(paths), loadServerKeys(paths)]);
  const signed = signTicket(first.ticketSigningKey, 'a@pbs', exampleNow);
  assert.ok('data' in verifyTicket(second.ticketVerifyKey, signed, { nowMs: exampleNow, ...window }));
  assert.deepEqual(first.csrfKey, second.csrfKey);
  assert.equal(first.csrfKey.length, 64);
  const mode = (name: string): number => statSync(join(paths.config, name)).mode & 0o777;
  assert.deepEqual([mode('authkey.key'), mode('authkey.pub'), mode('csrf.key')], [0o600, 0o640, 0o600]);
  assert.match(readFileSync(join(paths.config, 'csrf.key'), 'latin1'), /^[A-Za-z0-9+/]{86}$/);
  assert.equal(createPrivateKey(readFileSync(join(paths.config, 'authkey.key'))).asymmetricKeyType, 'ed25519');

  rmSync(join(paths.config, 'authkey.pub'));
  const third = await loadServerKeys(paths);
  assert.ok('data' in verifyTicket(third.ticketVerifyKey, signed, { nowMs: exampleNow, ...window }), 'the public key is made again from the private one');
});

test('golden keys are taken over; keys that do not fit are refused without their text', async (t) => {
  const paths = await temporaryInstallation(t, 'source');
  const keys = await loadServerKeys(paths);
  assert.equal(keys.ticketVerifyKey.asymmetricKeyType, 'ed25519');
  const path = (name: string): string => join(paths.config, name);
  const original = readFileSync(path('authkey.pub'), 'utf8');
  writeFileSync(path('authkey.pub'), readFileSync(join(configFixtures, 'target', 'authkey.pub')));
  await assert.rejects(loadServerKeys(paths), { code: 'config.key', message: /does not belong to/ });
  writeFileSync(path('authkey.pub'), original);
  writeFileSync(path('authkey.key'), 'SECRET nonsense');
  await assert.rejects(loadServerKeys(paths), (e: Error & { code?: string }) => e.code === 'config.key' && !e.message.includes('SECRET'));
});
