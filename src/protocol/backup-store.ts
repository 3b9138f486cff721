import type { Readable } from 'node:stream';
import type { Digest } from '../base/bytes.ts';
import type { IndexEntry } from '../format/chunk-index.ts';

/** What the client of a session delivered before, in this session or another one, with the plain sizes that were checked. */
export interface EarlierDeliveries {
  add(digest: Digest, size: number): void;
  has(digest: Digest, size: number): boolean;
}

/** What a backup session writes to (spec backup-protocol 4). The maker holds group, snapshot, base and chunk store locks. Failures are FarshoreErrors. */
export interface BackupStore {
  /** Below the datastore, as the task log prints it: `ns/a/host/demo/2026-11-24T08:00:00Z`. */
  readonly snapshotPath: string;
  /** Folder of the snapshot, as messages print it. */
  readonly folder: string;
  /** The base snapshot, null when there is none. */
  readonly previous: PreviousBackup | null;

  createIndex(fileName: string, options: FixedIndexOptions | DynamicIndexOptions): Promise<IndexSink>;

  /** Stores a checked chunk. `storedSize`: bytes of what is stored now, by this call or before it. */
  insertChunk(digest: Digest, blob: Uint8Array): Promise<{ duplicate: boolean; storedSize: number }>;

  /** Marks the chunk as used now; false when it is missing. */
  touchChunk(digest: Digest): Promise<boolean>;

  /** Stores a checked blob, replacing one of that name. The manifest takes effect by `finish`. */
  storeBlob(fileName: string, blob: Uint8Array): Promise<void>;

  /** Puts the statistics into the manifest and makes the snapshot visible; whole on disk then. Nothing may be written afterwards. */
  finish(statistics: UploadStatistics): Promise<void>;
}

export interface FixedIndexOptions {
  kind: 'fixed';
  /** Printed in the task log and put into the file. */
  uuid: Uint8Array;
  /** Bytes of the image when they are known. */
  size: number | undefined;
  /** Starts with the digests of an index of as many chunks. */
  reuse?: PreviousIndex;
}

export interface DynamicIndexOptions {
  kind: 'dynamic';
  uuid: Uint8Array;
}

/** An index that is being written. Calls may overlap. */
export interface IndexSink {
  /** End of what is there, or bytes of the image. */
  readonly size: number;
  /** Entries that the size needs, or that are there. */
  readonly count: number;
  addChunk(start: number, length: number, digest: Digest): Promise<void>;
  /** Gives it its name. FormatError `format.index-csum` when the entries have another checksum; the sink is spent, also by a failure. */
  close(expectedCsum: Digest): Promise<unknown>;
  /** Removes what was written; harmless after `close`. */
  abort(): Promise<void>;
}

/** The snapshot that a backup builds upon (spec backup-protocol 2.4). */
export interface PreviousBackup {
  /** `host/demo/2026-11-23T08:00:00Z`. */
  readonly snapshot: string;
  /** Seconds since the epoch. */
  readonly time: number;
  /** Folder, as messages print it. */
  readonly folder: string;
  exists(): Promise<boolean>;
  /** Null when there is none of that name. FormatError when it is damaged. */
  openIndex(fileName: string): Promise<PreviousIndex | null>;
  /** Null when there is none of that name. */
  openFile(fileName: string): Promise<PreviousFile | null>;
}

export interface PreviousIndex {
  readonly count: number;
  /** Bytes of the archive. */
  readonly size: number;
  /** All entries in order, many at a time. */
  batches(): AsyncIterable<IndexEntry[]>;
  computeCsum(): Promise<Digest>;
  close(): Promise<void>;
}

export interface PreviousFile {
  stream(): Readable;
  close(): Promise<void>;
}

/** Of the uploads of a session, or of one archive (spec backup-protocol 4.9). */
export interface UploadStatistics {
  /** Uploaded chunks. */
  count: number;
  /** Their plain bytes; in the sum of a session with the bytes of the blobs. */
  size: number;
  /** Bytes of the stored blobs, of those that were there before, too. */
  compressedSize: number;
  /** Uploads that the store had already. */
  duplicates: number;
}
