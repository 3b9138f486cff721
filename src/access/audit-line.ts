import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { FormatError } from '../base/errors.ts';

/**
 * One line of the audit log: a JSON object that ends with `"hash"`, SHA-256 in hex over the hash of the line before, a line feed, and this line without its hash.
 * Whoever changes, inserts or removes a line has to change the hash of every later line; the last one can be noted elsewhere.
 */

/** What a line says; order and names are those in the file. */
export interface AuditEvent {
  /** `call`: a change asked for through the API; `session`, `download`: data went out or comes in; `login-failure`; `task`: a worker task started; `start`, `stop`: the server; `torn`: see audit-log.ts. */
  event: 'call' | 'session' | 'download' | 'login-failure' | 'task' | 'start' | 'stop' | 'torn';
  /** `user@realm` or `user@realm!token`; empty when nobody is known. */
  auth: string;
  /** `unix`: the local socket; `local`: the server itself. */
  address: string;
  method?: string;
  path?: string;
  /** Without secrets. */
  parameters?: Readonly<Record<string, unknown>>;
  status?: number;
  message?: string;
  upid?: string;
  /** Of a torn line: its length and its SHA-256. */
  bytes?: number;
  sha256?: string;
  /** Failed logins before this one that were too many to be written. */
  omitted?: number;
}

export interface AuditLine extends AuditEvent {
  /** Grows by one from line to line, across files. */
  seq: number;
  /** ISO 8601 with milliseconds, UTC. */
  time: string;
  /** Hash of the line before; 64 zeros before the first one. */
  prev: string;
  hash: string;
}

export const firstPrevious = '0'.repeat(64);

/** Bytes of a line without its line feed: longer ones are not written, and not read. */
export const maxAuditLine = 64 * 1024;

export function auditHash(previous: string, body: string): string {
  return createHash('sha256').update(`${previous}\n${body}`).digest('hex');
}

/** The line without line feed. `event` must be JSON of less than 60 KiB. */
export function formatAuditLine(place: { seq: number; time: string; prev: string }, event: AuditEvent): { text: string; hash: string } {
  const body = JSON.stringify({ ...place, ...event });
  const hash = auditHash(place.prev, body);
  const text = `${body.slice(0, -1)},"hash":"${hash}"}`;
  assert.ok(Buffer.byteLength(text) <= maxAuditLine, 'an audit line has a limit');
  return { text, hash };
}

const hashAtEnd = /,"hash":"([0-9a-f]{64})"\}$/;
const timePattern = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;

/** Reads a line and checks its own hash against the previous hash that it names. FormatError `format.audit` says what is wrong with it. */
export function parseAuditLine(text: string): AuditLine {
  const fail = (what: string): never => {
    throw new FormatError('format.audit', what);
  };
  if (text.length > maxAuditLine) fail('the line is too long');
  const match = hashAtEnd.exec(text) ?? fail('the line does not end with a hash');
  const body = `${text.slice(0, match.index)}}`;
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    fail('the line is not JSON');
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) fail('the line is not an object');
  const line = value as AuditLine;
  // One text for one meaning: no doubled keys, no other way to write the same.
  if (JSON.stringify(line) !== text) fail('the line is not written as it would be');
  if (!Number.isSafeInteger(line.seq) || line.seq < 1) fail('the line has no number');
  if (typeof line.time !== 'string' || !timePattern.test(line.time)) fail('the line has no time');
  if (typeof line.prev !== 'string' || !/^[0-9a-f]{64}$/.test(line.prev)) fail('the line does not name the hash of the line before');
  if (typeof line.event !== 'string' || typeof line.auth !== 'string' || typeof line.address !== 'string') fail('the line does not say who did what from where');
  if (auditHash(line.prev, body) !== match[1]) fail('the content does not match the hash: the line was changed');
  return line;
}
