import { FarshoreError, errorChain, errorCode } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { groupText, maxNamespaceDepth, namespaceDepth, type BackupGroup } from '../format/backup-path.ts';
import type { NamespacePlan } from './plan.ts';
import type { ReplicationPolicy, TargetPermissions } from './policy.ts';
import type { ReplicationTarget } from './ports.ts';
import type { PossessionJournal } from './possession-journal.ts';
import type { ReplicationReport } from './report.ts';

/**
 * Removes groups that the source no longer lists (spec sync 4.7). A source that suddenly lists no group at all where the target has some
 * looks exactly like a lost permission or an empty mount, so nothing is removed then and the job says so.
 */
export async function removeVanishedGroups(parts: {
  target: ReplicationTarget;
  journal: PossessionJournal;
  report: ReplicationReport;
  log: ProgressLog;
  namespace: string;
  plan: NamespacePlan;
  targetGroups: number;
  /** Groups that the source has but does not show. */
  hidden?: readonly BackupGroup[];
}): Promise<void> {
  const { target, journal, report, log, namespace, plan } = parts;
  const hidden = new Set((parts.hidden ?? []).map((group) => groupText(group)));
  const vanished = plan.vanishedGroups.filter((group) => !hidden.has(groupText(group)));
  if (vanished.length === 0) return;
  if (plan.totalGroups === 0) {
    throw new FarshoreError('sync.empty-source', `the source shows no groups at all, the target has ${parts.targetGroups}: nothing is removed`, {
      hint: 'if the source is really empty, remove the groups by hand; otherwise check the permissions of the remote user with `farshore remote test`',
    });
  }
  for (const group of vanished) {
    log.info(`delete vanished group '${groupText(group)}'`);
    const removed = await target.removeGroup(namespace, group);
    for (const snapshot of group.snapshots) if (!snapshot.protected) journal.forgetArrival(namespace, snapshot);
    report.removedSnapshots += removed.removedSnapshots;
    if (removed.protectedSnapshots > 0) log.info(`kept ${removed.protectedSnapshots} protected snapshots of group '${groupText(group)}'`);
    else report.removedGroups += 1;
  }
}

/** Removes namespaces below the anchor that the source no longer has, deepest first, each only when nothing protected remains. */
export async function removeVanishedNamespaces(parts: {
  target: ReplicationTarget;
  policy: ReplicationPolicy;
  permissions: TargetPermissions;
  report: ReplicationReport;
  log: ProgressLog;
  synced: ReadonlySet<string>;
  /** Groups that the source showed in all its namespaces. */
  listedGroups: number;
}): Promise<void> {
  const { target, policy, permissions, report, log, synced } = parts;
  const depth = Math.min(policy.maxDepth ?? maxNamespaceDepth - namespaceDepth(policy.sourceNamespace), maxNamespaceDepth - namespaceDepth(policy.targetNamespace));
  const present = await target.namespaces(policy.targetNamespace, depth);
  const vanished = present.filter((namespace) => namespace !== policy.targetNamespace && namespace !== '' && !synced.has(namespace)).toSorted((a, b) => b.length - a.length);
  for (const namespace of vanished) {
    const refused = permissions.removeNamespace(namespace);
    if (refused !== null) {
      log.error(`removing vanished namespace '${namespace}' failed - ${refused}`);
      report.errors.push(refused);
      continue;
    }
    const groups = await target.groups(namespace, { lookForCorrupt: false });
    if (parts.listedGroups === 0 && groups.length > 0) {
      throw new FarshoreError('sync.empty-source', `the source shows no groups at all, namespace '${namespace}' of the target has ${groups.length}: nothing is removed`, {
        hint: 'if the source is really empty, remove the namespaces by hand; otherwise check the permissions of the job at the source',
      });
    }
    for (const group of groups) {
      try {
        report.removedSnapshots += (await target.removeGroup(namespace, group)).removedSnapshots;
      } catch (e) {
        if (errorCode(e) !== 'sync.skipped') throw e;
        log.warn(errorChain(e));
      }
    }
    if (await target.removeEmptyNamespace(namespace)) {
      log.info(`removed namespace ${namespace}`);
      report.removedNamespaces += 1;
    } else {
      log.info(`failed to remove namespace ${namespace} - it was not empty`);
    }
  }
}
