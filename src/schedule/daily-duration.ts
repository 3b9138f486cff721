import { maxCalendarTextLength, CalendarText } from './calendar-text.ts';
import type { AllowedValues } from './calendar-text.ts';
import { processTimeZone, toLocalTime } from './local-time.ts';

/** A time frame within a day (spec calendar-events 2). */
export interface DailyDuration {
  /** Seven flags, Monday first. */
  readonly weekdays: AllowedValues;
  /** Minute of the day, inclusive. */
  readonly start: number;
  /** Minute of the day, exclusive. */
  readonly end: number;
}

/** Minute of the day of `H[:MM]`. */
function readTimeOfDay(text: CalendarText): number | null {
  const hour = text.number(23);
  if (hour === null) return null;
  const minute = text.take(':') ? text.number(59) : 0;
  return minute === null ? null : hour * 60 + minute;
}

function readDuration(text: CalendarText): DailyDuration | null {
  const weekdays = text.leadingWeekdays();
  if (weekdays === null) return null;
  const start = readTimeOfDay(text);
  if (start === null) return null;
  text.blanks();
  if (!text.take('-')) return text.fail("expected '-'");
  text.blanks();
  const endAt = text.at;
  const end = readTimeOfDay(text);
  if (end === null) return null;
  if (!text.done) return text.fail('unexpected text at the end');
  return end < start ? text.fail('end time before start time', endAt) : { weekdays, start, end };
}

/** Parses `[weekdays] H[:MM]-H[:MM]`, e.g. `mon..fri 8-17:30`. Throws ConfigError `config.time-frame`. */
export function parseDailyDuration(text: string): DailyDuration {
  const cursor = new CalendarText(text);
  const tooLong = text.length > maxCalendarTextLength;
  const duration = tooLong ? cursor.fail(`longer than ${maxCalendarTextLength} characters`) : readDuration(cursor);
  if (duration === null) throw cursor.error('daily duration', 'config.time-frame');
  return duration;
}

/** Whether `seconds` since the epoch lies within the frame, on the wall of `timeZone`. */
export function matchesDailyDuration(duration: DailyDuration, seconds: number, timeZone = processTimeZone()): boolean {
  const at = toLocalTime(seconds, timeZone);
  const minute = at.hour * 60 + at.minute;
  return duration.weekdays[at.weekday] === 1 && minute >= duration.start && minute < duration.end;
}
