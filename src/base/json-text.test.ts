import assert from 'node:assert/strict';
import { test } from 'node:test';
import { FormatError } from './errors.ts';
import { canonicalJson, isJsonObject, parseJson, prettySortedJson } from './json-text.ts';

test('keys are sorted by UTF-8 bytes at every level, also those that look like numbers', () => {
  const value = parseJson(Buffer.from('{"9":1,"10":{"b":[],"a":{}},"\u{ffff}":2,"\u{10000}":3,"__proto__":4}'));
  assert.equal(canonicalJson(value), '{"10":{"a":{},"b":[]},"9":1,"__proto__":4,"\u{ffff}":2,"\u{10000}":3}');
});

test('pretty text', () => {
  assert.equal(prettySortedJson({ b: [1, { c: null }], a: {}, d: [] }), '{\n  "a": {},\n  "b": [\n    1,\n    {\n      "c": null\n    }\n  ],\n  "d": []\n}');
});

test('strings are escaped as little as possible', () => {
  assert.equal(canonicalJson('"\\/\b\f\n\r\t\u0001\u007fä'), '"\\"\\\\/\\b\\f\\n\\r\\t\\u0001\u007fä"');
});

test('what is not strict JSON is refused', () => {
  const bad = ['', '{', '[1,]', '\ufeff{}', '"\\ud800"', '{"\\udc00":1}', '1e999', `${'['.repeat(200)}${']'.repeat(200)}`];
  for (const text of bad) assert.throws(() => parseJson(Buffer.from(text)), FormatError, text);
  assert.throws(() => parseJson(Buffer.from([0x22, 0xff, 0x22])), FormatError);
  assert.throws(() => parseJson(Buffer.from('['.repeat(1_000_000))), FormatError);
});

test('objects', () => {
  assert.ok(isJsonObject({}));
  for (const value of [null, [], 'x', undefined]) assert.ok(!isJsonObject(value));
});
