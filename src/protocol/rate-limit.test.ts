import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { RateLimiter, ThrottledSocket } from './rate-limit.ts';
import { TokenBucket } from './token-bucket.ts';

class TestClock {
  ms = 1_000_000;
  now(): number {
    return this.ms;
  }
}

test('the bucket starts empty and asks for the time that the traffic takes', () => {
  const clock = new TestClock();
  const bucket = new TokenBucket(1000, { clock });
  assert.equal(bucket.consume(500), 500);
  assert.equal(bucket.consume(500), 1000);
  clock.ms += 1000;
  assert.equal(bucket.consume(100), 100);
  clock.ms += 3000;
  // Unused time saves up to the burst, not more.
  assert.equal(bucket.consume(900), 0);
  assert.equal(bucket.consume(600), 500);
  assert.equal(new TokenBucket(0, { clock }).consume(1e9), 0);
});

test('delays under 10 ms are left out but not forgotten', () => {
  const bucket = new TokenBucket(1000, { clock: new TestClock() });
  assert.equal(bucket.consume(9), 0);
  assert.equal(bucket.consume(9), 18);
});

test('a clock that goes back neither stops nor floods', () => {
  const clock = new TestClock();
  const bucket = new TokenBucket(1000, { clock });
  bucket.consume(1000);
  clock.ms -= 500_000;
  assert.equal(bucket.consume(1000), 2000);
  clock.ms += 1000;
  assert.equal(bucket.consume(0), 1000);
});

test('whatever the streams and pieces, the line carries rate times time plus at most one burst and a piece each', () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1000, max: 1_000_000 }),
      fc.integer({ min: 0, max: 100_000 }),
      fc.array(fc.integer({ min: 1, max: 65_536 }), { minLength: 1, maxLength: 8 }),
      (rate, burst, pieces) => {
        const clock = new TestClock();
        const bucket = new TokenBucket(rate, { burst, clock });
        const start = clock.ms;
        const moved = pieces.map(() => 0);
        const readyMs = pieces.map(() => start);
        for (let turn = 0; turn < 400; turn += 1) {
          const next = readyMs.indexOf(Math.min(...readyMs));
          clock.ms = Math.max(clock.ms, readyMs[next]!);
          moved[next]! += pieces[next]!;
          readyMs[next] = clock.ms + bucket.consume(pieces[next]!);
        }
        const total = moved.reduce((sum, n) => sum + n, 0);
        const inOneIgnoredDelay = (rate * 10) / 1000;
        const slack = burst + pieces.reduce((sum, n) => sum + n, 0) + inOneIgnoredDelay;
        assert.ok(total <= (rate * (clock.ms - start)) / 1000 + slack, `${total} in ${clock.ms - start} ms`);
      },
    ),
  );
});

test('streams with equal pieces take turns', () => {
  const clock = new TestClock();
  const bucket = new TokenBucket(100_000, { clock });
  const readyMs = [0, 0, 0].map(() => clock.ms);
  const turns = [0, 0, 0];
  for (let i = 0; i < 300; i += 1) {
    const next = readyMs.indexOf(Math.min(...readyMs));
    clock.ms = Math.max(clock.ms, readyMs[next]!);
    turns[next]! += 1;
    readyMs[next] = clock.ms + bucket.consume(65_536);
  }
  assert.deepEqual(turns, [100, 100, 100]);
});

async function pair(limiter: RateLimiter): Promise<{ near: Socket | ThrottledSocket; raw: Socket; far: Socket; close: () => void }> {
  const server = createServer({ allowHalfOpen: true });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const raw = connect({ port: (server.address() as AddressInfo).port, host: '127.0.0.1', allowHalfOpen: true });
  const [far] = (await once(server, 'connection')) as [Socket];
  if (raw.connecting) await once(raw, 'connect');
  const near = limiter.wrap(raw);
  return { near, raw, far, close: () => {
    for (const one of [near, raw, far]) one.destroy();
    server.close();
  } };
}

test('an unlimited connection is the socket itself', async () => {
  const { near, raw, close } = await pair(new RateLimiter({ rateIn: 0 }));
  assert.equal(near, raw);
  close();
});

/** Everything up to the end. Not `toArray`, which destroys the stream then, whatever is still to be written. */
async function readAll(stream: Socket | ThrottledSocket): Promise<Buffer> {
  const pieces: Buffer[] = [];
  stream.on('data', (piece: Buffer) => pieces.push(piece));
  await once(stream, 'end');
  return Buffer.concat(pieces);
}

test('bytes pass unchanged in both directions, with ends, errors and destruction', async () => {
  const { near, far, close } = await pair(new RateLimiter({ rateIn: 20_000_000, rateOut: 20_000_000 }));
  const bytes = Buffer.from(Array.from({ length: 1_000_000 }, (_, i) => (i * 31) % 251));
  near.end(bytes);
  far.end(bytes);
  for (const got of await Promise.all([readAll(near), readAll(far)])) assert.ok(got.equals(bytes));
  close();

  const broken = await pair(new RateLimiter({ rateIn: 1000 }));
  broken.near.resume();
  broken.far.resetAndDestroy();
  const [error] = (await once(broken.near, 'error')) as [Error & { code?: string }];
  assert.equal(error.code, 'ECONNRESET');
  broken.close();

  const dropped = await pair(new RateLimiter({ rateIn: 1000 }));
  dropped.far.on('error', () => {});
  dropped.far.resume();
  dropped.near.destroy();
  await once(dropped.far, 'end');
  dropped.close();
});

test('reading stops while the bucket is empty', async () => {
  const { near, raw, far, close } = await pair(new RateLimiter({ rateIn: 1 }));
  far.on('error', () => {});
  far.write(Buffer.alloc(10_000_000));
  near.resume();
  await once(near, 'data');
  await new Promise((resolve) => setTimeout(resolve, 50));
  // One piece of 64 KiB was handed on, and Node reads ahead a little.
  assert.ok(raw.bytesRead <= 4 * 65_536, `${raw.bytesRead}`);
  assert.ok(near instanceof ThrottledSocket && near.heldBack);
  close();
});

test('a large buffer is written in pieces: writing stops while the bucket is empty', async () => {
  const { near, far, close } = await pair(new RateLimiter({ rateOut: 1 }));
  near.on('error', () => {});
  let bytes = 0;
  far.on('data', (piece: Buffer) => (bytes += piece.length));
  near.end(Buffer.alloc(10_000_000));
  await once(far, 'data');
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.ok(bytes <= 2 * 65_536, `${bytes}`);
  assert.ok(near instanceof ThrottledSocket && near.heldBack);
  close();
});

test('what has arrived before both sides closed is still read', async () => {
  const { near, raw, far, close } = await pair(new RateLimiter({ rateIn: 1e9, rateOut: 1e9 }));
  far.resume();
  near.end();
  far.end(Buffer.alloc(10_000));
  // Begins to read ahead, takes nothing.
  near.read(0);
  await once(raw, 'close');
  assert.equal(Buffer.concat((await near.toArray()) as Buffer[]).length, 10_000);
  close();
});
