import assert from 'node:assert/strict';
import { maxCalendarTextLength, CalendarText } from './calendar-text.ts';
import type { AllowedValues } from './calendar-text.ts';
import { fromLocalTime, processTimeZone, toLocalTime } from './local-time.ts';
import type { LocalTime } from './local-time.ts';

/** A parsed calendar event (spec calendar-events 1). Each field has a flag for each value that it allows. */
export interface CalendarEvent {
  /** As written. */
  readonly text: string;
  /** Meant in UTC, whatever the server's time zone. */
  readonly utc: boolean;
  /** Seven flags, Monday first. */
  readonly weekdays: AllowedValues;
  readonly years: AllowedValues;
  /** Index 1 to 12; 0 parses and never fires. */
  readonly months: AllowedValues;
  /** Index 1 to 31; 0 parses and never fires. */
  readonly days: AllowedValues;
  readonly hours: AllowedValues;
  readonly minutes: AllowedValues;
  readonly seconds: AllowedValues;
}

interface Unit {
  max: number;
  // Where `*` and `*/STEP` start.
  first: number;
}

const yearUnit: Unit = { max: 2199, first: 0 };
const monthUnit: Unit = { max: 12, first: 1 };
const dayUnit: Unit = { max: 31, first: 1 };
const hourUnit: Unit = { max: 23, first: 0 };
const minuteUnit: Unit = { max: 59, first: 0 };

const keywords: ReadonlyMap<string, string> = new Map([
  ['minutely', '*:*'],
  ['hourly', '*:00'],
  ['daily', '00:00'],
  ['weekly', 'mon 00:00'],
  ['monthly', '*-1 00:00'],
  ['quarterly', '1,4,7,10-1 00:00'],
  ['semiannually', '1,7-1 00:00'],
  ['semi-annually', '1,7-1 00:00'],
  ['yearly', '1-1 00:00'],
  ['annually', '1-1 00:00'],
]);

function every(unit: Unit): AllowedValues {
  return new Uint8Array(unit.max + 1).fill(1, unit.first);
}

function only(unit: Unit, value: number): AllowedValues {
  const allowed = new Uint8Array(unit.max + 1);
  allowed[value] = 1;
  return allowed;
}

/** One `value` of a list: `N`, `N..M`, `N..M/STEP`, `N/STEP`. */
function readValue(text: CalendarText, unit: Unit, allowed: AllowedValues): true | null {
  const start = text.at;
  const first = text.number(unit.max);
  if (first === null) return null;
  let last = first;
  const isRange = text.take('..');
  if (isRange) {
    const end = text.number(unit.max);
    if (end === null) return null;
    if (first > end) return text.fail('range start is bigger than end', start);
    last = end;
  }
  let step = 1;
  if (text.take('/')) {
    const given = text.number(unit.max);
    if (given === null) return null;
    if (!isRange) last = unit.max;
    // Recorded: a step of 0 behind a number leaves that number alone.
    if (given === 0) last = first;
    else step = given;
  }
  for (let value = first; value <= last; value += step) allowed[value] = 1;
  return true;
}

// `*`, `*/STEP`, or values joined by commas.
function readList(text: CalendarText, unit: Unit): AllowedValues | null {
  if (text.take('*')) {
    if (!text.take('/')) return every(unit);
    const start = text.at;
    const step = text.number(unit.max);
    if (step === null) return null;
    if (step === 0) return text.fail('a step of 0 is not possible', start);
    const allowed = new Uint8Array(unit.max + 1);
    for (let value = unit.first; value <= unit.max; value += step) allowed[value] = 1;
    return allowed;
  }
  const allowed = new Uint8Array(unit.max + 1);
  do {
    if (readValue(text, unit, allowed) === null) return null;
  } while (text.take(','));
  return allowed;
}

interface DateFields {
  years: AllowedValues;
  months: AllowedValues;
  days: AllowedValues;
}

/** Lists for `units` joined by `joiner`; on failure nothing is taken. */
function readJoined(text: CalendarText, units: readonly Unit[], joiner: string): AllowedValues[] | null {
  const start = text.at;
  const fields: AllowedValues[] = [];
  for (const unit of units) {
    // A joiner that is missing is no failure worth a message: then the text is something else, the time.
    const joined = fields.length === 0 || text.take(joiner);
    const field = joined ? readList(text, unit) : null;
    if (field === null) {
      text.at = start;
      return null;
    }
    fields.push(field);
  }
  return fields;
}

function readDate(text: CalendarText): DateFields | null {
  const long = readJoined(text, [yearUnit, monthUnit, dayUnit], '-');
  if (long !== null) return { years: long[0]!, months: long[1]!, days: long[2]! };
  const short = readJoined(text, [monthUnit, dayUnit], '-');
  return short === null ? null : { years: every(yearUnit), months: short[0]!, days: short[1]! };
}

interface TimeFields {
  hours: AllowedValues;
  minutes: AllowedValues;
  seconds: AllowedValues;
}

function readTime(text: CalendarText): TimeFields | null {
  const start = text.at;
  let hours = readList(text, hourUnit);
  if (hours === null || !text.take(':')) {
    // One number is minutes, and a first list that is no valid hour list counts as minutes (`24:00`, recorded).
    text.at = start;
    hours = every(hourUnit);
  }
  const minutes = readList(text, minuteUnit);
  if (minutes === null) return null;
  const seconds = text.take(':') ? readList(text, minuteUnit) : only(minuteUnit, 0);
  return seconds === null ? null : { hours, minutes, seconds };
}

type Fields = Omit<CalendarEvent, 'text' | 'utc'>;

