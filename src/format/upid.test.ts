import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { FormatError } from '../base/errors.ts';
import { escapeUnit, formatUpid, parseUpid, unescapeUnit } from './upid.ts';

const example = 'UPID:third:00007002:000BE896:00000024:6B04EF4D:reader:main\\x3ahost-deep-68E77A58:sync@pbs!offsite:';

test('the reference example both ways', () => {
  const upid = parseUpid(example);
  assert.deepEqual(upid, {
    node: 'third',
    pid: 28_674,
    pstart: 780_438,
    taskId: 0x24,
    starttime: 1_795_485_517,
    workerType: 'reader',
    workerId: 'main:host/deep/68E77A58',
    authId: 'sync@pbs!offsite',
  });
  assert.equal(formatUpid(upid), example);
});

test('an empty worker id leaves two colons, long fields keep their digits', () => {
  const text = 'UPID:n:00000001:123456789:0000000123456789:6B04EF4D:logrotate::root@pam:';
  assert.equal(parseUpid(text).pstart, 0x123456789);
  assert.equal(parseUpid(text).workerId, '');
  assert.equal(formatUpid(parseUpid(text)), text.replace(':0000000123456789:', ':123456789:'));
});

test('unit escaping', () => {
  assert.equal(escapeUnit('a-b/c@d.e'), 'a\\x2db-c\\x40d.e');
  assert.equal(escapeUnit('.a.b'), '\\x2ea.b');
  assert.equal(escapeUnit('ü'), '\\xc3\\xbc');
  fc.assert(fc.property(fc.string({ unit: 'binary' }), (text) => assert.equal(unescapeUnit(escapeUnit(text)), text)));
});

test('what is not a UPID is refused', () => {
  const bad = [
    '',
    example.slice(0, -1),
    `${example}x`,
    example.replace('third', '-third'),
    example.replace('00007002', '0007002'),
    example.replace('reader', ''),
    example.replace('reader', 'rea/der'),
    example.replace('sync@pbs', '../x'),
    example.replace('\\x3a', '\\x3'),
    example.replace('\\x3a', '\\xff'),
    example.replace('main', 'm/n'),
    example.replace('00000024', 'FFFFFFFFFFFFFFFF'),
    example.replace('main', 'm'.repeat(300)),
  ];
  for (const text of bad) assert.throws(() => parseUpid(text), FormatError, text);
});
