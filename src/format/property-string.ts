import { FormatError } from '../base/errors.ts';

/** One `key=value` piece of a property string, quotes and escapes resolved. */
export type PropertyPair = readonly [key: string, value: string];

function fail(why: string): never {
  throw new FormatError('format.property-string', why);
}

/** Value that starts with a quote at `at`; returns the value and the offset behind the closing quote. */
function quoted(text: string, at: number): { value: string; end: number } {
  let value = '';
  for (let i = at + 1; i < text.length; i += 1) {
    const char = text[i]!;
    if (char === '"') return { value, end: i + 1 };
    if (char !== '\\') {
      value += char;
      continue;
    }
    i += 1;
    const escaped = text[i];
    if (escaped === '"' || escaped === '\\') value += escaped;
    else if (escaped === 'n') value += '\n';
    else fail(escaped === undefined ? 'unterminated escape sequence' : `invalid escape sequence \\${escaped}`);
  }
  return fail('unterminated quoted string');
}

const keyPattern = /([^=,"]*)=/y;

/**
 * Pieces of `[value][,key=value]...` in order (spec rest-api 2). A piece without `=` is the value of `defaultKey`; keys may repeat, the
 * caller's schema says whether that is allowed. Empty text has no pieces. FormatError `format.property-string`.
 */
export function parsePropertyString(text: string, defaultKey?: string): PropertyPair[] {
  const pairs: PropertyPair[] = [];
  if (text === '') return pairs;
  for (let at = 0; ; at += 1) {
    keyPattern.lastIndex = at;
    const keyMatch = keyPattern.exec(text);
    const key = keyMatch === null ? defaultKey : keyMatch[1]!.trim();
    if (key === undefined) return fail('value without key, but schema does not define a default key');
    if (key === '') fail('empty key');
    const start = at + (keyMatch?.[0].length ?? 0);
    let value: string;
    if (text[start] === '"') {
      const string = quoted(text, start);
      value = string.value;
      at = string.end;
      if (at < text.length && text[at] !== ',') fail(`unexpected text after closing quote of '${key}'`);
    } else {
      const comma = text.indexOf(',', start);
      at = comma === -1 ? text.length : comma;
      value = text.slice(start, at);
      if (value === '' && keyMatch === null) fail('empty piece');
    }
    pairs.push([key, value]);
    if (at >= text.length) return pairs;
  }
}

function needsQuotes(value: string): boolean {
  return value === '' || /[",=\\\n]/.test(value);
}

/** Opposite of `parsePropertyString`; values are quoted only where they must be. The value of `defaultKey` comes first, without its key. */
export function formatPropertyString(pairs: Iterable<PropertyPair>, defaultKey?: string): string {
  const pieces: string[] = [];
  for (const [key, value] of pairs) {
    const text = needsQuotes(value) ? `"${value.replaceAll(/["\\]/g, '\\$&').replaceAll('\n', '\\n')}"` : value;
    if (key === defaultKey) pieces.unshift(text);
    else pieces.push(`${key}=${text}`);
  }
  return pieces.join(',');
}

/** Items of a list inside a string: split at `,`, `;` or white space, empty items dropped (spec rest-api 2). */
export function parseListString(text: string): string[] {
  return text.split(/[,;\s]+/).filter((item) => item !== '');
}
