import { DigestSet } from '../../base/digest-set.ts';
import { errorChain } from '../../base/errors.ts';
import type { CryptConfig } from '../../crypto/crypt-config.ts';
import { manifestFileName } from '../../format/backup-path.ts';
import { archiveKind, type ChunkIndex } from '../../format/chunk-index.ts';
import { manifestFile, type Manifest } from '../../format/manifest.ts';
import type { BackupClient } from '../../protocol/backup-client.ts';
import { renderTime } from '../../terminal/renderers.ts';
import type { ClientContext } from '../client-context.ts';
import { maxIndexBytes, maxManifestBytes, readIndex, readManifest, requireManifestKey } from '../snapshot-contents.ts';

/** The last backup of the group, as far as it may be used again. */
export interface PreviousBackup {
  manifest: Manifest;
  /** Seconds since the epoch; null when the server does not say. */
  time: number | null;
}

function said(e: unknown): string {
  return errorChain(e);
}

/** Fetches the previous manifest (spec client-cli 4.3, step 5). Null, with the reason on stderr, when there is none that can be used. Throws when the session has ended. */
export async function previousBackup(client: BackupClient, crypt: CryptConfig | null, context: Pick<ClientContext, 'stderr' | 'output'>): Promise<PreviousBackup | null> {
  const { stderr, output } = context;
  let time: number | null = null;
  try {
    time = await client.previousBackupTime();
    if (time === null) {
      stderr.write('No previous manifest available.\n');
      return null;
    }
    stderr.write(`Downloading previous manifest (${renderTime(time, output.timeZone)})\n`);
  } catch (e) {
    if (client.failure !== undefined) throw e;
    stderr.write('Downloading previous manifest\n');
  }
  let raw: Buffer;
  try {
    raw = await client.previous(manifestFileName, { maxBytes: maxManifestBytes });
  } catch (e) {
    if (client.failure !== undefined) throw e;
    stderr.write(`Couldn't download previous manifest - ${said(e)}\n`);
    return null;
  }
  try {
    const { manifest } = readManifest(raw, crypt);
    requireManifestKey(manifest, crypt);
    return { manifest, time };
  } catch (e) {
    stderr.write(`Couldn't re-use previous manifest - ${said(e)}\n`);
    return null;
  }
}

/**
 * The index of an archive of the previous backup, whose chunks the server registers for this session (spec client-cli 4.4, step 1). Null, with the
 * reason on stderr, when there is none that can be trusted. Throws when the session has ended.
 */
export async function previousIndex(client: BackupClient, previous: PreviousBackup | null, fileName: string, context: Pick<ClientContext, 'stderr'>): Promise<ChunkIndex | null> {
  if (previous === null) return null;
  const file = manifestFile(previous.manifest, fileName);
  if (file === undefined) {
    context.stderr.write(`Previous manifest does not contain an archive called '${fileName}', skipping download..\n`);
    return null;
  }
  const kind = archiveKind(fileName) === 'fixed' ? 'fixed' : 'dynamic';
  try {
    return readIndex(kind, file, await client.previous(fileName, { maxBytes: maxIndexBytes }));
  } catch (e) {
    if (client.failure !== undefined) throw e;
    context.stderr.write(`Error downloading .${kind === 'fixed' ? 'fidx' : 'didx'} from previous manifest: ${said(e)}\n`);
    return null;
  }
}

/** Digests of an index, for the uploader. */
export function digestsOf(index: ChunkIndex | null): DigestSet {
  const digests = new DigestSet(index?.count ?? 64);
  for (let at = 0; at < (index?.count ?? 0); at += 1) digests.add(index!.digest(at));
  return digests;
}
