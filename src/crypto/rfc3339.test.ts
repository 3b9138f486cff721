import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { formatRfc3339, parseRfc3339 } from './rfc3339.ts';

test('times with offset', () => {
  for (const text of ['2023-11-14T22:13:20Z', '2023-11-14T22:13:20+00:00', '2023-11-14T23:13:20+01:00', '2023-11-14T16:43:20-05:30']) assert.equal(parseRfc3339(text), 1_700_000_000, text);
  assert.equal(formatRfc3339(1_700_000_000, 0), '2023-11-14T22:13:20+00:00');
  assert.equal(formatRfc3339(1_700_000_000, 60), '2023-11-14T23:13:20+01:00');
  assert.equal(formatRfc3339(1_700_000_000, -330), '2023-11-14T16:43:20-05:30');
  fc.assert(fc.property(fc.integer({ min: 0, max: 4e9 }), fc.integer({ min: -1439, max: 1439 }), (time, offset) => assert.equal(parseRfc3339(formatRfc3339(time, offset)), time)));
});

test('what is no time is refused', () => {
  for (const text of ['', '2023-11-14', '2023-11-14T22:13:20', '2023-02-30T00:00:00Z', '2023-11-14T25:00:00Z', '2023-11-14T22:13:20+24:00', '2023-11-14T22:13:20+01:60', '2023-11-14T22:13:20.5Z']) {
    assert.throws(() => parseRfc3339(text), FormatError, text);
  }
});
