import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { judge, type Evidence, type Subject } from './judgement.ts';

const day = 86_400;
const now = 1_600_000_000;
const terms = { maxAge: 3 * day, since: now - 100 * day };
const of = (...subjects: Subject[]): Evidence => ({ subjects, problem: null, notes: [] });
const subject = (name: string, age: number | null, seen = true): Subject => ({ name, time: age === null ? null : now - age, seen });

test('the oldest subject decides', () => {
  assert.deepEqual(judge(terms, of(subject('vm/1', 3600), subject('vm/2', 3 * day)), now), { state: 'ok', age: 3 * day, newest: now - 3 * day, text: 'vm/2: 3d old, allowed 3d' });
  const stale = judge(terms, of(subject('vm/1', 3600), subject('vm/2', 3 * day + 60)), now);
  assert.deepEqual([stale.state, stale.text], ['stale', 'vm/2: 3d 1m old, allowed 3d']);
});

test('what is not there yet may be awaited as long as it may be old; what is gone may not', () => {
  const fresh = { ...terms, since: now - day };
  assert.equal(judge(fresh, of(subject('newest snapshot', null, false)), now).state, 'pending');
  assert.equal(judge({ ...terms, since: now - 3 * day - 1 }, of(subject('newest snapshot', null, false)), now).state, 'stale');
  assert.deepEqual(judge(fresh, of(subject('vm/1', null)), now), { state: 'stale', age: null, newest: null, text: 'vm/1: none any more, allowed 3d' });
});

test('what cannot be seen is unknown as long as what was seen last is young enough', () => {
  const away = { problem: 'disk is away', notes: [] };
  assert.equal(judge(terms, { subjects: [subject('vm/1', day)], ...away }, now).state, 'unknown');
  const stale = judge(terms, { subjects: [subject('vm/1', 4 * day)], ...away }, now);
  assert.deepEqual([stale.state, stale.text], ['stale', 'vm/1: 4d old, allowed 3d (disk is away)']);
});

test('many stale subjects are named in part', () => {
  const { text } = judge(terms, of(...Array.from({ length: 9 }, (_, i) => subject(`vm/${i}`, (10 - i) * day))), now);
  assert.match(text, /^vm\/0: 1w 3d old, .*vm\/4: 6d old and 2 more, allowed 3d$/);
});

test('time that passes never mends anything', () => {
  const rank = { ok: 0, pending: 0, unknown: 0, stale: 1 };
  const subjects = fc.array(fc.record({ name: fc.string(), time: fc.option(fc.integer({ min: 0, max: 2e9 })), seen: fc.boolean() }), { maxLength: 4 });
  fc.assert(
    fc.property(subjects, fc.integer({ min: 60, max: 1e7 }), fc.integer({ min: 0, max: 2e9 }), fc.integer({ min: 0, max: 2e9 }), fc.nat(1e8), (given, maxAge, since, at, later) => {
      const state = (when: number): number => rank[judge({ maxAge, since }, of(...given), when).state];
      assert.ok(state(at + later) >= state(at));
    }),
  );
});
