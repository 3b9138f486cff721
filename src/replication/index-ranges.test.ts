import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { maxSizedChunks, parseRanges, rangeTexts } from './index-ranges.ts';

test('what is asked for in pieces is what is wanted, and each piece is one that a peer takes', () => {
  const gaps = fc.array(fc.nat({ max: 3 }), { maxLength: 12_000 });
  fc.assert(
    fc.property(gaps, (steps) => {
      let at = -1;
      const positions = steps.map((step) => (at += step + 1));
      const read: number[] = [];
      for (const { text, count } of rangeTexts(positions)) {
        assert.ok(text.length < 8192 && count <= maxSizedChunks);
        const piece = parseRanges(text);
        assert.equal(piece?.length, count, text);
        read.push(...(piece ?? []));
      }
      assert.deepEqual(read, positions);
    }),
    { numRuns: 60 },
  );
});

test('runs are one range; what does not ascend, or is too much, is refused', () => {
  assert.deepEqual([...rangeTexts([0, 1, 2, 7])], [{ text: '0-2,7', count: 4 }]);
  assert.deepEqual([...rangeTexts([])], []);
  for (const bad of ['3,2', '2-1', '1,1', `0-${maxSizedChunks}`, '']) assert.equal(bad === '' ? null : parseRanges(bad), null, bad);
});
