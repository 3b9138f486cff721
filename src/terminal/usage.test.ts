import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { wrapText } from './usage.ts';

test('wrapped lines keep all words and fit, unless a piece of a word is longer', () => {
  fc.assert(
    fc.property(fc.array(fc.stringMatching(/^[a-z-]{1,12}$/), { maxLength: 40 }), fc.integer({ min: 5, max: 60 }), (words, width) => {
      const lines = wrapText(words.join(' '), width);
      assert.equal(lines.join('').replaceAll(' ', ''), words.join(''));
      for (const line of lines) assert.ok(line.length <= width || !line.includes(' '), line);
    }),
  );
});
