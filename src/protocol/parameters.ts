import assert from 'node:assert/strict';
import { IsOptional, type TObject, type TSchema } from 'typebox';
import { HttpError } from '../base/errors.ts';

/** Name of the parameter (`outer/inner`, `name/[0]` inside JSON) and what is wrong with it. */
export type ParameterFault = readonly [name: string, text: string];

/** More mistakes than anybody reads are not told: nobody shall make a server write megabytes by sending nonsense. */
const maxFaults = 100;
/** Of one request in string form. The longest lists of the API have 1024 items. */
const maxPairs = 10_000;
/** Of an array whose schema says nothing else; the reference bounds it by the body alone. */
const usualMaxItems = 10_000;

/** Status 400 with the reference's text for one or several faults (spec rest-api 3.2). Code `http.400`. */
export class ParameterError extends HttpError {
  readonly faults: readonly ParameterFault[];

  constructor(all: readonly ParameterFault[]) {
    assert.ok(all.length > 0);
    const faults = all.slice(0, maxFaults);
    const [name, text] = faults[0]!;
    super(
      400,
      faults.length === 1
        ? `parameter verification failed - '${name}': ${text}`
        : `parameter verification failed:\n${faults.map((fault) => `- '${fault[0]}': ${fault[1]}`).join('\n')}`,
    );
    this.faults = faults;
  }
}

/**
 * Keyword of a string schema for values with a grammar of their own (calendar event, byte count, group filter ...): null
 * accepts, a text is the fault. It must not throw. Example: `Type.String({ check: scheduleFault })`.
 */
export type ValueCheck = (value: string) => string | null;

const formats = new Map<string, ValueCheck>();

/**
 * Ties the `format` keyword to its check, for schemas that name a grammar of another layer instead of carrying `check`. The
 * composition root does it before endpoints are registered; a schema with an unknown format is refused.
 */
export function registerParameterFormat(name: string, check: ValueCheck): void {
  assert.ok(!formats.has(name), `format ${name} is registered once`);
  formats.set(name, check);
}

type Kind = 'string' | 'boolean' | 'integer' | 'number' | 'array' | 'object' | 'enum';

/** The keywords that count here, of one schema. */
interface Rule {
  kind: Kind;
  optional: boolean;
  choices: readonly string[];
  pattern: RegExp | undefined;
  minLength: number;
  maxLength: number;
  minimum: number;
  maximum: number;
  check: ValueCheck | undefined;
  items: Rule | undefined;
  minItems: number;
  maxItems: number;
  fields: ReadonlyMap<string, Rule> | undefined;
  /** Unknown names are let through, unchecked. */
  open: boolean;
}

const rules = new WeakMap<TSchema, Rule>();

/** Keywords of `schema`, read once. An assertion fails for what this checker does not know: better at start than unchecked. */
function ruleOf(schema: TSchema): Rule {
  const known = rules.get(schema);
  if (known !== undefined) return known;
  const keywords = schema as unknown as Record<string, unknown>;
  const number = (name: string, otherwise: number): number => (typeof keywords[name] === 'number' ? keywords[name] : otherwise);
  const choices = choicesOf(keywords);
  const kind = choices === null ? keywords['type'] : 'enum';
  assert.ok(['string', 'boolean', 'integer', 'number', 'array', 'object', 'enum'].includes(kind as string), `schema of kind ${String(kind)} cannot be a parameter`);
  const items = keywords['items'] as TSchema | undefined;
  const properties = keywords['properties'] as Record<string, TSchema> | undefined;
  const rule: Rule = {
    kind: kind as Kind,
    optional: IsOptional(schema),
    choices: choices ?? [],
    pattern: typeof keywords['pattern'] === 'string' ? new RegExp(keywords['pattern'], 'u') : undefined,
    minLength: number('minLength', 0),
    maxLength: number('maxLength', Infinity),
    minimum: number('minimum', -Infinity),
    maximum: number('maximum', Infinity),
    check: checkOf(keywords),
    items: items === undefined ? undefined : ruleOf(items),
    minItems: number('minItems', 0),
    maxItems: number('maxItems', usualMaxItems),
    fields: properties === undefined ? undefined : new Map(Object.entries(properties).map(([name, field]) => [name, ruleOf(field)])),
    open: keywords['additionalProperties'] === true,
  };
  assert.ok(rule.kind !== 'array' || rule.items !== undefined, 'an array parameter needs `items`');
  assert.ok(rule.kind !== 'object' || rule.fields !== undefined, 'an object parameter needs `properties`');
  rules.set(schema, rule);
  return rule;
}

function checkOf(keywords: Record<string, unknown>): ValueCheck | undefined {
  const format = keywords['format'];
  if (typeof format !== 'string') return keywords['check'] as ValueCheck | undefined;
  assert.ok(keywords['check'] === undefined && formats.has(format), `format ${format} is not registered, or stands beside a check`);
  return formats.get(format);
}

