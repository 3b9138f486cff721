import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inspect } from 'node:util';
import { ConfigError } from '../base/errors.ts';
import { RemoteEndpoint, parseFingerprint } from './remote-endpoint.ts';

const fingerprint = Array.from({ length: 32 }, (_, i) => i.toString(16).padStart(2, '0')).join(':');
const endpoint = new RemoteEndpoint({ host: 'pbs.example', authId: 'sync@pbs!offsite', secret: 'hunter2', fingerprint: fingerprint.toUpperCase() });

test('the secret shows up in no printed form', () => {
  for (const text of [inspect(endpoint), inspect({ deep: [endpoint] }, { showHidden: true, depth: 9 }), JSON.stringify({ endpoint }), endpoint.toString(), inspect(Object.assign({}, endpoint)), JSON.stringify(Object.assign({}, endpoint))]) {
    assert.ok(!text.includes('hunter2'), text);
    assert.ok(text.includes('sync@pbs!offsite'), text);
  }
  assert.equal(endpoint.secret, 'hunter2');
});

test('host, port, kind of account', () => {
  assert.equal(endpoint.authority, 'pbs.example:8007');
  assert.equal(endpoint.fingerprint, fingerprint);
  assert.equal(endpoint.isToken, true);
  assert.equal(new RemoteEndpoint({ host: '::1', port: 1, authId: 'a!b@pbs', secret: 'x' }).isToken, false);
  for (const host of ['', 'a b', 'http://x', 'a:1', 'x/y', 'u@h']) assert.throws(() => new RemoteEndpoint({ host, authId: 'a@pbs', secret: 'x' }), ConfigError, host);
  assert.throws(() => new RemoteEndpoint({ host: 'h', authId: 'a@pbs', secret: 'x\ny' }), (e) => e instanceof ConfigError && !e.message.includes('x\n'));
});

test('fingerprints are 32 hex pairs', () => {
  assert.equal(parseFingerprint(` ${fingerprint.toUpperCase()} `), fingerprint);
  for (const text of ['', fingerprint.slice(3), `${fingerprint}:00`, fingerprint.replaceAll(':', ''), fingerprint.replace('01', '0g')]) assert.throws(() => parseFingerprint(text), ConfigError);
});
