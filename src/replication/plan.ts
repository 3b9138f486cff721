import { clientLogFileName, compareGroups, groupText, manifestFileName, type BackupGroup } from '../format/backup-path.ts';
import { isOwner } from '../format/auth-id.ts';
import { isGroupSelected } from './group-filter.ts';
import type { ReplicationPolicy } from './policy.ts';
import type { SourceNamespace, SourceSnapshot, TargetGroup, TargetSnapshot } from './ports.ts';

/**
 * `new`: not in the target. `check`: there, but the source may have changed since (notes, verify state, a late log).
 * `repair`: there, but corrupt. `fill`: a gap, older than the newest copy; only with backfill.
 */
export type SnapshotAction = 'new' | 'check' | 'repair' | 'fill';

export interface SnapshotStep {
  snapshot: SourceSnapshot;
  action: SnapshotAction;
  /** One clause for the log and for `plan`. */
  reason: string;
}

export type SkipReason = 'already synced' | 'unchanged' | 'transfer-last' | 'not verified' | 'not encrypted' | 'in progress';

export interface SkippedSnapshot {
  snapshot: SourceSnapshot;
  reason: SkipReason;
}

export interface GroupPlan {
  group: BackupGroup;
  /** Oldest first; gaps to fill come after all others, newest first. */
  steps: SnapshotStep[];
  skipped: SkippedSnapshot[];
  /** In the target, not at the source; only with remove-vanished. Protected ones are listed too and stay. */
  vanished: TargetSnapshot[];
}

export interface NamespacePlan {
  /** Sorted as they run. */
  groups: GroupPlan[];
  /** Groups at the source before the filters. */
  totalGroups: number;
  /** Whole groups to remove; only with remove-vanished. */
  vanishedGroups: TargetGroup[];
}

/** True when the target already holds what the source's listing shows (the journal remembers the listing of the last run). */
export type IsUnchanged = (snapshot: SourceSnapshot) => boolean;

/** Times of those of `candidates`, snapshots of one group, that the target's keep rules would keep. */
export type KeptTimes = (candidates: ReadonlyArray<{ time: number; finished: boolean; protected: boolean }>) => ReadonlySet<number>;

/**
 * Pure diff of two listings (spec sync 4.2, 4.3, 4.7). `target` are the groups of the mapped target namespace.
 *
 * One deliberate difference: a snapshot counts as vanished only when the source does not list it at all. The reference also removes
 * what a filter hides (verified-only, encrypted-only), which deletes good copies when a source loses a verify state.
 *
 * `kept`: fill gaps with what these rules of the target namespace would keep; undefined = leave gaps.
 */
export function planNamespace(source: SourceNamespace, target: readonly TargetGroup[], policy: ReplicationPolicy, isUnchanged: IsUnchanged, kept?: KeptTimes): NamespacePlan {
  const byGroup = new Map<string, SourceSnapshot[]>();
  const groups = new Map<string, BackupGroup>();
  for (const group of source.groups) groups.set(groupText(group), { type: group.type, id: group.id });
  for (const snapshot of source.snapshots) {
    const key = groupText(snapshot);
    if (!groups.has(key)) groups.set(key, { type: snapshot.type, id: snapshot.id });
    const list = byGroup.get(key);
    if (list === undefined) byGroup.set(key, [snapshot]);
    else list.push(snapshot);
  }
  const targetByGroup = new Map(target.map((group) => [groupText(group), group]));
  const selected = [...groups.values()].filter((group) => isGroupSelected(group, policy.groupFilters)).sort(compareGroups);
  return {
    groups: selected.map((group) => {
      const key = groupText(group);
      return planGroup(group, byGroup.get(key) ?? [], targetByGroup.get(key), policy, isUnchanged, kept);
    }),
    totalGroups: groups.size,
    vanishedGroups: policy.removeVanished
      ? target.filter((group) => !groups.has(groupText(group)) && isOwner(group.owner, policy.owner) && isGroupSelected(group, policy.groupFilters))
      : [],
  };
}

