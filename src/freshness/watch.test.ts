import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { RecordingLog } from '../../test/support/datastore.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { FarshoreError, StoreError } from '../base/errors.ts';
import type { FreshnessContract } from '../config/freshness-config.ts';
import { beat } from './heartbeat.ts';
import { FreshnessMemoryFile } from './memory.ts';
import { FreshnessWatch, type Look } from './watch.ts';

const hourMs = 3_600_000;
const path = async (t: TestContext): Promise<string> => {
  const folder = await mkdtemp(join(tmpdir(), 'farshore-freshness-'));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return join(folder, 'freshness.json');
};

/** A watch over one contract, whose looks the test makes up. */
class Ground {
  readonly clock = new ManualClock('2020-01-01T00:00:00Z');
  readonly log = new RecordingLog();
  readonly told: string[] = [];
  readonly beats: string[] = [];
  contract: FreshnessContract = { id: 'nightly', store: 'main', 'max-age': '24h', since: this.now };
  look: () => Look = () => ({ subjects: [{ name: 'newest snapshot', time: this.now }], notes: [] });
  deaf = false;
  contracts: FreshnessContract[] | null = null;
  monotonicMs = 0;
  readonly file: string;
  watch: FreshnessWatch;

  constructor(file: string) {
    this.file = file;
    this.watch = this.restarted();
  }

  get now(): number {
    return Math.floor(this.clock.ms / 1000);
  }

  restarted(): FreshnessWatch {
    const tell = async (word: string, id: string): Promise<void> => {
      if (this.deaf) throw new FarshoreError('test', 'nobody listens');
      this.told.push(`${word} ${id}`);
    };
    this.watch = new FreshnessWatch({
      contracts: () => this.contracts ?? [this.contract],
      look: async () => this.look(),
      alarms: { raise: ({ contract }) => tell('raise', contract.id), clear: ({ contract }) => tell('clear', contract.id) },
      beat: async (url) => {
        this.beats.push(url);
      },
      memory: new FreshnessMemoryFile(this.file, null, this.log),
      clock: this.clock,
      monotonicMs: () => this.monotonicMs,
      log: this.log,
    });
    return this.watch;
  }

  async after(hours: number): Promise<string> {
    this.clock.ms += hours * hourMs;
    this.monotonicMs += hours * hourMs;
    const [judged] = await this.watch.check();
    return judged!.judgement.state;
  }
}

test('one alert an episode, over restarts, and one when it is over', async (t) => {
  const ground = new Ground(await path(t));
  const last = ground.now;
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: last }], notes: [] });
  assert.equal(await ground.after(24), 'ok');
  for (let hour = 0; hour < 5; hour += 1) assert.equal(await ground.after(1), 'stale');
  ground.restarted();
  assert.equal(await ground.after(1), 'stale');
  assert.deepEqual(ground.told, ['raise nightly']);
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: ground.now }], notes: [] });
  assert.equal(await ground.after(1), 'ok');
  assert.equal(await ground.after(1), 'ok');
  assert.deepEqual(ground.told, ['raise nightly', 'clear nightly']);
});

test('what nobody heard is told again', async (t) => {
  const ground = new Ground(await path(t));
  ground.deaf = true;
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: 1 }], notes: [] });
  assert.equal(await ground.after(1), 'stale');
  assert.deepEqual(ground.told, []);
  assert.match(ground.log.warnings.join('\n'), /the alarm could not be told, it is tried again: nobody listens/);
  ground.deaf = false;
  await ground.after(1);
  await ground.after(1);
  assert.deepEqual(ground.told, ['raise nightly']);
});

