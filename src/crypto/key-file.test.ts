import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError } from '../base/errors.ts';
import { changePassphrase, createKeyFile, generateKey, loadKey, parseKeyFile, serializeKeyFile, type NewKeyOptions } from './key-file.ts';

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const times = { now: 1_700_000_000, offsetMinutes: 0 };
const passphrase = 'secret';
const known = { ...times, passphrase, salt: Buffer.alloc(32, 0x11), iv: Buffer.alloc(16, 0x22) };
const noPassphrase = (): string => assert.fail('no passphrase is needed');

const unprotected =
  '{"kdf":null,"created":"2023-11-14T22:13:20+00:00","modified":"2023-11-14T22:13:20+00:00","data":"AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=","fingerprint":"0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b"}';

test('the unprotected vector, byte for byte', async () => {
  assert.equal(serializeKeyFile(await createKeyFile(key, { kdf: 'none', ...times })), unprotected);
  assert.deepEqual(await loadKey(parseKeyFile(Buffer.from(unprotected)), noPassphrase), key);
});

test('the passphrase vectors', async () => {
  const pbkdf2 = await createKeyFile(key, { kdf: 'pbkdf2', ...known });
  assert.equal(pbkdf2.data.toString('base64'), 'IiIiIiIiIiIiIiIiIiIiIl6FHP4ka+x08nzTk5K8vBOp8zKmX0ZH3u5e/LOPQ7r837Vhr1vUENAVE1lrJDdsyw==');
  const scrypt = await createKeyFile(key, { kdf: 'scrypt', ...known });
  assert.equal(scrypt.data.toString('base64'), 'IiIiIiIiIiIiIiIiIiIiIhbZz5UDwmLwVYgZxp9BBE7Q09/vJk2ExiLhvlGIzpsjIXaW/+sODMN7CMd/Wu9hkw==');
  for (const file of [pbkdf2, scrypt]) {
    assert.deepEqual(await loadKey(parseKeyFile(Buffer.from(serializeKeyFile(file))), () => passphrase), key);
    await assert.rejects(loadKey(file, () => 'Secret'), { code: 'format.auth-tag' });
    await assert.rejects(loadKey(file, () => 'four'), { code: 'format.passphrase' });
  }
});

test('changing the passphrase keeps key, fingerprint and creation time', async () => {
  const old = await createKeyFile(key, { kdf: 'pbkdf2', ...known, hint: 'old hint' });
  const options: NewKeyOptions = { kdf: 'pbkdf2', passphrase: 'another', now: 1_700_000_060, offsetMinutes: 60, hint: 'new hint' };
  const changed = await changePassphrase(old, () => Promise.resolve(passphrase), options);
  assert.deepEqual([changed.created, changed.modified, changed.hint], ['2023-11-14T22:13:20+00:00', '2023-11-14T23:14:20+01:00', 'new hint']);
  assert.deepEqual(changed.fingerprint, old.fingerprint);
  assert.deepEqual(await loadKey(changed, () => 'another'), key);
  await assert.rejects(changePassphrase(old, () => 'wrong one', options), { code: 'format.auth-tag' });
  const open = await changePassphrase(changed, () => 'another', { kdf: 'none', now: 1_700_000_120 });
  assert.deepEqual(await loadKey(open, noPassphrase), key);
  assert.equal(open.hint, null);
});

test('rules for new keys', async () => {
  await assert.rejects(createKeyFile(key, { kdf: 'none', ...times, hint: 'x' }), { code: 'format.hint' });
  await assert.rejects(createKeyFile(key, { kdf: 'pbkdf2', ...known, hint: 'x'.repeat(65) }), { code: 'format.hint' });
  await assert.rejects(createKeyFile(key, { kdf: 'pbkdf2', ...times }), { code: 'format.passphrase' });
  assert.equal(generateKey().length, 32);
  assert.notDeepEqual(generateKey(), generateKey());
});

test('a stored fingerprint of another key is noticed, a missing one is accepted', async () => {
  const lying = unprotected.replace('0e:ab', '0e:ac');
  await assert.rejects(loadKey(parseKeyFile(Buffer.from(lying)), noPassphrase), { code: 'format.wrong-key' });
  const old = unprotected.replace(/,"fingerprint":"[^"]*"/, '');
  assert.equal(serializeKeyFile(parseKeyFile(Buffer.from(old))), old);
  assert.deepEqual(await loadKey(parseKeyFile(Buffer.from(old)), noPassphrase), key);
});

test('what is not a key file, or asks for endless work, is refused', async () => {
  const scrypt = serializeKeyFile(await createKeyFile(key, { kdf: 'scrypt', ...known }));
  const pbkdf2 = serializeKeyFile(await createKeyFile(key, { kdf: 'pbkdf2', ...known }));
  const bad = [
    '',
    '[]',
    '{}',
    unprotected.replace('null', '"None"'),
    unprotected.replace('null', '{}'),
    unprotected.replace('AAEC', 'AAE'),
    unprotected.replace('AAEC', '!AEC'),
    unprotected.replace('AAEC', ''),
    unprotected.replace('2023-11-14T22:13:20+00:00', 'yesterday'),
    unprotected.replace('"0e:ab', '"zz:ab'),
    unprotected.replace('}', ',"hint":5}'),
    scrypt.replace('"n":65536', '"n":65537'),
    scrypt.replace('"n":65536', '"n":1'),
    scrypt.replace('"n":65536', '"n":1099511627776'),
    scrypt.replace('"r":8', '"r":1048576'),
    scrypt.replace('"p":1', '"p":1000'),
    scrypt.replace('"p":1', '"p":0'),
    scrypt.replace('Scrypt', 'Argon2'),
    pbkdf2.replace('65535', '1000000000'),
    pbkdf2.replace('65535', '-1'),
    `${unprotected.slice(0, -1)},"x":"${'x'.repeat(70_000)}"}`,
  ];
  for (const text of bad) assert.throws(() => parseKeyFile(Buffer.from(text)), FormatError, text.slice(0, 300));
});
