import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { KnownChunks } from './known-chunks.ts';

const digestOf = (n: number): Buffer => createHash('sha256').update(String(n)).digest();

test('holds the last size of each chunk, across growth, and knows no other', () => {
  const known = new KnownChunks();
  for (let n = 0; n < 5000; n += 1) known.add(digestOf(n), n + 1);
  known.add(digestOf(7), 16 * 1024 * 1024);
  for (let n = 0; n < 5000; n += 1) assert.equal(known.size(digestOf(n)), n === 7 ? 16 * 1024 * 1024 : n + 1);
  assert.equal(known.size(digestOf(5000)), null);
});
