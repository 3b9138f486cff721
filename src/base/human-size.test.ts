import assert from 'node:assert/strict';
import { test } from 'node:test';
import { humanSize } from './human-size.ts';

test('sizes are printed with binary units, three decimals and no trailing zeros', () => {
  const table: Array<[number, string]> = [
    [0, '0 B'],
    [1, '1 B'],
    [1023, '1023 B'],
    [1024, '1 KiB'],
    [1025, '1.001 KiB'],
    [1536, '1.5 KiB'],
    [1024 ** 2 - 1, '1023.999 KiB'],
    [1024 ** 2, '1 MiB'],
    [5542773, '5.286 MiB'],
    [Math.floor(1.2341 * 1024 ** 3), '1.234 GiB'],
    [1024 ** 4 * 3, '3 TiB'],
    [1024 ** 5, '1 PiB'],
    [1024 ** 5 * 4096, '4096 PiB'],
  ];
  for (const [bytes, text] of table) assert.equal(humanSize(bytes), text);
});

test('what is no size prints as nothing or is cut down', () => {
  assert.equal(humanSize(-5), '0 B');
  assert.equal(humanSize(Number.NaN), '0 B');
  assert.equal(humanSize(1.9), '1 B');
});
