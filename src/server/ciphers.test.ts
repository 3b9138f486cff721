import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createSecureContext } from 'node:tls';
import { configuredCiphers } from './ciphers.ts';

test('ciphers of one version leave those of the other as they are', () => {
  assert.equal(configuredCiphers({}), undefined);
  const newer = configuredCiphers({ 'ciphers-tls-1.3': 'TLS_AES_256_GCM_SHA384' })!.split(':');
  assert.deepEqual(newer.filter((name) => name.startsWith('TLS_')), ['TLS_AES_256_GCM_SHA384']);
  assert.ok(newer.includes('ECDHE-ECDSA-AES128-GCM-SHA256'));
  const older = configuredCiphers({ 'ciphers-tls-1.2': 'ECDHE-ECDSA-AES256-GCM-SHA384' })!.split(':');
  assert.deepEqual(older.filter((name) => !name.startsWith('TLS_')), ['ECDHE-ECDSA-AES256-GCM-SHA384']);
  assert.ok(older.includes('TLS_AES_128_GCM_SHA256'));
  for (const ciphers of [newer, older]) createSecureContext({ ciphers: ciphers.join(':') });
});