test('a datastore that is away ages from what was seen last, and neither raises nor clears by itself', async (t) => {
  const ground = new Ground(await path(t));
  assert.equal(await ground.after(1), 'ok');
  ground.look = () => {
    throw new StoreError('store.missing', 'disk is away');
  };
  ground.restarted();
  assert.equal(await ground.after(20), 'unknown');
  assert.deepEqual(ground.told, []);
  assert.equal(await ground.after(5), 'stale');
  assert.deepEqual(ground.told, ['raise nightly']);
  ground.contract = { ...ground.contract, 'max-age': '9d' };
  assert.equal(await ground.after(1), 'unknown');
  assert.deepEqual(ground.told, ['raise nightly']);
});

test('a group that vanished is missed until the contract is set again', async (t) => {
  const ground = new Ground(await path(t));
  let names = ['vm/1', 'vm/2'];
  ground.look = () => ({ subjects: names.map((name) => ({ name, time: ground.now })), notes: [] });
  await ground.after(1);
  names = ['vm/1'];
  assert.equal(await ground.after(1), 'stale');
  ground.restarted();
  assert.equal(await ground.after(1), 'stale');
  ground.contract = { ...ground.contract, since: ground.now };
  assert.equal(await ground.after(1), 'ok');
  assert.deepEqual(ground.told, ['raise nightly', 'clear nightly']);
});

test('a run that ended well stays so when its traces are gone', async (t) => {
  const ground = new Ground(await path(t));
  const start = ground.now;
  ground.look = () => ({ subjects: [{ name: 'last successful run', time: start, past: true }], notes: [] });
  await ground.after(1);
  ground.look = () => ({ subjects: [{ name: 'last successful run', time: null, past: true }], notes: [] });
  assert.equal(await ground.after(1), 'ok');
  assert.equal(await ground.after(24), 'stale');
});

test('a clock that is set back hides nothing', async (t) => {
  const ground = new Ground(await path(t));
  const last = ground.now;
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: last }], notes: [] });
  await ground.after(20);
  ground.clock.ms -= 19 * hourMs;
  assert.equal(await ground.after(5), 'stale');
  ground.restarted();
  assert.equal(await ground.after(1), 'stale');
});

test('a clock that stays back does not make old copies new', async (t) => {
  const ground = new Ground(await path(t));
  await ground.after(1);
  ground.clock.ms -= 240 * hourMs;
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: ground.now - 3600 }], notes: [] });
  // First by the time that goes on, then, when the earlier time is believed, since what was seen lies in the future.
  for (let hour = 0; hour < 48; hour += 1) assert.equal(await ground.after(1), 'stale', String(hour));
  ground.restarted();
  assert.equal(await ground.after(1), 'stale');
  ground.contract = { ...ground.contract, since: ground.now };
  assert.equal(await ground.after(1), 'ok');
  assert.deepEqual(ground.told, ['raise nightly', 'clear nightly']);
});

test('a datastore that hangs counts as away, holds up neither other contracts nor the end, and is not asked again meanwhile', async (t) => {
  const file = await path(t);
  const ground = new Ground(file);
  const other: FreshnessContract = { ...ground.contract, id: 'other' };
  let asked = 0;
  const states: string[] = [];
  const checked = Promise.withResolvers<void>();
  const watch = new FreshnessWatch({
    contracts: () => [ground.contract, other],
    look: async ({ id }) => {
      if (id === 'other') return { subjects: [{ name: 'newest snapshot', time: 1 }], notes: [] };
      asked += 1;
      return new Promise<Look>(() => {});
    },
    alarms: { raise: async ({ contract }) => void states.push(contract.id), clear: async () => {} },
    beat: async () => {},
    memory: new FreshnessMemoryFile(file, null, ground.log),
    clock: ground.clock,
    monotonicMs: () => 0,
    log: ground.log,
    lookLimitMs: 1,
    sleep: async (_, signal) => {
      if (watch.latest.length > 0) checked.resolve();
      await once(signal, 'abort');
    },
  });
  const [hung] = await watch.check();
  assert.deepEqual([hung!.judgement.state, asked, states], ['unknown', 1, ['other']]);
  assert.match(hung!.judgement.text, /did not answer within/);
  watch.start();
  await checked.promise;
  await watch.stop();
  assert.equal(asked, 1);
  assert.match(watch.latest[0]!.judgement.text, /has not answered since an earlier check/);
});

