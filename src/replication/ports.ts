import type { Digest } from '../base/bytes.ts';
import type { DigestSet } from '../base/digest-set.ts';
import type { ProgressLog } from '../base/log.ts';
import type { BackupGroup, BackupSnapshot } from '../format/backup-path.ts';
import type { LineRetry } from './line-retry.ts';

/**
 * The two ports of replication (src/replication/DESIGN.md). The engine knows nothing else of either end: pull is
 * remote → local, local sync is local → local; push and seeding add ports, not engines.
 */

/** One file of a snapshot as the listing shows it. */
export interface ListedFile {
  filename: string;
  cryptMode: string | null;
  size: number | null;
}

/** A snapshot as the source's listing shows it (spec rest-api 10.2, GET snapshots). */
export interface SourceSnapshot extends BackupSnapshot {
  /** Sum of the files' sizes; null = in progress or without readable manifest. */
  size: number | null;
  files: readonly ListedFile[];
  verifyState: 'ok' | 'failed' | null;
  /**
   * SHA-256 over everything that the listing says of this snapshot's content. Equal fingerprints in two runs mean
   * that nothing changed at the source, so nothing has to be asked.
   */
  fingerprint: Digest;
}

export interface SourceNamespace {
  /** Groups that the source shows, also those without snapshots. */
  groups: readonly BackupGroup[];
  snapshots: readonly SourceSnapshot[];
  /** Exist at the source as well, but the job may not read them: they are not copied, and their copies have not vanished. */
  hidden?: readonly BackupGroup[];
}

export interface NamespaceListing {
  /** Absolute at the source, the anchor included. */
  namespaces: readonly string[];
  /** The source has no namespaces at all (spec sync 4.1): only the root is synced and the job ends as failed. */
  withoutNamespaces: boolean;
  /** Exist at the source as well, but the job may not read them: they are not copied, and their copies have not vanished. */
  hidden?: readonly string[];
}

/** An open snapshot at the source. Every method may be called concurrently. Failures of the line are NetworkError. */
export interface SnapshotSource {
  /**
   * A file as stored. Throws HttpError 404 when a blob is not there (a vanished manifest, no client log).
   * More than `maxBytes` is an error.
   */
  file(filename: string, maxBytes: number): Promise<AsyncIterable<Buffer>>;

  /** The encoded chunk, unchecked. `archive` is the index that names it: the reader protocol serves only chunks of indexes that the session has downloaded. */
  chunk(digest: Digest, archive: string, maxBytes: number): Promise<Buffer>;

  close(): Promise<void>;
}

export interface ReplicationSource {
  /** As logs show it: `pbs-hq/main`, `main`. */
  readonly label: string;

  /** Namespaces at and below the anchor, `maxDepth` levels (undefined = all). */
  namespaces(maxDepth: number | undefined): Promise<NamespaceListing>;

  /** Everything in one namespace, in a constant number of round trips. */
  list(namespace: string): Promise<SourceNamespace>;

  /** `snapshot` as it was listed: what the listing says of its files may be asked for ahead. */
  open(namespace: string, snapshot: SourceSnapshot): Promise<SnapshotSource>;

  /**
   * Whether the source is known to hold the content of `digest`, so that a copy in the target may be used for a snapshot
   * of this source without asking for the bytes. `undefined` = the possession journal decides (a remote); a local
   * source looks. Never true merely because the target has it: a hostile source could name digests that it does not have.
   */
  holds?(digest: Digest): Promise<boolean>;

  close(): Promise<void>;
}

/** A snapshot in the target, as far as planning needs it. */
export interface TargetSnapshot extends BackupSnapshot {
  finished: boolean;
  protected: boolean;
  /** The verify state is failed or the manifest cannot be read; only looked for with resync-corrupt. */
  corrupt: boolean;
}

export interface TargetGroup extends BackupGroup {
  owner: string;
  snapshots: readonly TargetSnapshot[];
}

export interface ExpectedContent {
  /** Of the manifest: for an index its logical size, for a blob the file's length. */
  size: number;
  /** 64 hex digits: index checksum, or SHA-256 of the blob file. */
  csum: string;
}

/** Chunks that an index names, in its order. */
export interface StagedIndex {
  readonly count: number;
  /** Of a fixed index; null for a dynamic one. */
  readonly chunkSize: number | null;
  /** `digest` is valid only until the next step of the iteration. */
  entries(): AsyncIterable<{ digest: Digest; size: number }>;
}

