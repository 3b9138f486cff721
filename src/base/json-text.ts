import { FormatError } from './errors.ts';

export type JsonValue = null | boolean | number | string | JsonValue[] | { [key: string]: JsonValue };

/** Deeper documents are refused, so that recursion over a parsed one is safe. */
const maxDepth = 100;

const utf8 = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

function checkValue(value: JsonValue, depth: number): void {
  if (depth > maxDepth) throw new FormatError('format.json', `JSON is nested deeper than ${maxDepth} levels`);
  if (typeof value === 'string') {
    if (!value.isWellFormed()) throw new FormatError('format.json', 'JSON string is not valid Unicode');
  } else if (typeof value === 'number') {
    if (!Number.isFinite(value)) throw new FormatError('format.json', 'JSON number is out of range');
  } else if (typeof value === 'object' && value !== null) {
    for (const [key, inner] of Object.entries(value)) {
      checkValue(key, depth);
      checkValue(inner, depth + 1);
    }
  }
}

/** Strict JSON from untrusted bytes: valid UTF-8, no byte order mark, valid Unicode, at most 100 levels. FormatError `format.json`. */
export function parseJson(bytes: Uint8Array): JsonValue {
  let value: JsonValue;
  try {
    value = JSON.parse(utf8.decode(bytes)) as JsonValue;
  } catch (e) {
    throw new FormatError('format.json', 'not valid JSON', { cause: e });
  }
  checkValue(value, 0);
  return value;
}

/** True for an object that is neither null nor an array. */
export function isJsonObject(value: JsonValue | undefined): value is { [key: string]: JsonValue } {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Byte order of UTF-8, which for code points above U+FFFF is not the order of JavaScript strings. */
function compareUtf8(a: string, b: string): number {
  return Buffer.compare(Buffer.from(a, 'utf8'), Buffer.from(b, 'utf8'));
}

function write(value: JsonValue, newline: string, indent: string, colon: string): string {
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  const inner = newline + indent;
  const isArray = Array.isArray(value);
  // Sorted here and not by building a sorted object: engines put keys that look like numbers first.
  const items = isArray
    ? value.map((item) => write(item, inner, indent, colon))
    : Object.keys(value)
        .toSorted(compareUtf8)
        .map((key) => JSON.stringify(key) + colon + write(value[key]!, inner, indent, colon));
  const [open, close] = isArray ? ['[', ']'] : ['{', '}'];
  return items.length === 0 ? open + close : `${open}${inner}${items.join(`,${inner}`)}${newline}${close}`;
}

/** Pretty JSON, keys at every level in byte order, two-space indent, no final newline (spec formats 5.1). */
export function prettySortedJson(value: JsonValue): string {
  return write(value, '\n', '  ', ': ');
}

/** Canonical JSON: keys at every level in byte order, no white space (spec formats 5.3). */
export function canonicalJson(value: JsonValue): string {
  return write(value, '', '', ':');
}
