import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { array, assert as check, integer, property } from 'fast-check';
import { DigestLru } from './digest-lru.ts';

const digestOf = (n: number): Buffer => createHash('sha256').update(String(n)).digest();

test('behaves as the plain model: a list of the last different ones', () => {
  check(
    property(integer({ min: 1, max: 12 }), array(integer({ min: 0, max: 20 }), { maxLength: 300 }), (capacity, wanted) => {
      const lru = new DigestLru(capacity);
      let model: number[] = [];
      let hits = 0;
      for (const n of wanted) {
        const hit = model.includes(n);
        if (hit) hits += 1;
        assert.equal(lru.remember(digestOf(n)), hit);
        model = [n, ...model.filter((other) => other !== n)].slice(0, capacity);
      }
      assert.equal(lru.size, model.length);
      assert.deepEqual([lru.hits, lru.misses], [hits, wanted.length - hits]);
    }),
  );
});

test('grows over several sizes and forgets in order', () => {
  const lru = new DigestLru(5000);
  for (let i = 0; i < 5000; i += 1) assert.equal(lru.remember(digestOf(i)), false);
  for (let i = 0; i < 5000; i += 1) assert.equal(lru.remember(digestOf(i)), true);
  for (let i = 5000; i < 6000; i += 1) assert.equal(lru.remember(digestOf(i)), false);
  for (let i = 1000; i < 6000; i += 1) assert.equal(lru.remember(digestOf(i)), true);
  assert.equal(lru.remember(digestOf(999)), false);
});

test('digests that differ only at their end, and all of one hash', () => {
  const lru = new DigestLru(100);
  const similar = (n: number): Buffer => Buffer.concat([Buffer.alloc(30, 9), Buffer.from([n >> 8, n & 255])]);
  for (let i = 0; i < 300; i += 1) assert.equal(lru.remember(similar(i)), false);
  for (let i = 200; i < 300; i += 1) assert.equal(lru.remember(similar(i)), true);
  assert.equal(lru.remember(similar(0)), false);
});
