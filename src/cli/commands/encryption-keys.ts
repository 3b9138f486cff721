import { readFile } from 'node:fs/promises';
import { Type } from 'typebox';
import { ConfigError } from '../../base/errors.ts';
import { encryptionKeyId, flag } from '../../config/schemas.ts';
import type { Command, CommandContext } from '../command.ts';
import { encryptionKeys } from '../completions.ts';
import { parameters } from './parameters.ts';
import { listCommand, plainColumns, quietCall, removeCommand } from './section.ts';
import type { Section } from './section.ts';

const section: Section = { word: 'encryption-key', key: 'id', keySchema: encryptionKeyId, path: '/config/encryption-keys', noun: 'encryption key', completions: { id: encryptionKeys } };

async function readKeyFile(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (e) {
    throw new ConfigError('config.key', `cannot read the key file "${path}"`, { cause: e });
  }
}

/** A new key comes out on stdout, so that it can be kept: without it what it encrypts is lost together with this server. */
async function runCreate({ api, stdout, stderr }: CommandContext, given: Readonly<Record<string, unknown>>): Promise<void> {
  const { id, 'key-file': path } = given;
  const key = typeof path === 'string' ? await readKeyFile(path) : undefined;
  const { data } = await api.call('POST', section.path, { id, ...(key === undefined ? {} : { key }) });
  const made = data as { fingerprint: string };
  if (key === undefined) stdout.write(`${JSON.stringify(data)}\n`);
  stderr.write(`Encryption key '${String(id)}' with fingerprint ${made.fingerprint}\n`);
  if (key === undefined) stderr.write('Keep what was printed in a safe place away from this server: it is not shown again, and what it encrypts cannot be read without it.\n');
}

const create: Command = {
  words: [section.word, 'create'],
  description: 'Make an encryption key for sync jobs and print it once, or take one from a key file.',
  parameters: parameters({ id: encryptionKeyId }, { 'key-file': Type.String({ description: 'Key file without password, as `key create --kdf none` of the client makes it.' }) }),
  positional: ['id'],
  run: runCreate,
};

const archive: Command = {
  words: [section.word, 'archive'],
  description: 'Archive an encryption key, so that it only decrypts; make an archived one usable again.',
  parameters: parameters({ id: encryptionKeyId }),
  positional: ['id'],
  completions: section.completions,
  run: quietCall('POST', `${section.path}/{id}`),
};

/** The reference has its keys in the API only. */
export const encryptionKeyCommands: readonly Command[] = [
  listCommand(section, () => plainColumns('id fingerprint created archived-at'), { 'include-archived': flag('List archived keys, too.', { default: false }) }),
  create,
  archive,
  removeCommand(section),
];
