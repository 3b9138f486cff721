import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFixture } from '../../test/support/golden.ts';
import { FormatError } from '../base/errors.ts';
import { paperKey } from './paper-key.ts';

const read = (name: string): string => readFixture(`keys/${name}`).toString();
const subject = 'my key';
const isQrLine = (line: string): boolean => /[█▀▄]/.test(line);
const withoutQr = (text: string): string => text.split('\n').filter((line) => !isQrLine(line)).join('\n');

test('the golden text, QR code included', () => {
  assert.equal(paperKey(readFixture('keys/kdf-none.key'), { format: 'text' }), read('kdf-none.paperkey.txt'));
});

test('text of a protected key and of a master key: all but the QR pattern, and that of the same size', () => {
  const ours = paperKey(readFixture('keys/kdf-scrypt.key'), { format: 'text', subject });
  const golden = read('kdf-scrypt.paperkey.txt');
  assert.equal(withoutQr(ours), withoutQr(golden));
  const size = (text: string): number[] => text.split('\n').filter(isQrLine).map((line) => line.length);
  assert.deepEqual(size(ours), size(golden));
  assert.equal(withoutQr(paperKey(readFixture('keys/master-private.pem'), { format: 'text', subject })), read('master-private.paperkey.txt'));
});

test('html equals the golden pages up to the images', () => {
  for (const [file, page] of [['kdf-none.key', 'kdf-none'], ['kdf-scrypt.key', 'kdf-scrypt'], ['master-private.pem', 'master-private']] as const) {
    const ours = paperKey(readFixture(`keys/${file}`), { format: 'html', subject });
    const images = [...ours.matchAll(/base64,([A-Za-z0-9+/]*)"/g)].map((match) => Buffer.from(match[1]!, 'base64').toString());
    assert.ok(images.length >= 1);
    for (const image of images) assert.match(image, /^<svg [^]*<\/svg>\n$/);
    assert.equal(ours.replaceAll(/base64,[^"]*"/g, 'base64,QR"'), read(`${page}.paperkey.html`));
  }
});

test('markup in a subject stays text', () => {
  assert.ok(paperKey(readFixture('keys/kdf-none.key'), { format: 'html', subject: '<b>&' }).includes('<p>Subject: &lt;b&gt;&amp;</p>'));
});

test('what is no key is refused', () => {
  const pem = read('master-private.pem');
  for (const text of ['', '{}', pem.replace('END ENCRYPTED', 'END RSA'), pem.split('\n').slice(0, 30).join('\n'), '-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\n', read('master-public.pem'), 'x'.repeat(100_000)]) {
    assert.throws(() => paperKey(Buffer.from(text), { format: 'text' }), FormatError);
  }
});
