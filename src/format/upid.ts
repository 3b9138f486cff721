import assert from 'node:assert/strict';
import { FormatError } from '../base/errors.ts';

/** Identity of a worker task (spec server 2). */
export interface Upid {
  node: string;
  pid: number;
  /** Start time of the process in clock ticks. */
  pstart: number;
  taskId: number;
  /** Seconds since the epoch. */
  starttime: number;
  workerType: string;
  /** Unescaped; empty when there is none. */
  workerId: string;
  authId: string;
}

const upidPattern =
  /^UPID:([a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?):([0-9A-Fa-f]{8}):([0-9A-Fa-f]{8,9}):([0-9A-Fa-f]{8,16}):([0-9A-Fa-f]{8}):([^:\s]+):([^:\s]*):([^:\s]+):$/;

/** Longest accepted UPID: it is also a file name. */
const maxUpidLength = 255;

const keptByte = /^[A-Za-z0-9_.]$/;

/** Escapes like a systemd unit name, byte by byte over UTF-8 (spec server 2): `/` becomes `-`, other bytes but `[A-Za-z0-9_.]` become `\xhh`, as does a leading dot. */
export function escapeUnit(text: string): string {
  let escaped = '';
  for (const [i, byte] of Buffer.from(text, 'utf8').entries()) {
    const char = String.fromCharCode(byte);
    if (char === '/') escaped += '-';
    else if (keptByte.test(char) && !(char === '.' && i === 0)) escaped += char;
    else escaped += `\\x${byte.toString(16).padStart(2, '0')}`;
  }
  return escaped;
}

/** Opposite of `escapeUnit`. FormatError `format.upid` for broken escapes and for bytes that are not UTF-8. */
export function unescapeUnit(text: string): string {
  const source = Buffer.from(text, 'utf8');
  const bytes: number[] = [];
  for (let i = 0; i < source.length; i += 1) {
    const byte = source[i]!;
    if (byte === 0x2d) bytes.push(0x2f);
    else if (byte === 0x5c) {
      const hex = source.toString('latin1', i + 2, i + 4);
      if (source[i + 1] !== 0x78 || !/^[0-9a-fA-F]{2}$/.test(hex)) throw new FormatError('format.upid', `bad escape in '${text.slice(0, 100)}'`);
      bytes.push(Number.parseInt(hex, 16));
      i += 3;
    } else bytes.push(byte);
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(Uint8Array.from(bytes));
  } catch (e) {
    throw new FormatError('format.upid', `'${text.slice(0, 100)}' does not unescape to UTF-8`, { cause: e });
  }
}

/** Parses UPID text; FormatError `format.upid`. The result is safe as a part of a file name in its text form. */
export function parseUpid(text: string): Upid {
  const match = text.length <= maxUpidLength ? upidPattern.exec(text) : null;
  const taskId = match === null ? Number.NaN : Number.parseInt(match[4]!, 16);
  if (match === null || !Number.isSafeInteger(taskId) || text.includes('/')) {
    throw new FormatError('format.upid', `unable to parse UPID '${text.slice(0, 300)}'`);
  }
  return {
    node: match[1]!,
    pid: Number.parseInt(match[2]!, 16),
    pstart: Number.parseInt(match[3]!, 16),
    taskId,
    starttime: Number.parseInt(match[5]!, 16),
    workerType: match[6]!,
    workerId: unescapeUnit(match[7]!),
    authId: match[8]!,
  };
}

/** UPID text. All numbers are not negative; worker type and auth id hold no `/`, `:` or white space. */
export function formatUpid(upid: Upid): string {
  for (const word of [upid.workerType, upid.authId]) assert.match(word, /^[^:/\s]+$/);
  const hex = (value: number): string => {
    assert.ok(Number.isSafeInteger(value) && value >= 0);
    return value.toString(16).toUpperCase().padStart(8, '0');
  };
  const numbers = [upid.pid, upid.pstart, upid.taskId, upid.starttime].map(hex).join(':');
  return `UPID:${upid.node}:${numbers}:${upid.workerType}:${escapeUnit(upid.workerId)}:${upid.authId}:`;
}
