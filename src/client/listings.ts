import { NetworkError, StoreError } from '../base/errors.ts';
import { groupText, manifestFileName, snapshotText, type BackupGroup, type BackupSnapshot, type BackupType } from '../format/backup-path.ts';
import type { QueryParameters } from '../protocol/query.ts';
import type { TextSink } from '../terminal/output.ts';
import type { ServerConnection } from './server-connection.ts';

/** An entry of a list as the server sent it. */
export type ListEntry = Readonly<Record<string, unknown>>;

/** Parameters that name a namespace: none for the root. */
export function namespaceQuery(ns: string): QueryParameters {
  return ns === '' ? {} : { ns };
}

export function groupQuery(group: BackupGroup): QueryParameters {
  return { 'backup-type': group.type, 'backup-id': group.id };
}

export function snapshotQuery(snapshot: BackupSnapshot): QueryParameters {
  return { ...groupQuery(snapshot), 'backup-time': snapshot.time };
}

/** A list below the datastore: `groups`, `snapshots`, `files`. NetworkError `net.protocol` when the answer is none. */
export async function fetchList(connection: Pick<ServerConnection, 'getOfDatastore'>, path: string, query: QueryParameters): Promise<ListEntry[]> {
  return listEntries(await connection.getOfDatastore(path, query), path);
}

/** The objects in a server's answer. NetworkError `net.protocol` when it is no list of objects. */
export function listEntries(data: unknown, what: string): ListEntry[] {
  if (!Array.isArray(data) || !data.every((entry) => typeof entry === 'object' && entry !== null)) throw new NetworkError('net.protocol', `the server's list of ${what} is not understood`);
  return data as ListEntry[];
}

/** The snapshot that an entry is of. NetworkError `net.protocol`. */
export function snapshotOf(entry: ListEntry, timeField: 'backup-time' | 'last-backup' = 'backup-time'): BackupSnapshot {
  const { 'backup-type': type, 'backup-id': id, [timeField]: time } = entry;
  if (typeof type !== 'string' || typeof id !== 'string' || typeof time !== 'number' || !Number.isSafeInteger(time) || Math.abs(time) > 253_402_300_799) {
    throw new NetworkError('net.protocol', 'an entry of the list names no snapshot');
  }
  return { type: type as BackupType, id, time };
}

function fileNames(files: unknown): string[] {
  const names = (Array.isArray(files) ? files : []).map((file: unknown) => (typeof file === 'object' && file !== null && 'filename' in file ? file.filename : file));
  return names.filter((name) => typeof name === 'string');
}

/** Names of an entry's files as people call the archives: sorted, without `.didx`, `.fidx`, `.blob`. */
export function archiveNames(files: unknown): string {
  return fileNames(files)
    .map((name) => name.replace(/\.(?:didx|fidx|blob)$/, ''))
    .sort()
    .join(' ');
}

/** The newest finished snapshot of a group (spec client-cli 3). StoreError `store.no-such-snapshot` with the reference's text. */
export async function newestSnapshot(connection: Pick<ServerConnection, 'getOfDatastore'>, ns: string, group: BackupGroup, stderr: TextSink): Promise<BackupSnapshot> {
  const entries = await fetchList(connection, 'snapshots', { ...groupQuery(group), ...namespaceQuery(ns) });
  for (const entry of entries.toSorted((a, b) => snapshotOf(b).time - snapshotOf(a).time)) {
    const snapshot = snapshotOf(entry);
    if (fileNames(entry['files']).includes(manifestFileName)) return snapshot;
    stderr.write(`skipped not finished snapshot ${snapshotText(snapshot)}\n`);
  }
  const what = entries.length === 0 ? 'any snapshots' : 'any finished snapshots';
  throw new StoreError('store.no-such-snapshot', `backup group ${groupText(group)} does not contain ${what}.`);
}

/** Order by type, id and time; ids as text, so that `vm/100` stands before `vm/99` as in the reference. */
export function inOrder(entries: readonly ListEntry[]): ListEntry[] {
  const keys = (entry: ListEntry): [string, string, number] => [String(entry['backup-type']), String(entry['backup-id']), Number(entry['backup-time'] ?? 0)];
  return entries.toSorted((a, b) => {
    const [typeA, idA, timeA] = keys(a);
    const [typeB, idB, timeB] = keys(b);
    if (typeA !== typeB) return typeA < typeB ? -1 : 1;
    if (idA !== idB) return Buffer.compare(Buffer.from(idA), Buffer.from(idB));
    return timeA - timeB;
  });
}
