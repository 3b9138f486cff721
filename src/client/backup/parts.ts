import { toHex } from '../../base/bytes.ts';
import type { CryptConfig } from '../../crypto/crypt-config.ts';
import type { BackupSnapshot } from '../../format/backup-path.ts';
import type { ManifestFile } from '../../format/manifest.ts';
import type { BackupClient } from '../../protocol/backup-client.ts';
import type { UploadSummary } from '../../protocol/index-uploader.ts';
import type { MatchPattern } from '../../pxar/match-pattern.ts';
import type { ClientContext } from '../client-context.ts';
import type { ServerConnection } from '../server-connection.ts';
import type { Protection } from './backup-key.ts';
import type { PreviousBackup } from './previous-backup.ts';
import type { BackupSource } from './source.ts';
import type { ProgressOutput } from './upload-progress.ts';

/** How directory trees are archived. */
export interface TreeOptions {
  /** `legacy`: one archive and a catalog; `data`, `metadata`: two archives. */
  mode: 'legacy' | 'data' | 'metadata';
  patterns: readonly MatchPattern[];
  /** File systems to descend into besides the source's. */
  devices: readonly bigint[] | 'all';
  skipLostAndFound: boolean;
  skipTooLargeXattrs: boolean;
  entriesMax: number;
}

export interface BackupRequest {
  ns: string;
  snapshot: BackupSnapshot;
  sources: readonly BackupSource[];
  protection: Protection;
  tree: TreeOptions;
  /** Bytes: exact for images, average for directory trees. */
  chunkSize: number;
  isDryRun: boolean;
  noCache: boolean;
}

/** What uploading an archive needs. */
export interface BackupParts {
  context: ClientContext;
  connection: ServerConnection;
  client: BackupClient;
  request: BackupRequest;
  previous: PreviousBackup | null;
  signal: AbortSignal;
}

/** The key under which content is encrypted; none when it is only signed. */
export function contentKey({ mode, key }: Protection): CryptConfig | undefined {
  return mode === 'encrypt' ? key?.crypt : undefined;
}

/** Where progress is said. */
export function progressOutput({ stderr, drawsProgress, output, clock }: ClientContext): ProgressOutput {
  return { stderr, drawsProgress, width: output.width, clock };
}

/** Entry of an archive that is uploaded. */
export function indexEntry(filename: string, { size, csum }: UploadSummary, { protection }: BackupRequest): ManifestFile {
  return { filename, cryptMode: protection.mode, size, csum: toHex(csum) };
}