function choicesOf(keywords: Record<string, unknown>): string[] | null {
  if (Array.isArray(keywords['enum'])) return keywords['enum'].map(String);
  if (typeof keywords['const'] === 'string') return [keywords['const']];
  if (!Array.isArray(keywords['anyOf'])) return null;
  return keywords['anyOf'].map((one: { const?: unknown }) => {
    assert.ok(typeof one.const === 'string', 'a union parameter must be one of text literals');
    return one.const;
  });
}

/** Fails an assertion when the checks below cannot handle `schema`; called where endpoints are registered. */
export function assertParameterSchema(schema: TObject): void {
  assert.equal(ruleOf(schema).kind, 'object');
}

/** Pairs of a query or of a form body, in order: `+` is a space, broken escapes stay as they are, broken UTF-8 becomes U+FFFD. `_dc` is dropped. HttpError 400 for more than any method takes. */
export function decodeForm(text: string): Array<[string, string]> {
  for (let count = 1, at = text.indexOf('&'); at >= 0; at = text.indexOf('&', at + 1), count += 1) {
    if (count >= maxPairs) throw new HttpError(400, `more than ${maxPairs} parameters`);
  }
  // The leading `&` keeps URLSearchParams from taking a `?` away.
  return [...new URLSearchParams(`&${text}`)].filter(([name]) => name !== '_dc');
}

/**
 * Checks parameters in string form (spec rest-api 2): query, form body and URI, merged by the caller. Arrays are repeated names.
 * Returns typed values; throws ParameterError with all faults, in the order of the pairs.
 */
export function checkPairs(schema: TObject, pairs: Iterable<readonly [string, string]>): Record<string, unknown> {
  const rule = ruleOf(schema);
  const values = newRecord();
  const faults: ParameterFault[] = [];
  for (const [name, text] of pairs) {
    if (faults.length >= maxFaults) break;
    const field = rule.fields!.get(name);
    if (field === undefined) {
      if (rule.open) values[name] = text;
      else faults.push([name, 'schema does not allow additional properties.']);
    } else if (field.kind === 'array') {
      const value = parseText(field.items!, text, name, faults);
      const list = (values[name] ??= []) as unknown[];
      if (value !== undefined) list.push(value);
    } else if (Object.hasOwn(values, name)) {
      faults.push([name, 'duplicate parameter.']);
    } else {
      const value = parseText(field, text, name, faults);
      if (value !== undefined) values[name] = value;
    }
  }
  for (const [name, field] of rule.fields!) {
    const list = values[name];
    if (field.kind === 'array' && Array.isArray(list)) checkListLength(field, list, name, faults);
  }
  if (faults.length === 0) {
    for (const [name, field] of rule.fields!) {
      if (!field.optional && !Object.hasOwn(values, name)) faults.push([name, 'parameter is missing and it is not optional.']);
    }
  }
  if (faults.length > 0) throw new ParameterError(faults);
  return values;
}

/**
 * Checks parameters in JSON form. `uri` pairs are in string form and override equal names. Throws HttpError 400 when `value` is no
 * object, ParameterError with all faults otherwise: present ones by name, then missing ones.
 */
export function checkJson(schema: TObject, value: unknown, uri: Iterable<readonly [string, string]> = []): Record<string, unknown> {
  if (Array.isArray(value)) throw new HttpError(400, 'Expected object - got array.');
  if (typeof value !== 'object' || value === null) throw new HttpError(400, 'Expected object - got scalar value.');
  const rule = ruleOf(schema);
  const faults: ParameterFault[] = [];
  const given = Object.assign(newRecord(), value);
  for (const [name, text] of uri) {
    const field = rule.fields!.get(name);
    // A value that is no number or boolean stays text and gets its fault below.
    const typed = field === undefined || field.kind === 'array' ? text : parseText(field, text, name, []);
    given[name] = typed ?? text;
  }
  const values = checkFields(rule, given, '', faults);
  if (faults.length > 0) throw new ParameterError(faults);
  return values;
}

/** Never has a prototype: a parameter called `constructor` is a parameter. */
function newRecord(): Record<string, unknown> {
  return Object.create(null) as Record<string, unknown>;
}

function checkFields(rule: Rule, given: Record<string, unknown>, prefix: string, faults: ParameterFault[]): Record<string, unknown> {
  const values = newRecord();
  for (const name of Object.keys(given).sort()) {
    const field = rule.fields!.get(name);
    if (field !== undefined) values[name] = checkValue(field, given[name], prefix + name, faults);
    else if (rule.open) values[name] = given[name];
    else faults.push([prefix + name, 'schema does not allow additional properties']);
  }
  for (const name of [...rule.fields!.keys()].sort()) {
    if (rule.fields!.get(name)!.optional || (Object.hasOwn(given, name) && given[name] !== null)) continue;
    faults.push([prefix + name, 'property is missing and it is not optional']);
  }
  return values;
}

