import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Type } from 'typebox';
import { authId, byteSize, groupFilters, hostName, namespace, schedule } from '../config/schemas.ts';
import { readScalar } from '../config/schema-check.ts';
import { checkPairs } from '../protocol/parameters.ts';
import { registerValueFormats } from './value-formats.ts';

test('values with their own grammar are checked as parameters and in files, with the reference’s words where it has some', () => {
  registerValueFormats();
  registerValueFormats();
  const schema = Type.Object({
    schedule: Type.Optional(schedule),
    rate: Type.Optional(byteSize('Rate.')),
    'group-filter': Type.Optional(groupFilters),
    ns: Type.Optional(namespace),
    owner: Type.Optional(authId),
    host: Type.Optional(hostName),
  });
  const right: Array<[string, string]> = [
    ['schedule', 'mon..fri 02:30'],
    ['rate', '50MiB'],
    ['group-filter', 'exclude:regex:^vm/'],
    ['ns', 'a/b/c/d/e/f/g'],
    ['owner', 'sync@pbs!offsite'],
    ['host', 'fe80::1'],
  ];
  assert.equal(Object.keys(checkPairs(schema, right)).length, right.length);
  for (const text of ['1', '1.5 KB', '10k', '10 Gi']) assert.equal(checkPairs(schema, [['rate', text]])['rate'], text);
  for (const [name, text, fault] of [
    ['schedule', 'foo', /^parameter verification failed - 'schedule': unable to parse calendar event at 'foo' - /],
    ['rate', 'fast', "parameter verification failed - 'rate': byte-size parse error for 'fast': invalid float literal"],
    ['rate', '-5', "parameter verification failed - 'rate': byte-size parse error for '-5': invalid float literal"],
    ['group-filter', 'regex:(', /^parameter verification failed - 'group-filter': .*regular expression/],
    ['ns', 'a/b/c/d/e/f/g/h', /namespace too deep/],
    ['host', '1:2', /does not match the regex pattern/],
  ] as const) {
    assert.throws(() => checkPairs(schema, [[name, text]]), { message: fault }, `${name} ${text}`);
  }
  assert.ok('problem' in readScalar(schedule, 'foo'));
});
