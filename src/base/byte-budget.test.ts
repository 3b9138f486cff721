import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { ByteBudget } from './byte-budget.ts';

test('never more than the limit is under way, everything is done, in order of asking where it has to wait', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: 150 }), { maxLength: 40 }), async (sizes) => {
      const budget = new ByteBudget(100);
      let used = 0;
      const started: number[] = [];
      await Promise.all(
        sizes.map((size, i) =>
          budget.run(size, async () => {
            started.push(i);
            used += Math.min(size, 100);
            assert.ok(used <= 100);
            await Promise.resolve();
            used -= Math.min(size, 100);
          }),
        ),
      );
      assert.equal(used, 0);
      assert.deepEqual(started, [...sizes.keys()]);
    }),
  );
});

test('what failed gives its share back', async () => {
  const budget = new ByteBudget(10);
  await assert.rejects(budget.run(10, () => Promise.reject(new Error('no'))), /no/);
  assert.equal(await budget.run(10, () => Promise.resolve('yes')), 'yes');
});
