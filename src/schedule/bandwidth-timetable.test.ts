import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ConfigError } from '../base/errors.ts';
import { bandwidthAt, parseBandwidthTimetable } from './bandwidth-timetable.ts';

/** 2026-11-25 is a Wednesday. */
function at(text: string, day: string, timeZone = 'UTC'): number | null {
  return bandwidthAt(parseBandwidthTimetable(text), Date.parse(`${day}Z`) / 1000, timeZone);
}

const mib = 1024 * 1024;

test('the first entry that holds counts, `else` at all other times, 0 is unlimited', () => {
  const office = 'mon..fri 8-18=5MiB, else unlimited';
  assert.equal(at(office, '2026-11-25T08:00:00'), 5 * mib);
  assert.equal(at(office, '2026-11-25T17:59:59'), 5 * mib);
  assert.equal(at(office, '2026-11-25T18:00:00'), 0);
  assert.equal(at(office, '2026-11-28T12:00:00'), 0);
  assert.equal(at(office, '2026-11-25T18:00:00', 'America/New_York'), 5 * mib);
  const several = 'wed 12-13=1KB, mon..fri 8-18=5MiB,sat,sun=50 MB , 22:30-24:00=unlimited';
  assert.equal(at(several, '2026-11-25T12:30:00'), 1000);
  assert.equal(at(several, '2026-11-26T12:30:00'), 5 * mib);
  assert.equal(at(several, '2026-11-28T00:00:00'), 50_000_000);
  assert.equal(at(several, '2026-11-29T23:59:59'), 50_000_000);
  assert.equal(at(several, '2026-11-26T23:59:59'), 0);
  assert.equal(at(several, '2026-11-26T22:29:59'), null);
  assert.equal(at('else 3', '2026-11-26T22:29:59'), 3);
});

test('what is not understood is refused with where and why', () => {
  const refusal = (text: string): string => {
    try {
      parseBandwidthTimetable(text);
    } catch (e) {
      assert.ok(e instanceof ConfigError);
      return e.message;
    }
    return 'taken';
  };
  for (const text of ['', ',', '8-18', '8-18=', '=5MiB', '8-18=5MiB,', 'else', 'else unlimited, 8-18=5MiB', '8-18=fast', '8-18=0', '8-18=-1', '8-18=1=2', '22-6=1MiB', 'foo=1MiB', '8-18=1MiB else 2MiB', '1'.repeat(2000)]) {
    assert.match(refusal(text), /^unable to parse bandwidth timetable at /, text);
  }
  assert.match(refusal('22-6=1MiB'), /end time before start time/);
});

test('any text is a timetable or a ConfigError, and a timetable answers at any time', () => {
  const piece = fc.oneof(fc.constantFrom('mon', '..', 'fri', 'sat', ',', ' ', '8', '-', '18', ':30', '24', '=', '5MiB', 'unlimited', 'else', '0'), fc.string({ maxLength: 3 }));
  fc.assert(fc.property(fc.array(piece, { maxLength: 20 }), fc.integer({ min: 0, max: 4_000_000_000 }), (pieces, seconds) => {
    let rate: number | null;
    try {
      rate = bandwidthAt(parseBandwidthTimetable(pieces.join('')), seconds, 'Europe/Vienna');
    } catch (e) {
      assert.ok(e instanceof ConfigError && e.code === 'config.bandwidth');
      return;
    }
    assert.ok(rate === null || rate >= 0);
  }), { numRuns: 2000 });
});
