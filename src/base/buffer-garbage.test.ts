import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { buffersPassed } from './buffer-garbage.ts';

test('dead buffers do not pile up, however few objects there are', async () => {
  const mebibyte = 1024 * 1024;
  const chunks: Array<WeakRef<Buffer>> = [];
  for (let i = 0; i < 64; i += 1) {
    chunks.push(new WeakRef(Buffer.allocUnsafeSlow(16)));
    // A reference is strong until the turn ends in which it was made.
    await nextTurn();
    buffersPassed(4 * mebibyte);
  }
  const alive = chunks.filter((chunk) => chunk.deref() !== undefined).length;
  assert.ok(alive <= 16, `${alive} of 64`);
  assert.equal('gc' in globalThis, process.execArgv.includes('--expose-gc'));
});
