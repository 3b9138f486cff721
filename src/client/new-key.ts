import { lstat } from 'node:fs/promises';
import { Type } from 'typebox';
import { ConfigError } from '../base/errors.ts';
import { oneOf } from '../config/schemas.ts';
import { maxHintLength, minPassphraseLength, type KdfName, type NewKeyOptions } from '../crypto/key-file.ts';
import { quotedPath } from '../datastore/store-error.ts';
import type { Parameters } from '../terminal/command.ts';
import type { Prompter } from '../terminal/prompter.ts';
import type { ClientContext } from './client-context.ts';
import { defaultKeyName } from './encryption-key.ts';
import { defaultFilePath } from './key-storage.ts';

/** What commands that make a key file have in common. */

export const newKeyOptions = {
  hint: Type.String({ minLength: 1, maxLength: maxHintLength, description: 'Password hint.' }),
  kdf: oneOf(['none', 'scrypt', 'pbkdf2'], 'How the password becomes the key of the key.', { default: 'scrypt' }),
};

/** A new passphrase, typed twice. ConfigError `config.passphrase` with the reference's text. */
export async function newPassphrase(prompter: Prompter, prompt: string): Promise<string> {
  const text = await prompter.secret(prompt);
  if ((await prompter.secret('Verify Password: ')) !== text) throw new ConfigError('config.passphrase', 'Passwords do not match!');
  if (Buffer.byteLength(text) < minPassphraseLength) throw new ConfigError('config.passphrase', 'Password too short!', { hint: `it needs at least ${minPassphraseLength} characters` });
  return text;
}

export function requireTerminal(context: ClientContext, what: string): void {
  if (!context.prompter.canAsk) throw new ConfigError('config.passphrase', `unable to ${what} - no tty`);
}

/** How the new key file is protected, by the options; asks for its passphrase. */
export async function protection(context: ClientContext, given: Parameters, prompt: string): Promise<NewKeyOptions> {
  const kdf = (given['kdf'] as KdfName | undefined) ?? 'scrypt';
  const hint = given['hint'] as string | undefined;
  if (hint !== undefined && kdf === 'none') throw new ConfigError('config.passphrase', 'password hint not allowed for Kdf::None');
  if (kdf !== 'none') requireTerminal(context, 'read passphrase');
  return { kdf, hint, now: Math.floor(context.clock.now() / 1000), passphrase: kdf === 'none' ? undefined : await newPassphrase(context.prompter, prompt) };
}

/** Path of a key file to be made: nothing is asked when it is there already. */
export async function newKeyPath(context: ClientContext, given: Parameters, say: (path: string) => string): Promise<string> {
  const path = given['path'] as string | undefined;
  const target = path ?? (await defaultFilePath(context.folders, defaultKeyName));
  if (path === undefined) context.stderr.write(`${say(quotedPath(target))}\n`);
  const isThere = await lstat(target).then(
    () => true,
    () => false,
  );
  if (isThere) throw new ConfigError('config.encryption-key', `Unable to store key file ${quotedPath(target)} - File exists (os error 17)`, { hint: 'an old key may be the only way to old backups: put it away before you make a new one' });
  return target;
}
