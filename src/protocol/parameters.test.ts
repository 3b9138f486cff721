import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { Type, type TObject } from 'typebox';
import { HttpError } from '../base/errors.ts';
import { assertParameterSchema, checkJson, checkPairs, decodeForm, ParameterError, registerParameterFormat } from './parameters.ts';

/** The task list's parameters, and those of a new user, as the reference declares them. */
const tasks = Type.Object({
  node: Type.String({ pattern: '^[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?$' }),
  limit: Type.Optional(Type.Integer()),
  start: Type.Optional(Type.Integer()),
  running: Type.Optional(Type.Boolean()),
  errors: Type.Optional(Type.Boolean()),
});
const user = Type.Object({
  userid: Type.String({ minLength: 3, maxLength: 64 }),
  password: Type.Optional(Type.String({ minLength: 8, maxLength: 64 })),
  // oxlint-disable-next-line no-control-regex -- the reference's class
  comment: Type.Optional(Type.String({ maxLength: 128, pattern: '^[^\\x00-\\x1f\\x7f]*$' })),
  enable: Type.Optional(Type.Boolean()),
  expire: Type.Optional(Type.Integer({ minimum: 0 })),
});
const store = Type.Object({
  name: Type.String({ minLength: 3 }),
  delete: Type.Optional(Type.Array(Type.Enum(['comment', 'gc-schedule']), { maxItems: 3 })),
  'keep-last': Type.Optional(Type.Integer({ minimum: 1 })),
  'gc-schedule': Type.Optional(Type.String({ check: (text: string) => (text === 'banana' ? 'no fruit' : null) })),
});

function refusal(work: () => unknown): string {
  try {
    work();
  } catch (e) {
    assert.ok(e instanceof HttpError && e.status === 400);
    return e.message;
  }
  return 'accepted';
}

const extra = 'schema does not allow additional properties';

// Every answer here was given by the reference to the same query.
const recordedTexts: Array<[schema: TObject, form: string, answer: string]> = [
  [tasks, 'limit=abc', "parameter verification failed - 'limit': invalid digit found in string"],
  [tasks, 'limit=-1&start=x', "parameter verification failed - 'start': invalid digit found in string"],
  [tasks, 'limit=%2B5', 'accepted'],
  [tasks, 'limit=%205', "parameter verification failed - 'limit': invalid digit found in string"],
  [tasks, 'limit=5.0', "parameter verification failed - 'limit': invalid digit found in string"],
  [tasks, 'limit=', "parameter verification failed - 'limit': cannot parse integer from empty string"],
  [tasks, 'limit', "parameter verification failed - 'limit': cannot parse integer from empty string"],
  [tasks, 'limit=99999999999999999999', "parameter verification failed - 'limit': number too large to fit in target type"],
  [tasks, 'limit=%ZZ', "parameter verification failed - 'limit': invalid digit found in string"],
  [tasks, 'running=maybe', "parameter verification failed - 'running': Unable to parse boolean option."],
  [tasks, 'running=', "parameter verification failed - 'running': Unable to parse boolean option."],
  [tasks, 'running=TRUE', 'accepted'],
  [tasks, '&&limit=1', 'accepted'],
  [tasks, '=1', `parameter verification failed - '': ${extra}.`],
  [tasks, '_dc=1&limit=1', 'accepted'],
  [tasks, 'limit=1&limit=2', "parameter verification failed - 'limit': duplicate parameter."],
  [tasks, 'zz=1&limit=a&aa=2&errors=x', `parameter verification failed:\n- 'zz': ${extra}.\n- 'limit': invalid digit found in string\n- 'aa': ${extra}.\n- 'errors': Unable to parse boolean option.`],
  [user, '', "parameter verification failed - 'userid': parameter is missing and it is not optional."],
  [user, 'userid=a&comment=%01', "parameter verification failed:\n- 'userid': value must be at least 3 characters long\n- 'comment': value does not match the regex pattern"],
  [user, 'userid=aab%40pbs&password=%C3%A4%C3%A4%C3%A4%C3%A4', "parameter verification failed - 'password': value must be at least 8 characters long"],
  [user, `userid=aab%40pbs&comment=${'%C3%A4'.repeat(65)}`, 'accepted'],
  [user, `userid=aab%40pbs&comment=${'%C3%A4'.repeat(129)}`, "parameter verification failed - 'comment': value may only be 128 characters long"],
  [user, 'bogus=1', `parameter verification failed - 'bogus': ${extra}.`],
  [user, 'userid=x%40pbs&enable=2&expire=-5&bogus=1', `parameter verification failed:\n- 'enable': Unable to parse boolean option.\n- 'expire': value must have a minimum value of 0 (got -5)\n- 'bogus': ${extra}.`],
  [store, 'delete=comment&delete=foo&delete=bar&name=main', "parameter verification failed:\n- 'delete': value 'foo' is not defined in the enumeration.\n- 'delete': value 'bar' is not defined in the enumeration."],
  [store, 'delete=comment,foo&name=main', "parameter verification failed - 'delete': value 'comment,foo' is not defined in the enumeration."],
  [store, 'keep-last=0&name=m', "parameter verification failed:\n- 'keep-last': value must have a minimum value of 1 (got 0)\n- 'name': value must be at least 3 characters long"],
  [store, 'gc-schedule=banana&name=main', "parameter verification failed - 'gc-schedule': no fruit"],
];

