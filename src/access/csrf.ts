import { createHash, createHmac } from 'node:crypto';
import { secretsEqual } from '../base/bytes.ts';
import { hexTime, ticketMaxAge, ticketMinAge } from './ticket.ts';

/** CSRF tokens (spec rest-api 5.3): `{time %08X}:{base64 without padding of HMAC-SHA3-256}`, bound to the user. */

const tokenPattern = /^([0-9A-F]{8,12}):([A-Za-z0-9+/]{43})=?$/;

function digestOf(key: Uint8Array, time: string, userId: string): Buffer {
  return createHmac('sha3-256', key).update(`${time}:${userId}:`).digest();
}

/** As installations before the HMAC made it; still accepted. */
function legacyDigestOf(key: Uint8Array, time: string, userId: string): Buffer {
  return createHash('sha256').update(`${time}:${userId}:`).update(key).digest();
}

export function makeCsrfToken(key: Uint8Array, userId: string, nowMs: number): string {
  const time = hexTime(Math.floor(nowMs / 1000));
  return `${time}:${digestOf(key, time, userId).toString('base64').replaceAll('=', '')}`;
}

/** Why a token is not valid for this user now; null when it is. */
export function verifyCsrfToken(key: Uint8Array, userId: string, token: string, nowMs: number): string | null {
  const match = token.length > 256 ? null : tokenPattern.exec(token);
  if (match === null) return 'invalid CSRF prevention token - malformed';
  const age = Math.floor(nowMs / 1000) - Number.parseInt(match[1]!, 16);
  if (age < ticketMinAge) return 'invalid CSRF prevention token - timestamp newer than expected';
  if (age > ticketMaxAge) return 'invalid CSRF prevention token - expired';
  const given = Buffer.from(match[2]!, 'base64');
  const fits = [digestOf, legacyDigestOf].some((digest) => secretsEqual(digest(key, match[1]!, userId), given));
  return fits ? null : 'invalid CSRF prevention token - bad signature';
}

/** Key bytes from the content of `csrf.key`: base64 of random bytes, or, in old installations, the file's bytes themselves. */
export function csrfKeyFrom(content: Uint8Array): Buffer {
  const text = Buffer.from(content).toString('latin1').trim();
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) ? Buffer.from(text, 'base64') : Buffer.from(content);
}
