import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError } from '../base/errors.ts';
import { hashPassword, verifyPassword } from './crypt.ts';
import { sha256Crypt, sha256Salt } from './sha256-crypt.ts';

/** From the algorithm's published description ("Unix crypt using SHA-256 and SHA-512"): setting, password, hash. */
const vectors: Array<[string, string, string]> = [
  ['$5$saltstring', 'Hello world!', '$5$saltstring$5B8vYYiY.CVt1RlTTf8KbXBH3hsxY/GNooZaBBGWEc5'],
  ['$5$rounds=10000$saltstringsaltstring', 'Hello world!', '$5$rounds=10000$saltstringsaltst$3xv.VbSHBb41AL9AvLeujZkZRBAwqFMz2.opqey6IcA'],
  ['$5$rounds=5000$toolongsaltstring', 'This is just a test', '$5$rounds=5000$toolongsaltstrin$Un/5jzAHMgOGZ5.mWJpuVolil07guHPvOW8mGRcvxa5'],
];

test('SHA-256-crypt gives the published hashes', () => {
  for (const [setting, password, hash] of vectors) assert.equal(sha256Crypt(password, setting), hash);
});

test('SHA-256-crypt agrees with libcrypt for passwords and salts of many lengths', async () => {
  const { dlopen, toString } = await import('node:ffi');
  const { functions } = dlopen('libcrypt.so.1', { crypt: { arguments: ['pointer', 'pointer'], return: 'pointer' } });
  for (let length = 0; length < 140; length += 7) {
    const password = 'pä'.repeat(length).slice(0, length);
    const setting = `$5$rounds=1000$${'ab'.repeat(9).slice(0, length % 17)}`;
    const expected = toString(functions.crypt(Buffer.from(`${password}\0`), Buffer.from(`${setting}$\0`)));
    assert.equal(sha256Crypt(password, setting), expected);
  }
});

test('a new hash is met by its password only', async () => {
  const hash = await hashPassword('correct horse');
  assert.match(hash, /^\$y\$j9T\$/);
  assert.equal(await verifyPassword('correct horse', hash), true);
  assert.equal(await verifyPassword('correct horsf', hash), false);
  assert.notEqual(await hashPassword('correct horse'), hash);
});

test('the fallback makes hashes that verify', async () => {
  const hash = sha256Crypt('pw', sha256Salt(Buffer.alloc(16, 200)));
  assert.match(hash, /^\$5\$[./0-9A-Za-z]{16}\$[./0-9A-Za-z]{43}$/);
  assert.equal(await verifyPassword('pw', hash), true);
  assert.equal(await verifyPassword('pw2', hash), false);
});

test('locked, empty and unknown hashes are never met', async () => {
  for (const hash of ['', '!', '*', 'x']) assert.equal(await verifyPassword('', hash), false);
  await assert.rejects(verifyPassword('a', '$9$zz$zz'), FormatError);
  await assert.rejects(verifyPassword('a', '$5$rounds=999999999$salt$AAAA'), FormatError);
  assert.equal(await verifyPassword('a\0b', await hashPassword('a')), false);
});