test('string form: the answers of the reference', () => {
  for (const [schema, form, answer] of recordedTexts) {
    const pairs = [...decodeForm(form), ...(schema === tasks ? [['node', 'localhost'] as [string, string]] : [])];
    assert.equal(refusal(() => checkPairs(schema, pairs)), answer, form);
  }
});

const recordedJson: Array<[schema: TObject, body: string, answer: string]> = [
  [user, '[1]', 'Expected object - got array.'],
  [user, '5', 'Expected object - got scalar value.'],
  [user, 'null', 'Expected object - got scalar value.'],
  [user, '{"userid":5}', "parameter verification failed - 'userid': Expected string value."],
  [user, '{"userid":null,"bogus":1,"enable":"1","expire":"5"}', `parameter verification failed:\n- 'bogus': ${extra}\n- 'enable': Expected boolean value.\n- 'expire': Expected integer value.\n- 'userid': Expected string value.\n- 'userid': property is missing and it is not optional`],
  [user, '{"userid":"x@pbs","expire":5.5,"comment":["a"]}', "parameter verification failed:\n- 'comment': Expected string value.\n- 'expire': Expected integer value."],
  [user, '{"expire":-5}', "parameter verification failed:\n- 'expire': value must have a minimum value of 0 (got -5)\n- 'userid': property is missing and it is not optional"],
  [user, '{"userid":"x@pbs","expire":99999999999999999999}', "parameter verification failed - 'expire': Expected integer value."],
  [user, '{"userid":"x@pbs","enable":1}', "parameter verification failed - 'enable': Expected boolean value."],
  [user, '{"userid":"x@pbs","userid":"y"}', "parameter verification failed - 'userid': value must be at least 3 characters long"],
  [store, '{"delete":"comment"}', "parameter verification failed - 'delete': Expected array - got scalar value."],
  [store, '{"delete":["foo",5]}', "parameter verification failed - 'delete/[0]': value 'foo' is not defined in the enumeration."],
  [store, '{"delete":[["foo"]]}', "parameter verification failed - 'delete/[0]': Expected string value."],
  [store, '{"delete":{"a":1}}', "parameter verification failed - 'delete': Expected array - got object."],
  [store, '{"keep-last":"0"}', "parameter verification failed - 'keep-last': Expected integer value."],
  [store, '{"delete":["foo","comment","bar"],"x":1}', `parameter verification failed:\n- 'delete/[0]': value 'foo' is not defined in the enumeration.\n- 'x': ${extra}`],
  [store, '{"gc-schedule":"banana"}', "parameter verification failed - 'gc-schedule': no fruit"],
  [store, '{}', 'accepted'],
];

test('JSON form: the answers of the reference', () => {
  for (const [schema, body, answer] of recordedJson) {
    const uri: Array<[string, string]> = schema === store ? [['name', 'main']] : [];
    assert.equal(refusal(() => checkJson(schema, JSON.parse(body), uri)), answer, body);
  }
});

test('values arrive typed, arrays in the order of their names', () => {
  const schema = Type.Object({ a: Type.Array(Type.Integer(), { minItems: 2 }), b: Type.Boolean(), c: Type.Number(), d: Type.Union([Type.Literal('x'), Type.Literal('y')]) });
  assert.deepEqual({ ...checkPairs(schema, decodeForm('a=2&b=no&a=1&c=1.5e1&d=x')) }, { a: [2, 1], b: false, c: 15, d: 'x' });
  assert.deepEqual({ ...checkJson(schema, { a: [2, 1], b: false, c: 15, d: 'x' }) }, { a: [2, 1], b: false, c: 15, d: 'x' });
  assert.equal(refusal(() => checkPairs(schema, decodeForm('a=2&b=1&c=.&d=z'))), "parameter verification failed:\n- 'c': invalid float literal\n- 'd': value 'z' is not defined in the enumeration.\n- 'a': array must contain at least 2 elements");
  assert.equal(refusal(() => checkPairs(store, decodeForm('name=abc&delete=comment&delete=comment&delete=comment&delete=comment'))), "parameter verification failed - 'delete': array may only contain 3 elements");
});

