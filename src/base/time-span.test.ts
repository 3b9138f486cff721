import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ConfigError } from './errors.ts';
import { formatTimeSpan, parseTimeSpan } from './time-span.ts';

interface Vector {
  span: string;
  seconds?: number;
  shown?: string;
  valid?: boolean;
}

const vectors = readFileSync(new URL('../../test/fixtures/vectors/timespan.jsonl', import.meta.url), 'utf8')
  .split('\n')
  .filter((line) => line !== '')
  .map((line) => JSON.parse(line) as Vector);

test('recorded spans are read and shown as the reference does', () => {
  assert.equal(vectors.length, 28);
  for (const vector of vectors) {
    if (vector.valid === false) {
      assert.throws(() => parseTimeSpan(vector.span), ConfigError, vector.span);
      continue;
    }
    const seconds = parseTimeSpan(vector.span);
    assert.ok(Math.abs(seconds - vector.seconds!) <= 1e-12 * Math.max(1, vector.seconds!), `${vector.span}: ${seconds}`);
    assert.equal(formatTimeSpan(seconds), vector.shown, vector.span);
  }
});

test('all parts in order', () => {
  const seconds = parseTimeSpan('1y2M 3w 4d5h 6m 7s 500ms');
  assert.equal(formatTimeSpan(seconds), '1y 2M 3w 4d 5h 6m 7.5s');
  assert.equal(formatTimeSpan(0), '0s');
});

test('errors say where', () => {
  assert.throws(() => parseTimeSpan('1h 5fortnights'), /at '5fortnights' - unknown unit 'fortnights'/);
  assert.throws(() => parseTimeSpan('1h -5m'), /at '-5m' - a whole number is missing/);
});

test('what is shown in whole seconds is read back to the same', () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000_000 }), (seconds) => {
      assert.equal(parseTimeSpan(formatTimeSpan(seconds)), seconds);
    }),
  );
});

test('garbage gives ConfigError only', () => {
  const piece = fc.constantFrom('1', '99999999999999999', 'h', 'min', 'µs', ' ', '\t', '-', '.', 'M', 'zz', '\u0000', '١');
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.array(piece, { maxLength: 200 }).map((parts) => parts.join(''))), (text) => {
      try {
        const seconds = parseTimeSpan(text);
        assert.ok(Number.isFinite(seconds) && seconds >= 0);
      } catch (e) {
        assert.ok(e instanceof ConfigError, String(e));
      }
    }),
  );
});
