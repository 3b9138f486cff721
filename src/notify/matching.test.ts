import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import * as fc from 'fast-check';
import { HttpError } from '../base/errors.ts';
import { builtinMatcher, type MatcherRecord } from '../config/notification-config.ts';
import { calendarRule, fieldRule, matchedTargets, matcherRule, severities, severityRule, type Matchable } from './matching.ts';

/** A Wednesday, 10:30 in UTC. */
const time = Date.parse('2026-11-25T10:30:00Z') / 1000;
const event: Matchable = { severity: 'error', fields: { type: 'sync', datastore: 'main', 'job-id': 'nightly' }, time };

const takes = (matcher: Omit<MatcherRecord, 'name'>, about: Partial<Matchable> = {}): boolean => matcherRule({ name: 'm', ...matcher }, 'UTC')({ ...event, ...about });

suite('rules', () => {
  const fields: Array<[rule: string, expected: boolean]> = [
    ['exact:type=sync', true],
    ['exact:type=gc, sync ,prune', true],
    ['exact:type=syn', false],
    ['exact:type=', false],
    ['exact:job=sync', false],
    ['regex:datastore=^ma', true],
    ['regex:datastore=ai', true],
    ['regex:datastore=^ai', false],
    ['regex:job=.*', false],
    ['regex:toString=.*', false],
    // Exponential where a regex engine goes back.
    ['regex:datastore=^(m+|a+)+$', false],
  ];
  for (const [rule, expected] of fields) test(rule, () => assert.equal(fieldRule(rule)(event), expected));

  test('a regex takes linear time', () => {
    const rule = fieldRule('regex:datastore=^(a+)+$');
    assert.equal(rule({ ...event, fields: { datastore: `${'a'.repeat(5000)}!` } }), false);
    assert.equal(rule({ ...event, fields: { datastore: 'a'.repeat(5000) } }), true);
  });

  const refused: Array<[make: () => unknown, text: string | RegExp]> = [
    [() => fieldRule('foo'), 'could not apply filter: invalid match-field statement: foo'],
    [() => fieldRule('exact:foo'), 'could not apply filter: invalid match-field statement: exact:foo'],
    [() => fieldRule('glob:a=b'), 'could not apply filter: invalid match-field statement: glob:a=b'],
    [() => fieldRule('type=sync'), 'could not apply filter: invalid match-field statement: type=sync'],
    [() => fieldRule('exact:ty pe=x'), 'could not apply filter: invalid match-field statement: exact:ty pe=x'],
    [() => fieldRule('exact:=x'), 'could not apply filter: invalid match-field statement: exact:=x'],
    [() => fieldRule('regex:a=['), /^could not apply filter: invalid regex: /],
    [() => severityRule('fatal'), 'invalid severity fatal'],
    [() => severityRule(''), 'invalid severity '],
    [() => severityRule('error,fatal'), 'invalid severity fatal'],
    [() => calendarRule('hello'), /^could not parse schedule: unable to parse daily duration at 'hello' - /],
    [() => calendarRule('8-7'), /^could not parse schedule: unable to parse daily duration at '7' - end time before start time$/],
  ];
  for (const [make, text] of refused) {
    test(`refused: ${String(text)}`, () => assert.throws(make, (e: unknown) => e instanceof HttpError && e.status === 400 && (typeof text === 'string' ? e.message === text : text.test(e.message))));
  }

  test('fields may have all letters of a safe id', () => assert.equal(fieldRule('exact:Ab_c-9.x=x')({ ...event, fields: { 'Ab_c-9.x': 'x' } }), true));

  test('a time frame is one of the wall of the zone', () => {
    assert.equal(calendarRule('mon..fri 8-17', 'UTC')(event), true);
    assert.equal(calendarRule('sat,sun 0-23:59', 'UTC')(event), false);
    assert.equal(calendarRule('10:30-10:31', 'UTC')(event), true);
    assert.equal(calendarRule('10:30-10:31', 'Europe/Berlin')(event), false);
    assert.equal(calendarRule('11:30-11:31', 'Europe/Berlin')(event), true);
  });
});

suite('matchers', () => {
  test('without rules: always, also inverted, but not when disabled', () => {
    assert.equal(takes({}), true);
    assert.equal(takes({ 'invert-match': true }), true);
    assert.equal(takes({ disable: true }), false);
  });

  test('all and any, inside a group and between groups', () => {
    const mixed = { 'match-field': ['exact:type=sync', 'exact:datastore=other'], 'match-severity': ['error'] };
    assert.equal(takes(mixed), false);
    assert.equal(takes({ ...mixed, mode: 'all' }), false);
    assert.equal(takes({ ...mixed, mode: 'any' }), true);
    assert.equal(takes({ ...mixed, mode: 'any' }, { severity: 'info', fields: { type: 'gc' } }), false);
    assert.equal(takes({ 'match-severity': ['error', 'info'] }), false, 'all: an event has one severity');
    assert.equal(takes({ 'match-severity': ['error,info'] }), true);
  });

  test('mode any of all the rules is: one of them takes the event; mode all: each; inverted: the opposite', () => {
    const rules = {
      'match-field': ['exact:type=sync', 'regex:datastore=^other', 'exact:nope=x'],
      'match-severity': severities.map(String),
      'match-calendar': ['mon..fri 8-17', 'sun 0-1'],
    };
    const subset = (list: string[]): fc.Arbitrary<string[]> => fc.subarray(list);
    fc.assert(
      fc.property(subset(rules['match-field']), subset(rules['match-severity']), subset(rules['match-calendar']), fc.constantFrom('all' as const, 'any' as const), fc.boolean(), (fields, severity, calendar, mode, invert) => {
        fc.pre(fields.length + severity.length + calendar.length > 0);
        const each = [...fields.map((rule) => fieldRule(rule)(event)), ...severity.map((rule) => severityRule(rule)(event)), ...calendar.map((rule) => calendarRule(rule, 'UTC')(event))];
        const expected = mode === 'all' ? each.every(Boolean) : each.some(Boolean);
        assert.equal(takes({ 'match-field': fields, 'match-severity': severity, 'match-calendar': calendar, mode, 'invert-match': invert }), expected !== invert);
      }),
    );
  });

  test('the built-in one takes everything but successful prune jobs', () => {
    const { name: _, ...builtin } = builtinMatcher;
    assert.equal(takes(builtin), true);
    assert.equal(takes(builtin, { severity: 'info' }), true);
    assert.equal(takes(builtin, { fields: { type: 'prune' } }), true);
    assert.equal(takes(builtin, { fields: { type: 'prune' }, severity: 'info' }), false);
  });

  test('each target once, from all matchers; a matcher that cannot be understood is told of and left out', () => {
    const broken: string[] = [];
    const matchers: MatcherRecord[] = [
      { name: 'm1', target: ['a', 'b'] },
      { name: 'm2', 'match-field': ['nonsense'], target: ['c'] },
      { name: 'm3', 'match-severity': ['info'], target: ['d'] },
      { name: 'm4', target: ['b', 'e'] },
      { name: 'm5', target: ['f'], disable: true },
    ];
    assert.deepEqual(matchedTargets(matchers, event, { onBroken: (name) => broken.push(name) }), ['a', 'b', 'e']);
    assert.deepEqual(broken, ['m2']);
  });
});
