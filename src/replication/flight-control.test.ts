import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AbortedError } from '../base/errors.ts';
import { FlightControl } from './flight-control.ts';

const mebibyte = 1024 * 1024;

/** Drives the control as a line of `rate` bytes per millisecond and a delay would: each chunk arrives a round trip after it was asked for, if the line is free. */
async function drive(flight: FlightControl, clock: { ms: number }, line: { rate: number; delayMs: number }, chunks: number): Promise<number> {
  flight.observeRoundTrip(line.delayMs);
  const size = 2 * mebibyte;
  let freeAt = clock.ms;
  const underWay: Array<{ at: number; release: () => void }> = [];
  const startedMs = clock.ms;
  for (let asked = 0; asked < chunks; asked += 1) {
    void flight.acquire(size * 2).then((permit) => {
      freeAt = Math.max(freeAt, clock.ms + line.delayMs) + size / line.rate;
      underWay.push({ at: freeAt, release: () => permit.release(size) });
    });
  }
  for (let arrived = 0; arrived < chunks; arrived += 1) {
    await new Promise((resolve) => setImmediate(resolve));
    const next = underWay.shift()!;
    clock.ms = Math.max(clock.ms, next.at);
    next.release();
  }
  return (chunks * size) / (clock.ms - startedMs);
}

test('a long fat line is filled after a short start', async () => {
  const clock = { ms: 0 };
  const flight = new FlightControl({ now: () => clock.ms });
  const line = { rate: 125_000, delayMs: 150 };
  await drive(flight, clock, line, 200);
  const rate = await drive(flight, clock, line, 400);
  assert.ok(rate > line.rate * 0.9, `${rate} of ${line.rate}`);
});

test('a thin line gets a few chunks and one connection, whatever was asked for at first', async () => {
  const clock = { ms: 0 };
  const flight = new FlightControl({ now: () => clock.ms });
  await drive(flight, clock, { rate: 6250, delayMs: 60 }, 60);
  assert.ok(flight.limit <= 9 * mebibyte, String(flight.limit));
  assert.ok(flight.carried <= 2 * mebibyte, String(flight.carried));
});

test('a queue that others fill makes round trips longer, not the limit larger: it follows the share of the line that is left', async () => {
  const clock = { ms: 0 };
  const flight = new FlightControl({ now: () => clock.ms });
  await drive(flight, clock, { rate: 125_000, delayMs: 150 }, 300);
  const alone = flight.limit;
  // Half of the line, behind a queue of two round trips.
  await drive(flight, clock, { rate: 62_500, delayMs: 450 }, 400);
  assert.equal(flight.roundTripMs, 150);
  assert.ok(flight.limit < alone * 0.75, `${flight.limit} of ${alone}`);
});

test('a line that has become longer is filled again once its round trips were seen for some minutes', async () => {
  const clock = { ms: 0 };
  const flight = new FlightControl({ now: () => clock.ms });
  await drive(flight, clock, { rate: 125_000, delayMs: 20 }, 300);
  const longer = { rate: 125_000, delayMs: 200 };
  for (let minutes = 0; minutes < 5; minutes += 1) {
    clock.ms += 60_000;
    flight.observeRoundTrip(200);
  }
  await drive(flight, clock, longer, 600);
  const rate = await drive(flight, clock, longer, 600);
  assert.ok(rate > longer.rate * 0.8, `${rate} of ${longer.rate}`);
});

test('a line without delay keeps the small limit', async () => {
  const clock = { ms: 0 };
  const flight = new FlightControl({ now: () => clock.ms });
  await drive(flight, clock, { rate: 300_000, delayMs: 0.5 }, 500);
  assert.ok(flight.limit <= 16 * mebibyte, String(flight.limit));
});

test('never more in flight than the limit, whatever is asked for, and everybody is served in order', async () => {
  const flight = new FlightControl({ now: () => 0 });
  const order: number[] = [];
  const waiting = Array.from({ length: 50 }, async (_, i) => {
    const permit = await flight.acquire(4 * mebibyte);
    order.push(i);
    assert.ok(flight.inFlight <= flight.limit);
    setImmediate(() => permit.release(3 * mebibyte));
  });
  await Promise.all(waiting);
  assert.deepEqual(order, order.toSorted((a, b) => a - b));
});

test('a chunk larger than the limit still goes when nothing else is in flight', async () => {
  const flight = new FlightControl({ now: () => 0 });
  for (let i = 0; i < 40; i += 1) (await flight.acquire(16 * mebibyte)).release(16 * mebibyte);
  assert.equal(flight.inFlight, 0);
});

test('a fixed number of chunks is that number, whatever their size', async () => {
  const flight = new FlightControl({ now: () => 0 }, { fixedChunks: 3 });
  let open = 0;
  const most: number[] = [];
  await Promise.all(
    Array.from({ length: 20 }, async (_, i) => {
      const permit = await flight.acquire(i % 2 === 0 ? 1 : 16 * mebibyte);
      open += 1;
      most.push(open);
      setImmediate(() => {
        open -= 1;
        permit.release(1000);
      });
    }),
  );
  assert.equal(Math.max(...most), 3);
});

test('an aborted job gets no permit', async () => {
  await assert.rejects(new FlightControl({ now: () => 0 }).acquire(1, AbortSignal.abort()), AbortedError);
});

test('whatever sizes come and go, nothing is left in flight, and a chunk above the limit has its turn', async () => {
  const flight = new FlightControl({ now: () => 0 });
  for (let round = 0; round < 50; round += 1) {
    const permits = await Promise.all([1_000_003, 777_777, 3_333_331, 4097].map((size) => flight.acquire(size + round)));
    for (const [i, permit] of permits.entries()) permit.release(700_001 + i * round);
    assert.equal(flight.inFlight, 0);
  }
  const large = await flight.acquire(16 * mebibyte);
  assert.ok(flight.inFlight > flight.limit / 2);
  large.release(16 * mebibyte);
});
