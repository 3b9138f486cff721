import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ConfigError } from '../base/errors.ts';
import { isGroupSelected, parseGroupFilter } from './group-filter.ts';

const vm100 = { type: 'vm', id: '100' } as const;
const ct200 = { type: 'ct', id: '200' } as const;
const host = { type: 'host', id: 'web-1' } as const;
const select = (texts: string[]): string[] => {
  const filters = texts.map((text) => parseGroupFilter(text));
  return [vm100, ct200, host].filter((group) => isGroupSelected(group, filters)).map((group) => `${group.type}/${group.id}`);
};

test('without include filter everything is included, excludes win', () => {
  assert.deepEqual(select([]), ['vm/100', 'ct/200', 'host/web-1']);
  assert.deepEqual(select(['type:vm', 'type:ct']), ['vm/100', 'ct/200']);
  assert.deepEqual(select(['exclude:type:vm']), ['ct/200', 'host/web-1']);
  assert.deepEqual(select(['include:regex:^(vm|ct)/', 'exclude:group:vm/100']), ['ct/200']);
  assert.deepEqual(select(['exclude:group:vm/100', 'include:regex:^(vm|ct)/']), ['ct/200']);
});

test('regular expressions search unanchored and may hold colons', () => {
  assert.deepEqual(select(['regex:00']), ['vm/100', 'ct/200']);
  assert.deepEqual(select(['regex:(?:vm|host)/']), ['vm/100', 'host/web-1']);
});

test('the text is kept without include:', () => {
  assert.equal(parseGroupFilter('include:type:vm').text, 'type:vm');
  assert.equal(parseGroupFilter('exclude:type:vm').text, 'exclude:type:vm');
});

test('what does not parse is refused with its place', () => {
  for (const text of ['', 'vm', 'type:lxc', 'group:vm', 'group:vm/../x', 'regex:(', 'foo:bar', 'exclude:exclude:type:vm']) {
    assert.throws(() => parseGroupFilter(text), (e: unknown) => e instanceof ConfigError && e.code === 'config.group-filter' && e.message.includes(`'${text}'`), text);
  }
});

test('garbage never gives anything but ConfigError', () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      try {
        parseGroupFilter(text);
      } catch (e) {
        assert.ok(e instanceof ConfigError);
      }
    }),
  );
});

test('a catastrophic pattern is harmless', () => {
  const filter = parseGroupFilter('regex:^(a+)+$');
  assert.equal(filter.matches({ type: 'host', id: `${'a'.repeat(5000)}!` }), false);
});
