import assert from 'node:assert/strict';
import { open, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { test } from 'node:test';
import { temporaryFolder } from '../../test/support/golden.ts';
import { environmentValue } from './environment.ts';

test('value, descriptor, file, command, credential, in this order; the first line of each but the last', async () => {
  await using folder = await temporaryFolder();
  const path = (name: string): string => join(folder.path, name);
  for (const name of ['descriptor', 'file', 'proxmox-backup-client.password']) await writeFile(path(name), `${name}\r\nmore\n`);
  const handle = await open(path('descriptor'));
  try {
    const variables: Record<string, string> = {
      CREDENTIALS_DIRECTORY: folder.path,
      PBS_PASSWORD_CMD: `printf '%s\\n' "a b"\\ c more`,
      PBS_PASSWORD_FILE: path('file'),
      PBS_PASSWORD_FD: String(handle.fd),
      PBS_PASSWORD: 'value\nmore',
    };
    const found: Array<string | null> = [];
    for (const name of ['', 'PBS_PASSWORD', 'PBS_PASSWORD_FD', 'PBS_PASSWORD_FILE', 'PBS_PASSWORD_CMD', 'CREDENTIALS_DIRECTORY']) {
      delete variables[name];
      found.push(await environmentValue(variables, 'PBS_PASSWORD'));
    }
    assert.deepEqual(found, ['value', 'descriptor', 'file', 'a b c', 'proxmox-backup-client.password\r\nmore\n', null]);
  } finally {
    await handle.close();
  }
});

test('an empty value is a value; a missing credential is none', async () => {
  await using folder = await temporaryFolder();
  assert.equal(await environmentValue({ PBS_FINGERPRINT: '', PBS_FINGERPRINT_FILE: '/nonexistent' }, 'PBS_FINGERPRINT'), '');
  assert.equal(await environmentValue({ CREDENTIALS_DIRECTORY: folder.path }, 'PBS_FINGERPRINT'), null);
});

test('what cannot be read is said, without the secret that a command may hold', async () => {
  await using folder = await temporaryFolder();
  const binary = join(folder.path, 'binary');
  await writeFile(binary, Buffer.from([0xff, 0xfe]));
  const cases: Array<[Record<string, string>, string | RegExp]> = [
    [{ PBS_PASSWORD_FILE: '/nonexistent' }, 'unable to open file in ENV(PBS_PASSWORD_FILE): No such file or directory (os error 2)'],
    [{ PBS_PASSWORD_FILE: binary }, 'ENV(PBS_PASSWORD_FILE) contains non-unicode data'],
    [{ PBS_PASSWORD_FD: 'x' }, 'unable to parse file descriptor in ENV(PBS_PASSWORD_FD)'],
    [{ PBS_PASSWORD_FD: '999999' }, 'unable to read file descriptor in ENV(PBS_PASSWORD_FD): Bad file descriptor (os error 9)'],
    [{ PBS_PASSWORD_CMD: 'false secret' }, 'command "false" failed - status code: 1 - no error message'],
    [{ PBS_PASSWORD_CMD: '/nonexistent/program secret' }, 'command "/nonexistent/program" failed - No such file or directory (os error 2)'],
    [{ PBS_PASSWORD_CMD: ' ' }, 'ENV(PBS_PASSWORD_CMD) names no command'],
  ];
  for (const [variables, message] of cases) await assert.rejects(environmentValue(variables, 'PBS_PASSWORD'), { code: 'config.environment', message });
});
