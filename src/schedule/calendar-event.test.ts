import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ConfigError } from '../base/errors.ts';
import { nextEvent, nextEventAfter, parseCalendarEvent } from './calendar-event.ts';
import { toLocalTime } from './local-time.ts';

interface Vector {
  event: string;
  valid: boolean;
  after?: number;
  next?: Array<number | null>;
}

function vectors(name: string): Vector[] {
  const text = readFileSync(new URL(`../../test/fixtures/vectors/${name}.jsonl`, import.meta.url), 'utf8');
  return text
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Vector);
}

for (const [name, zone] of [
  ['calendar-utc', 'UTC'],
  ['calendar-europe-berlin', 'Europe/Berlin'],
] as const) {
  test(`recorded events of the reference, ${zone}`, () => {
    const all = vectors(name);
    assert.equal(all.length, 344);
    for (const vector of all) {
      if (!vector.valid) {
        assert.throws(() => parseCalendarEvent(vector.event), ConfigError, vector.event);
        continue;
      }
      const event = parseCalendarEvent(vector.event);
      let after: number | null = vector.after!;
      const found: Array<number | null> = [];
      for (let i = 0; i < vector.next!.length; i += 1) {
        after = after === null ? null : nextEvent(event, after, zone);
        found.push(after);
      }
      assert.deepEqual(found, vector.next, `${vector.event} after ${vector.after}`);
    }
  });
}

/** Seconds of a time in UTC. */
function utc(text: string): number {
  return Date.parse(`${text}Z`) / 1000;
}

function nextIn(zone: string, event: string, after: string): string | null {
  const at = nextEventAfter(parseCalendarEvent(event), utc(after), zone);
  return at === null ? null : new Date(at * 1000).toISOString().slice(0, 19);
}

test('a local time that does not exist is left out, or fires after the gap where the event allows that hour', () => {
  // Berlin, 29 March 2026: 02:00 becomes 03:00 at 01:00 UTC.
  assert.equal(nextIn('Europe/Berlin', '02:30', '2026-03-28T12:00:00'), '2026-03-30T00:30:00');
  assert.equal(nextIn('Europe/Berlin', '2..3:15', '2026-03-28T12:00:00'), '2026-03-29T01:15:00');
});

test('of a local time that exists twice the first counts, and the answer is after the start also within the second', () => {
  // Berlin, 25 October 2026: 03:00 becomes 02:00 at 01:00 UTC.
  assert.equal(nextIn('Europe/Berlin', '02:30', '2026-10-24T12:00:00'), '2026-10-25T00:30:00');
  assert.equal(nextIn('Europe/Berlin', '02:30', '2026-10-25T00:30:00'), '2026-10-26T01:30:00');
  assert.equal(nextIn('Europe/Berlin', '*:0/15', '2026-10-25T01:01:00'), '2026-10-25T01:15:00');
  // The reference goes back an hour here.
  assert.equal(nextEvent(parseCalendarEvent('*:0/15'), utc('2026-10-25T01:01:00'), 'Europe/Berlin'), utc('2026-10-25T00:15:00'));
});

test('UTC at the end counts whatever the zone, with and without blanks', () => {
  for (const text of ['sun 04:00 UTC', 'sun 04:00UTC', 'sun 04:00 \t UTC']) {
    assert.equal(nextIn('Asia/Tokyo', text, '2026-11-24T00:00:00'), '2026-11-29T04:00:00');
  }
  assert.equal(nextIn('Asia/Tokyo', 'daily UTC', '2026-11-24T00:00:00'), '2026-11-25T00:00:00');
  assert.equal(nextIn('Asia/Tokyo', 'daily', '2026-11-24T00:00:00'), '2026-11-24T15:00:00');
});

test('odd corners of the grammar', () => {
  const table: Array<[string, string | null]> = [
    ['24:00', '2026-11-24T00:24:00'],
    ['25:00', '2026-11-24T00:25:00'],
    ['30', '2026-11-24T00:30:00'],
    ['mon12:00', '2026-11-30T12:00:00'],
    ['SAT..Mon 1:00', '2026-11-28T01:00:00'],
    ['*-0-1', null],
    ['*-*-0', null],
    ['5/0:00', '2026-11-24T05:00:00'],
    ['5..9/0:00', '2026-11-24T05:00:00'],
    ['*-*-*/10 00:00', '2026-12-01T00:00:00'],
    ['semi-annually', '2027-01-01T00:00:00'],
    ['fri *-2-29', '2036-02-29T00:00:00'],
  ];
  for (const [text, expected] of table) assert.equal(nextIn('UTC', text, '2026-11-24T00:00:00'), expected, text);
});

test('a step of 0 behind a number leaves that number, or the start of that range, alone', () => {
  for (const text of ['5/0:00', '5..9/0:00']) assert.equal(nextIn('UTC', text, '2026-11-24T05:00:00'), '2026-11-25T05:00:00', text);
});

