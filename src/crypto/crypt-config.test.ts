import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { inspect } from 'node:util';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { CryptConfig, formatFingerprint, parseFingerprint, seal, shortFingerprint, unseal } from './crypt-config.ts';

const key = Buffer.from(Array.from({ length: 32 }, (_, i) => i));
const crypt = new CryptConfig(key);
const full = '0e:ab:d4:46:0b:6e:b9:ca:34:50:23:de:e2:b7:78:c7:90:e5:4a:16:83:b9:65:9c:0a:57:ae:19:90:90:15:9b';

test('vectors for the counted key', () => {
  assert.equal(formatFingerprint(crypt.fingerprint), full);
  assert.equal(shortFingerprint(crypt.fingerprint), '0e:ab:d4:46:0b:6e:b9:ca');
  assert.equal(crypt.digest(Buffer.from('hello world')).toString('hex'), '29d6770e718a93cf4a7663ddc167cf40c128b67cc20d36bd49adec140981f9d5');
  assert.equal(crypt.digest(Buffer.alloc(4 * 1024 * 1024)).toString('hex'), '348571e12bbbedb529def1f1394316e338a01945d871df9ef792617ceb13d636');
});

test('the IV has all of its 16 bytes in use', () => {
  const iv = Buffer.alloc(16, 7);
  const sealed = crypt.encrypt(Buffer.from('hello world'), iv);
  const other = Buffer.from(iv);
  other[15] = 8;
  assert.notDeepEqual(crypt.encrypt(Buffer.from('hello world'), other).ciphertext, sealed.ciphertext);
  assert.throws(() => crypt.decrypt(other, sealed.tag, sealed.ciphertext), FormatError);
});

test('what is sealed opens, with the same key and nothing changed', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 200 }), (data) => {
      const { iv, tag, ciphertext } = crypt.encrypt(data);
      assert.equal(ciphertext.length, data.length);
      assert.deepEqual(new Uint8Array(crypt.decrypt(iv, tag, ciphertext)), data);
      assert.throws(() => new CryptConfig(randomBytes(32)).decrypt(iv, tag, ciphertext), { code: 'format.auth-tag' });
      for (const part of [iv, tag, ciphertext].filter((bytes) => bytes.length > 0)) {
        part[0]! ^= 1;
        assert.throws(() => crypt.decrypt(iv, tag, ciphertext), { code: 'format.auth-tag' });
        part[0]! ^= 1;
      }
    }),
    { numRuns: 50 },
  );
});

test('an IV is never used twice', () => {
  assert.notDeepEqual(seal(key, Buffer.alloc(1)).iv, seal(key, Buffer.alloc(1)).iv);
  const { iv, tag, ciphertext } = seal(key, Buffer.alloc(9));
  assert.deepEqual(unseal(key, iv, tag, ciphertext), Buffer.alloc(9));
});

test('fingerprint text', () => {
  assert.deepEqual(parseFingerprint(full), crypt.fingerprint);
  assert.deepEqual(parseFingerprint(full.replaceAll(':', '').toUpperCase()), crypt.fingerprint);
  for (const text of ['', full.slice(3), `${full}:00`, full.replace('0e', '0g')]) assert.throws(() => parseFingerprint(text), FormatError);
});

test('no key in printed or serialised form', () => {
  const secrets = [key.toString('hex'), '7c2c013efd07f3b2'];
  const shown = inspect(crypt, { depth: 9, showHidden: true }) + JSON.stringify({ crypt });
  for (const secret of secrets) assert.ok(!shown.replaceAll(/[ :]/g, '').includes(secret.slice(0, 12)));
  assert.ok(crypt.sameKey(new CryptConfig(key)) && !crypt.sameKey(new CryptConfig(randomBytes(32))));
});
