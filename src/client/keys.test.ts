import assert from 'node:assert/strict';
import { mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { ClientHome, ScriptedPrompter } from '../../test/support/client-runs.ts';
import { fixturePath, goldenFile, goldenPassphrase, readFixture } from '../../test/support/golden.ts';
import { loadKey, parseKeyFile } from '../crypto/key-file.ts';

const errorOf = (stderr: string): string => /^Error: (.*)$/m.exec(stderr)?.[1] ?? stderr;

test('a key without password: created once, shown, and the default one is found', async (t) => {
  const home = await ClientHome.make(t, null);
  const path = join(home.path, 'k1');
  assert.deepEqual(await home.run(['key', 'create', path, '--kdf', 'none']), { stdout: '', bytes: Buffer.alloc(0), stderr: '', exit: 0 });
  assert.equal((await stat(path)).mode & 0o777, 0o600);
  const before = await readFile(path);
  assert.equal(errorOf((await home.run(['key', 'create', path, '--kdf', 'none'])).stderr), `Unable to store key file "${path}" - File exists (os error 17)`);
  assert.deepEqual(await readFile(path), before);
  const file = parseKeyFile(before);
  const shown = JSON.parse((await home.run(['key', 'show', path, '--output-format', 'json'])).stdout) as Record<string, unknown>;
  assert.deepEqual([Object.keys(shown), shown['kdf'], shown['path']], [['created', 'fingerprint', 'kdf', 'modified', 'path'], 'none', `"${path}"`]);
  assert.equal(String(shown['fingerprint']).replaceAll(':', ''), Buffer.from(file.fingerprint!).toString('hex'));

  assert.equal(errorOf((await home.run(['key', 'show'])).stderr), 'no encryption file provided and no default file found');
  const target = join(home.path, '.config/proxmox-backup/encryption-key.json');
  assert.equal((await home.run(['key', 'create', '--kdf', 'none'])).stderr, `creating default key at: "${target}"\n`);
  assert.match((await home.run(['key', 'show'])).stdout, /│ kdf +│ none +│\n/);
  assert.equal(errorOf((await home.run(['key', 'create', '--kdf', 'none'])).stderr), `Unable to store key file "${target}" - File exists (os error 17)`);
  assert.equal(errorOf((await home.run(['key', 'create', join(home.path, 'k2'), '--kdf', 'none', '--hint', 'foo'])).stderr), 'password hint not allowed for Kdf::None');
  assert.equal(errorOf((await home.run(['key', 'create', join(home.path, 'k2')])).stderr), 'unable to read passphrase - no tty');
  assert.equal(errorOf((await home.run(['key', 'create', join(home.path, 'no/such')])).stderr), 'unable to read passphrase - no tty');
});

test('a password is asked for twice, and changed; the key stays', async (t) => {
  const home = await ClientHome.make(t, null);
  const path = join(home.path, 'k');
  const create = async (...answers: string[]): Promise<string> => (await home.run(['key', 'create', path], { prompter: new ScriptedPrompter(...answers) })).stderr;
  assert.equal(errorOf(await create('abcdef', 'abcdeg')), 'Passwords do not match!');
  assert.equal(errorOf(await create('abc', 'abc')), 'Password too short!');
  const prompter = new ScriptedPrompter('abcdef', 'abcdef');
  assert.equal((await home.run(['key', 'create', path, '--hint', 'letters'], { prompter })).exit, 0);
  assert.deepEqual(prompter.asked, ['secret: Encryption Key Password: ', 'secret: Verify Password: ']);
  const before = parseKeyFile(await readFile(path));
  const raw = await loadKey(before, () => 'abcdef');

  assert.equal(errorOf((await home.run(['key', 'change-passphrase', path])).stderr), 'unable to change passphrase - no tty');
  const wrong = await home.run(['key', 'change-passphrase', path], { prompter: new ScriptedPrompter('wrong password') });
  assert.equal(errorOf(wrong.stderr), 'Unable to decrypt key (password hint: letters)');
  const second = new ScriptedPrompter('abcdef', 'ghijkl', 'ghijkl');
  assert.equal((await home.run(['key', 'change-passphrase', path, '--kdf', 'pbkdf2', '--hint', 'new'], { prompter: second })).exit, 0);
  assert.deepEqual(second.asked, ['secret: Encryption Key Password: ', 'secret: New Password: ', 'secret: Verify Password: ']);
  const after = parseKeyFile(await readFile(path));
  assert.deepEqual([after.kdf?.type, after.hint, after.created, await loadKey(after, () => 'ghijkl')], ['pbkdf2', 'new', before.created, raw]);
  assert.equal((await home.run(['key', 'change-passphrase', path, '--kdf', 'none'], { env: { PBS_ENCRYPTION_PASSWORD: 'ghijkl' }, prompter: new ScriptedPrompter() })).exit, 0);
  const open = parseKeyFile(await readFile(path));
  assert.deepEqual([open.kdf, open.data, (await stat(path)).mode & 0o777], [null, raw, 0o600]);
});

test('the golden keys are shown and printed as the reference does', async (t) => {
  const home = await ClientHome.make(t, null);
  for (const name of ['kdf-none', 'kdf-pbkdf2', 'kdf-scrypt']) {
    const { path: _, ...expected } = JSON.parse(String(readFixture(`keys/${name}.show.json`))) as Record<string, unknown>;
    const { path, ...shown } = JSON.parse((await home.run(['key', 'show', fixturePath(`keys/${name}.key`), '--output-format', 'json-pretty'])).stdout) as Record<string, unknown>;
    assert.deepEqual([shown, path], [expected, `"${fixturePath(`keys/${name}.key`)}"`]);
  }
  const paper = (await home.run(['key', 'paperkey', fixturePath('keys/kdf-none.key'), '--output-format', 'text'])).stdout;
  const withoutCode = (text: string): string => text.slice(0, text.indexOf('-----END'));
  assert.equal(withoutCode(paper), withoutCode(String(readFixture('keys/kdf-none.paperkey.txt'))));
  assert.match((await home.run(['key', 'paperkey', fixturePath('keys/kdf-none.key'), '--subject', 'main'])).stdout, /^<!DOCTYPE html>\n[^]*<p>Subject: main<\/p>/);
});

test('a master key: made, imported, shown, and it opens the key of a backup', async (t) => {
  const home = await ClientHome.make(t, null);
  assert.equal(errorOf((await home.run(['key', 'create-master-key'])).stderr), 'unable to create master key - no tty');
  assert.equal(errorOf((await home.run(['key', 'show-master-pubkey'])).stderr), 'No path specified and no default master key available.');
  const path = fixturePath('keys/master-public.pem');
  const target = join(home.path, '.config/proxmox-backup/master-public.pem');
  const imported = await home.run(['key', 'import-master-pubkey', path]);
  assert.match(imported.stderr, new RegExp(`^Found following key at "${path}"\nModulus: CB1950178D00804B[0-9A-F]+\nExponent: 65537\nLength: 4096\nImported public master key to "${target}"\n$`));
  assert.deepEqual(await readFile(target), readFixture('keys/master-public.pem'));
  const shown = JSON.parse((await home.run(['key', 'show-master-pubkey', '--output-format', 'json'])).stdout) as Record<string, unknown>;
  assert.deepEqual([shown['exponent'], shown['length'], shown['path']], ['65537', 4096, target]);
  assert.match(errorOf((await home.run(['key', 'import-master-pubkey', fixturePath('keys/kdf-none.key')])).stderr), /^Unable to decode PEM data - /);

  const encrypted = join(home.path, 'rsa-encrypted.key');
  await writeFile(encrypted, goldenFile('host/crypt/2025-10-09T08:56:40Z/rsa-encrypted.key.blob').subarray(12));
  const argv = ['key', 'import-with-master-key', join(home.path, 'back'), '--master-keyfile', fixturePath('keys/master-private.pem'), '--encrypted-keyfile', encrypted, '--kdf', 'none'];
  assert.match(errorOf((await home.run(argv, { prompter: new ScriptedPrompter('wrong-passphrase') })).stderr), /^unable to read the private master key/);
  const prompter = new ScriptedPrompter(goldenPassphrase);
  assert.deepEqual([(await home.run(argv, { prompter })).exit, prompter.asked], [0, ['secret: Master Key Password: ']]);
  const scrypt = parseKeyFile(readFixture('keys/kdf-scrypt.key'));
  const back = parseKeyFile(await readFile(join(home.path, 'back')));
  assert.deepEqual([back.fingerprint, back.created, back.data], [scrypt.fingerprint, scrypt.created, await loadKey(scrypt, () => goldenPassphrase)]);

  const folder = join(home.path, 'master');
  await mkdir(folder);
  const start = process.cwd();
  process.chdir(folder);
  try {
    assert.equal((await home.run(['key', 'create-master-key'], { prompter: new ScriptedPrompter('abcdef', 'abcdef') })).exit, 0);
  } finally {
    process.chdir(start);
  }
  assert.equal((await stat(join(folder, 'master-private.pem'))).mode & 0o777, 0o600);
  assert.match(String(await readFile(join(folder, 'master-private.pem'))), /^-----BEGIN ENCRYPTED PRIVATE KEY-----\n/);
  assert.equal((await home.run(['key', 'import-master-pubkey', join(folder, 'master-public.pem')])).exit, 0);
});
