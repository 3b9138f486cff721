import { mkdir, open, unlink } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { ConfigError } from '../base/errors.ts';
import { replaceFile, syncDirectory, writeFully } from '../datastore/replace-file.ts';
import { quotedPath } from '../datastore/store-error.ts';
import { defaultKeyName, findInFolders, readKeyFile } from './encryption-key.ts';
import { systemErrorText } from './system-error-text.ts';
import type { UserFolders } from './user-folders.ts';

/** Key files of the user: the default one, or those that paths name. */

function refuse(message: string, hint?: string): never {
  throw new ConfigError('config.encryption-key', message, hint === undefined ? {} : { hint });
}

/** A new file that only its owner may read. ConfigError `config.encryption-key` when there is one already. */
export async function createKeyFileAt(path: string, text: string): Promise<void> {
  const fail = (e: unknown): never => refuse(`Unable to store key file ${quotedPath(path)} - ${systemErrorText(e)}`);
  const handle = await open(path, 'wx', 0o600).catch(fail);
  try {
    await writeFully(handle, Buffer.from(text, 'utf8'));
    await handle.sync();
    await handle.close();
    await syncDirectory(dirname(path));
  } catch (e) {
    await handle.close().catch(() => {});
    // Half a key is none; what went wrong is what is said.
    await unlink(path).catch(() => {});
    fail(e);
  }
}

/** Replaces a key file whole or not at all. */
export async function replaceKeyFile(path: string, text: string): Promise<void> {
  await replaceFile(path, Buffer.from(text, 'utf8'), { mode: 0o600, owner: null });
}

/** Where a new default file goes; its folder is made. */
export async function defaultFilePath(folders: UserFolders, name: string): Promise<string> {
  await mkdir(folders.config, { recursive: true });
  return join(folders.config, name);
}

/** The key file at `path`, or the default one. ConfigError `config.encryption-key`. */
export async function existingKeyFile(folders: UserFolders, path: string | undefined): Promise<{ path: string; bytes: Buffer }> {
  if (path !== undefined) return { path, bytes: await readKeyFile(path) };
  return (await findInFolders(folders.configSearch, defaultKeyName)) ?? refuse('no encryption file provided and no default file found', 'make one with `key create`, or name one');
}
