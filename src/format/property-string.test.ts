import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { formatPropertyString, parseListString, parsePropertyString, type PropertyPair } from './property-string.ts';

test('default key, keys, quotes', () => {
  assert.deepEqual(parsePropertyString(''), []);
  assert.deepEqual(parsePropertyString('offline,message=back soon', 'type'), [['type', 'offline'], ['message', 'back soon']]);
  assert.deepEqual(parsePropertyString('type=offline,message="a \\"b\\", c=d\\\\\\n"'), [['type', 'offline'], ['message', 'a "b", c=d\\\n']]);
  assert.deepEqual(parsePropertyString('"quoted, default",k=v', 'd'), [['d', 'quoted, default'], ['k', 'v']]);
  assert.deepEqual(parsePropertyString('a=,b=1'), [['a', ''], ['b', '1']]);
  assert.deepEqual(parsePropertyString('a=1,a=2'), [['a', '1'], ['a', '2']]);
  assert.deepEqual(parsePropertyString('k=a=b'), [['k', 'a=b']]);
});

test('broken strings are refused', () => {
  const bad: Array<[string, string?]> = [['value'], ['a=1,value'], ['=v'], ['a="x'], ['a="x\\'], ['a="x\\t"'], ['a="x"y'], ['a="x" ,b=1'], ['a=1,', 'd'], [',a=1', 'd'], ['a=1,,b=2', 'd']];
  for (const [text, key] of bad) assert.throws(() => parsePropertyString(text, key), FormatError, text);
});

test('what is formatted parses back', () => {
  const pairs = fc.array(fc.tuple(fc.stringMatching(/^[a-z][a-z-]*$/), fc.string()), { maxLength: 5 });
  fc.assert(fc.property(pairs, (list) => assert.deepEqual(parsePropertyString(formatPropertyString(list)), list)));
  const withDefault: PropertyPair[] = [['message', 'x,y'], ['type', 'offline']];
  assert.equal(formatPropertyString(withDefault, 'type'), 'offline,message="x,y"');
});

test('lists', () => {
  assert.deepEqual(parseListString(' a, b;c\td,,'), ['a', 'b', 'c', 'd']);
  assert.deepEqual(parseListString(''), []);
});
