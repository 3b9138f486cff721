import type { BackupType } from '../format/backup-path.ts';
import type { EstimateBasis, EstimatedGroup, SyncEstimate } from '../replication/estimate.ts';
import type { SnapshotAction } from '../replication/plan.ts';
import type { SyncForecast } from './sync-plans.ts';

/** Names as in the rest of the API; bytes and seconds. */
export interface SyncPlanReply {
  id: string;
  store: string;
  direction: 'pull' | 'push';
  /** A datastore of this server, or `remote/store`. */
  source: string;
  target: string;
  /** The least certain of all snapshots. */
  basis: EstimateBasis;
  /** Encoded bytes of chunks, as the task's summary counts them. */
  bytes: number;
  chunks: number;
  'metadata-bytes': number;
  'reused-chunks': number;
  'reused-bytes': number;
  rate?: number;
  'rate-source'?: string;
  /** At that rate. */
  seconds?: number;
  window: { seconds: number; verdict: string; 'bytes-per-day'?: number; 'seconds-per-day'?: number; 'days-until-full'?: number };
  groups: PlannedGroup[];
  remove: PlannedRemoval[];
  'new-namespaces': string[];
  'remove-namespaces': string[];
  warnings: string[];
}

export interface PlannedGroup {
  /** Of the target. */
  ns: string;
  'backup-type': BackupType;
  'backup-id': string;
  bytes: number;
  snapshots: Array<{ 'backup-time': number; action: SnapshotAction; reason: string; basis: EstimateBasis; bytes: number; chunks: number }>;
  skipped: Array<{ reason: string; count: number; oldest: number; newest: number }>;
}

export interface PlannedRemoval {
  ns: string;
  'backup-type': BackupType;
  'backup-id': string;
  'backup-time': number;
  protected: boolean;
  reason: string;
}

/** Not in the reference: the answer of `GET /admin/sync/{id}/plan`. */
export function planReply(job: Pick<SyncPlanReply, 'id' | 'store' | 'direction' | 'source' | 'target'>, estimate: SyncEstimate, forecast: SyncForecast): SyncPlanReply {
  const all = estimate.groups.flatMap((group) => group.snapshots);
  const sum = (of: 'bytes' | 'chunks' | 'metadataBytes' | 'reusedChunks' | 'reusedBytes'): number => all.reduce((total, one) => total + one[of], 0);
  const bytes = sum('bytes');
  const { rate, window } = forecast;
  const basis: EstimateBasis = all.some((one) => one.basis === 'listing') ? 'listing' : all.some((one) => one.basis === 'ratio') ? 'ratio' : 'exact';
  return {
    ...job,
    basis,
    bytes,
    chunks: sum('chunks'),
    'metadata-bytes': sum('metadataBytes'),
    'reused-chunks': sum('reusedChunks'),
    'reused-bytes': sum('reusedBytes'),
    ...(rate === null ? {} : { rate, 'rate-source': forecast.rateSource!, seconds: (bytes + sum('metadataBytes')) / rate }),
    window: {
      seconds: forecast.windowSeconds,
      verdict: window.verdict,
      ...(window.bytesPerDay === null ? {} : { 'bytes-per-day': window.bytesPerDay }),
      ...(window.secondsPerDay === null ? {} : { 'seconds-per-day': window.secondsPerDay }),
      ...(window.daysUntilFull === null ? {} : { 'days-until-full': window.daysUntilFull }),
    },
    groups: estimate.groups.map(plannedGroup),
    remove: [
      ...estimate.groups.flatMap(({ targetNamespace, plan }) =>
        plan.vanished.map((snapshot) => ({ ns: targetNamespace, 'backup-type': snapshot.type, 'backup-id': snapshot.id, 'backup-time': snapshot.time, protected: snapshot.protected, reason: 'the source does not list it any more' })),
      ),
      ...estimate.vanishedGroups.flatMap(({ namespace, snapshots }) =>
        snapshots.map((snapshot) => ({ ns: namespace, 'backup-type': snapshot.type, 'backup-id': snapshot.id, 'backup-time': snapshot.time, protected: snapshot.protected, reason: 'the source does not list its group any more' })),
      ),
    ],
    'new-namespaces': estimate.newNamespaces,
    'remove-namespaces': estimate.vanishedNamespaces,
    warnings: [...estimate.problems, ...forecast.warnings],
  };
}

function plannedGroup({ targetNamespace, plan, snapshots }: EstimatedGroup): PlannedGroup {
  const byReason = Map.groupBy(plan.skipped, ({ reason }) => reason);
  return {
    ns: targetNamespace,
    'backup-type': plan.group.type,
    'backup-id': plan.group.id,
    bytes: snapshots.reduce((total, { bytes }) => total + bytes, 0),
    snapshots: snapshots.map(({ step, basis, bytes, chunks }) => ({ 'backup-time': step.snapshot.time, action: step.action, reason: step.reason, basis, bytes, chunks })),
    skipped: [...byReason].map(([reason, list]) => {
      const times = list.map(({ snapshot }) => snapshot.time);
      return { reason, count: list.length, oldest: Math.min(...times), newest: Math.max(...times) };
    }),
  };
}
