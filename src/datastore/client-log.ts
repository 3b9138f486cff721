import { errorCode, FormatError, StoreError } from '../base/errors.ts';
import { clientLogFileName, type BackupSnapshot } from '../format/backup-path.ts';
import { checkBlobCrc } from '../format/data-blob.ts';
import type { Datastore } from './datastore.ts';
import { openRegularFile } from './file-read.ts';
import { replaceFile } from './replace-file.ts';
import { SnapshotReader } from './snapshot-reader.ts';

/** The largest client log, encoded (spec backup-protocol 9). */
export const maxClientLogSize = 16 * 1024 * 1024;

/**
 * Stores the log that a client sends after its backup, once (spec backup-protocol 9). Under the shared snapshot lock, since the new snapshot may be
 * read or verified already. Throws FormatError for bytes that are no whole blob; StoreError `store.exists`, `store.no-such-snapshot`, `store.locked`.
 */
export async function storeClientLog(store: Datastore, namespace: string, snapshot: BackupSnapshot, raw: Uint8Array): Promise<void> {
  if (raw.byteLength > maxClientLogSize) throw new FormatError('format.too-large', `client log has more than ${maxClientLogSize} bytes`);
  checkBlobCrc(raw);
  using reader = await SnapshotReader.open(store, namespace, snapshot);
  // Two uploads at a time: only one may find that there is none.
  using _one = await store.locks.manifest(namespace, snapshot);
  const path = reader.filePath(clientLogFileName);
  if (await isThere(path)) throw new StoreError('store.exists', 'backup already contains a log.');
  await replaceFile(path, raw, { sync: true });
}

async function isThere(path: string): Promise<boolean> {
  try {
    await (await openRegularFile(path)).handle.close();
    return true;
  } catch (e) {
    if (errorCode(e) === 'store.missing') return false;
    throw e;
  }
}
