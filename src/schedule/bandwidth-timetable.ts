import { ConfigError, errorChain } from '../base/errors.ts';
import { parseHumanByte } from '../format/human-byte.ts';
import { maxCalendarTextLength } from './calendar-text.ts';
import { matchesDailyDuration, parseDailyDuration, type DailyDuration } from './daily-duration.ts';

/** How much a line may carry at which time: `mon..fri 8-18=5MiB, sat,sun=50MiB, else unlimited`. */
export interface BandwidthTimetable {
  /** In order; the first one that holds counts. */
  readonly entries: ReadonlyArray<{ frame: DailyDuration; rate: number }>;
  /** Null: at all other times the timetable says nothing. */
  readonly otherwise: number | null;
}

const minutesOfDay = 24 * 60;

function fail(text: string, what: string, options: { cause?: unknown; hint?: string } = {}): never {
  throw new ConfigError('config.bandwidth', `unable to parse bandwidth timetable at '${text.slice(0, 64)}' - ${what}`, options);
}

/** Bytes per second; 0 = unlimited. */
function readRate(text: string): number {
  const trimmed = text.trim();
  if (trimmed === 'unlimited') return 0;
  let rate: number;
  try {
    rate = parseHumanByte(trimmed);
  } catch (e) {
    return fail(text, `expected a rate like 5MiB, or unlimited`, { cause: e });
  }
  return rate > 0 ? rate : fail(text, 'a rate of nothing would hold jobs up for ever');
}

/** Weekdays, a time frame, or both; `24` and `24:00` as its end are the end of the day. */
function readFrame(text: string): DailyDuration {
  const trimmed = text.trim();
  if (trimmed === '') return fail(text, 'expected weekdays or a time frame');
  const hasTimes = /\d/.test(trimmed);
  const toEnd = /-(\s*)24(:00)?$/;
  const isToEnd = !hasTimes || toEnd.test(trimmed);
  const frame = hasTimes ? trimmed.replace(toEnd, '-$123:59') : `${trimmed} 0-23:59`;
  try {
    const read = parseDailyDuration(frame);
    return isToEnd ? { ...read, end: minutesOfDay } : read;
  } catch (e) {
    return fail(text, errorChain(e), { cause: e, hint: 'A frame over midnight is two: 22-24=…, 0-6=….' });
  }
}

/** ConfigError `config.bandwidth`. A comma separates entries, and weekdays of one list: an entry ends where its rate does. */
export function parseBandwidthTimetable(text: string): BandwidthTimetable {
  if (text.length > maxCalendarTextLength) fail(text, `longer than ${maxCalendarTextLength} characters`);
  const entries: Array<{ frame: DailyDuration; rate: number }> = [];
  let otherwise: number | null = null;
  /** Of the entry that has not had its rate yet. */
  let frame: string | null = null;
  for (const piece of text.split(',')) {
    if (otherwise !== null) fail(piece, '`else` is the last entry');
    const rest = /^\s*else\s+(.*)$/.exec(piece);
    if (rest !== null && frame === null) {
      otherwise = readRate(rest[1]!);
      continue;
    }
    const [left = '', right, ...more] = piece.split('=');
    frame = frame === null ? left : `${frame},${left.trim()}`;
    if (right === undefined) continue;
    if (more.length > 0) fail(piece, 'more than one `=`');
    entries.push({ frame: readFrame(frame), rate: readRate(right) });
    frame = null;
  }
  if (frame !== null) fail(frame, 'expected `=` and a rate');
  return { entries, otherwise };
}

/** Bytes per second at `seconds` since the epoch; 0 = unlimited, null = the timetable says nothing. */
export function bandwidthAt({ entries, otherwise }: BandwidthTimetable, seconds: number, timeZone?: string): number | null {
  return entries.find(({ frame }) => matchesDailyDuration(frame, seconds, timeZone))?.rate ?? otherwise;
}
