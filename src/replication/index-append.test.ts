import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { setImmediate } from 'node:timers/promises';
import { test } from 'node:test';
import type { Digest } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import type { IndexPlace } from '../protocol/backup-client.ts';
import { IndexAppend } from './index-append.ts';

const chunks = Array.from({ length: 9000 }, (_, i) => ({ digest: createHash('sha256').update(String(i)).digest(), size: 100 + i }));

async function* entries(onEnd: () => void = () => {}): AsyncGenerator<{ digest: Digest; size: number }> {
  try {
    // One buffer for all, as an index file does it.
    const digest = Buffer.alloc(32);
    for (const chunk of chunks) {
      chunk.digest.copy(digest);
      yield { digest, size: chunk.size };
      await Promise.resolve();
    }
  } finally {
    onEnd();
  }
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await setImmediate();
}

test('chunks are named in order, as soon as they and all before them are known, one request at a time', async () => {
  const known = new DigestSet();
  const named: IndexPlace[] = [];
  let requests = 0;
  let underWay = 0;
  const append = new IndexAppend({
    entries: entries(),
    known,
    append: async (places) => {
      underWay += 1;
      assert.equal(underWay, 1);
      for (const { digest } of places) assert.ok(known.has(digest), 'named before it was known');
      await setImmediate();
      named.push(...places);
      requests += 1;
      underWay -= 1;
    },
  });
  append.advance();
  // In another order than that of the index, the first one last.
  for (const { digest } of chunks.slice(1, 8500).toReversed()) {
    known.add(digest);
    append.advance();
  }
  await setImmediate();
  assert.equal(requests, 0);
  known.add(chunks[0]!.digest);
  append.advance();
  await until(() => requests === 2);
  assert.equal(named.length, 8000, 'before the last chunks are known');
  for (const { digest } of chunks.slice(8500)) known.add(digest);
  assert.deepEqual(await append.finish(), { chunkCount: 9000, size: chunks.reduce((sum, { size }) => sum + size, 0) });
  assert.equal(requests, 3);
  let start = 0;
  for (const [i, { digest, size }] of chunks.entries()) {
    assert.ok(named[i]!.digest.every((byte, at) => byte === digest[at]) && named[i]!.start === start, `entry ${i}`);
    start += size;
  }
});

test('what goes wrong under way comes out at the end, and the index is let go', async () => {
  const known = new DigestSet();
  for (const { digest } of chunks) known.add(digest);
  let closed = false;
  let requests = 0;
  const append = new IndexAppend({
    entries: entries(() => (closed = true)),
    known,
    append: () => {
      requests += 1;
      return Promise.reject(new Error('refused'));
    },
  });
  append.advance();
  await until(() => requests === 1);
  await assert.rejects(append.finish(), /refused/);
  append.advance();
  await append.close();
  assert.deepEqual([closed, requests], [true, 1]);
});