test('URI parameters override JSON ones and keep their type', () => {
  const schema = Type.Object({ n: Type.Integer({ minimum: 2 }), s: Type.String() });
  assert.deepEqual({ ...checkJson(schema, { n: 9, s: 'a' }, [['n', '5']]) }, { n: 5, s: 'a' });
  assert.equal(refusal(() => checkJson(schema, { s: 'a' }, [['n', '1']])), "parameter verification failed - 'n': Expected integer value.");
});

test('nested objects name their place', () => {
  const schema = Type.Object({ outer: Type.Object({ inner: Type.Integer() }), list: Type.Optional(Type.Array(Type.Object({ x: Type.Boolean() }))) });
  assert.equal(
    refusal(() => checkJson(schema, { outer: { inner: 'a', more: 1 }, list: [{ x: true }, { x: 1 }] })),
    `parameter verification failed:\n- 'list/[1]/x': Expected boolean value.\n- 'outer/inner': Expected integer value.\n- 'outer/more': ${extra}`,
  );
});

test('names of object properties are nothing special', () => {
  for (const name of ['constructor', '__proto__', 'toString']) {
    assert.equal(refusal(() => checkPairs(user, [[name, '1'], ['userid', 'abc']])), `parameter verification failed - '${name}': ${extra}.`);
    assert.equal(refusal(() => checkJson(user, JSON.parse(`{"${name}":1,"userid":"abc"}`))), `parameter verification failed - '${name}': ${extra}`);
  }
  assert.equal(refusal(() => checkPairs(Type.Object({ constructor: Type.String() }), [])), "parameter verification failed - 'constructor': parameter is missing and it is not optional.");
});

test('only open schemas take unknown names', () => {
  const open = Type.Object({ a: Type.Optional(Type.Integer()) }, { additionalProperties: true });
  assert.deepEqual({ ...checkPairs(open, [['x', '1'], ['a', '2']]) }, { x: '1', a: 2 });
  assert.deepEqual({ ...checkJson(open, { x: [1] }) }, { x: [1] });
});

test('schemas that cannot be checked are refused when they are registered', () => {
  assert.throws(() => assertParameterSchema(Type.Object({ a: Type.Any() })), /cannot be a parameter/);
  assert.throws(() => assertParameterSchema(Type.Object({ a: Type.Union([Type.String(), Type.Integer()]) })), /text literals/);
  assert.throws(() => assertParameterSchema(Type.Object({ a: Type.String({ format: 'test-unknown' }) })), /not registered/);
  registerParameterFormat('test-even', (text) => (text.length % 2 === 0 ? null : 'odd'));
  assert.equal(refusal(() => checkPairs(Type.Object({ a: Type.String({ format: 'test-even' }) }), [['a', 'x']])), "parameter verification failed - 'a': odd");
});

test('both forms agree on every value', () => {
  const schema = Type.Object({ i: Type.Integer({ minimum: -10, maximum: 1000 }), b: Type.Boolean(), s: Type.String({ minLength: 1, maxLength: 5 }), l: Type.Optional(Type.Array(Type.Enum(['p', 'q']))) });
  fc.assert(
    fc.property(fc.record({ i: fc.integer({ min: -20, max: 1200 }), b: fc.boolean(), s: fc.string({ unit: 'grapheme', maxLength: 8 }), l: fc.array(fc.constantFrom('p', 'q', 'r')) }), (value) => {
      const form = new URLSearchParams([['i', String(value.i)], ['b', value.b ? 'on' : '0'], ['s', value.s], ...value.l.map((one) => ['l', one])]).toString();
      const outcome = (work: () => Record<string, unknown>): unknown => {
        try {
          return { l: [], ...work() };
        } catch (e) {
          assert.ok(e instanceof ParameterError);
          // A list has one fault in JSON form, one for each item in string form.
          return new Set(e.faults.map(([name]) => name.split('/')[0]));
        }
      };
      assert.deepEqual(outcome(() => checkPairs(schema, decodeForm(form))), outcome(() => checkJson(schema, value)));
    }),
  );
});

test('nothing that comes over the wire makes the check throw anything but its answer', () => {
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => void refusal(() => checkPairs(user, decodeForm(text)))));
  fc.assert(fc.property(fc.jsonValue(), (value) => void refusal(() => checkJson(store, value))));
});

test('nonsense in masses is refused before it costs anything, and is not told back in full', () => {
  const many = (count: number): string => Array.from({ length: count }, (_, i) => `p${i}=1`).join('&');
  const isShort = (e: unknown): boolean => e instanceof ParameterError && e.faults.length === 100 && e.message.length < 10_000;
  assert.throws(() => checkPairs(user, decodeForm(many(5000))), isShort);
  assert.throws(() => checkJson(user, Object.fromEntries(Array.from({ length: 5000 }, (_, i) => [`p${i}`, 1]))), isShort);
  assert.throws(() => decodeForm(many(10_001)), { status: 400, message: 'more than 10000 parameters' });
  assert.equal(decodeForm(many(10_000)).length, 10_000);
});
