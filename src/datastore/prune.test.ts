import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { keepOptionNames, keepOptionsText, selectForPrune, type KeepOptions, type PruneCandidate } from './prune.ts';

interface Vector {
  snapshots: PruneCandidate[];
  options: KeepOptions;
  result?: Array<{ time: number; keep: boolean; protected: boolean }>;
  error?: string;
}

function vectors(zone: string): Vector[] {
  return readFileSync(new URL(`../../test/fixtures/vectors/prune-${zone}.jsonl`, import.meta.url), 'utf8')
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => JSON.parse(line) as Vector);
}

for (const [zone, file, count] of [
  ['UTC', 'utc', 80],
  ['Europe/Berlin', 'europe-berlin', 60],
] as const) {
  test(`recorded groups are pruned as by the reference, server in ${zone}`, () => {
    const all = vectors(file);
    assert.equal(all.length, count);
    for (const { snapshots, options, result, error } of all) {
      if (error !== undefined) {
        assert.throws(() => selectForPrune(snapshots, options, zone), { code: 'config.keep-option', message: error.replace(/^Error: /, '') });
        continue;
      }
      const decided = selectForPrune(snapshots, options, zone).map((d) => ({ time: d.snapshot.time, keep: d.keep, protected: d.mark === 'protected' }));
      assert.deepEqual(decided, result);
    }
  });
}

const marksOf = (snapshots: PruneCandidate[], options: KeepOptions, zone = 'UTC'): string[] =>
  selectForPrune(snapshots, options, zone)
    .toReversed()
    .map((d) => d.mark);

test('worked examples', () => {
  const at = (text: string, more: Partial<PruneCandidate> = {}): PruneCandidate => ({ time: Date.parse(text) / 1000, finished: true, protected: false, ...more });
  const a = at('2026-03-01T08:00Z');
  const b = at('2026-03-01T20:00Z');
  const c = at('2026-03-02T08:00Z');
  const d = at('2026-03-02T20:00Z');
  const e = at('2026-03-03T08:00Z');
  const [keep, remove] = ['keep', 'remove'];
  assert.deepEqual(marksOf([a, b, c, d, e], { 'keep-last': 1, 'keep-daily': 1 }), [keep, keep, remove, remove, remove]);
  assert.deepEqual(marksOf([a, b, c, d, e], { 'keep-daily': 2 }), [keep, keep, remove, remove, remove]);
  assert.deepEqual(marksOf([a, b, c, d, e], { 'keep-last': 2, 'keep-weekly': 1 }), [keep, keep, remove, keep, remove]);
  const protectedD = { ...d, protected: true };
  assert.deepEqual(marksOf([a, b, c, protectedD, e], { 'keep-last': 1, 'keep-daily': 2 }), [keep, 'protected', keep, keep, remove]);
  assert.deepEqual(marksOf([a, b, c, d, { ...e, finished: false }], { 'keep-daily': 2 }), ['keep-partial', keep, remove, keep, remove]);
  assert.deepEqual(marksOf([a, b, c, { ...d, finished: false }, e], { 'keep-monthly': 1 }), [keep, remove, remove, remove, remove]);
});

test('weeks are ISO weeks with their ISO year, and local', () => {
  const at = (text: string): PruneCandidate => ({ time: Date.parse(text) / 1000, finished: true, protected: false });
  // Monday 2024-12-30 and Wednesday 2025-01-01 are both in week 2025/01; Sunday 2024-12-29 is in 2024/52.
  assert.deepEqual(marksOf([at('2024-12-29T12:00Z'), at('2024-12-30T12:00Z'), at('2025-01-01T12:00Z')], { 'keep-weekly': 5 }), ['keep', 'remove', 'keep']);
  // 23:30 UTC on Sunday is Monday in Berlin.
  assert.deepEqual(marksOf([at('2024-12-29T23:30Z'), at('2024-12-30T12:00Z')], { 'keep-weekly': 5 }, 'Europe/Berlin'), ['keep', 'remove']);
});

test('options as text', () => {
  assert.equal(keepOptionsText({ 'keep-yearly': 1, 'keep-last': 3 }), '--keep-last 3 --keep-yearly 1');
  assert.equal(keepOptionsText({}), '');
});

test('never empties a group, never removes what is protected, and a second run removes nothing more', () => {
  const snapshots = fc.uniqueArray(fc.record({ time: fc.integer({ min: 1, max: 4e9 }), finished: fc.boolean(), protected: fc.boolean() }), { selector: (s) => s.time, maxLength: 60 });
  const options = fc.dictionary(fc.constantFrom(...keepOptionNames), fc.integer({ min: 1, max: 9 })) as fc.Arbitrary<KeepOptions>;
  fc.assert(
    fc.property(snapshots, options, fc.constantFrom('UTC', 'Europe/Berlin', 'America/St_Johns'), (all, keep, zone) => {
      const decided = selectForPrune(all, keep, zone);
      assert.equal(decided.length, all.length);
      const kept = decided.filter((d) => d.keep).map((d) => d.snapshot);
      for (const d of decided) if (d.snapshot.protected) assert.ok(d.keep);
      if (all.length > 0) assert.ok(kept.some((s) => s.time === Math.max(...all.map((x) => x.time))));
      const usable = all.filter((s) => s.finished && !s.protected).map((s) => s.time);
      if (usable.length > 0) assert.ok(kept.some((s) => s.time === Math.max(...usable)));
      assert.ok(selectForPrune(kept, keep, zone).every((d) => d.keep));
    }),
  );
});