test('errors name what could not be read and why', () => {
  const table: Array<[string, string]> = [
    ['', "unable to parse calendar event at '' - date or time specification"],
    [' UTC', "unable to parse calendar event at '' - date or time specification"],
    ['mon,noday 3:00', "unable to parse calendar event at 'noday 3:00' - expected a day of the week"],
    ['*:60', "unable to parse calendar event at '60' - time value too large"],
    ['70:00', "unable to parse calendar event at '70:00' - time value too large"],
    ['9..3:00', "unable to parse calendar event at '9..3:00' - range start is bigger than end"],
    ['*/0:00', "unable to parse calendar event at '0:00' - a step of 0 is not possible"],
    ['12:00 x', "unable to parse calendar event at ' x' - unexpected text at the end"],
    ['12:00 ', "unable to parse calendar event at ' ' - unexpected blank at the end"],
    ['5,*:00', "unable to parse calendar event at '*:00' - expected a number"],
    ['2025-13-01 00:00', "unable to parse calendar event at '13-01 00:00' - time value too large"],
  ];
  for (const [text, message] of table) assert.throws(() => parseCalendarEvent(text), { message, code: 'config.calendar-event' }, text);
});

const list = (max: number): fc.Arbitrary<string> =>
  fc.oneof(
    fc.constant('*'),
    fc.integer({ min: 1, max: 9 }).map((step) => `*/${step}`),
    fc.array(fc.tuple(fc.nat(max), fc.nat(max), fc.nat(9), fc.nat(3)), { minLength: 1, maxLength: 4 }).map((values) =>
      values
        .map(([a, b, step, kind]) => {
          const [low, high] = a < b ? [a, b] : [b, a];
          return [`${a}`, `${low}..${high}`, `${low}..${high}/${step}`, `${a}/${step}`][kind]!;
        })
        .join(','),
    ),
  );

const weekday = fc.constantFrom('mon', 'Tue', 'wednesday', 'thu', 'FRI', 'sat', 'sunday');
const weekdays = fc
  .array(fc.oneof(weekday, fc.tuple(weekday, weekday).map(([a, b]) => `${a}..${b}`)), { minLength: 1, maxLength: 3 })
  .map((days) => `${days.join(',')} `);
const anyEvent = fc
  .tuple(fc.option(weekdays), fc.option(fc.tuple(list(12), list(31)).map(([m, d]) => `${m}-${d} `)), list(23), list(59), fc.option(list(59)))
  .map(([days, date, hour, minute, second]) => `${days ?? ''}${date ?? ''}${hour}:${minute}${second === null ? '' : `:${second}`}`);
const zone = fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns', 'Australia/Lord_Howe', 'Asia/Kathmandu', 'America/Santiago', 'Pacific/Apia');
const time = fc.integer({ min: 0, max: 4_000_000_000 });

test('the next time is after the start, allowed by the event, and nothing between is allowed', () => {
  fc.assert(
    fc.property(anyEvent, zone, time, fc.double({ min: 0, max: 1, noNaN: true }), (text, timeZone, after, share) => {
      const event = parseCalendarEvent(text);
      const allowed = (seconds: number): boolean => {
        const at = toLocalTime(seconds, timeZone);
        return (
          event.years[at.year] === 1 &&
          event.months[at.month] === 1 &&
          event.days[at.day] === 1 &&
          event.weekdays[at.weekday] === 1 &&
          event.hours[at.hour] === 1 &&
          event.minutes[at.minute] === 1 &&
          event.seconds[at.second] === 1
        );
      };
      const next = nextEventAfter(event, after, timeZone);
      if (next === null) return;
      assert.ok(next > after);
      assert.ok(allowed(next), `${text}: ${next}`);
      const between = after + 1 + Math.floor(share * (next - after - 1));
      if (between === next || !allowed(between)) return;
      // Only the second pass of an hour that exists twice may be left out.
      const passed = toLocalTime(between, timeZone);
      const earlier = [1800, 3600].some((gap) => {
        const { hour, minute } = toLocalTime(between - gap, timeZone);
        return hour === passed.hour && minute === passed.minute;
      });
      assert.ok(earlier, `${text} leaves out ${between} in ${timeZone}`);
    }),
    { numRuns: 300 },
  );
});

test('garbage gives ConfigError only', () => {
  const piece = fc.constantFrom('*', '/', '-', ':', ',', '..', '.', '0', '7', '59', '99999', 'mon', 'fri', 'daily', 'UTC', ' ', '\t', 'ä', '~', '\u0000');
  const garbage = fc.oneof(fc.string(), fc.array(piece, { maxLength: 60 }).map((parts) => parts.join('')), anyEvent.map((text) => text.slice(1)));
  fc.assert(
    fc.property(garbage, time, (text, after) => {
      try {
        const next = nextEventAfter(parseCalendarEvent(text), after, 'Europe/Berlin');
        assert.ok(next === null || next > after);
      } catch (e) {
        assert.ok(e instanceof ConfigError, String(e));
      }
    }),
    { numRuns: 2000 },
  );
});

test('long input is refused, whatever it is made of', () => {
  for (const piece of ['*', '0,', '-', ' ', 'mon,', '0..', '9']) {
    assert.throws(() => parseCalendarEvent(piece.repeat(1_000_000)), ConfigError);
    assert.throws(() => parseCalendarEvent(`${piece.repeat(1_000_000)}UTC`), ConfigError);
  }
});
