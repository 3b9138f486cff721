import { createPrivateKey, createPublicKey, sign, verify, type KeyObject } from 'node:crypto';

/** Tickets (spec rest-api 5.2): `PBS:{data}:{time %08X}::{signature}`. */

/** Seconds that a login ticket is good for. */
export const ticketMaxAge = 7200;
/** Seconds that a ticket may be from the future: clocks differ. */
export const ticketMinAge = -300;

const maxTicketLength = 8192;
const ticketPattern = /^PBS:([^:]*):([0-9A-F]{8,12})::([A-Za-z0-9+/]+={0,2})$/;

/** Percent-encodes control characters, `:` and everything beyond ASCII, byte by byte. */
function encodeData(data: string): string {
  let text = '';
  for (const byte of Buffer.from(data, 'utf8')) {
    const plain = byte > 0x1f && byte < 0x7f && byte !== 0x3a;
    text += plain ? String.fromCharCode(byte) : `%${byte.toString(16).toUpperCase().padStart(2, '0')}`;
  }
  return text;
}

function decodeData(text: string): string | null {
  try {
    return decodeURIComponent(text);
  } catch {
    return null;
  }
}

/** Ed25519 over the bytes, or RSA PKCS#1 v1.5 with SHA-256, by the type of the key. */
function algorithmOf(key: KeyObject): string | null {
  return key.asymmetricKeyType === 'rsa' ? 'sha256' : null;
}

function signedBytes(unsigned: string, additional: string | undefined): Buffer {
  return Buffer.from(additional === undefined ? unsigned : `${unsigned}:${additional}`, 'utf8');
}

/** Time as tickets and CSRF tokens carry it. */
export function hexTime(seconds: number): string {
  return seconds.toString(16).toUpperCase().padStart(8, '0');
}

/** A signed ticket for `data` (a user id, or a TFA challenge). `additional` is signed with it but not in it. */
export function signTicket(key: KeyObject, data: string, nowMs: number, additional?: string): string {
  const unsigned = `PBS:${encodeData(data)}:${hexTime(Math.floor(nowMs / 1000))}`;
  const signature = sign(algorithmOf(key), signedBytes(unsigned, additional), key).toString('base64').replaceAll('=', '');
  return `${unsigned}::${signature}`;
}

export interface TicketCheck {
  nowMs: number;
  /** Seconds; a ticket younger than this is refused. */
  minAge: number;
  /** Seconds. */
  maxAge: number;
  additional?: string;
}

/** The data of a valid ticket, or why it is not valid (for the auth log, never for the caller). */
export function verifyTicket(key: KeyObject, ticket: string, check: TicketCheck): { data: string; time: number } | { problem: string } {
  const match = ticket.length > maxTicketLength ? null : ticketPattern.exec(ticket);
  if (match === null) return { problem: 'invalid ticket - malformed' };
  const time = Number.parseInt(match[2]!, 16);
  const age = Math.floor(check.nowMs / 1000) - time;
  if (age < check.minAge) return { problem: 'invalid ticket - timestamp newer than expected' };
  if (age > check.maxAge) return { problem: 'invalid ticket - expired' };
  const unsigned = ticket.slice(0, ticket.indexOf('::'));
  const signature = Buffer.from(match[3]!, 'base64');
  if (!verify(algorithmOf(key), signedBytes(unsigned, check.additional), key, signature)) return { problem: 'invalid ticket - bad signature' };
  const data = decodeData(match[1]!);
  return data === null ? { problem: 'invalid ticket - malformed' } : { data, time };
}

/** Looks like a ticket: a password that starts so is tried as one first (spec rest-api 6.1). */
export function looksLikeTicket(password: string): boolean {
  return password.startsWith('PBS:');
}

/** Key objects from PEM; only the two kinds that tickets know. Throws an Error that does not quote the key. */
export function ticketSigningKey(pem: string): KeyObject {
  return ofKnownType(createPrivateKey(pem));
}

export function ticketVerifyKey(pem: string): KeyObject {
  return ofKnownType(createPublicKey(pem));
}

function ofKnownType(key: KeyObject): KeyObject {
  if (key.asymmetricKeyType !== 'ed25519' && key.asymmetricKeyType !== 'rsa') throw new Error(`key type ${String(key.asymmetricKeyType)} cannot sign tickets`);
  return key;
}
