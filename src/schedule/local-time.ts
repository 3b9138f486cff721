/** A time on the wall of a time zone. */
export interface LocalTime {
  year: number;
  /** 1 to 12. */
  month: number;
  /** 1 to 31. */
  day: number;
  /** 0 = Monday. */
  weekday: number;
  hour: number;
  minute: number;
  second: number;
}

/** The time zone of this process. */
export function processTimeZone(): string {
  return Temporal.Now.timeZoneId();
}

/** Wall time of `seconds` since the epoch. Throws RangeError for an unknown `timeZone`. */
export function toLocalTime(seconds: number, timeZone: string): LocalTime {
  const at = Temporal.Instant.fromEpochMilliseconds(seconds * 1000).toZonedDateTimeISO(timeZone);
  return {
    year: at.year,
    month: at.month,
    day: at.day,
    weekday: at.dayOfWeek - 1,
    hour: at.hour,
    minute: at.minute,
    second: at.second,
  };
}

/**
 * Seconds since the epoch of a wall time. Values out of range are carried over (31 April is 1 May). A time that the clock
 * jumped over goes to the same distance after the gap; of a time that exists twice it is the first, or the second if the
 * first lies before `notBefore` (-Infinity: always the first) (spec calendar-events 1.2).
 */
export function fromLocalTime(time: Omit<LocalTime, 'weekday'>, timeZone: string, notBefore: number): number {
  const carried = new Date(0);
  carried.setUTCFullYear(time.year, time.month - 1, time.day);
  carried.setUTCHours(time.hour, time.minute, time.second);
  const plain = Temporal.Instant.fromEpochMilliseconds(carried.getTime()).toZonedDateTimeISO('UTC').toPlainDateTime();
  const first = plain.toZonedDateTime(timeZone, { disambiguation: 'compatible' }).epochMilliseconds / 1000;
  if (first >= notBefore) return Math.floor(first);
  return Math.floor(plain.toZonedDateTime(timeZone, { disambiguation: 'later' }).epochMilliseconds / 1000);
}

function twoDigits(value: number): string {
  return String(value).padStart(2, '0');
}

/** RFC 3339 with numeric offset, never `Z`: `2026-11-24T01:58:37+00:00` (spec server 3, trap 20). */
export function formatLocalTime(seconds: number, timeZone: string): string {
  const at = Temporal.Instant.fromEpochMilliseconds(seconds * 1000).toZonedDateTimeISO(timeZone);
  const minutes = Math.trunc(at.offsetNanoseconds / 60e9);
  const offset = `${minutes < 0 ? '-' : '+'}${twoDigits(Math.trunc(Math.abs(minutes) / 60))}:${twoDigits(Math.abs(minutes) % 60)}`;
  const date = `${String(at.year).padStart(4, '0')}-${twoDigits(at.month)}-${twoDigits(at.day)}`;
  return `${date}T${twoDigits(at.hour)}:${twoDigits(at.minute)}:${twoDigits(at.second)}${offset}`;
}

const rfc3339 = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.\d{1,9})?(Z|[+-]\d{2}:\d{2})$/i;

/** Whole seconds since the epoch of an RFC 3339 time; null for anything else. */
export function parseRfc3339(text: string): number | null {
  const match = rfc3339.exec(text);
  if (match === null) return null;
  const milliseconds = Date.parse(`${match[1]!}${match[2]!}`.toUpperCase());
  return Number.isNaN(milliseconds) ? null : milliseconds / 1000;
}
