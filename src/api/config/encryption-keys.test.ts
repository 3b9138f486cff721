import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { configApi, grant, type ConfigApi } from '../../../test/support/config-api.ts';
import { readFixture } from '../../../test/support/golden.ts';
import { EncryptionKeys } from '../../config/encryption-keys.ts';
import { CryptConfig, formatFingerprint } from '../../crypto/crypt-config.ts';

const admin = 'admin@pbs';
const path = '/config/encryption-keys';
const plainKey = readFixture('keys/kdf-none.key').toString('utf8');
const wrongDigest = '0'.repeat(64);

interface Shown {
  kdf: null;
  data: string;
  fingerprint: string;
}

const file = ({ paths }: ConfigApi, id: string): string => join(paths.config, 'encryption-keys', `${id}.enc`);

// Texts, files and sections as a reference server 4.2.3 made them.
test('a key is stored as the reference stores it and shown only when it is made', async (t) => {
  const made = await configApi(t, 'source');
  const shown = (await made.server.data(admin, 'POST', path, { id: 'key-one' })) as Shown;
  const key = Buffer.from(shown.data, 'base64');
  assert.equal(shown.fingerprint, formatFingerprint(new CryptConfig(key).fingerprint));
  assert.equal(shown.kdf, null);

  const stored = readFileSync(file(made, 'key-one'), 'utf8');
  assert.match(stored, /^\{"kdf":null,"created":"[^"]+","modified":"[^"]+","data":"[^"]{44}","fingerprint":"[0-9a-f:]{95}"\}$/);
  assert.deepEqual(JSON.parse(stored), shown);
  assert.equal(statSync(file(made, 'key-one')).mode & 0o777, 0o600);
  assert.equal(statSync(join(made.paths.config, 'encryption-keys')).mode & 0o777, 0o700);

  const config = readFileSync(join(made.paths.config, 'encryption-keys.cfg'), 'utf8');
  assert.match(config, new RegExp(`^sync-key: key-one\\n\\tcreated \\d+\\n\\tfingerprint ${shown.fingerprint}\\n\\tkdf none\\n\\tmodified \\d+\\n\\tpath [^\\n]*/encryption-keys/key-one\\.enc\\n$`));
  const listed = JSON.stringify(await made.server.data(admin, 'GET', path));
  assert.ok(listed.includes(shown.fingerprint) && !listed.includes(shown.data) && !config.includes(shown.data));
});

test('a given key is taken over byte for byte, others are refused', async (t) => {
  const made = await configApi(t, 'source');
  const { server } = made;
  await server.data(admin, 'POST', path, { id: 'given', key: plainKey });
  assert.equal(readFileSync(file(made, 'given'), 'utf8'), plainKey.trim());
  const refused = async (fields: Record<string, unknown>): Promise<string> => server.refusal(admin, 'POST', path, { id: 'bad', ...fields });
  assert.equal(await refused({ key: readFixture('keys/kdf-scrypt.key').toString('utf8') }), '400 protected keys not supported');
  assert.match(await refused({ key: 'nonsense' }), /^400 failed to parse provided key: /);
  assert.match(await refused({ key: '{}' }), /^400 failed to parse provided key: /);
  assert.equal(await refused({ id: 'given' }), "400 key with id 'given' already exists.");
  assert.match(await refused({ id: 'xx' }), /^400 parameter verification failed - 'id': /);
  const forged = JSON.parse(plainKey) as Shown;
  assert.match(await refused({ key: JSON.stringify({ ...forged, fingerprint: forged.fingerprint.replace(/^../, '00') }) }), /wrong fingerprint/);
  assert.ok(!existsSync(file(made, 'bad')));
});

test('a key file that is there is never overwritten', async (t) => {
  const made = await configApi(t, 'source');
  await made.server.data(admin, 'POST', path, { id: 'first' });
  writeFileSync(file(made, 'second'), 'a key that somebody may need');
  assert.match(await made.server.refusal(admin, 'POST', path, { id: 'second' }), /exists already/);
  assert.equal(readFileSync(file(made, 'second'), 'utf8'), 'a key that somebody may need');
  assert.deepEqual(new EncryptionKeys(made.paths).list().records.map(({ id }) => id), ['first']);
});

test('archive, use again, remove', async (t) => {
  const made = await configApi(t, 'source');
  const { server } = made;
  const ids = async (all: boolean): Promise<unknown[]> => ((await server.data(admin, 'GET', path, { 'include-archived': all })) as Array<{ id: string }>).map(({ id }) => id);
  await server.data(admin, 'POST', path, { id: 'key-one' });
  assert.equal(await server.refusal(admin, 'DELETE', `${path}/key-one`), '400 key still active, deleting is only possible for archived keys');
  assert.equal(await server.refusal(admin, 'POST', `${path}/key-one`, { digest: wrongDigest }), '400 detected modified configuration - file changed by other user? Try again.');
  await server.data(admin, 'POST', `${path}/key-one`);
  assert.deepEqual([await ids(false), await ids(true)], [[], ['key-one']]);
  await server.data(admin, 'POST', `${path}/key-one`);
  assert.deepEqual(await ids(false), ['key-one']);
  await server.data(admin, 'POST', `${path}/key-one`);
  assert.equal(await server.data(admin, 'DELETE', `${path}/key-one`), null);
  assert.deepEqual(await ids(true), []);
  assert.ok(!existsSync(file(made, 'key-one')));
  assert.equal(await server.data(admin, 'DELETE', `${path}/key-one`), null);
  assert.equal(await server.refusal(admin, 'POST', `${path}/key-one`), "400 no such sync-key 'key-one'");
});

test('what a job needs stays; former keys stay with the job', async (t) => {
  const made = await configApi(t, 'source');
  const { server } = made;
  for (const id of ['aaa', 'bbb', 'ccc']) await server.data(admin, 'POST', path, { id });
  await server.data(admin, 'POST', '/config/remote', { name: 'rrr', host: '192.0.2.1', 'auth-id': 'x@pbs!y', password: 'abc' });
  const pull = { id: 'pulls', store: 'main', remote: 'rrr', 'remote-store': 'main' };
  const push = { id: 'pushes', store: 'main', remote: 'rrr', 'remote-store': 'main', 'sync-direction': 'push' };
  const job = async (id: string): Promise<Record<string, unknown>> => (await server.data(admin, 'GET', `/config/sync/${id}`)) as Record<string, unknown>;
  assert.equal(await server.refusal(admin, 'POST', '/config/sync', { ...pull, 'associated-key': ['nokey'] }), "400 no such key or cannot access key 'nokey'");
  await server.data(admin, 'POST', '/config/sync', { ...pull, 'associated-key': ['aaa'] });
  await server.data(admin, 'POST', '/config/sync', { ...push, 'active-encryption-key': 'bbb' });
  assert.equal(await server.refusal(admin, 'POST', `${path}/bbb`), "400 encryption key in use by sync job: 'pushes'");
  await server.data(admin, 'POST', `${path}/aaa`);
  assert.equal(await server.refusal(admin, 'DELETE', `${path}/aaa`), "400 encryption key in use by sync job: 'pulls'");
  // An archived key does not encrypt.
  assert.equal(await server.refusal(admin, 'PUT', '/config/sync/pushes', { 'active-encryption-key': 'aaa' }), "400 no such key or cannot access key 'aaa'");

  await server.data(admin, 'PUT', '/config/sync/pushes', { 'active-encryption-key': 'ccc' });
  const rotated = await job('pushes');
  assert.deepEqual([rotated['active-encryption-key'], rotated['associated-key']], ['ccc', ['bbb']]);
  assert.equal(await server.refusal(admin, 'PUT', '/config/sync/pushes', { delete: ['sync-direction'] }), "400 'active-encryption-key' only applies to push sync jobs");
  await server.data(admin, 'PUT', '/config/sync/pushes', { delete: ['active-encryption-key'], 'associated-key': ['bbb'] });
  const ended = await job('pushes');
  assert.deepEqual([ended['active-encryption-key'], ended['associated-key']], [undefined, ['bbb', 'ccc']]);
});

test('keys take privileges of their own', async (t) => {
  const made = await configApi(t, 'source');
  const { server, acl } = made;
  await server.data(admin, 'POST', path, { id: 'aaa' });
  await server.data(admin, 'POST', path, { id: 'bbb' });
  assert.equal((await server.refusal('low@pbs', 'POST', path, { id: 'ccc' })).slice(0, 3), '403');
  assert.equal((await server.refusal('low@pbs', 'POST', `${path}/aaa`)).slice(0, 3), '403');
  assert.equal((await server.refusal('low@pbs', 'DELETE', `${path}/aaa`)).slice(0, 3), '403');
  assert.deepEqual(await server.data('low@pbs', 'GET', path), []);
  await grant(acl, 'low@pbs', '/system/encryption-keys/bbb', 'Audit');
  assert.deepEqual(((await server.data('low@pbs', 'GET', path)) as Array<{ id: string }>).map(({ id }) => id), ['bbb']);
  // A job runs with its owner's rights: they count, not those of who configures it.
  await server.data(admin, 'POST', '/config/remote', { name: 'rrr', host: '192.0.2.1', 'auth-id': 'x@pbs!y', password: 'abc' });
  const job = { id: 'pulls', store: 'main', remote: 'rrr', 'remote-store': 'main', 'associated-key': ['bbb'] };
  assert.equal(await server.refusal(admin, 'POST', '/config/sync', { ...job, owner: 'low@pbs' }), "400 no such key or cannot access key 'bbb'");
  await server.data(admin, 'POST', '/config/sync', { ...job, owner: admin });
  assert.equal(await server.refusal(admin, 'PUT', '/config/sync/pulls', { owner: 'low@pbs' }), "400 no such key or cannot access key 'bbb'");
});

test('a key whose file is gone, damaged or another key is not used', async (t) => {
  const made = await configApi(t, 'source');
  await made.server.data(admin, 'POST', path, { id: 'aaa', key: plainKey });
  await made.server.data(admin, 'POST', path, { id: 'bbb' });
  const keys = new EncryptionKeys(made.paths);
  assert.equal(formatFingerprint((await keys.load('aaa', 'encrypt')).fingerprint), (JSON.parse(plainKey) as Shown).fingerprint);
  writeFileSync(file(made, 'aaa'), readFileSync(file(made, 'bbb')));
  await assert.rejects(keys.load('aaa', 'decrypt'), { code: 'config.key', message: /^unable to load encryption key 'aaa'/ });
  writeFileSync(file(made, 'aaa'), plainKey.slice(0, 100));
  await assert.rejects(keys.load('aaa', 'decrypt'), { code: 'config.key' });
  await assert.rejects(keys.load('nokey', 'decrypt'), { code: 'config.missing' });
  await made.server.data(admin, 'POST', `${path}/bbb`);
  await assert.rejects(keys.load('bbb', 'encrypt'), { message: "encryption key 'bbb' is archived: it can only decrypt" });
  await keys.load('bbb', 'decrypt');
});