function readFields(text: CalendarText): Fields | null {
  if (text.done) return text.fail('date or time specification');
  if (/[ \t]$/.test(text.text)) return text.fail('unexpected blank at the end', text.text.length - 1);
  const weekdays = text.leadingWeekdays();
  if (weekdays === null) return null;
  const date = readDate(text);
  if (date !== null) text.blanks();
  let time: TimeFields | null = { hours: only(hourUnit, 0), minutes: only(minuteUnit, 0), seconds: only(minuteUnit, 0) };
  if (!text.done) time = readTime(text);
  if (time === null) return null;
  if (!text.done) return text.fail('unexpected text at the end');
  return { weekdays, ...(date ?? { years: every(yearUnit), months: every(monthUnit), days: every(dayUnit) }), ...time };
}

/**
 * Parses a calendar event such as `mon..fri 02:30`, `*:0/15`, `monthly`, `sun 04:00 UTC` (spec calendar-events 1.1).
 * Time and memory are linear in the length. Throws ConfigError `config.calendar-event` that says where reading ended.
 */
export function parseCalendarEvent(text: string): CalendarEvent {
  const utc = text.endsWith('UTC');
  const tooLong = text.length > maxCalendarTextLength;
  const written = utc && !tooLong ? text.slice(0, -3).replace(/[ \t]+$/, '') : text;
  const cursor = new CalendarText(keywords.get(written) ?? written);
  const fields = tooLong ? cursor.fail(`longer than ${maxCalendarTextLength} characters`) : readFields(cursor);
  if (fields === null) throw cursor.error('calendar event', 'config.calendar-event');
  return { text, utc, ...fields };
}

/** More rounds than any event that fires needs; those that never fire (30 February) end here. */
const maxRounds = 1000;

/** The first allowed value from `from` on; -1 when there is none. */
function nextAllowed(allowed: AllowedValues, from: number): number {
  return allowed.indexOf(1, from);
}

/** Days until the next allowed weekday after `weekday`. */
function daysToNextWeekday(weekdays: AllowedValues, weekday: number): number {
  for (let days = 1; days <= 7; days += 1) if (weekdays[(weekday + days) % 7] === 1) return days;
  return 7;
}

/**
 * The wall time to look at next because `time` is not allowed; `time` itself when it is allowed, null when no allowed
 * year is left. Values may be out of range (day 32): they are carried over.
 */
function advance(event: CalendarEvent, time: LocalTime): Omit<LocalTime, 'weekday'> | null {
  const { year, month, day, hour, minute } = time;
  if (event.years[year] !== 1) {
    const next = nextAllowed(event.years, year);
    return next < 0 ? null : { year: next, month: 1, day: 1, hour: 0, minute: 0, second: 0 };
  }
  if (event.months[month] !== 1) {
    const next = nextAllowed(event.months, month);
    const at = next < 0 ? { year: year + 1, month: 1 } : { year, month: next };
    return { ...at, day: 1, hour: 0, minute: 0, second: 0 };
  }
  if (event.days[day] !== 1) {
    const next = nextAllowed(event.days, day);
    const at = next < 0 ? { month: month + 1, day: 1 } : { month, day: next };
    return { year, ...at, hour: 0, minute: 0, second: 0 };
  }
  if (event.weekdays[time.weekday] !== 1) {
    return { year, month, day: day + daysToNextWeekday(event.weekdays, time.weekday), hour: 0, minute: 0, second: 0 };
  }
  if (event.hours[hour] !== 1) {
    const next = nextAllowed(event.hours, hour);
    const at = next < 0 ? { day: day + 1, hour: 0 } : { day, hour: next };
    return { year, month, ...at, minute: 0, second: 0 };
  }
  if (event.minutes[minute] !== 1) {
    const next = nextAllowed(event.minutes, minute);
    const at = next < 0 ? { hour: hour + 1, minute: 0 } : { hour, minute: next };
    return { year, month, day, ...at, second: 0 };
  }
  if (event.seconds[time.second] !== 1) {
    const next = nextAllowed(event.seconds, time.second);
    const at = next < 0 ? { minute: minute + 1, second: 0 } : { minute, second: next };
    return { year, month, day, hour, ...at };
  }
  return time;
}

function search(event: CalendarEvent, afterSeconds: number, timeZone: string, repeated: 'first' | 'following'): number | null {
  assert.ok(Number.isSafeInteger(afterSeconds) && Math.abs(afterSeconds) < 8.64e12, 'whole seconds that a date can hold');
  const zone = event.utc ? 'UTC' : timeZone;
  let at = Math.max(afterSeconds, -1) + 1;
  for (let round = 0; round < maxRounds; round += 1) {
    const time = toLocalTime(at, zone);
    const next = advance(event, time);
    if (next === null) return null;
    if (next === time) return at;
    at = fromLocalTime(next, zone, repeated === 'first' ? -Infinity : at);
  }
  return null;
}

/**
 * When `event` fires next after `afterSeconds`, in seconds since the epoch, exactly as the reference computes it; null
 * when it never fires again. `timeZone` (IANA name) counts unless the event says UTC. Local times that the clock jumps
 * over are left out, of those that exist twice the first counts (spec calendar-events 1.2). Recorded oddity: for a start
 * within the second pass of an hour that exists twice the answer can lie before the start. To run or to announce jobs
 * use `nextEventAfter`.
 */
export function nextEvent(event: CalendarEvent, afterSeconds: number, timeZone = processTimeZone()): number | null {
  return search(event, afterSeconds, timeZone, 'first');
}

/**
 * As `nextEvent`, but always strictly after `afterSeconds`, also within the second pass of an hour that exists twice:
 * there the reference's answer lies in the past, and a job would be due again at each pass of the scheduler.
 */
export function nextEventAfter(event: CalendarEvent, afterSeconds: number, timeZone = processTimeZone()): number | null {
  return search(event, afterSeconds, timeZone, 'following');
}
