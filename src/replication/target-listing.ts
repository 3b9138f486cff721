import { NetworkError } from '../base/errors.ts';
import type { BackupGroup } from '../format/backup-path.ts';
import { parseListedGroup, parseListedSnapshot } from './listing.ts';
import type { TargetSnapshot } from './ports.ts';

/** A snapshot as the listing of a remote target shows it. */
export interface ListedTarget extends TargetSnapshot {
  files: readonly string[];
  verifyFailed: boolean;
}

/** An item of `GET snapshots` (spec rest-api 10.2). NetworkError `net.protocol` for anything else. */
export function parseListedTarget(item: unknown): ListedTarget {
  const { type, id, time, size, files, verifyState } = parseListedSnapshot(item);
  const isProtected = (item as Record<string, unknown>)['protected'];
  return { type, id, time, finished: size !== null, protected: isProtected === true, corrupt: false, files: files.map(({ filename }) => filename), verifyFailed: verifyState === 'failed' };
}

/** An item of `GET groups`; a group that shows no owner belongs to nobody. */
export function parseListedOwner(item: unknown): { group: BackupGroup; owner: string } {
  const group = parseListedGroup(item);
  const owner = (item as Record<string, unknown>)['owner'] ?? '';
  if (typeof owner !== 'string') throw new NetworkError('net.protocol', `the target's listing has a group with owner ${JSON.stringify(owner)}`);
  return { group, owner };
}

/** What a new backup of the group builds upon (spec backup-protocol 2.4): the newest one, unless its verification failed. */
export function baseOf(listed: readonly ListedTarget[]): ListedTarget | null {
  const usable = listed.filter((snapshot) => snapshot.finished && !snapshot.verifyFailed).toSorted((a, b) => b.time - a.time);
  return usable[0] ?? null;
}
