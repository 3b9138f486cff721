import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigError, errorCode, FarshoreError, FormatError } from '../base/errors.ts';
import { CryptConfig } from '../crypto/crypt-config.ts';
import { loadKey, parseKeyFile, type KeyFile } from '../crypto/key-file.ts';
import { quotedPath } from '../datastore/store-error.ts';
import type { CryptMode } from '../format/manifest.ts';
import type { TextSink } from '../terminal/output.ts';
import type { Prompter } from '../terminal/prompter.ts';
import { readDescriptor } from './read-descriptor.ts';
import { systemErrorText } from './system-error-text.ts';

/** Far above any key file. */
const maxKeyFileBytes = 1024 * 1024;
export const defaultKeyName = 'encryption-key.json';

/** A key file that was found, still under its passphrase. */
export interface KeySource {
  /** Where it is from, as log lines say it. */
  text: string;
  bytes: Buffer;
}

export interface KeyOptions {
  keyfile: string | undefined;
  keyfd: number | undefined;
  cryptMode: CryptMode | undefined;
  /** Folders of the default key, in order. */
  configSearch: readonly string[];
  stderr: TextSink;
}

function refuse(message: string): never {
  throw new ConfigError('config.encryption-key', message);
}

/** The key file that the options or the default name, null without encryption (spec client-cli 4.2, for reading). ConfigError `config.encryption-key`. */
export async function findKey(options: KeyOptions): Promise<KeySource | null> {
  const { keyfile, keyfd, cryptMode } = options;
  const isGiven = keyfile !== undefined || keyfd !== undefined;
  if (keyfile !== undefined && keyfd !== undefined) refuse('--keyfile and --keyfd are mutually exclusive');
  if (isGiven && cryptMode === 'none') refuse('--keyfile/--keyfd and --crypt-mode=none are mutually exclusive');
  if (keyfile !== undefined) return { text: `Using encryption key from '${keyfile}'..`, bytes: await readKeyFile(keyfile) };
  if (keyfd !== undefined) return { text: 'Using encryption key from file descriptor..', bytes: await readKeyDescriptor(keyfd) };
  if (cryptMode === 'none') return null;
  const bytes = await readDefaultKey(options.configSearch);
  if (bytes === null) return cryptMode === undefined ? null : refuse('--crypt-mode without --keyfile and no default key file available');
  if (cryptMode !== undefined) options.stderr.write('Encrypting with default encryption key!\n');
  return { text: 'Using default encryption key..', bytes };
}

/** ConfigError `config.encryption-key` with the reference's text. */
export async function readKeyFile(path: string): Promise<Buffer> {
  try {
    return await readFile(path);
  } catch (e) {
    return refuse(`unable to read ${quotedPath(path)} - ${systemErrorText(e)}`);
  }
}

/** ConfigError `config.encryption-key` with the reference's text. */
export async function readKeyDescriptor(descriptor: number): Promise<Buffer> {
  try {
    return await readDescriptor(descriptor, maxKeyFileBytes);
  } catch (e) {
    return refuse(`error reading encryption key from fd ${descriptor}: ${systemErrorText(e)}`);
  }
}

async function readDefaultKey(folders: readonly string[]): Promise<Buffer | null> {
  return (await findInFolders(folders, defaultKeyName))?.bytes ?? null;
}

/** The first file of that name in `folders`; null when none has it. ConfigError `config.encryption-key` when it cannot be read. */
export async function findInFolders(folders: readonly string[], name: string): Promise<{ path: string; bytes: Buffer } | null> {
  for (const folder of folders) {
    const path = join(folder, name);
    try {
      return { path, bytes: await readFile(path) };
    } catch (e) {
      if (errorCode(e) !== 'ENOENT' && errorCode(e) !== 'ENOTDIR') refuse(`unable to read ${quotedPath(path)} - ${systemErrorText(e)}`);
    }
  }
  return null;
}

export interface PassphraseParts {
  /** `PBS_ENCRYPTION_PASSWORD` or what stands for it. */
  passphrase: () => Promise<string | null>;
  prompter: Prompter;
  stderr: TextSink;
}

/** A key out of its file. */
export interface OpenedKey {
  source: KeySource;
  /** RFC 3339 text, as in the file. */
  created: string;
  /** 32 bytes: a secret. */
  raw: Buffer;
  crypt: CryptConfig;
}

/** Opens the key file; its passphrase is asked for only when it has one. ConfigError `config.encryption-key` with the reference's text. */
export async function openKey(source: KeySource, parts: PassphraseParts): Promise<OpenedKey> {
  try {
    const file = parseKeyFile(source.bytes);
    const raw = await unlockKeyFile(file, async () => askPassphrase(parts));
    return { source, created: file.created, raw, crypt: new CryptConfig(raw) };
  } catch (e) {
    parts.stderr.write(`${source.text}\n`);
    throw e;
  }
}

/** Raw key of a file. ConfigError `config.encryption-key` with the reference's text for a wrong passphrase. */
export async function unlockKeyFile(file: KeyFile, passphrase: () => Promise<string>): Promise<Buffer> {
  return loadKey(file, passphrase).catch((e: unknown) => refusePassphrase(e, file));
}

/** The passphrase of an encryption key: from the environment, or typed. ConfigError `config.encryption-key`. */
export async function askPassphrase({ passphrase, prompter }: PassphraseParts): Promise<string> {
  const given = await passphrase();
  if (given !== null) return given;
  if (!prompter.canAsk) {
    throw new ConfigError('config.encryption-key', 'no password input mechanism available', { hint: "set PBS_ENCRYPTION_PASSWORD to the key's password, or PBS_ENCRYPTION_PASSWORD_FILE to a file that holds it" });
  }
  return prompter.secret('Encryption Key Password: ');
}

function refusePassphrase(e: unknown, file: KeyFile): never {
  if (!(e instanceof FormatError)) throw e as FarshoreError;
  if (e.code === 'format.passphrase') refuse('Passphrase is too short!');
  if (e.code === 'format.auth-tag') refuse(file.hint === null ? 'Unable to decrypt key (wrong password?)' : `Unable to decrypt key (password hint: ${file.hint})`);
  throw e;
}
