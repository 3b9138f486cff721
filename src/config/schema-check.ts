import assert from 'node:assert/strict';
import { isIP } from 'node:net';
import type { TArray, TObject, TSchema } from 'typebox';
import { toError } from '../base/errors.ts';
import { isAuthId, isUserId } from '../format/auth-id.ts';
import { formatPropertyString, parsePropertyString, type PropertyPair } from '../format/property-string.ts';

/** Outcome of reading a text by a schema: the value, or what the reference says about it (spec rest-api 2). */
export type Checked = { value: unknown } | { problem: string };

/** A check beyond the pattern, by the schema's `format`. Returns what is wrong, or null. */
export type FormatCheck = (text: string) => string | null;

/** An address, a slash, and a prefix length that fits its family. */
function isNetwork(text: string): boolean {
  const [address, prefix, ...more] = text.split('/');
  const family = isIP(address ?? '');
  return family !== 0 && more.length === 0 && prefix !== undefined && /^[0-9]{1,3}$/.test(prefix) && Number(prefix) <= (family === 4 ? 32 : 128);
}

const formats = new Map<string, FormatCheck>([
  ['namespace', (text) => (text !== '' && text.split('/').length > 7 ? 'namespace too deep, 8 >= max 7' : null)],
  ['cidr', (text) => (isNetwork(text) ? null : 'value does not match the regex pattern')],
  ['user-id', (text) => (isUserId(text) ? null : 'value does not match the regex pattern')],
  ['auth-id', (text) => (isAuthId(text) ? null : 'value does not match the regex pattern')],
  ['host', (text) => (text.includes(':') && isIP(text) !== 6 ? 'value does not match the regex pattern' : null)],
]);

/** Adds a grammar that is at home in a higher layer. The composition root does this once; the same name twice is a programmer error. */
export function registerFormat(name: string, check: FormatCheck): void {
  assert.ok(!formats.has(name), `format ${name} is registered once`);
  formats.set(name, check);
}

interface PropertyStringKeywords {
  propertyString?: TObject;
  defaultKey?: string;
}

interface Limits extends PropertyStringKeywords {
  type?: string;
  enum?: unknown[];
  pattern?: string;
  format?: string;
  minLength?: number;
  maxLength?: number;
  minimum?: number;
  maximum?: number;
}

const patterns = new Map<string, RegExp>();

function compiled(pattern: string): RegExp {
  let regexp = patterns.get(pattern);
  if (regexp === undefined) {
    regexp = new RegExp(pattern, 'u');
    patterns.set(pattern, regexp);
  }
  return regexp;
}

/** Length as the reference counts it: Unicode scalar values. */
function lengthOf(text: string): number {
  let length = 0;
  for (const _ of text) length += 1;
  return length;
}

function stringProblem(schema: Limits, value: string): string | null {
  if (schema.minLength !== undefined && lengthOf(value) < schema.minLength) return `value must be at least ${schema.minLength} characters long`;
  if (schema.maxLength !== undefined && lengthOf(value) > schema.maxLength) return `value may only be ${schema.maxLength} characters long`;
  if (schema.pattern !== undefined && !compiled(schema.pattern).test(value)) return 'value does not match the regex pattern';
  if (schema.format !== undefined) return formats.get(schema.format)?.(value) ?? null;
  if (schema.propertyString === undefined) return null;
  const read = readPropertyString(schema, value);
  return 'problem' in read ? read.problem : null;
}

function numberProblem(schema: Limits, value: number): string | null {
  if (schema.minimum !== undefined && value < schema.minimum) return `value must have a minimum value of ${schema.minimum} (got ${value})`;
  if (schema.maximum !== undefined && value > schema.maximum) return `value must have a maximum value of ${schema.maximum} (got ${value})`;
  return null;
}

/** What is wrong with one value that is not an object, in the reference's words; null when it fits. */
export function scalarProblem(schema: TSchema, value: unknown): string | null {
  const limits = schema as Limits;
  if (limits.enum !== undefined) return limits.enum.includes(value) ? null : `value '${String(value)}' is not defined in the enumeration.`;
  switch (limits.type ?? 'absent') {
    case 'string':
      return typeof value === 'string' ? stringProblem(limits, value) : 'Expected string value.';
    case 'boolean':
      return typeof value === 'boolean' ? null : 'Expected boolean value.';
    case 'integer':
      return typeof value === 'number' && Number.isSafeInteger(value) ? numberProblem(limits, value) : 'Expected integer value.';
    case 'number':
      return typeof value === 'number' && Number.isFinite(value) ? numberProblem(limits, value) : 'Expected number value.';
    default:
      return assert.fail(`schema of type ${String(limits.type)} has no text form`);
  }
}

