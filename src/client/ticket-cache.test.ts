import assert from 'node:assert/strict';
import { chmod, mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { temporaryFolder } from '../../test/support/golden.ts';
import { ManualClock } from '../../test/support/manual-clock.ts';
import { TicketCache } from './ticket-cache.ts';

async function runtimeFolder(t: TestContext): Promise<string> {
  const folder = await temporaryFolder();
  t.after(() => folder[Symbol.asyncDispose]());
  return folder.path;
}

const ticket = { ticket: 'PBS:a', csrfToken: 'token' };

test('found by host and user, until a minute before it ends', async (t) => {
  const clock = new ManualClock('2026-01-01T00:00:00Z');
  const cache = new TicketCache(join(await runtimeFolder(t), 'proxmox-backup'), clock);
  await cache.store('one', 'a@pbs', ticket);
  assert.deepEqual({ ...(await cache.find('one', 'a@pbs')) }, { ...ticket, timestamp: clock.now() / 1000 });
  assert.equal(await cache.find('one', 'b@pbs'), null);
  assert.equal(await cache.find('two', 'a@pbs'), null);
  clock.set('2026-01-01T01:58:59Z');
  assert.notEqual(await cache.find('one', 'a@pbs'), null);
  clock.set('2026-01-01T01:59:00Z');
  assert.equal(await cache.find('one', 'a@pbs'), null);
  // What is too old goes with the next one.
  await cache.store('two', 'b@pbs', ticket);
  clock.set('2026-01-01T00:30:00Z');
  assert.equal(await cache.find('one', 'a@pbs'), null);
});

test('nothing is kept where others could look, or where there is no folder', async (t) => {
  const clock = new ManualClock('2026-01-01T00:00:00Z');
  const runtime = await runtimeFolder(t);
  const cache = new TicketCache(join(runtime, 'proxmox-backup'), clock);
  await cache.store('one', 'a@pbs', ticket);
  await chmod(runtime, 0o750);
  assert.equal(await cache.find('one', 'a@pbs'), null);
  assert.equal(await cache.forget('one', 'a@pbs'), false);
  for (const nowhere of [new TicketCache(null, clock), new TicketCache(join(runtime, 'none', 'proxmox-backup'), clock)]) {
    await nowhere.store('one', 'a@pbs', ticket);
    assert.equal(await nowhere.find('one', 'a@pbs'), null);
  }
});

test('a broken file is an empty one', async (t) => {
  const clock = new ManualClock('2026-01-01T00:00:00Z');
  const folder = join(await runtimeFolder(t), 'proxmox-backup');
  const cache = new TicketCache(folder, clock);
  await mkdir(folder);
  for (const text of ['{', '[]', '{"one":1}', '{"one":{"a@pbs":{"ticket":1}}}', '{"one":{"a@pbs":null}}']) {
    await writeFile(join(folder, 'tickets'), text);
    assert.equal(await cache.find('one', 'a@pbs'), null, text);
  }
  await cache.store('one', 'a@pbs', ticket);
  assert.notEqual(await cache.find('one', 'a@pbs'), null);
});
