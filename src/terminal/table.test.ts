import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { plainSettings } from '../../test/support/manager-runs.ts';
import { displayWidth, listTable, objectTable, sortRows } from './table.ts';
import type { Column } from './table.ts';

const style = { ...plainSettings, unicode: false };
const columns: Column[] = [{ name: 'name' }, { name: 'value', type: 'integer' }];

test('borders, alignment and order', () => {
  const rows = [{ name: 'b', value: 20 }, { name: 'a', value: 1 }];
  assert.equal(
    listTable(columns, rows, { ...style, unicode: true }),
    '┌──────┬───────┐\n│ name │ value │\n╞══════╪═══════╡\n│ a    │     1 │\n├──────┼───────┤\n│ b    │    20 │\n└──────┴───────┘\n',
  );
  assert.equal(listTable(columns, [], style), '');
});

test('wide characters take two cells, marks none', () => {
  assert.equal(displayWidth('日本'), 4);
  assert.equal(displayWidth('e\u0301'), 1);
  assert.equal(displayWidth('ｱ'), 1);
  assert.equal(displayWidth('Müller'), 6);
  assert.equal(listTable([{ name: 'a' }], [{ a: '日本' }, { a: 'ab' }], { ...style, border: false }), 'ab  \n日本\n');
});

test('a cell of several lines takes several lines, a row of empty cells none', () => {
  const two = [{ name: 'k' }, { name: 'v' }];
  assert.equal(listTable(two, [{ k: 'a', v: 'x\ny' }], style), '+===+===+\n| k | v |\n+===+===+\n| a | x |\n|   | y |\n+===+===+\n');
  assert.equal(listTable(two, [{}, { k: 'a', v: 'b' }], style), '+===+===+\n| k | v |\n+===+===+\n+---+---+\n| a | b |\n+===+===+\n');
});

test('an object: known fields in their order, unknown ones after them, absent ones left out, null ones empty', () => {
  const fields = [{ name: 'id' }, { name: 'size' }, { name: 'none' }];
  assert.equal(
    objectTable(fields, { zeta: 1, size: 5, id: 'x', upid: null, list: ['a', 'b'] }, { ...style, border: false }),
    'id   x        \nsize 5        \nlist ["a","b"]\nupid          \nzeta 1        \n',
  );
});

test('an object without fields is the head of a table, as the reference prints it', () => {
  assert.equal(objectTable([{ name: 'x' }], {}, { ...style, unicode: true }), '┌──────┬───────┐\n│ Name │ Value │\n╞══════╪═══════╡\n');
});

test('rows are sorted by the first column: numbers by value, absent first, booleans not at all', () => {
  const by = (type: Column['type'], values: unknown[]): unknown[] =>
    sortRows([{ name: 'v', ...(type === undefined ? {} : { type }) }], values.map((v) => ({ v }))).map((row) => row['v']);
  assert.deepEqual(by('integer', [10, 9, undefined, 100]), [undefined, 9, 10, 100]);
  assert.deepEqual(by(undefined, ['b', 'B', 'é', '\u{1F600}', '\uFF01']), ['B', 'b', 'é', '\uFF01', '\u{1F600}']);
  assert.deepEqual(by('boolean', [true, false, undefined]), [true, false, undefined]);
});

const cell = fc.oneof(fc.string({ unit: 'grapheme', maxLength: 12 }).map((text) => text.replace(/[\r\n]/g, '')), fc.integer(), fc.boolean(), fc.constant(undefined));
const rowArbitrary = fc.record({ name: cell, value: cell });

test('every line of a table has the same display width, and cutting only cuts', () => {
  fc.assert(
    fc.property(fc.array(rowArbitrary, { minLength: 1, maxLength: 8 }), fc.integer({ min: 1, max: 40 }), (rows, width) => {
      const whole = listTable(columns, rows, style).split('\n').slice(0, -1);
      assert.equal(new Set(whole.map(displayWidth)).size, 1);
      const cut = listTable(columns, rows, { ...style, width }).split('\n').slice(0, -1);
      assert.deepEqual(cut, whole.map((text) => Array.from(text).slice(0, width).join('')));
    }),
  );
});
