import type { CryptMode } from '../format/manifest.ts';
import type { Parameters } from '../terminal/command.ts';
import type { ClientContext } from './client-context.ts';
import { findKey, openKey, type KeySource, type OpenedKey } from './encryption-key.ts';
import { environmentValue } from './environment.ts';

/** The key file that `--keyfile`, `--keyfd`, `--crypt-mode` or the default name. ConfigError `config.encryption-key`. */
export async function givenKey(context: ClientContext, given: Parameters): Promise<KeySource | null> {
  return findKey({
    keyfile: given['keyfile'] as string | undefined,
    keyfd: given['keyfd'] as number | undefined,
    cryptMode: given['crypt-mode'] as CryptMode | undefined,
    configSearch: context.folders.configSearch,
    stderr: context.stderr,
  });
}

/** Null for no key. ConfigError `config.encryption-key` with the reference's text. */
export async function openGivenKey(context: ClientContext, source: KeySource | null): Promise<OpenedKey | null> {
  if (source === null) return null;
  const { prompter, stderr, variables } = context;
  return openKey(source, { prompter, stderr, passphrase: async () => environmentValue(variables, 'PBS_ENCRYPTION_PASSWORD') });
}
