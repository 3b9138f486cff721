import { Type, type Static } from 'typebox';
import { sectionFile } from './files.ts';
import type { InstallationPaths } from './home.ts';
import {
  authId, burstIn, burstOut, comment, datastoreName, encryptionKeyId, flag, groupFilters, jobId, keepOptions, maxDepth, namespace, oneOf, rateIn, rateOut,
  remoteName, schedule, threads, transferLast, wholeNumber,
} from './schemas.ts';
import { sectionType } from './section-config.ts';
import { SectionTable } from './section-table.ts';

/** sync.cfg (spec sync 2.1), prune.cfg (rest-api 9.5), verification.cfg (rest-api 9.6). */

const { Optional } = Type;

export const syncDirection = oneOf(['pull', 'push'], 'Direction of the sync job.', { default: 'pull' });

export const syncJobSchema = Type.Object({
  id: jobId,
  store: datastoreName,
  'remote-store': datastoreName,
  'active-encryption-key': Optional(encryptionKeyId),
  'associated-key': Optional(Type.Array(encryptionKeyId, { maxItems: 1024, description: 'Keys that may decrypt (pull), or that were active before (push).' })),
  'burst-in': Optional(burstIn),
  'burst-out': Optional(burstOut),
  comment: Optional(comment),
  'encrypted-only': Optional(flag('Take only snapshots that are encrypted as a whole.')),
  'group-filter': Optional(groupFilters),
  'max-depth': Optional(maxDepth),
  ns: Optional(namespace),
  owner: Optional(authId),
  'rate-in': Optional(rateIn),
  'rate-out': Optional(rateOut),
  remote: Optional(remoteName),
  'remote-ns': Optional(namespace),
  'remove-vanished': Optional(flag('Remove from the target what the source no longer has. Protected snapshots stay.', { default: false })),
  'resync-corrupt': Optional(flag('Fetch snapshots again whose verification failed here.')),
  'run-on-mount': Optional(flag('Run when a datastore of this job is mounted.')),
  schedule: Optional(schedule),
  'sync-direction': Optional(syncDirection),
  'transfer-last': Optional(transferLast),
  'unmount-on-done': Optional(flag('Unmount the removable datastore afterwards.')),
  'verified-only': Optional(flag('Take only snapshots that the source has verified as good.')),
  'worker-threads': Optional(threads('Groups that are handled at the same time.', 1)),
});
export type SyncJob = Static<typeof syncJobSchema>;
export const syncJobType = sectionType('sync', 'id', syncJobSchema);
export type SyncJobTable = SectionTable<typeof syncJobSchema>;

export function syncJobTable(paths: InstallationPaths): SyncJobTable {
  return new SectionTable(sectionFile(paths, 'sync.cfg', [syncJobType]), syncJobType);
}

export const pruneJobSchema = Type.Object({
  id: jobId,
  store: datastoreName,
  schedule,
  comment: Optional(comment),
  disable: Optional(flag('Do not run this job.', { default: false })),
  ...keepOptions,
  'max-depth': Optional(maxDepth),
  ns: Optional(namespace),
});
export type PruneJob = Static<typeof pruneJobSchema>;
export const pruneJobType = sectionType('prune', 'id', pruneJobSchema);
export type PruneJobTable = SectionTable<typeof pruneJobSchema>;

export function pruneJobTable(paths: InstallationPaths): PruneJobTable {
  return new SectionTable(sectionFile(paths, 'prune.cfg', [pruneJobType]), pruneJobType);
}

export const verifyJobSchema = Type.Object({
  id: jobId,
  store: datastoreName,
  comment: Optional(comment),
  'ignore-verified': Optional(flag('Leave out snapshots that were verified and are not outdated.', { default: true })),
  'max-depth': Optional(wholeNumber('How many levels of namespaces to go down.', { minimum: 0, maximum: 7, default: 7 })),
  ns: Optional(namespace),
  'outdated-after': Optional(wholeNumber('Days after which a verification is outdated.', { minimum: 0 })),
  'read-threads': Optional(threads('Threads that read chunks.', 1)),
  schedule: Optional(schedule),
  'verify-threads': Optional(threads('Threads that check chunks.', 4)),
});
export type VerifyJob = Static<typeof verifyJobSchema>;
export const verifyJobType = sectionType('verification', 'id', verifyJobSchema);
export type VerifyJobTable = SectionTable<typeof verifyJobSchema>;

export function verifyJobTable(paths: InstallationPaths): VerifyJobTable {
  return new SectionTable(sectionFile(paths, 'verification.cfg', [verifyJobType]), verifyJobType);
}
