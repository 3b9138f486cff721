import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isSecretParameter } from '../src/api/audit-trail.ts';
import { labelOf } from './support/api-schema.ts';
import { WholeServer } from './support/whole-server.ts';

/** Called like secrets, but only names of things. */
const harmless = new Set(['token-name', 'auth-id', 'author', 'active-encryption-key', 'associated-key', 'decryption-keys', 'encryption-key', 'privs']);
const suspicious = /pass|secret|key|token|ticket|challenge|value|pem|cert|pkcs|auth|cred|header|body|heartbeat|pin$|otp/;

test('no parameter that is called like a secret is written into the audit log', async () => {
  await using server = await WholeServer.make();
  const { endpoints } = server.composition.router;
  const found = endpoints.flatMap((endpoint) => Object.keys(endpoint.parameters.properties).map((name) => ({ endpoint, name }))).filter(({ name }) => suspicious.test(name));
  assert.ok(found.length > 20);
  const open = found.filter(({ endpoint, name }) => endpoint.method !== 'GET' && !isSecretParameter(name) && !harmless.has(name));
  assert.deepEqual(open.map(({ endpoint, name }) => `${labelOf(endpoint)} ${name}`), []);
  for (const name of harmless) assert.equal(isSecretParameter(name), false);
});
