import { join } from 'node:path';
import { ConfigFile, lockOf, type Codec, type ConfigFilePlace } from './config-file.ts';
import type { InstallationPaths } from './home.ts';
import { SectionConfig, type SectionType } from './section-config.ts';

/** Owners and modes of configuration files (spec server 1, rest-api 6.3). */

/** `*.cfg`: root:backup 0640 in the reference's folders. */
export function sharedPlace(paths: InstallationPaths, name: string): ConfigFilePlace {
  const path = join(paths.config, name);
  const gid = paths.serviceUser?.gid;
  return {
    path,
    lock: lockOf(path),
    rights: { mode: 0o640, owner: gid === undefined ? null : { uid: 0, gid } },
    lockRights: serviceLockRights(paths),
  };
}

/** Secrets that only root reads: 0600. The lock is `{name}.lock`. */
export function secretPlace(paths: InstallationPaths, name: string): ConfigFilePlace {
  const path = join(paths.config, name);
  return {
    path,
    lock: `${path}.lock`,
    rights: { mode: 0o600, owner: paths.serviceUser === null ? null : { uid: 0, gid: 0 } },
    lockRights: serviceLockRights(paths),
  };
}

/** Secrets that the reference's proxy reads too (`token.shadow`): backup:backup 0640, but 0600 where nobody else needs it. */
export function serviceSecretPlace(paths: InstallationPaths, name: string): ConfigFilePlace {
  const place = secretPlace(paths, name);
  return { ...place, rights: paths.serviceUser === null ? { mode: 0o600, owner: null } : { mode: 0o640, owner: paths.serviceUser } };
}

/** Of lock files that the reference's services share. */
export function serviceLockRights(paths: InstallationPaths): ConfigFilePlace['lockRights'] {
  return { mode: paths.serviceUser === null ? 0o600 : 0o660, owner: paths.serviceUser };
}

export function sectionCodec(types: readonly SectionType[]): Codec<SectionConfig> {
  return {
    parse: (text, fileName) => SectionConfig.parse(text, types, fileName),
    serialize: (config) => config.serialize(),
    clone: (config) => config.clone(),
  };
}

export type SectionFile = ConfigFile<SectionConfig>;

/** One file in the section grammar that holds `types`. */
export function sectionFile(paths: InstallationPaths, name: string, types: readonly SectionType[]): SectionFile {
  return new ConfigFile(sharedPlace(paths, name), sectionCodec(types));
}