/** One group; see planNamespace. */
export function planGroup(
  group: BackupGroup,
  source: readonly SourceSnapshot[],
  target: TargetGroup | undefined,
  policy: ReplicationPolicy,
  isUnchanged: IsUnchanged,
  kept?: KeptTimes,
): GroupPlan {
  const targetByTime = new Map((target?.snapshots ?? []).map((snapshot) => [snapshot.time, snapshot]));
  const last = Math.max(-Infinity, ...(target?.snapshots ?? []).filter((snapshot) => snapshot.finished).map((snapshot) => snapshot.time));
  const plan: GroupPlan = { group, steps: [], skipped: [], vanished: [] };
  const skip = (snapshot: SourceSnapshot, reason: SkipReason): void => {
    plan.skipped.push({ snapshot, reason });
  };

  const eligible: SourceSnapshot[] = [];
  for (const snapshot of source.toSorted((a, b) => a.time - b.time)) {
    if (snapshot.size === null) skip(snapshot, 'in progress');
    else if (policy.verifiedOnly && snapshot.verifyState !== 'ok') skip(snapshot, 'not verified');
    else if (policy.encryptedOnly && !isFullyEncrypted(snapshot)) skip(snapshot, 'not encrypted');
    else eligible.push(snapshot);
  }

  const gaps = kept === undefined ? new Set<number>() : gapsToFill(eligible, target?.snapshots ?? [], kept);
  const fills: SnapshotStep[] = [];
  const cutoff = policy.transferLast === undefined ? 0 : Math.max(0, eligible.length - policy.transferLast);
  eligible.forEach((snapshot, position) => {
    const existing = targetByTime.get(snapshot.time);
    if (policy.resyncCorrupt && existing?.corrupt === true) {
      plan.steps.push({ snapshot, action: 'repair', reason: 'the copy is corrupt' });
    } else if (snapshot.time <= last && gaps.has(snapshot.time) && position >= cutoff) {
      if (existing?.corrupt === true) fills.push({ snapshot, action: 'repair', reason: 'the copy is corrupt, and the keep rules keep it' });
      else fills.push({ snapshot, action: 'fill', reason: existing === undefined ? 'missing in the target, whose keep rules would keep it' : 'unfinished in the target, whose keep rules would keep it' });
    } else if (snapshot.time < last) {
      skip(snapshot, 'already synced');
    } else if (position < cutoff && snapshot.time !== last) {
      skip(snapshot, 'transfer-last');
    } else if (snapshot.time === last && isUnchanged(snapshot)) {
      skip(snapshot, 'unchanged');
    } else if (snapshot.time === last) {
      plan.steps.push({ snapshot, action: 'check', reason: 'newest copy, the source may have changed' });
    } else {
      plan.steps.push({ snapshot, action: 'new', reason: existing === undefined ? 'not in the target' : 'unfinished in the target' });
    }
  });

  plan.steps.push(...fills.toReversed());

  if (policy.removeVanished) {
    const listed = new Set(source.map((snapshot) => snapshot.time));
    plan.vanished = (target?.snapshots ?? []).filter((snapshot) => !listed.has(snapshot.time)).toSorted((a, b) => a.time - b.time);
  }
  return plan;
}

/** Times at which the target has no sound copy and would keep one, were all that the source has there. */
function gapsToFill(eligible: readonly SourceSnapshot[], present: readonly TargetSnapshot[], kept: KeptTimes): Set<number> {
  const all = new Map(eligible.map(({ time }) => [time, { time, finished: true, protected: false }]));
  // A protected copy is kept whatever the rules say; an unfinished one is replaced.
  for (const { time, finished, protected: isProtected } of present) if (finished || !all.has(time)) all.set(time, { time, finished, protected: isProtected });
  const wanted = kept([...all.values()]);
  const sound = new Set(present.filter((snapshot) => snapshot.finished && !snapshot.corrupt).map(({ time }) => time));
  return new Set(eligible.map(({ time }) => time).filter((time) => wanted.has(time) && !sound.has(time)));
}

/** On list data (spec sync 4.3.5): every file encrypted, the manifest itself signed, the client log not looked at. */
export function isFullyEncrypted(snapshot: Pick<SourceSnapshot, 'files'>): boolean {
  return snapshot.files.every((file) => {
    if (file.filename === clientLogFileName) return true;
    return file.cryptMode === (file.filename === manifestFileName ? 'sign-only' : 'encrypt');
  });
}
