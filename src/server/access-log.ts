import type { AccessEntry } from '../api/router.ts';

const targetLimit = 3072;
const userAgentLimit = 128;

/** Query parameters whose values no log may hold. */
const secretPattern = /([?&](?:[a-z0-9-]*password|secret|key|value|challenge|tfa-challenge|code)=)[^&]*/gi;

/**
 * A line of `api/access.log` without its line end (spec server 11), time in local time:
 * `10.0.0.5 - admin@pbs [24/11/2026:01:58:20 +0000] "GET /api2/json/version" 200 95 curl/8.5`.
 */
export function formatAccessLine(entry: AccessEntry, time: Date): string {
  const target = printable(entry.target.slice(0, targetLimit).replace(secretPattern, '$1***')).replaceAll('"', '%22');
  const userAgent = printable(entry.userAgent.slice(0, userAgentLimit));
  return `${entry.remoteAddress === '' ? '-' : entry.remoteAddress} - ${entry.authId === '' ? '-' : entry.authId} [${localTime(time)}] "${printable(entry.method)} ${target}" ${entry.status} ${entry.size} ${userAgent === '' ? '-' : userAgent}`;
}

/** What comes from a client must not be able to start a line of its own. */
function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, '?');
}

function localTime(time: Date): string {
  const two = (n: number): string => String(n).padStart(2, '0');
  const offset = -time.getTimezoneOffset();
  const zone = `${offset < 0 ? '-' : '+'}${two(Math.floor(Math.abs(offset) / 60))}${two(Math.abs(offset) % 60)}`;
  return `${two(time.getDate())}/${two(time.getMonth() + 1)}/${time.getFullYear()}:${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())} ${zone}`;
}
