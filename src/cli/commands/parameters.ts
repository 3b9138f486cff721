import { Type } from 'typebox';
import { byteSize, comment, configDigest, encryptionKeyId, flag, fingerprint, namespace, schedule, wholeNumber } from '../../config/schemas.ts';
import { groupFilterList } from '../../api/group-filter-parameter.ts';
import { described } from '../../terminal/command-parameters.ts';
import type { Properties } from '../../terminal/command-parameters.ts';

/** Parameters that several commands share. */

export { described, outputFormatOption, parameters } from '../../terminal/command-parameters.ts';

export const digestOption = {
  digest: described(configDigest, 'Prevent changes if current configuration file has different SHA256 digest. This can be used to prevent concurrent modifications.'),
};

/** A `delete` option. */
export function deleteOption(names: readonly string[]): Properties {
  return { delete: Type.Array(Type.Enum([...names]), { description: 'Properties to reset to their defaults.' }) };
}

export const commentOption = { comment };

const depthText = 'How many levels of namespaces should be operated on (0 == no recursion';

/** `byDefault`: the default that the usage text names; without it, absent means full recursion. */
export function maxDepthOption(byDefault?: number): Properties {
  const text = byDefault === undefined ? `${depthText}, empty == automatic full recursion, namespace depths reduce maximum allowed value)` : `${depthText})`;
  return { 'max-depth': wholeNumber(text, { minimum: 0, maximum: 7, ...(byDefault === undefined ? {} : { default: byDefault }) }) };
}

export const namespaceOption = { ns: namespace };

export function scheduleOption(description: string): Properties {
  return { schedule: described(schedule, description) };
}

const rateText = 'Bytes with an optional unit: B, KB, MB, GB ... (powers of 1000) or KiB, MiB, GiB ... (powers of 1024).';

export const rateOptions = {
  'rate-in': byteSize(rateText),
  'rate-out': byteSize(rateText),
  'burst-in': byteSize(rateText),
  'burst-out': byteSize(rateText),
};

/** What a sync takes: shared by sync jobs, `pull` and `push`. */
export const syncSelection = {
  'encrypted-only': flag('Only synchronize encrypted backup snapshots, exclude others.'),
  'group-filter': described(groupFilterList, 'Backup groups to take.'),
  'remote-ns': namespace,
  'remove-vanished': flag('Remove local backups that the source does not have any more.', { default: false }),
  'transfer-last': wholeNumber('Take only the newest N snapshots of each group.', { minimum: 1 }),
  'verified-only': flag('Only synchronize verified backup snapshots, exclude others.'),
};

export const resyncCorrupt = { 'resync-corrupt': flag('Fetch local snapshots again whose verification failed.') };

export const workerThreads = { 'worker-threads': wholeNumber('Groups that are synchronized at the same time.', { minimum: 1, maximum: 32, default: 1 }) };

export const jobKeys = {
  'active-encryption-key': described(encryptionKeyId, 'Key that encrypts what is pushed.'),
  'associated-key': Type.Array(encryptionKeyId, { description: 'Keys that belong to the job.' }),
};

/** How a verification works: shared by `verify` and verify jobs. */
export const verifyOptions = {
  'ignore-verified': flag('Skip snapshots that are verified already.', { default: true }),
  'outdated-after': wholeNumber('Days after which a verification counts as outdated.', { minimum: 0 }),
  'read-threads': wholeNumber('Threads that read chunks.', { minimum: 1, maximum: 32, default: 1 }),
  'verify-threads': wholeNumber('Threads that verify chunks.', { minimum: 1, maximum: 32, default: 4 }),
};

export const fingerprintOption = { fingerprint: described(fingerprint, 'X509 certificate fingerprint (sha256).') };
