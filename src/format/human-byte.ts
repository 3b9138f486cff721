import { FormatError } from '../base/errors.ts';
import { humanSize } from '../base/human-size.ts';

const maxLength = 64;
const maxU64 = 2 ** 64;

/** `i` only in lower case, all other letters in either; the final `b` is optional (spec calendar-events 4, rest-api 2). */
const pattern = /^([0-9]+(?:\.[0-9]*)?(?:[eE][+-]?[0-9]+)?) *(?:([kmgtpKMGTP])(i?))?[bB]?$/;
const prefixes = 'KMGTP';

function parts(text: string): { value: number; unit: string; scale: number } {
  if (text.startsWith('-')) throw new FormatError('format.human-byte', 'byte size may not be negative');
  const match = text.length <= maxLength ? pattern.exec(text) : null;
  const value = Number(match?.[1]);
  if (match === null || !Number.isFinite(value)) throw new FormatError('format.human-byte', `'${text.slice(0, maxLength)}' is not a byte size`);
  if (match[2] === undefined) return { value, unit: 'B', scale: 1 };
  const prefix = match[2].toUpperCase();
  const isBinary = match[3] === 'i';
  return { value, unit: `${prefix}${isBinary ? 'i' : ''}B`, scale: (isBinary ? 1024 : 1000) ** (prefixes.indexOf(prefix) + 1) };
}

/**
 * Bytes that text such as `1.5MiB`, `10 M`, `512` means, cut down to a whole number, at most 2^64 (above 2^53 it is approximate).
 * FormatError `format.human-byte`.
 */
export function parseHumanByte(text: string): number {
  const { value, scale } = parts(text);
  return Math.min(Math.floor(value * scale), maxU64);
}

/** Text as it is stored and returned: number with at most three decimals, blank, unit as given (`0.5GB` to `0.5 GB`). FormatError `format.human-byte`. */
export function normalizeHumanByte(text: string): string {
  const { value, unit } = parts(text);
  return `${Number(value.toFixed(3))} ${unit}`;
}

/** A count of bytes in the binary unit that fits, e.g. `1.5 MiB`. */
export function formatHumanByte(bytes: number): string {
  return humanSize(bytes);
}
