import { ConfigError } from '../../base/errors.ts';
import { encryptKeyForMaster } from '../../crypto/rsa-key.ts';
import type { CryptMode } from '../../format/manifest.ts';
import type { Parameters } from '../../terminal/command.ts';
import type { ClientContext } from '../client-context.ts';
import { findInFolders, readKeyDescriptor, readKeyFile, type KeySource, type OpenedKey } from '../encryption-key.ts';
import { givenKey, openGivenKey } from '../given-key.ts';
import { defaultMasterKeyName } from '../master-key.ts';

/** How a backup is protected, before any passphrase was asked for. */
export interface ProtectionSource {
  mode: CryptMode;
  key: KeySource | null;
  /** Public master key (PEM). */
  master: KeySource | null;
}

export interface Protection {
  mode: CryptMode;
  key: OpenedKey | null;
  /** The key for the holder of the master key; null: no master key. */
  encryptedKey: Buffer | null;
  /** What is logged of it. */
  text: string | null;
}

const masterOptions = '--master-pubkey-file/--master-pubkey-fd';

function refuse(message: string): never {
  throw new ConfigError('config.encryption-key', message);
}

async function masterKey(context: ClientContext, file: string | undefined, descriptor: number | undefined): Promise<KeySource | null> {
  if (file !== undefined) return { text: `Using master key from '${file}'..`, bytes: await readKeyFile(file) };
  if (descriptor !== undefined) return { text: 'Using master key from file descriptor..', bytes: await readKeyDescriptor(descriptor) };
  const found = await findInFolders(context.folders.configSearch, defaultMasterKeyName);
  return found === null ? null : { text: 'Using default master key..', bytes: found.bytes };
}

/** Mode, key and master key by the options and the user's default files (spec client-cli 4.2). ConfigError `config.encryption-key` with the reference's text. */
export async function protectionSource(context: ClientContext, given: Parameters): Promise<ProtectionSource> {
  const mode = given['crypt-mode'] as CryptMode | undefined;
  const file = given['master-pubkey-file'] as string | undefined;
  const descriptor = given['master-pubkey-fd'] as number | undefined;
  const isMasterGiven = file !== undefined || descriptor !== undefined;
  if (file !== undefined && descriptor !== undefined) refuse('--master-pubkey-file and --master-pubkey-fd are mutually exclusive');
  const key = await givenKey(context, given);
  if (isMasterGiven && mode === 'none') refuse(`${masterOptions} and --crypt-mode=none are mutually exclusive`);
  if (key === null) return isMasterGiven ? refuse(`${masterOptions} specified, but no key available`) : { mode: 'none', key: null, master: null };
  return { mode: mode ?? 'encrypt', key, master: await masterKey(context, file, descriptor) };
}

/** Opens the key, with its passphrase, and encrypts it for the holder of the master key. */
export async function openProtection(context: ClientContext, source: ProtectionSource): Promise<Protection> {
  const key = await openGivenKey(context, source.key);
  const { mode, master } = source;
  if (key === null || master === null) return { mode, key, encryptedKey: null, text: null };
  const now = Math.floor(context.clock.now() / 1000);
  return { mode, key, encryptedKey: await encryptKeyForMaster(master.bytes.toString('utf8'), key.raw, { created: key.created, now }), text: master.text };
}
