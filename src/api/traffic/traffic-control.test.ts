import assert from 'node:assert/strict';
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { test, type TestContext } from 'node:test';
import { temporaryInstallation } from '../../../test/support/installation.ts';
import { ManualClock } from '../../../test/support/manual-clock.ts';
import { silentLog } from '../../base/log.ts';
import { trafficRuleTable, type TrafficRule, type TrafficRuleTable } from '../../config/traffic-config.ts';
import { ThrottledSocket } from '../../protocol/rate-limit.ts';
import { TrafficControl } from './traffic-control.ts';

interface Ground {
  table: TrafficRuleTable;
  clock: ManualClock;
  traffic: TrafficControl;
  /** A connection of a client with the server's end as the listener would use it. */
  pair: () => Promise<{ near: Duplex; far: Socket }>;
}

async function ground(t: TestContext, rules: readonly TrafficRule[]): Promise<Ground> {
  const table = trafficRuleTable(await temporaryInstallation(t, 'source'));
  for (const rule of rules) await table.create(rule);
  const clock = new ManualClock('2026-11-25T12:00:00Z');
  const traffic = new TrafficControl({ table, clock, log: silentLog, timeZone: 'UTC' });
  const server = createServer();
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return {
    table,
    clock,
    traffic,
    pair: async () => {
      const accepted = once(server, 'connection');
      const far = connect({ host: '127.0.0.1', port: (server.address() as AddressInfo).port });
      const [raw] = (await accepted) as [Socket];
      const near = traffic.wrap(raw);
      near.on('error', () => {});
      far.on('error', () => {});
      t.after(() => {
        near.destroy();
        far.destroy();
      });
      return { near, far };
    },
  };
}

const total = 3_000_000;

/** Bytes that have arrived so far. */
function count(far: Socket): { bytes: number; all: Promise<void> } {
  const all = Promise.withResolvers<void>();
  const counted = { bytes: 0, all: all.promise };
  far.on('data', (piece: Buffer) => {
    counted.bytes += piece.length;
    if (counted.bytes >= total) all.resolve();
  });
  return counted;
}

function writePieces(near: Duplex): void {
  for (let i = 0; i < total; i += 30_000) near.write(Buffer.alloc(30_000));
}

/** A rule that lets next to nothing through: whoever has it stands still. */
const crawl = { network: ['127.0.0.0/8'], 'rate-out': '1 B', 'rate-in': '1 B' };

async function standsStill(near: Duplex, counted: { bytes: number }): Promise<void> {
  assert.ok(near instanceof ThrottledSocket);
  while (!near.heldBack) await new Promise((resolve) => setTimeout(resolve, 2));
  await new Promise((resolve) => setTimeout(resolve, 30));
  assert.ok(counted.bytes < total / 2, `${counted.bytes}`);
}

test('a peer that no rule is for has its socket as it is', async (t) => {
  const { pair, clock, table } = await ground(t, [{ name: 'other', network: ['192.0.2.0/24'], 'rate-out': '1 B' }]);
  assert.ok(!((await pair()).near instanceof ThrottledSocket));
  await table.create({ name: 'here', ...crawl });
  // Files are looked at again after some seconds.
  clock.ms += 5000;
  assert.ok((await pair()).near instanceof ThrottledSocket);
});

test('a limited connection stands still, and goes on when its rule is removed', async (t) => {
  const { pair, table, traffic } = await ground(t, [{ name: 'here', ...crawl }]);
  const { near, far } = await pair();
  const counted = count(far);
  writePieces(near);
  await standsStill(near, counted);
  await table.remove('here');
  traffic.refresh();
  await counted.all;
});

test('a rule that was changed in the file by another program reaches those that wait', async (t) => {
  const { pair, table, clock } = await ground(t, [{ name: 'here', ...crawl }]);
  const { near, far } = await pair();
  const counted = count(far);
  writePieces(near);
  await standsStill(near, counted);
  await table.update('here', (rule) => ({ name: rule.name, network: rule.network, 'rate-in': '1 B' }));
  clock.ms += 5000;
  await counted.all;
});

test('a rule holds within its time frame only, for a connection that is open across its end', async (t) => {
  const { pair, clock, traffic } = await ground(t, [{ name: 'night', network: ['127.0.0.1/32'], 'rate-out': '1 B', timeframe: ['0-6'] }]);
  const { near, far } = await pair();
  const counted = count(far);
  writePieces(near);
  await counted.all;
  clock.ms += 15 * 3_600_000;
  const { near: late, far: lateFar } = await pair();
  const lateCounted = count(lateFar);
  writePieces(late);
  await standsStill(late, lateCounted);
  assert.deepEqual(traffic.current('night'), { in: 0, out: 0 });
});

test('rules for users hold from when the user is known; what comes in is limited, too', async (t) => {
  const { pair, traffic } = await ground(t, [{ name: 'sync', ...crawl, users: ['sync@pbs'] }]);
  const { near, far } = await pair();
  const got = { bytes: 0 };
  near.on('data', (piece: Buffer) => (got.bytes += piece.length));
  far.write(Buffer.alloc(50_000));
  while (got.bytes < 50_000) await once(near, 'data');
  traffic.identify(near, 'sync@pbs!offsite');
  for (let i = 0; i < total; i += 30_000) far.write(Buffer.alloc(30_000));
  await standsStill(near, got);
  const { near: other, far: otherFar } = await pair();
  traffic.identify(other, 'backup@pbs');
  const counted = count(otherFar);
  writePieces(other);
  await counted.all;
});

test('the present rate is that of the last full second, both directions apart', async (t) => {
  const { pair, traffic, clock } = await ground(t, [{ name: 'here', network: ['127.0.0.1/32'] }]);
  const { near, far } = await pair();
  const counted = count(far);
  writePieces(near);
  await counted.all;
  assert.deepEqual(traffic.current('here'), { in: 0, out: 0 });
  clock.ms += 1000;
  assert.deepEqual(traffic.current('here'), { in: 0, out: total });
  clock.ms += 1000;
  assert.deepEqual(traffic.current('here'), { in: 0, out: 0 });
  assert.deepEqual(traffic.current('nosuch'), { in: 0, out: 0 });
});
