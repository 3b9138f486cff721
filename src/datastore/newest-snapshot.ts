import { join } from 'node:path';
import type { BackupGroup } from '../format/backup-path.ts';
import { verifyState } from '../format/manifest.ts';
import type { Datastore } from './datastore.ts';
import { readDirectory, readSnapshotDirectory } from './snapshot-directory.ts';
import { loadManifest, snapshotTime } from './snapshots.ts';

/** Manifests that are read of one group in the search for a verified snapshot. */
const maxManifests = 256;

export interface NewestQuery {
  /** Later snapshots do not count; seconds since the epoch. */
  notAfter: number;
  /** Only snapshots whose last verification found them good. */
  verified?: boolean;
}

/**
 * Time of the newest finished snapshot of a group, null when there is none, and how many lie after `notAfter`. Reads names, and only as many snapshots as it must. Verified ones are searched
 * among the newest 256.
 */
export async function newestSnapshot(store: Datastore, namespace: string, group: BackupGroup, query: NewestQuery): Promise<{ time: number | null; ahead: number }> {
  const path = store.groupPath(namespace, group);
  const times: Array<{ name: string; time: number }> = [];
  let ahead = 0;
  for (const entry of (await readDirectory(path)) ?? []) {
    const time = entry.isDirectory() ? snapshotTime(entry.name) : null;
    if (time === null) continue;
    if (time > query.notAfter) ahead += 1;
    else times.push({ name: entry.name, time });
  }
  let looked = 0;
  for (const { name, time } of times.toSorted((a, b) => b.time - a.time)) {
    if ((await readSnapshotDirectory(join(path, name)))?.finished !== true) continue;
    if (query.verified !== true) return { time, ahead };
    looked += 1;
    if (looked > maxManifests) break;
    const state = await stateOf(store, namespace, { ...group, time });
    if (state === 'ok') return { time, ahead };
  }
  return { time: null, ahead };
}

async function stateOf(store: Datastore, namespace: string, snapshot: BackupGroup & { time: number }): Promise<'ok' | 'failed' | null> {
  try {
    return verifyState((await loadManifest(store, namespace, snapshot)).manifest)?.state ?? null;
  } catch {
    // One whose manifest cannot be read is not verified; what is wrong with it is said by verify.
    return null;
  }
}
