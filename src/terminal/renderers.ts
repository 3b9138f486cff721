import { humanSize } from '../base/human-size.ts';
import { formatTimeSpan } from '../base/time-span.ts';

/** Cell texts of special fields (spec manager-cli 2.4, client-cli 1.5). */

const months = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'] as const;

/** `%c` of the C locale: `Tue Nov  4 06:31:22 2026`. Whole seconds since the epoch; `timeZone` undefined is the system's. */
export function renderTime(seconds: number, timeZone?: string): string {
  const parts = new Intl.DateTimeFormat('en-US', {
    ...(timeZone === undefined ? {} : { timeZone }),
    hourCycle: 'h23',
    year: 'numeric',
    month: 'numeric',
    day: 'numeric',
    hour: '2-digit',
    minute: '2-digit',
    second: '2-digit',
    weekday: 'short',
  }).formatToParts(seconds * 1000);
  const part = (type: string): string => parts.find((one) => one.type === type)?.value ?? '';
  const month = months[Number(part('month')) - 1] ?? '';
  return `${part('weekday')} ${month} ${part('day').padStart(2)} ${part('hour').padStart(2, '0')}:${part('minute')}:${part('second')} ${part('year')}`;
}

/** `Nov 24 07:54:49 2026 GMT`, as certificates' validity is printed. */
export function renderCertificateTime(time: Date): string {
  const clock = time.toISOString().slice(11, 19);
  return `${months[time.getUTCMonth()]} ${String(time.getUTCDate()).padStart(2)} ${clock} ${time.getUTCFullYear()} GMT`;
}

/** *time*: null and absent empty. */
export function timeCell(timeZone: string | undefined): (value: unknown) => string {
  return (value) => (typeof value === 'number' ? renderTime(value, timeZone) : '');
}

/** *expire*: 0, null and absent are `never`. */
export function expireCell(timeZone: string | undefined): (value: unknown) => string {
  return (value) => (typeof value === 'number' && value !== 0 ? renderTime(value, timeZone) : 'never');
}

/** *enabled*: absent is `1`. */
export function enabledCell(value: unknown): string {
  return value === false ? '0' : '1';
}

/** *filter*: elements joined by ` OR `, absent `all`. */
export function filterCell(value: unknown): string {
  return Array.isArray(value) ? value.join(' OR ') : 'all';
}

/** *ugid*: groups with `@` in front. */
export function ugidCell(value: unknown, row: Readonly<Record<string, unknown>>): string {
  const id = typeof value === 'string' ? value : '';
  return row['ugid_type'] === 'group' ? `@${id}` : id;
}

/** *status* of a task in a list. */
export function statusCell(value: unknown, row: Readonly<Record<string, unknown>>): string {
  if (typeof value === 'string') return value;
  return typeof row['endtime'] === 'number' ? 'unknown' : 'running';
}

/** *bytes*. */
export function bytesCell(value: unknown): string {
  return typeof value === 'number' ? humanSize(value) : '';
}

/** *duration* in seconds. */
export function durationCell(value: unknown): string {
  return typeof value === 'number' ? formatTimeSpan(value) : '';
}
