import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { decodeSigned, decodeUnsigned, encodeSigned, encodeUnsigned } from './varint.ts';

const vectors: Array<[number, string, string]> = [
  [0, '00', '00'],
  [1, '01', '01'],
  [127, '7f', '7f'],
  [128, '8001', '8001'],
  [300, 'ac02', 'ac02'],
  [1_700_000_000, '80e2cfaa06', '80e2cfaa06'],
];
const negative: Array<[number, string]> = [
  [-1, '8100'],
  [-127, 'ff00'],
  [-128, '808100'],
  [-300, 'ac8200'],
];

test('known values', () => {
  for (const [value, unsigned, signed] of vectors) {
    assert.equal(encodeUnsigned(value).toString('hex'), unsigned);
    assert.equal(encodeSigned(value).toString('hex'), signed);
  }
  for (const [value, signed] of negative) {
    assert.equal(encodeSigned(value).toString('hex'), signed);
    assert.equal(decodeSigned({ bytes: Buffer.from(signed, 'hex'), offset: 0 }), value);
  }
});

test('every safe integer survives, and the reader ends behind it', () => {
  fc.assert(
    fc.property(fc.maxSafeInteger(), (value) => {
      const signed = { bytes: Buffer.concat([encodeSigned(value), Buffer.from([1])]), offset: 0 };
      assert.equal(decodeSigned(signed), value);
      assert.equal(signed.offset, signed.bytes.length - 1);
      const unsigned = { bytes: encodeUnsigned(Math.abs(value)), offset: 0 };
      assert.equal(decodeUnsigned(unsigned), Math.abs(value));
      assert.equal(unsigned.offset, unsigned.bytes.length);
    }),
  );
});

test('truncated, endless and too large numbers are refused', () => {
  for (const hex of ['', '80', 'ffff', '8080808080808080808001', 'ffffffffffffffffff01']) {
    assert.throws(() => decodeUnsigned({ bytes: Buffer.from(hex, 'hex'), offset: 0 }), FormatError, hex);
  }
  for (const hex of ['', '80', `${'80'.repeat(11)}00`, `${'80'.repeat(9)}8100`]) {
    assert.throws(() => decodeSigned({ bytes: Buffer.from(hex, 'hex'), offset: 0 }), FormatError, hex);
  }
});
