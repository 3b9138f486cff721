import type { AccessControl } from '../access/access-control.ts';
import type { EncryptionKeys } from '../config/encryption-keys.ts';
import type { SyncJob } from '../config/job-config.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import { parseGroupFilter } from '../replication/group-filter.ts';
import type { ReplicationPolicy } from '../replication/policy.ts';
import { requireKey } from './sync-permissions.ts';

/** What the parameters of a pull and of a push mean alike. */

type Terms = Pick<SyncJob, 'max-depth' | 'group-filter' | 'remove-vanished' | 'transfer-last' | 'encrypted-only' | 'verified-only' | 'worker-threads'>;

export function policyTerms(parameters: Terms): Omit<ReplicationPolicy, 'sourceNamespace' | 'targetNamespace' | 'owner' | 'resyncCorrupt'> {
  return {
    maxDepth: parameters['max-depth'],
    groupFilters: (parameters['group-filter'] ?? []).map((text) => parseGroupFilter(text)),
    removeVanished: parameters['remove-vanished'] ?? false,
    transferLast: parameters['transfer-last'],
    encryptedOnly: parameters['encrypted-only'] ?? false,
    verifiedOnly: parameters['verified-only'] ?? false,
    workerThreads: parameters['worker-threads'],
  };
}

/** Keys that decrypt what was encrypted with them; one that cannot be had fails the job (spec sync 4). HttpError 400, ConfigError. */
export async function associatedKeys({ keys, access }: { keys: EncryptionKeys; access: AccessControl }, { 'associated-key': ids = [] }: Pick<SyncJob, 'associated-key'>, authId: string): Promise<CryptConfig[]> {
  return Promise.all(
    ids.map(async (id) => {
      requireKey(keys, access, authId, id, 'decrypt');
      return keys.load(id, 'decrypt');
    }),
  );
}
