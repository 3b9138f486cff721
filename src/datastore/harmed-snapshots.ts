import { throwIfAborted } from '../base/async.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { AbortedError, errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { archiveKind, snapshotPath, type BackupSnapshot } from '../format/backup-path.ts';
import { IndexEntryDecoder } from '../format/chunk-index.ts';
import { verifyState } from '../format/manifest.ts';
import type { Datastore } from './datastore.ts';
import { walkGroups } from './group-walk.ts';
import { SnapshotReader } from './snapshot-reader.ts';
import { listSnapshots, setVerifyState, type SnapshotEntry } from './snapshots.ts';

export interface HarmedOptions {
  /** Snapshots (path relative to the datastore) that the task has judged itself. */
  visited: ReadonlySet<string>;
  upid: string;
  log: ProgressLog;
  signal?: AbortSignal | undefined;
  showNames: boolean;
}

/**
 * Looks through the indexes of all other finished snapshots for chunks that a verification found corrupt, names the snapshots and gives
 * them the verify state `failed`: so a sync with `resync-corrupt` heals them, and no backup builds upon them. Returns their number.
 * What cannot be read is left to its own verification.
 */
export async function markHarmedSnapshots(store: Datastore, corrupt: DigestSet, options: HarmedOptions): Promise<number> {
  const { log, signal, visited } = options;
  let harmed = 0;
  for await (const item of walkGroups(store, {})) {
    if ('error' in item) continue;
    for (const snapshot of await listSnapshots(store, item.namespace, item.group)) {
      throwIfAborted(signal);
      const path = snapshotPath(item.namespace, snapshot);
      if (!snapshot.finished || visited.has(path)) continue;
      try {
        if (!(await markIfHarmed(store, item.namespace, snapshot, corrupt, options))) continue;
      } catch (e) {
        if (e instanceof AbortedError) throw e;
        log.warn(`unable to look for corrupt chunks in ${options.showNames ? path : 'a snapshot'}: ${errorChain(e)}`);
        continue;
      }
      harmed += 1;
      if (options.showNames) log.error(`corrupt chunks also harm snapshot ${path}, marked as failed`);
    }
  }
  if (harmed > 0 && !options.showNames) log.error(`corrupt chunks also harm ${harmed} other snapshot(s), marked as failed`);
  return harmed;
}

async function markIfHarmed(store: Datastore, namespace: string, snapshot: SnapshotEntry, corrupt: DigestSet, options: HarmedOptions): Promise<boolean> {
  using reader = await SnapshotReader.open(store, namespace, snapshot);
  if (!(await namesAny(reader, snapshot, corrupt))) return false;
  const { manifest } = await reader.manifest();
  if (verifyState(manifest)?.state !== 'failed') await setVerifyState(store, namespace, snapshot, 'failed', options.upid);
  return true;
}

async function namesAny(reader: SnapshotReader, snapshot: BackupSnapshot & { files: readonly string[] }, corrupt: DigestSet): Promise<boolean> {
  for (const filename of snapshot.files) {
    const kind = archiveKind(filename);
    if (kind === 'blob') continue;
    const decoder = new IndexEntryDecoder(kind);
    for await (const piece of reader.stream(filename)) {
      if (decoder.push(piece).some((entry) => corrupt.has(entry.digest))) return true;
    }
  }
  return false;
}