test('disabled and removed contracts are silent', async (t) => {
  const ground = new Ground(await path(t));
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: 1 }], notes: [] });
  ground.contract = { ...ground.contract, disable: true, heartbeat: 'http://localhost/' };
  await ground.after(1);
  ground.contracts = [];
  await ground.watch.check();
  assert.deepEqual([ground.told, ground.beats], [[], []]);
});

test('the heartbeat goes out while the contract holds, and only then', async (t) => {
  const ground = new Ground(await path(t));
  ground.contract = { ...ground.contract, heartbeat: 'http://localhost/one' };
  await ground.after(1);
  assert.deepEqual(ground.beats, ['http://localhost/one']);
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: 1 }], notes: [] });
  await ground.after(1);
  ground.look = () => {
    throw new StoreError('store.missing', 'disk is away');
  };
  await ground.after(1);
  assert.deepEqual(ground.beats, ['http://localhost/one']);
});

test('looking alone tells nobody', async (t) => {
  const ground = new Ground(await path(t));
  ground.look = () => ({ subjects: [{ name: 'newest snapshot', time: 1 }], notes: [] });
  const [judged] = await ground.watch.judge([ground.contract]);
  assert.deepEqual([judged!.judgement.state, ground.told], ['stale', []]);
});

test('damaged memory is said and replaced', async (t) => {
  const ground = new Ground(await path(t));
  await writeFile(ground.file, '{"floor-ms":1,"contracts":[["x",{}]]}');
  assert.equal(await ground.after(1), 'ok');
  assert.match(ground.log.warnings.join('\n'), /is damaged/);
  assert.deepEqual(JSON.parse(await readFile(ground.file, 'utf8')).contracts.map(([id]: [string]) => id), ['nightly']);
});

test('start checks at once and goes on after a check that failed', async (t) => {
  const ground = new Ground(await path(t));
  const rounds = Promise.withResolvers<void>();
  let checks = 0;
  const watch = new FreshnessWatch({
    contracts: () => {
      checks += 1;
      if (checks === 1) throw new FarshoreError('test', 'cannot be read');
      if (checks === 3) rounds.resolve();
      return [];
    },
    look: async () => ground.look(),
    alarms: { raise: async () => {}, clear: async () => {} },
    beat: async () => {},
    memory: new FreshnessMemoryFile(ground.file, null, ground.log),
    clock: ground.clock,
    monotonicMs: () => 0,
    log: ground.log,
    sleep: async () => {},
  });
  watch.start();
  await rounds.promise;
  await watch.stop();
  assert.match(ground.log.warnings.join('\n'), /cannot be checked: cannot be read/);
});

test('a heartbeat is one GET; anything but 2xx is an error that keeps the address to itself', async () => {
  const seen: string[] = [];
  const server = createServer((request, response) => {
    seen.push(`${request.method} ${request.url}`);
    response.writeHead(request.url === '/gone' ? 404 : request.url === '/moved' ? 302 : 200, { location: '/elsewhere' }).end('hello');
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  try {
    await beat(`http://127.0.0.1:${port}/secret`);
    await assert.rejects(beat(`http://127.0.0.1:${port}/gone`), { code: 'net.heartbeat', message: `127.0.0.1:${port} answered 404` });
    await assert.rejects(beat(`http://127.0.0.1:${port}/moved`), { message: `127.0.0.1:${port} answered 302` });
    assert.deepEqual(seen, ['GET /secret', 'GET /gone', 'GET /moved']);
  } finally {
    server.closeAllConnections();
    server.close();
    await once(server, 'close');
  }
  await assert.rejects(beat(`http://127.0.0.1:${port}/secret`), (e: Error) => e.message === `no answer from 127.0.0.1:${port}` && !(e.cause as Error).message.includes('secret'));
});