const trueWords = new Set(['1', 'on', 'yes', 'true']);
const falseWords = new Set(['0', 'off', 'no', 'false']);

/** Reads the text form of a boolean, integer, number, string or enum value (spec rest-api 2, Types in string form). */
export function readScalar(schema: TSchema, text: string): Checked {
  const { type } = schema as Limits;
  let value: unknown = text;
  if (type === 'boolean') {
    const word = text.toLowerCase();
    if (!trueWords.has(word) && !falseWords.has(word)) return { problem: 'Unable to parse boolean option.' };
    value = trueWords.has(word);
  } else if (type === 'integer') {
    if (!/^[+-]?[0-9]+$/.test(text) || !Number.isSafeInteger(Number(text))) return { problem: 'invalid digit found in string' };
    value = Number(text);
  } else if (type === 'number') {
    if (!/^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?$/.test(text)) return { problem: 'invalid float literal' };
    value = Number(text);
  }
  const problem = scalarProblem(schema, value);
  return problem === null ? { value } : { problem };
}

/** The schema of the items of an array schema; null for every other schema. */
export function itemsOf(schema: TSchema): TSchema | null {
  return (schema as Limits).type === 'array' ? ((schema as TArray).items) : null;
}

export function isRequired(object: TObject, name: string): boolean {
  return (object.required as string[] | undefined)?.includes(name) ?? false;
}

/** What is wrong with a record of scalars and lists of scalars; the first problem in the order of the schema. Unknown names are not looked at. */
export function recordProblem(object: TObject, record: Readonly<Record<string, unknown>>): { name: string; problem: string } | null {
  for (const [name, schema] of Object.entries(object.properties)) {
    const value = record[name];
    if (value === undefined || value === null) {
      if (isRequired(object, name)) return { name, problem: 'property is missing and it is not optional' };
      continue;
    }
    const items = itemsOf(schema);
    const problem = items === null ? scalarProblem(schema, value) : listProblem(schema as TArray, items, value);
    if (problem !== null) return { name, problem };
  }
  return null;
}

function listProblem(schema: TArray, items: TSchema, value: unknown): string | null {
  if (!Array.isArray(value)) return 'Expected array - got scalar value.';
  const { minItems, maxItems } = schema as { minItems?: number; maxItems?: number };
  if (minItems !== undefined && value.length < minItems) return `array must contain at least ${minItems} elements`;
  if (maxItems !== undefined && value.length > maxItems) return `array may only contain ${maxItems} elements`;
  for (const item of value) {
    const problem = scalarProblem(items, item);
    if (problem !== null) return problem;
  }
  return null;
}

/** Reads a property string (spec rest-api 2) by the object that its schema names. */
export function readPropertyString(schema: TSchema, text: string): { value: Record<string, unknown> } | { problem: string } {
  const { propertyString: object, defaultKey } = schema as PropertyStringKeywords;
  assert.ok(object !== undefined, 'the schema is of a property string');
  let pairs: PropertyPair[];
  try {
    pairs = parsePropertyString(text, defaultKey);
  } catch (e) {
    return { problem: toError(e).message };
  }
  const value: Record<string, unknown> = {};
  for (const [key, item] of pairs) {
    if (!Object.hasOwn(object.properties, key)) return { problem: `'${key}': schema does not allow additional properties.` };
    if (Object.hasOwn(value, key)) return { problem: `'${key}': duplicate key` };
    const read = readScalar(object.properties[key]!, item);
    if ('problem' in read) return { problem: `'${key}': ${read.problem}` };
    value[key] = read.value;
  }
  const missing = Object.keys(object.properties).find((key) => isRequired(object, key) && !Object.hasOwn(value, key));
  return missing === undefined ? { value } : { problem: `'${missing}': parameter is missing and it is not optional.` };
}

/** Opposite of `readPropertyString`, normalised as the reference stores it: the default key first, the others in the schema's order. */
export function writePropertyString(schema: TSchema, record: Readonly<Record<string, unknown>>): string {
  const { propertyString: object, defaultKey } = schema as PropertyStringKeywords;
  assert.ok(object !== undefined, 'the schema is of a property string');
  const names = Object.keys(object.properties).filter((name) => record[name] !== undefined && record[name] !== null);
  return formatPropertyString(names.map((name): PropertyPair => [name, String(record[name])]), defaultKey);
}
