import { ConfigError } from './errors.ts';

/** Units in seconds, by every spelling that the grammar knows; case matters (spec calendar-events 3). */
const unitSeconds: ReadonlyMap<string, number> = new Map(
  (
    [
      [1e-9, 'ns nsec'],
      [1e-6, 'us usec µs'],
      [1e-3, 'ms msec'],
      [1, 's sec second seconds'],
      [60, 'm min minute minutes'],
      [3600, 'h hr hour hours'],
      [86_400, 'd day days'],
      [7 * 86_400, 'w week weeks'],
      [30.44 * 86_400, 'M month months'],
      [365.25 * 86_400, 'y year years'],
    ] as const
  ).flatMap(([seconds, names]) => names.split(' ').map((name) => [name, seconds] as const)),
);

/** Longest accepted text; a span that people write has a few parts. */
const maxSpanLength = 256;

const partPattern = /[ \t]*([0-9]{1,15})[ \t]*([a-zA-Zµ]*)[ \t]*/y;

/**
 * Seconds (with fraction) of a time span such as `1h 30min`, `2hours30minutes`; a bare number is seconds
 * (spec calendar-events 3). Throws ConfigError `config.time-span` for anything else.
 */
export function parseTimeSpan(text: string): number {
  const fail = (at: number, why: string): never => {
    throw new ConfigError('config.time-span', `unable to parse time span at '${text.slice(at, at + 64)}' - ${why}`);
  };
  if (text.length > maxSpanLength) fail(0, `longer than ${maxSpanLength} characters`);
  let at = 0;
  let total = 0;
  do {
    partPattern.lastIndex = at;
    const match = partPattern.exec(text);
    if (match === null) return fail(at, 'a whole number is missing');
    const [, count = '', unit = ''] = match;
    const seconds = unitSeconds.get(unit === '' ? 's' : unit);
    if (seconds === undefined) return fail(at, `unknown unit '${unit.slice(0, 32)}'`);
    total += Number(count) * seconds;
    at += match[0].length;
  } while (at < text.length);
  return total;
}

const shownUnits: ReadonlyArray<readonly [string, number]> = [
  ['y', 365.25 * 86_400],
  ['M', 30.44 * 86_400],
  ['w', 7 * 86_400],
  ['d', 86_400],
  ['h', 3600],
  ['m', 60],
];

/**
 * A span as people read it, largest unit first, parts that are 0 left out: `1y 2M 3w 4d 5h 6m 7.5s`, `<0.1s`, `0s`
 * (spec calendar-events 3). `seconds` is not negative.
 */
export function formatTimeSpan(seconds: number): string {
  if (seconds <= 0) return '0s';
  let tenths = Math.round(seconds * 10);
  if (tenths < 1 || seconds < 0.1) return '<0.1s';
  const parts: string[] = [];
  for (const [name, unit] of shownUnits) {
    const unitTenths = Math.round(unit * 10);
    const count = Math.floor(tenths / unitTenths);
    if (count > 0) parts.push(`${count}${name}`);
    tenths -= count * unitTenths;
  }
  if (tenths > 0) parts.push(`${tenths / 10}s`);
  return parts.join(' ');
}