function checkValue(rule: Rule, value: unknown, name: string, faults: ParameterFault[]): unknown {
  const fault = (text: string): undefined => void faults.push([name, text]);
  switch (rule.kind) {
    case 'boolean':
      return typeof value === 'boolean' ? value : fault('Expected boolean value.');
    case 'integer':
      return Number.isSafeInteger(value) ? inRange(rule, value as number, name, faults) : fault('Expected integer value.');
    case 'number':
      return typeof value === 'number' ? inRange(rule, value, name, faults) : fault('Expected number value.');
    case 'array': {
      if (!Array.isArray(value)) return fault(`Expected array - got ${shapeOf(value)}.`);
      checkListLength(rule, value, name, faults);
      const items: unknown[] = [];
      // The reference stops at the first bad item.
      const before = faults.length;
      for (let i = 0; i < value.length && faults.length === before; i += 1) items.push(checkValue(rule.items!, value[i], `${name}/[${i}]`, faults));
      return items;
    }
    case 'object':
      if (typeof value !== 'object' || value === null || Array.isArray(value)) return fault(`Expected object - got ${shapeOf(value)}.`);
      return checkFields(rule, Object.assign(newRecord(), value), `${name}/`, faults);
    case 'string':
    case 'enum':
      return typeof value === 'string' ? checkText(rule, value, name, faults) : fault('Expected string value.');
    default:
      return rule.kind satisfies never;
  }
}

function shapeOf(value: unknown): string {
  if (Array.isArray(value)) return 'array';
  return typeof value === 'object' && value !== null ? 'object' : 'scalar value';
}

/** Value of a parameter in string form; undefined after a fault. */
function parseText(rule: Rule, text: string, name: string, faults: ParameterFault[]): unknown {
  switch (rule.kind) {
    case 'boolean':
      if (/^(?:1|on|yes|true)$/i.test(text)) return true;
      if (/^(?:0|off|no|false)$/i.test(text)) return false;
      faults.push([name, 'Unable to parse boolean option.']);
      return undefined;
    case 'integer': {
      const value = Number(text);
      const fault = integerFault(text, value);
      if (fault === null) return inRange(rule, value, name, faults);
      faults.push([name, fault]);
      return undefined;
    }
    case 'number':
      if (/^[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]+)?$/i.test(text)) return inRange(rule, Number(text), name, faults);
      faults.push([name, 'invalid float literal']);
      return undefined;
    case 'array':
    case 'object':
      faults.push([name, `Expected ${rule.kind} - got scalar value.`]);
      return undefined;
    case 'string':
    case 'enum':
      return checkText(rule, text, name, faults);
    default:
      return rule.kind satisfies never;
  }
}

function integerFault(text: string, value: number): string | null {
  if (text === '') return 'cannot parse integer from empty string';
  if (!/^[+-]?[0-9]+$/.test(text)) return 'invalid digit found in string';
  if (Number.isSafeInteger(value)) return null;
  return `number too ${value < 0 ? 'small' : 'large'} to fit in target type`;
}

function inRange(rule: Rule, value: number, name: string, faults: ParameterFault[]): number | undefined {
  if (value < rule.minimum) faults.push([name, `value must have a minimum value of ${rule.minimum} (got ${value})`]);
  else if (value > rule.maximum) faults.push([name, `value must have a maximum value of ${rule.maximum} (got ${value})`]);
  else return value;
  return undefined;
}

function checkText(rule: Rule, text: string, name: string, faults: ParameterFault[]): string | undefined {
  const fault = textFault(rule, text);
  if (fault === null) return text;
  faults.push([name, fault]);
  return undefined;
}

function textFault(rule: Rule, text: string): string | null {
  if (rule.kind === 'enum') return rule.choices.includes(text) ? null : `value '${text}' is not defined in the enumeration.`;
  if (rule.minLength > 0 || rule.maxLength !== Infinity) {
    // Code points, as the reference counts.
    const length = Array.from(text).length;
    if (length < rule.minLength) return `value must be at least ${rule.minLength} characters long`;
    if (length > rule.maxLength) return `value may only be ${rule.maxLength} characters long`;
  }
  if (rule.pattern !== undefined && !rule.pattern.test(text)) return 'value does not match the regex pattern';
  return rule.check === undefined ? null : rule.check(text);
}

function checkListLength(rule: Rule, list: readonly unknown[], name: string, faults: ParameterFault[]): void {
  if (list.length < rule.minItems) faults.push([name, `array must contain at least ${rule.minItems} elements`]);
  if (list.length > rule.maxItems) faults.push([name, `array may only contain ${rule.maxItems} elements`]);
}
