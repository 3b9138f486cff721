import type { CryptConfig } from '../crypto/crypt-config.ts';
import type { GroupFilter } from './group-filter.ts';
import type { KeptTimes } from './plan.ts';

/** What a job wants (spec sync 2.1); rates belong to the connection, not here. */
export interface ReplicationPolicy {
  /** Anchor at the source. */
  sourceNamespace: string;
  /** Anchor at the target. */
  targetNamespace: string;
  /** Namespace levels below the anchors; undefined = all. */
  maxDepth: number | undefined;
  /** Auth id that owns new groups; existing groups of anybody else are refused. */
  owner: string;
  groupFilters: readonly GroupFilter[];
  removeVanished: boolean;
  /** Newest N snapshots of each group only. */
  transferLast: number | undefined;
  encryptedOnly: boolean;
  verifiedOnly: boolean;
  resyncCorrupt: boolean;
  /** At most this many groups at a time; undefined = as many as the line can use. */
  workerThreads: number | undefined;
  /** A pull decrypts what is encrypted with one of these; a push knows by them what it encrypted earlier. */
  decryptionKeys?: readonly CryptConfig[] | undefined;
  /** A push encrypts what is plain with this. */
  encryptionKey?: CryptConfig | undefined;
  /** Fill gaps: the keep rules of a target namespace. Undefined = only what is newer than the newest copy. */
  backfill?: ((targetNamespace: string) => KeptTimes) | undefined;
}

/**
 * What the job's owner may do in the target (spec sync 2.4, row "at run time"). Each returns null when allowed, otherwise the reason:
 * the missing privilege and its path.
 */
export interface TargetPermissions {
  write(namespace: string): string | null;
  createNamespace(namespace: string): string | null;
  removeNamespace(namespace: string): string | null;
}
