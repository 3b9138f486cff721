import assert from 'node:assert/strict';
import { FormatError } from '../base/errors.ts';

/** Where a decoder stands; decoding moves `offset`. */
export interface VarintReader {
  readonly bytes: Uint8Array;
  offset: number;
}

const maxUnsignedBytes = 10;
const maxSignedBytes = 11;

function groups(magnitude: number): number[] {
  const found: number[] = [];
  let rest = magnitude;
  for (; rest >= 0x80; rest = Math.floor(rest / 0x80)) found.push((rest % 0x80) | 0x80);
  return [...found, rest];
}

/** Seven bits a byte, least significant first, bit 7 on all but the last (spec catalog 2). */
export function encodeUnsigned(value: number): Buffer {
  assert.ok(Number.isSafeInteger(value) && value >= 0, `${value} cannot be encoded`);
  return Buffer.from(groups(value));
}

/** Not zig-zag: a negative number has bit 7 on every magnitude byte and ends with a zero byte (spec catalog 2). */
export function encodeSigned(value: number): Buffer {
  assert.ok(Number.isSafeInteger(value), `${value} cannot be encoded`);
  if (value >= 0) return Buffer.from(groups(value));
  const magnitude = groups(-value);
  magnitude[magnitude.length - 1]! |= 0x80;
  return Buffer.from([...magnitude, 0]);
}

function nextByte(reader: VarintReader): number {
  const byte = reader.bytes[reader.offset];
  if (byte === undefined) throw new FormatError('format.varint', 'number is truncated');
  reader.offset += 1;
  return byte;
}

function checked(value: number): number {
  if (!Number.isSafeInteger(value)) throw new FormatError('format.varint', 'number is out of range');
  return value;
}

/** FormatError `format.varint` when truncated, longer than 10 bytes or above 2^53. */
export function decodeUnsigned(reader: VarintReader): number {
  let value = 0;
  for (let i = 0; i < maxUnsignedBytes; i += 1) {
    const byte = nextByte(reader);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return checked(value);
  }
  throw new FormatError('format.varint', `number has more than ${maxUnsignedBytes} bytes`);
}

/** FormatError `format.varint` when truncated, longer than 11 bytes or beyond 2^53. */
export function decodeSigned(reader: VarintReader): number {
  let value = 0;
  for (let i = 0; i < maxSignedBytes; i += 1) {
    const byte = nextByte(reader);
    if (byte === 0) return value === 0 ? 0 : -checked(value);
    value += (byte & 0x7f) * 2 ** (7 * i);
    if (byte < 0x80) return checked(value);
  }
  throw new FormatError('format.varint', `number has more than ${maxSignedBytes} bytes`);
}
