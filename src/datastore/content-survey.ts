import { manifestNotes, verifyState } from '../format/manifest.ts';
import type { BackupGroup } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { walkGroups } from './group-walk.ts';
import { readDirectory } from './snapshot-directory.ts';
import { loadManifest, snapshotTime } from './snapshots.ts';
import { newestSnapshot } from './newest-snapshot.ts';

export interface SurveyedGroup extends BackupGroup {
  namespace: string;
  /** Snapshots, also unfinished ones. */
  snapshots: number;
  /** Of the newest finished snapshot, seconds since the epoch. */
  newest: number | null;
  /** Whether the verification of that one found it good; null: not verified. */
  verified: boolean | null;
  /** First line of its notes. */
  comment: string;
}

/** What is in a datastore at a glance: two directories and one manifest are read per group. Groups beyond `limit` are only counted. */
export async function surveyContent(store: Datastore, limit: number): Promise<{ groups: SurveyedGroup[]; omitted: number }> {
  const groups: SurveyedGroup[] = [];
  let omitted = 0;
  for await (const item of walkGroups(store, {})) {
    // What cannot be read is missing from the numbers; that it cannot be read is said by whoever needs it.
    if ('error' in item) continue;
    if (groups.length >= limit) omitted += 1;
    else groups.push(await surveyGroup(store, item.namespace, item.group));
  }
  return { groups, omitted };
}

async function surveyGroup(store: Datastore, namespace: string, group: BackupGroup): Promise<SurveyedGroup> {
  const names = (await readDirectory(store.groupPath(namespace, group))) ?? [];
  const snapshots = names.filter((entry) => entry.isDirectory() && snapshotTime(entry.name) !== null).length;
  const { time } = await newestSnapshot(store, namespace, group, { notAfter: Number.MAX_SAFE_INTEGER });
  const common = { type: group.type, id: group.id, namespace, snapshots, newest: time };
  if (time === null) return { ...common, verified: null, comment: '' };
  try {
    const { manifest } = await loadManifest(store, namespace, { ...group, time });
    const state = verifyState(manifest);
    return { ...common, verified: state === null ? null : state.state === 'ok', comment: manifestNotes(manifest).split('\n')[0] ?? '' };
  } catch {
    return { ...common, verified: null, comment: '' };
  }
}
