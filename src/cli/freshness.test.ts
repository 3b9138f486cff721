import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CannedServer, runWith } from '../../test/support/manager-runs.ts';

const check = async (...states: string[]): Promise<{ exit: number; lines: string[] }> => {
  const data = states.map((state, i) => ({ id: `c${i}`, store: 'main', state, text: 'said why' }));
  const { exit, stdout } = await runWith(new CannedServer({ 'GET /status/freshness': { data } }), ['freshness', 'check']);
  return { exit, lines: stdout.trimEnd().split('\n') };
};

test('freshness check ends as plugins of Nagios do', async () => {
  assert.deepEqual(await check('ok', 'disabled'), { exit: 0, lines: ['FRESHNESS OK - 2 contracts hold', 'c0: ok: said why', 'c1: disabled: said why'] });
  assert.deepEqual([(await check('ok', 'pending')).exit, (await check('pending', 'unknown')).exit, (await check('unknown', 'stale', 'ok')).exit], [1, 3, 2]);
  assert.equal((await check('ok', 'stale')).lines[0], 'FRESHNESS CRITICAL - 1 of 2 contracts: c1');
  assert.deepEqual(await check(), { exit: 3, lines: ['FRESHNESS UNKNOWN - there is no contract'] });
  assert.equal((await check('something new')).exit, 3);
});

test('a check that cannot be made is unknown, whatever the reason', async () => {
  const { exit, stdout } = await runWith(new CannedServer({ 'GET /status/freshness': { status: 400, text: "no such freshness 'x'" } }), ['freshness', 'check', 'nosuch']);
  assert.deepEqual([exit, stdout.startsWith('FRESHNESS UNKNOWN - '), stdout.includes("no such freshness 'x'")], [3, true, true]);
});

test('freshness set makes or changes', async () => {
  const server = new CannedServer({ 'GET /config/freshness': { data: [{ id: 'there' }] } });
  await runWith(server, ['freshness', 'set', 'there', '--max-age', '3d']);
  await runWith(server, ['freshness', 'set', 'anew', '--store', 'main', '--max-age', '3d']);
  assert.deepEqual(server.calls.filter(({ method }) => method !== 'GET'), [
    { method: 'PUT', target: '/config/freshness/there', body: { 'max-age': '3d' } },
    { method: 'POST', target: '/config/freshness', body: { id: 'anew', store: 'main', 'max-age': '3d' } },
  ]);
});
