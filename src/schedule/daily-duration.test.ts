import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ConfigError } from '../base/errors.ts';
import { matchesDailyDuration, parseDailyDuration } from './daily-duration.ts';

interface Vector {
  frame: string;
  valid?: boolean;
  at?: number;
  match?: boolean;
}

test('recorded time frames of the reference', () => {
  const lines = readFileSync(new URL('../../test/fixtures/vectors/daily-duration.jsonl', import.meta.url), 'utf8').split('\n');
  const all = lines.filter((line) => line !== '').map((line) => JSON.parse(line) as Vector);
  assert.equal(all.length, 216);
  for (const vector of all) {
    if (vector.valid === false) assert.throws(() => parseDailyDuration(vector.frame), ConfigError, vector.frame);
    else assert.equal(matchesDailyDuration(parseDailyDuration(vector.frame), vector.at!, 'UTC'), vector.match, `${vector.frame} at ${vector.at}`);
  }
});

test('local time and local weekday count', () => {
  const frame = parseDailyDuration('mon 0-1');
  // Monday 00:30 in Tokyo is Sunday 15:30 UTC.
  const at = Date.parse('2026-11-22T15:30:00Z') / 1000;
  assert.equal(matchesDailyDuration(frame, at, 'Asia/Tokyo'), true);
  assert.equal(matchesDailyDuration(frame, at, 'UTC'), false);
});

test('blanks around the dash, ends that meet, ends that turn', () => {
  const nine = Date.parse('2026-11-24T09:00:00Z') / 1000;
  assert.equal(matchesDailyDuration(parseDailyDuration('tue  9 - 12'), nine, 'UTC'), true);
  assert.equal(matchesDailyDuration(parseDailyDuration('9-9'), nine, 'UTC'), false);
  assert.throws(() => parseDailyDuration('22-6'), { message: "unable to parse daily duration at '6' - end time before start time" });
});

test('garbage gives ConfigError only', () => {
  const piece = fc.constantFrom('mon', 'fri', '..', ',', '-', ':', ' ', '0', '9', '23', '24', '59', '60', 'x');
  fc.assert(
    fc.property(fc.oneof(fc.string(), fc.array(piece, { maxLength: 12 }).map((parts) => parts.join(''))), (text) => {
      try {
        const { start, end } = parseDailyDuration(text);
        assert.ok(start <= end && end < 24 * 60);
      } catch (e) {
        assert.ok(e instanceof ConfigError, String(e));
      }
    }),
    { numRuns: 2000 },
  );
});
