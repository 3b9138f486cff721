import { Type } from 'typebox';
import { ConfigError } from '../../base/errors.ts';
import { createKeyFile, serializeKeyFile } from '../../crypto/key-file.ts';
import { createMasterKey, decryptKeyWithMaster } from '../../crypto/rsa-key.ts';
import { replaceFile } from '../../datastore/replace-file.ts';
import { quotedPath } from '../../datastore/store-error.ts';
import { outputFormatOption, parameters } from '../../terminal/command-parameters.ts';
import { show } from '../../terminal/output.ts';
import type { ClientCommand } from '../client-context.ts';
import { findInFolders, readKeyFile } from '../encryption-key.ts';
import { createKeyFileAt, defaultFilePath } from '../key-storage.ts';
import { defaultMasterKeyName, masterKeyInfo, masterKeyText } from '../master-key.ts';
import { newKeyOptions, newKeyPath, newPassphrase, protection } from '../new-key.ts';

const create: ClientCommand = {
  words: ['key', 'create-master-key'],
  description: 'Create a master key pair: the public half goes onto hosts that back up, the private half opens the keys that they put beside their backups.',
  parameters: parameters({}),
  positional: [],
  run: async ({ prompter, stderr }) => {
    if (!prompter.canAsk) throw new ConfigError('config.passphrase', 'unable to create master key - no tty');
    const passphrase = await newPassphrase(prompter, 'Master Key Password: ');
    stderr.write('Generating 4096-bit RSA key..\n');
    const { publicPem, privatePem } = await createMasterKey(passphrase);
    stderr.write(`${masterKeyText(masterKeyInfo(Buffer.from(publicPem)))}\n`);
    stderr.write('Writing public master key to master-public.pem\n');
    await replaceFile('master-public.pem', Buffer.from(publicPem, 'utf8'), { owner: null });
    stderr.write('Writing private master key to master-private.pem\n');
    await replaceFile('master-private.pem', Buffer.from(privatePem, 'utf8'), { owner: null, mode: 0o600 });
  },
};

const importPublic: ClientCommand = {
  words: ['key', 'import-master-pubkey'],
  description: 'Make a public master key the default one of this user.',
  parameters: parameters({ path: Type.String({ description: 'Path of the public key (PEM).' }) }),
  positional: ['path'],
  run: async (context, given) => {
    const path = given['path'] as string;
    const pem = await readKeyFile(path);
    const info = masterKeyInfo(pem);
    const target = await defaultFilePath(context.folders, defaultMasterKeyName);
    context.stderr.write(`Found following key at ${quotedPath(path)}\n${masterKeyText(info)}Length: ${info.length}\n`);
    await replaceFile(target, pem, { owner: null });
    context.stderr.write(`Imported public master key to ${quotedPath(target)}\n`);
  },
};

const showPublic: ClientCommand = {
  words: ['key', 'show-master-pubkey'],
  description: 'Show a public master key.',
  parameters: parameters({}, { path: Type.String({ description: 'Path of the public key (PEM); the default one if not given.' }), ...outputFormatOption }),
  positional: ['path'],
  run: async (context, given) => {
    const path = given['path'] as string | undefined;
    const found = path === undefined ? await findInFolders(context.folders.configSearch, defaultMasterKeyName) : { path, bytes: await readKeyFile(path) };
    if (found === null) throw new ConfigError('config.master-key', 'No path specified and no default master key available.', { hint: 'import one with `key import-master-pubkey`' });
    const fields = [{ name: 'path' }, { name: 'modulus' }, { name: 'exponent' }, { name: 'length' }];
    show({ kind: 'object', fields }, { path: found.path, ...masterKeyInfo(found.bytes) }, given['output-format'], context);
  },
};

const importKey: ClientCommand = {
  words: ['key', 'import-with-master-key'],
  description: 'Get an encryption key back from what a backup holds of it, with the private master key.',
  parameters: parameters(
    {
      'encrypted-keyfile': Type.String({ description: 'Key file under the master key, as restored from rsa-encrypted.key.' }),
      'master-keyfile': Type.String({ description: 'Private master key (PEM).' }),
    },
    { path: Type.String({ description: 'Key file to make; the default one if not given.' }), ...newKeyOptions },
  ),
  positional: ['path'],
  run: async (context, given) => {
    const encrypted = await readKeyFile(given['encrypted-keyfile'] as string);
    const privatePem = (await readKeyFile(given['master-keyfile'] as string)).toString('utf8');
    const path = await newKeyPath(context, given, (text) => `Importing key to default location at: ${text}`);
    const passphrase = privatePem.includes('ENCRYPTED') ? await context.prompter.secret('Master Key Password: ') : undefined;
    const { key, file } = await decryptKeyWithMaster(privatePem, passphrase, encrypted);
    const options = await protection(context, given, 'Encryption Key Password: ');
    await createKeyFileAt(path, serializeKeyFile(await createKeyFile(key, { ...options, created: file.created })));
  },
};

export const masterKeyCommands: readonly ClientCommand[] = [create, importKey, importPublic, showPublic];
