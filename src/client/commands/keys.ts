import { resolve } from 'node:path';
import { Type } from 'typebox';
import { oneOf } from '../../config/schemas.ts';
import { formatFingerprint } from '../../crypto/crypt-config.ts';
import { changePassphrase, createKeyFile, generateKey, parseKeyFile, serializeKeyFile } from '../../crypto/key-file.ts';
import { paperKey } from '../../crypto/paper-key.ts';
import { parseRfc3339 } from '../../crypto/rfc3339.ts';
import { quotedPath } from '../../datastore/store-error.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { show } from '../../terminal/output.ts';
import { timeCell } from '../../terminal/renderers.ts';
import type { ClientCommand } from '../client-context.ts';
import { askPassphrase, unlockKeyFile } from '../encryption-key.ts';
import { environmentValue } from '../environment.ts';
import { createKeyFileAt, existingKeyFile, replaceKeyFile } from '../key-storage.ts';
import { newKeyOptions, newKeyPath, protection, requireTerminal } from '../new-key.ts';
import { masterKeyCommands } from './master-keys.ts';

const noPassphrase = 'the passphrase was not asked for';

const keyPath = Type.String({ description: 'Key file; the default one if not given.' });

const create: ClientCommand = {
  words: ['key', 'create'],
  description: 'Create an encryption key.',
  parameters: parameters({}, { path: keyPath, ...newKeyOptions }),
  positional: ['path'],
  run: async (context, given) => {
    const path = await newKeyPath(context, given, (text) => `creating default key at: ${text}`);
    const options = await protection(context, given, 'Encryption Key Password: ');
    await createKeyFileAt(path, serializeKeyFile(await createKeyFile(generateKey(), options)));
  },
};

const change: ClientCommand = {
  words: ['key', 'change-passphrase'],
  description: "Change an encryption key's password.",
  parameters: parameters({}, { path: keyPath, ...newKeyOptions }),
  positional: ['path'],
  run: async (context, given) => {
    const { prompter, stderr, variables } = context;
    const { path, bytes } = await existingKeyFile(context.folders, given['path'] as string | undefined);
    requireTerminal(context, 'change passphrase');
    const file = parseKeyFile(bytes);
    const raw = await unlockKeyFile(file, async () => askPassphrase({ prompter, stderr, passphrase: async () => environmentValue(variables, 'PBS_ENCRYPTION_PASSWORD') }));
    const options = await protection(context, given, 'New Password: ');
    // The key is open already: what is left to do needs no old passphrase.
    const opened = { ...file, kdf: null, data: raw };
    const changed = await changePassphrase(opened, () => Promise.reject(new Error(noPassphrase)), options);
    await replaceKeyFile(resolve(path), serializeKeyFile(changed));
  },
};

const showKey: ClientCommand = {
  words: ['key', 'show'],
  description: 'Show what a key file says about its key.',
  parameters: parameters({}, { path: keyPath, ...outputFormatOption }),
  positional: ['path'],
  run: async (context, given) => {
    const { path, bytes } = await existingKeyFile(context.folders, given['path'] as string | undefined);
    const file = parseKeyFile(bytes);
    const data = {
      path: quotedPath(path),
      kdf: file.kdf?.type ?? 'none',
      created: parseRfc3339(file.created),
      modified: parseRfc3339(file.modified),
      ...(file.fingerprint === null ? {} : { fingerprint: formatFingerprint(file.fingerprint) }),
      ...(file.hint === null ? {} : { hint: file.hint }),
    };
    const time = timeCell(context.output.timeZone);
    const fields = [{ name: 'path' }, { name: 'kdf' }, { name: 'created', render: time }, { name: 'modified', render: time }, { name: 'fingerprint' }, { name: 'hint' }];
    show({ kind: 'object', fields }, data, given['output-format'], context);
  },
};

const paper: ClientCommand = {
  words: ['key', 'paperkey'],
  description: 'Print a key for paper, with QR codes to read it back.',
  parameters: parameters({}, { path: keyPath, 'output-format': oneOf(['text', 'html'], 'Format of the page.'), subject: Type.String({ description: 'Title of the page.' }) }),
  positional: ['path'],
  run: async (context, given) => {
    const { bytes } = await existingKeyFile(context.folders, given['path'] as string | undefined);
    const format = given['output-format'] === 'text' ? 'text' : 'html';
    context.stdout.write(paperKey(bytes, { format, subject: given['subject'] as string | undefined }));
  },
};

export const keyCommands: readonly ClientCommand[] = [change, create, paper, showKey, ...masterKeyCommands];
