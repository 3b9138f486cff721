import { humanSize } from '../base/human-size.ts';
import { formatTimeSpan } from '../base/time-span.ts';
import { toLocalTime, processTimeZone } from '../schedule/local-time.ts';
import type { Helper } from './template.ts';

/** Helpers of notification templates and of webhooks (spec server 14.3). */

function two(value: number): string {
  return String(value).padStart(2, '0');
}

/** `2026-11-25 02:08:03` on the wall of `timeZone`. */
export function wallTime(seconds: number, timeZone = processTimeZone()): string {
  if (!Number.isSafeInteger(seconds) || Math.abs(seconds) > 8.64e12) return '';
  const at = toLocalTime(seconds, timeZone);
  return `${at.year}-${two(at.month)}-${two(at.day)} ${two(at.hour)}:${two(at.minute)}:${two(at.second)}`;
}

export const messageHelpers: Readonly<Record<string, Helper>> = {
  'human-bytes': (bytes) => humanSize(Number(bytes)),
  duration: (seconds) => formatTimeSpan(Math.max(0, Number(seconds))),
  timestamp: (seconds) => wallTime(Number(seconds)),
  'relative-percentage': (value, total) => (Number(total) === 0 ? '0.00%' : `${((Number(value) / Number(total)) * 100).toFixed(2)}%`),
};

/** RFC 3986: everything but letters, digits and `-_.~`. */
function urlEncode(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (character) => `%${character.codePointAt(0)!.toString(16).toUpperCase()}`);
}

function asText(value: unknown): string {
  return typeof value === 'string' ? value : value === undefined || value === null ? '' : JSON.stringify(value);
}

export const webhookHelpers: Readonly<Record<string, Helper>> = {
  'url-encode': (value) => urlEncode(asText(value).toWellFormed()),
  /** Of a JSON string, without its quotes. */
  escape: (value) => JSON.stringify(asText(value)).slice(1, -1),
  json: (value) => JSON.stringify(value ?? null),
};
