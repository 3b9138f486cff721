import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readFixture } from '../../test/support/golden.ts';
import { FormatError } from '../base/errors.ts';
import { formatHumanByte, normalizeHumanByte, parseHumanByte } from './human-byte.ts';

interface Vector {
  text: string;
  bytes?: number;
  shown?: string;
  valid?: false;
}

test('every golden vector', () => {
  const vectors = readFixture('vectors/human-byte.jsonl').toString().trim().split('\n').map((line) => JSON.parse(line) as Vector);
  assert.ok(vectors.length > 20);
  for (const { text, bytes, shown, valid } of vectors) {
    if (valid === false) {
      assert.throws(() => parseHumanByte(text), FormatError, text);
      assert.throws(() => normalizeHumanByte(text), FormatError, text);
    } else {
      assert.equal(parseHumanByte(text), bytes, text);
      assert.equal(normalizeHumanByte(text), shown, text);
    }
  }
});

test('limits', () => {
  assert.throws(() => parseHumanByte('-1'), /byte size may not be negative/);
  assert.throws(() => parseHumanByte(`${'1'.repeat(63)}KB`), FormatError);
  assert.throws(() => parseHumanByte('1e999'), FormatError);
  assert.equal(parseHumanByte('1e30 PiB'), 2 ** 64);
  assert.throws(() => parseHumanByte('0x10'), FormatError);
});

test('plain counts get a binary unit', () => {
  assert.equal(formatHumanByte(1_572_864), '1.5 MiB');
});
