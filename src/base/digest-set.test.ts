import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { test } from 'node:test';
import { DigestSet } from './digest-set.ts';

const digestOf = (n: number): Buffer => createHash('sha256').update(String(n)).digest();

test('holds what was added and nothing else, across growth', () => {
  const set = new DigestSet(4);
  for (let i = 0; i < 5000; i += 1) assert.equal(set.add(digestOf(i)), true);
  for (let i = 0; i < 5000; i += 1) assert.equal(set.add(digestOf(i)), false);
  assert.equal(set.size, 5000);
  for (let i = 0; i < 5000; i += 1) assert.equal(set.position(digestOf(i)), i);
  assert.equal(set.position(digestOf(5000)), -1);
  for (let i = 0; i < 5000; i += 1) assert.ok(set.has(digestOf(i)));
  for (let i = 5000; i < 6000; i += 1) assert.ok(!set.has(digestOf(i)));
  set.clear();
  assert.ok(!set.has(digestOf(1)));
});

test('tells digests apart that collide in their first bytes', () => {
  const set = new DigestSet();
  const a = Buffer.alloc(32, 7);
  const b = Buffer.alloc(32, 7);
  b[31] = 8;
  set.add(a);
  assert.ok(!set.has(b));
  assert.equal(set.add(b), true);
  assert.ok(set.has(a) && set.has(b));
});