/** Where chunks go: a datastore's chunk store, or the session of a remote that takes a snapshot. */
export interface ChunkTarget {
  /** Marks the chunk as used now; false when it is missing, or when this session may not name it. */
  touchChunk(digest: Digest): Promise<boolean>;
  /** Whole encoded chunk as stored, for a check before reuse; null when missing. */
  readChunk(digest: Digest): Promise<Buffer | null>;
  /** Stores a verified chunk of `size` plain bytes. `replace` also overwrites a copy that was found bad. */
  storeChunk(digest: Digest, blob: Uint8Array, replace: boolean, size: number): Promise<{ duplicate: boolean }>;
  /** Asks ahead which of these chunks `touchChunk` may say yes to. */
  learn?(chunks: AsyncIterable<{ digest: Digest; size: number }>): Promise<void>;
}

/** A snapshot being written. It exists for readers only after `publish`. */
export interface SnapshotSink {
  /** The snapshot was not there before. */
  readonly isNew: boolean;

  /** Raw manifest blob that is there now; null when there is none. */
  currentManifest(): Promise<Buffer | null>;

  /** True when the file is there in full with this content (checked, not believed); null asks only whether it is there. */
  hasFile(filename: string, expected: ExpectedContent | null): Promise<boolean>;

  /** Stores an index under a temporary name and checks it against `expected`; FormatError when it differs. */
  stageIndex(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<StagedIndex>;

  /**
   * As `stageIndex`, of an index whose chunks change on their way: only its entries are wanted, and `stageIndex` with what it became follows. Undefined =
   * `stageIndex` does for both.
   */
  stageSourceIndex?(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent): Promise<StagedIndex>;

  /** Where the chunks of a staged index go; undefined = to the target as a whole, where every snapshot finds them. */
  chunksOf?(filename: string): ChunkTarget;

  /** Stores a blob under a temporary name; checks CRC and, when given, `expected`. */
  stageBlob(filename: string, data: AsyncIterable<Uint8Array>, expected: ExpectedContent | null): Promise<void>;

  /** Gives a staged file its final name. For an index: only after all its chunks are stored. */
  commitFile(filename: string): Promise<void>;

  /** Makes the snapshot visible; the last step. `keep` are the files that the manifest lists; others but the client log are removed, dot-files stay. */
  publish(manifestBlob: Uint8Array, keep: readonly string[]): Promise<void>;

  /** Releases the lock. Unpublished and new: the folder is removed; otherwise what was there stays as it was. */
  close(): Promise<void>;
}

/** A group of the target under its lock. */
export interface TargetGroupSession {
  /** The group as it is now that it is locked. */
  current(options: { lookForCorrupt: boolean }): Promise<TargetGroup>;
  /**
   * Digests named by the indexes of the newest finished snapshot, unless its verification failed, and of `also` (a snapshot under
   * repair). What cannot be read is left out and said in the log.
   */
  heldDigests(also: BackupSnapshot | null, log: ProgressLog): Promise<DigestSet>;
  /** Creates or opens the snapshot under its lock. */
  openSnapshot(snapshot: BackupSnapshot): Promise<SnapshotSink>;
  removeSnapshot(snapshot: BackupSnapshot): Promise<void>;
  close(): Promise<void>;
}

export interface RemovedGroup {
  removedSnapshots: number;
  protectedSnapshots: number;
}

export interface ReplicationTarget extends ChunkTarget {
  /** As logs show it: the datastore's name. */
  readonly label: string;

  /**
   * The line to the target, where there is one. What is written of a snapshot is lost with the connection, so the whole snapshot is begun
   * again, and a group takes one snapshot at a time.
   */
  readonly line?: LineRetry;

  /** Takes part in the datastore's writer lock until `end` is called, so that garbage collection spares what arrives. */
  begin(): Promise<{ end(): Promise<void> }>;

  namespaceExists(namespace: string): Promise<boolean>;
  /** Creates the last component; the parent must exist. */
  createNamespace(namespace: string): Promise<void>;
  /** At and below `anchor`. */
  namespaces(anchor: string, maxDepth: number): Promise<readonly string[]>;
  /** Only if empty; false when something is left. */
  removeEmptyNamespace(namespace: string): Promise<boolean>;

  groups(namespace: string, options: { lookForCorrupt: boolean }): Promise<readonly TargetGroup[]>;

  /**
   * Locks the group, creating it with `owner` if it is new. StoreError `store.locked` when busy, `store.owner` when somebody else's;
   * FarshoreError `sync.skipped` when the group is left alone, which is a warning and no error.
   */
  openGroup(namespace: string, group: BackupGroup, owner: string): Promise<TargetGroupSession>;
  removeGroup(namespace: string, group: BackupGroup): Promise<RemovedGroup>;

  /** Everything stored before this call survives a power loss after it. */
  flush(): Promise<void>;
}
