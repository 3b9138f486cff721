import assert from 'node:assert/strict';
import { FormatError } from '../base/errors.ts';

const pattern = /^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d)(?:Z|([+-])(\d\d):(\d\d))$/;

/** Seconds since the epoch of `2023-11-14T23:13:20+01:00` or `...Z` (spec formats 6.1). FormatError `format.time`. */
export function parseRfc3339(text: string): number {
  const match = pattern.exec(text);
  const wall = match === null ? Number.NaN : Date.parse(`${match[1]!}Z`);
  if (match === null || Number.isNaN(wall) || new Date(wall).toISOString().slice(0, 19) !== match[1]) {
    throw new FormatError('format.time', `'${text.slice(0, 64)}' is not a time`);
  }
  const [hours, minutes] = [Number(match[3] ?? 0), Number(match[4] ?? 0)];
  if (hours > 23 || minutes > 59) throw new FormatError('format.time', `'${text.slice(0, 64)}' has no valid time zone offset`);
  return wall / 1000 - (match[2] === '-' ? -1 : 1) * (hours * 60 + minutes) * 60;
}

/** The offset of this host's time zone at `seconds`, in minutes east of UTC. */
export function localOffsetMinutes(seconds: number): number {
  return -new Date(seconds * 1000).getTimezoneOffset();
}

/** Wall-clock time with numeric offset, `+00:00` for UTC. `offsetMinutes` is east of UTC. */
export function formatRfc3339(seconds: number, offsetMinutes: number): string {
  assert.ok(Number.isSafeInteger(seconds) && Number.isSafeInteger(offsetMinutes) && Math.abs(offsetMinutes) < 24 * 60);
  const wall = new Date((seconds + offsetMinutes * 60) * 1000).toISOString().slice(0, 19);
  const two = (value: number): string => String(value).padStart(2, '0');
  const size = Math.abs(offsetMinutes);
  return `${wall}${offsetMinutes < 0 ? '-' : '+'}${two(Math.floor(size / 60))}:${two(size % 60)}`;
}
