import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import type { TrafficRule } from '../../config/traffic-config.ts';
import { chooseRule, coversPeer, peerAddress, prepareRule, type RuleQuestion } from './rule-choice.ts';

/** A Wednesday. */
const noon = Date.parse('2026-11-25T12:00:00Z') / 1000;

function chosen(records: readonly TrafficRule[], question: Partial<RuleQuestion> & { address: string }): string | null {
  return chooseRule(records.map(prepareRule), { user: null, seconds: noon, timeZone: 'UTC', ...question })?.record.name ?? null;
}

test('the longest prefix wins, then the order in the file; mapped addresses are IPv4', () => {
  const rules: TrafficRule[] = [
    { name: 'all', network: ['0.0.0.0/0', '::/0'] },
    { name: 'site', network: ['10.0.0.0/8'] },
    { name: 'rack', network: ['192.0.2.0/24', '10.1.0.0/16'] },
    { name: 'twin', network: ['10.1.0.0/16'] },
    { name: 'six', network: ['2001:db8::/32'] },
  ];
  assert.equal(chosen(rules, { address: '10.2.3.4' }), 'site');
  assert.equal(chosen(rules, { address: '10.1.3.4' }), 'rack');
  assert.equal(chosen(rules, { address: '::ffff:10.1.3.4' }), 'rack');
  assert.equal(chosen(rules, { address: '203.0.113.1' }), 'all');
  assert.equal(chosen(rules, { address: '2001:db8::1' }), 'six');
  assert.equal(chosen(rules, { address: 'fe80::1%eth0' }), 'all');
  assert.equal(chosen(rules.slice(1), { address: '203.0.113.1' }), null);
  assert.equal(chosen(rules, { address: 'unix' }), null);
});

test('rules for users come before those for everybody, whatever the prefix', () => {
  const rules: TrafficRule[] = [
    { name: 'host', network: ['10.1.2.3/32'] },
    { name: 'sync', network: ['0.0.0.0/0'], users: ['sync@pbs'] },
    { name: 'near', network: ['10.0.0.0/8'], users: ['sync@pbs', 'other@pbs'] },
  ];
  const address = '10.1.2.3';
  assert.equal(chosen(rules, { address }), 'host');
  assert.equal(chosen(rules, { address, user: 'nobody@pbs' }), 'host');
  assert.equal(chosen(rules, { address, user: 'sync@pam' }), 'host');
  assert.equal(chosen(rules, { address, user: 'sync@pbs' }), 'near');
  assert.equal(chosen(rules, { address: '203.0.113.1', user: 'sync@pbs' }), 'sync');
});

test('time frames are on the wall of the host', () => {
  const rules: TrafficRule[] = [
    { name: 'office', network: ['0.0.0.0/0'], timeframe: ['sat,sun 9-11', 'mon..fri 8-17:30'] },
    { name: 'else', network: ['0.0.0.0/0'] },
  ];
  const at = (time: string, timeZone = 'UTC'): string | null => chosen(rules, { address: '10.0.0.1', seconds: Date.parse(time) / 1000, timeZone });
  assert.equal(at('2026-11-25T08:00:00Z'), 'office');
  assert.equal(at('2026-11-25T17:29:59Z'), 'office');
  assert.equal(at('2026-11-25T17:30:00Z'), 'else');
  assert.equal(at('2026-11-25T17:30:00Z', 'America/New_York'), 'office');
  assert.equal(at('2026-11-28T12:00:00Z'), 'else');
});

test('a peer that no rule ever is for is told apart, times and users left aside', () => {
  const rules = [{ name: 'one', network: ['10.0.0.0/8'], users: ['sync@pbs'], timeframe: ['8-9'] }].map(prepareRule);
  assert.equal(coversPeer(rules, '::ffff:10.1.1.1'), true);
  assert.equal(coversPeer(rules, '192.0.2.1'), false);
  assert.equal(coversPeer(rules, ''), false);
});

test('any text for an address is read or refused, never an exception', () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.ipV4(), fc.ipV6(), fc.ipV4().map((one) => `::ffff:${one}`)), (text) => {
    const peer = peerAddress(text);
    if (peer !== null) chosen([{ name: 'all', network: ['0.0.0.0/0', '::/0'] }], { address: text });
    if (/^::ffff:[0-9.]+$/.test(text) && peer !== null) assert.equal(peer.family, 4);
  }));
});
