import { AbortedError, StoreError, errorChain } from '../base/errors.ts';
import type { Semaphore } from '../base/async.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { prefixedLog, type ProgressLog } from '../base/log.ts';
import { formatBackupTime, groupText } from '../format/backup-path.ts';
import { planGroup, type GroupPlan, type SkipReason } from './plan.ts';
import type { ReplicationTarget, SourceSnapshot, TargetGroup, TargetGroupSession } from './ports.ts';
import { transferSnapshot, type SnapshotTransferParts } from './snapshot-transfer.ts';

export interface GroupTask {
  plan: GroupPlan;
  sourceSnapshots: readonly SourceSnapshot[];
  sourceNamespace: string;
  targetNamespace: string;
  log: ProgressLog;
}

export interface GroupTransferParts extends SnapshotTransferParts {
  target: ReplicationTarget;
  /** Snapshots open at a time, for the whole job; first come first served. */
  snapshotSlots: Semaphore;
  /** A snapshot of a group is done: `done` of `total`. */
  onSnapshotDone: (plan: GroupPlan, done: number, total: number) => void;
}

/**
 * One group (spec sync 4.3): its snapshots are fetched with look-ahead, several at a time, and published strictly oldest first. The
 * first failure ends the group: publishing a later snapshot would leave a gap that no later run fills. Throws that failure. Gaps to fill come after
 * them, each for itself: one that cannot be filled is an error, and keeps nothing else from being copied.
 */
export async function transferGroup(parts: GroupTransferParts, task: GroupTask): Promise<void> {
  const log = prefixedLog(task.log, groupText(task.plan.group));
  if (task.plan.steps.length === 0 && task.plan.vanished.length === 0) {
    logSkipped(log, task.plan);
    return;
  }
  const session = await parts.target.openGroup(task.targetNamespace, task.plan.group, parts.policy.owner);
  try {
    // Somebody else may have worked on the group between the listing and the lock.
    const current = await session.current({ lookForCorrupt: parts.policy.resyncCorrupt || parts.policy.backfill !== undefined });
    const plan = replan(parts, task, current);
    logSkipped(log, plan);
    await transferSnapshots(parts, task, plan, session, log);
    await removeVanished(parts, task, plan, session, log);
  } finally {
    await session.close();
  }
}

function replan(parts: GroupTransferParts, task: GroupTask, current: TargetGroup): GroupPlan {
  return planGroup(
    task.plan.group,
    task.sourceSnapshots,
    current,
    parts.policy,
    (snapshot) => parts.journal.isUnchanged(task.targetNamespace, snapshot, snapshot.fingerprint),
    parts.policy.backfill?.(task.targetNamespace),
  );
}

async function transferSnapshots(parts: GroupTransferParts, task: GroupTask, plan: GroupPlan, session: TargetGroupSession, log: ProgressLog): Promise<void> {
  // Taken once, before anything of this run is published; a repair also looks at what the corrupt snapshot itself names.
  let held: Promise<DigestSet> | null = null;
  let previous: Promise<unknown> = Promise.resolve();
  let failed = false;
  let done = 0;
  const failures: unknown[] = [];
  const running: Array<Promise<unknown>> = [];
  const { line } = parts.target;
  for (const step of plan.steps) {
    if (line !== undefined) await previous.catch(() => {});
    await parts.snapshotSlots.acquire();
    if (failed || parts.signal.aborted) {
      parts.snapshotSlots.release();
      break;
    }
    const heldByGroup = (): Promise<DigestSet> => {
      if (step.action === 'repair') return session.heldDigests(step.snapshot, log);
      held ??= session.heldDigests(null, log);
      return held;
    };
    // Older than the newest copy, or of a sound place in the order: nothing that comes later waits for it.
    const inOrder = step.action !== 'fill' && !(step.action === 'repair' && parts.policy.backfill !== undefined);
    const snapshotTask = {
      step,
      sourceNamespace: task.sourceNamespace,
      targetNamespace: task.targetNamespace,
      group: session,
      log,
      heldByGroup,
      previous: inOrder ? previous : Promise.resolve(),
    };
    const attempt = (): Promise<unknown> => transferSnapshot(parts, snapshotTask);
    const one = (line === undefined ? attempt() : line.run(formatBackupTime(step.snapshot.time), attempt))
      .then(() => {
        done += 1;
        parts.onSnapshotDone(plan, done, plan.steps.length);
      })
      .catch((e: unknown) => {
        // A follower that fails only because its predecessor did says nothing new.
        if (!(e instanceof PredecessorFailed)) {
          if (!failed || !inOrder) log.error(`sync of snapshot ${formatBackupTime(step.snapshot.time)} failed - ${errorChain(e)}`);
          failures.push(e);
        }
        failed ||= inOrder;
        throw new PredecessorFailed();
      })
      .finally(() => parts.snapshotSlots.release());
    // The successor waits for this one; nobody else may find the rejection unhandled.
    one.catch(() => {});
    if (inOrder) previous = one;
    running.push(one);
  }
  await Promise.allSettled(running);
  if (parts.signal.aborted) throw new AbortedError();
  if (failures.length > 0) throw failures[0];
}

/** The snapshot before this one in its group was not published, so this one must not be either. */
class PredecessorFailed extends Error {}

async function removeVanished(parts: GroupTransferParts, task: GroupTask, plan: GroupPlan, session: TargetGroupSession, log: ProgressLog): Promise<void> {
  for (const snapshot of plan.vanished) {
    const time = formatBackupTime(snapshot.time);
    if (snapshot.protected) {
      log.info(`don't delete vanished snapshot ${time} (protected)`);
      continue;
    }
    log.info(`delete vanished snapshot ${time}`);
    await session.removeSnapshot(snapshot);
    parts.journal.forgetArrival(task.targetNamespace, snapshot);
    parts.report.removedSnapshots += 1;
  }
}

const skipTexts: Record<SkipReason, string> = {
  'already synced': 'older than the newest snapshot present on sync target',
  unchanged: 'unchanged at the source since the last sync',
  'transfer-last': 'due to transfer-last',
  'not verified': 'not verified on the source',
  'not encrypted': 'not encrypted',
  'in progress': 'in progress or without readable manifest on the source',
};

/** One line per reason with the span of times that it covers. */
function logSkipped(log: ProgressLog, plan: GroupPlan): void {
  const byReason = Map.groupBy(plan.skipped, (skipped) => skipped.reason);
  for (const [reason, list] of byReason) {
    const times = list.map((skipped) => skipped.snapshot.time);
    const oldest = formatBackupTime(Math.min(...times));
    const newest = formatBackupTime(Math.max(...times));
    const span = oldest === newest ? oldest : `${oldest} .. ${newest}`;
    log.info(`skipped: ${list.length} snapshot(s) (${span}) - ${skipTexts[reason]}`);
  }
}

/** Errors after which the rest of the job has no chance either. */
export function isFatalForJob(e: unknown): boolean {
  return e instanceof AbortedError || (e instanceof StoreError && (e.code === 'store.full' || e.code === 'store.read-only'));
}
