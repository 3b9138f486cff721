import { ConfigError } from '../base/errors.ts';
import { ConfigFile, type Codec } from './config-file.ts';
import { secretPlace, serviceSecretPlace } from './files.ts';
import type { InstallationPaths } from './home.ts';

/** shadow.json and token.shadow (spec rest-api 6.3): name → crypt(3) hash, in file order. */
export type HashTable = Map<string, string>;

export type HashFile = ConfigFile<HashTable>;

function hashCodec(indent: number): Codec<HashTable> {
  return {
    parse(text, fileName) {
      if (text.trim() === '') return new Map();
      let json: unknown;
      try {
        json = JSON.parse(text);
      } catch {
        // Without the cause: its message quotes the text, and that is secret.
        throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not valid JSON`);
      }
      if (typeof json !== 'object' || json === null || Array.isArray(json)) throw new ConfigError('config.syntax', `parsing "${fileName}" failed: not an object`);
      const entries = Object.entries(json as Record<string, unknown>);
      for (const [name, hash] of entries) {
        if (typeof hash !== 'string') throw new ConfigError('config.syntax', `parsing "${fileName}" failed: the hash of '${name}' is not a string`);
      }
      return new Map(entries as Array<[string, string]>);
    },
    // fromEntries defines properties, so that a name like __proto__ is a name.
    serialize: (table) => JSON.stringify(Object.fromEntries(table), null, indent),
    clone: (table) => new Map(table),
  };
}

/** Passwords of realm `pbs` by user name without realm; pretty-printed, 0600. */
export function shadowFile(paths: InstallationPaths): HashFile {
  return new ConfigFile(secretPlace(paths, 'shadow.json'), hashCodec(2));
}

/** Secrets of API tokens by token id; compact. */
export function tokenShadowFile(paths: InstallationPaths): HashFile {
  return new ConfigFile(serviceSecretPlace(paths, 'token.shadow'), hashCodec(0));
}
