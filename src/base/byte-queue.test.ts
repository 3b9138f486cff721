import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import fc from 'fast-check';
import { ByteQueue } from './byte-queue.ts';

test('takes what was pushed, in order, however it was pushed', () => {
  fc.assert(
    fc.property(fc.array(fc.oneof(fc.uint8Array({ maxLength: 20 }), fc.integer({ min: 1, max: 30 })), { maxLength: 60 }), (steps) => {
      const queue = new ByteQueue();
      let expected = Buffer.alloc(0);
      for (const step of steps) {
        if (typeof step !== 'number') {
          queue.push(step);
          expected = Buffer.concat([expected, step]);
          continue;
        }
        const count = Math.min(step, expected.length);
        if (step % 3 === 0) queue.skip(count);
        else assert.deepEqual(queue.take(count), Buffer.from(expected.subarray(0, count)));
        expected = expected.subarray(count);
        assert.equal(queue.length, expected.length);
      }
      assert.deepEqual(queue.take(queue.length), Buffer.from(expected));
      assert.throws(() => queue.take(1));
      assert.throws(() => queue.takeSome(1));
    }),
  );
});

test('does not copy what arrived together, and keeps nothing of what was taken', () => {
  const queue = new ByteQueue();
  const bytes = Buffer.from('abcdef');
  queue.push(bytes);
  assert.equal(queue.take(2).buffer, bytes.buffer);
  for (let i = 0; i < 5000; i += 1) queue.push(Buffer.of(i & 0xff));
  assert.equal(queue.take(4).toString(), 'cdef');
  for (let i = 0; i < 5000; i += 1) assert.equal(queue.take(1)[0], i & 0xff);
  assert.equal(queue.length, 0);
});

test('what was taken is not held, also while the queue never runs empty', async () => {
  setFlagsFromString('--expose-gc');
  const collect = runInNewContext('gc') as () => void;
  const queue = new ByteQueue();
  const pieces: Array<WeakRef<Buffer>> = [];
  const push = (): void => {
    const piece = Buffer.alloc(100);
    pieces.push(new WeakRef(piece));
    queue.push(piece);
  };
  push();
  for (let i = 0; i < 100; i += 1) {
    push();
    queue.skip(100);
  }
  // A reference is strong until the turn ends in which it was made.
  await nextTurn();
  collect();
  assert.deepEqual(pieces.map((piece) => piece.deref() === undefined), [...Array.from({ length: 100 }, () => true), false]);
  assert.equal(queue.length, 100);
});
