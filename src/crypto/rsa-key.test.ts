import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { goldenFile, goldenKey, goldenPassphrase, readFixture } from '../../test/support/golden.ts';
import { CryptConfig } from './crypt-config.ts';
import { generateKey } from './key-file.ts';
import { createMasterKey, decryptKeyWithMaster, encryptKeyForMaster } from './rsa-key.ts';

const publicPem = readFixture('keys/master-public.pem').toString();
const privatePem = readFixture('keys/master-private.pem').toString();
const times = { created: '2023-11-14T22:13:20+00:00', now: 1_700_000_060, offsetMinutes: 0 };

test('a key for the golden master key comes back', async () => {
  const key = generateKey();
  const encrypted = await encryptKeyForMaster(publicPem, key, times);
  assert.equal(encrypted.length, 512);
  const { key: found, file } = await decryptKeyWithMaster(privatePem, goldenPassphrase, encrypted);
  assert.deepEqual(found, key);
  assert.deepEqual([file.kdf, file.created, file.modified, file.hint], [null, times.created, '2023-11-14T22:14:20+00:00', null]);
  assert.deepEqual(file.fingerprint, new CryptConfig(key).fingerprint);
  assert.notDeepEqual(await encryptKeyForMaster(publicPem, key, times), encrypted);
});

test('another master key, damage, a wrong passphrase or length: refused, and never with a key in hand', async () => {
  const encrypted = await encryptKeyForMaster(publicPem, generateKey(), times);
  const other = await createMasterKey('other-passphrase');
  assert.match(other.privatePem, /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
  assert.match(other.publicPem, /^-----BEGIN PUBLIC KEY-----\n/);
  const refused = { code: 'format.master-key' };
  await assert.rejects(decryptKeyWithMaster(other.privatePem, 'other-passphrase', encrypted), refused);
  await assert.rejects(decryptKeyWithMaster(privatePem, 'wrong-passphrase', encrypted), refused);
  await assert.rejects(decryptKeyWithMaster(privatePem, undefined, encrypted), refused);
  await assert.rejects(decryptKeyWithMaster('no pem', undefined, encrypted), refused);
  await assert.rejects(decryptKeyWithMaster(privatePem, goldenPassphrase, encrypted.subarray(1)), refused);
  for (const at of [0, 100, 511]) {
    const damaged = Buffer.from(encrypted);
    damaged[at]! ^= 1;
    await assert.rejects(decryptKeyWithMaster(privatePem, goldenPassphrase, damaged), refused);
  }
  await assert.rejects(decryptKeyWithMaster(privatePem, goldenPassphrase, randomBytes(512)), refused);
});

test('keys that cannot serve as master key', async () => {
  const small = generateKeyPairSync('rsa', { modulusLength: 2048 }).publicKey.export({ type: 'spki', format: 'pem' });
  await assert.rejects(encryptKeyForMaster(small, generateKey(), times), /too small/);
  const curve = generateKeyPairSync('ed25519').publicKey.export({ type: 'spki', format: 'pem' });
  await assert.rejects(encryptKeyForMaster(curve, generateKey(), times), { code: 'format.master-key' });
  await assert.rejects(encryptKeyForMaster('no pem', generateKey(), times), { code: 'format.master-key' });
});

test('the RSA blob that the reference made holds the key of its backup', async () => {
  const blob = goldenFile('host/crypt/2025-10-09T08:56:40Z/rsa-encrypted.key.blob');
  assert.equal(blob.length, 524);
  const { key, file } = await decryptKeyWithMaster(privatePem, goldenPassphrase, blob.subarray(12));
  const expected = await goldenKey('kdf-scrypt');
  assert.ok(new CryptConfig(key).sameKey(expected));
  assert.deepEqual([file.kdf, file.hint, file.fingerprint], [null, null, expected.fingerprint]);
});
