import assert from 'node:assert/strict';
import { readFileSync, rmSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { configFixtures, temporaryInstallation } from '../../test/support/installation.ts';
import { settingsFile } from './farshore-config.ts';
import { remoteTable, withoutSecret } from './remote-config.ts';
import { RemoteSecrets } from './remote-secrets.ts';

test('the secret of a remote that the reference stored is read', async (t) => {
  const paths = await temporaryInstallation(t, 'target');
  const secrets = new RemoteSecrets(paths, settingsFile(paths));
  const remote = remoteTable(paths).get('pbs-hq');
  const token = JSON.parse(readFileSync(join(configFixtures, 'sync-token.json'), 'utf8')) as { value: string };
  assert.equal(secrets.open(remote.name, remote.password), token.value);
  assert.equal(secrets.needsRewrite(remote.password), true);
  assert.equal('password' in withoutSecret(remote), false);
});

test('a sealed secret is opened, for its remote and with its key only, and is not readable', async (t) => {
  const paths = await temporaryInstallation(t);
  const secrets = new RemoteSecrets(paths, settingsFile(paths));
  const sealed = await secrets.seal('hq', 'top secret');
  assert.match(sealed, /^farshore1:[A-Za-z0-9_-]+$/);
  assert.equal(sealed.includes(Buffer.from('top secret').toString('base64').slice(0, 8)), false);
  assert.notEqual(await secrets.seal('hq', 'top secret'), sealed);
  assert.equal(secrets.needsRewrite(sealed), false);
  const keyPath = join(paths.config, 'remote-secret.key');
  assert.equal(statSync(keyPath).mode & 0o777, 0o600);

  const restarted = new RemoteSecrets(paths, settingsFile(paths));
  assert.equal(restarted.open('hq', sealed), 'top secret');
  assert.throws(() => restarted.open('other', sealed), { code: 'config.remote-secret' });
  for (const broken of [`${sealed.slice(0, -2)}AA`, sealed.slice(0, 20), 'farshore1:', 'farshore2:AAAA', 'not base64!']) {
    assert.throws(() => restarted.open('hq', broken), { code: 'config.remote-secret' }, broken);
  }
  rmSync(keyPath);
  assert.throws(() => new RemoteSecrets(paths, settingsFile(paths)).open('hq', sealed), { code: 'config.remote-secret', message: /key .* is missing$/, hint: /farshore remote update hq/ });
});

test('where the file is shared with a reference server, secrets are stored as it stores them', async (t) => {
  const paths = await temporaryInstallation(t);
  const settings = settingsFile(paths);
  const secrets = new RemoteSecrets(paths, settings);
  const sealed = await secrets.seal('hq', 'labsecret123');
  await settings.update((content) => {
    content['plain-remote-secrets'] = true;
  });
  assert.equal(await secrets.seal('hq', 'labsecret123'), 'bGFic2VjcmV0MTIz');
  assert.equal(secrets.needsRewrite(sealed), true);
  assert.equal(secrets.open('hq', sealed), 'labsecret123');
});

test('two servers that start at the same time make one key', async (t) => {
  const paths = await temporaryInstallation(t);
  const many = Array.from({ length: 8 }, () => new RemoteSecrets(paths, settingsFile(paths)));
  const sealed = await Promise.all(many.map((one, i) => one.seal('hq', `secret ${i}`)));
  sealed.forEach((text, i) => assert.equal(many[0]!.open('hq', text), `secret ${i}`));
});

test('every secret comes back', async (t) => {
  const paths = await temporaryInstallation(t);
  const secrets = new RemoteSecrets(paths, settingsFile(paths));
  await fc.assert(
    fc.asyncProperty(fc.string({ unit: 'grapheme', maxLength: 80 }), async (secret) => {
      assert.equal(secrets.open('r', await secrets.seal('r', secret)), secret);
    }),
  );
});
