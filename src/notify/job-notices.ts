import type { Clock } from '../base/clock.ts';
import { nowSeconds } from '../base/clock.ts';
import { errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { notifyOptions, type DatastoreRecord, type DatastoreTable } from '../config/datastore-config.ts';
import { superuser } from '../config/user-config.ts';
import { parsePropertyString } from '../format/property-string.ts';
import type { TaskResult } from '../schedule/worker-task.ts';
import type { TemplateName } from './builtin-templates.ts';
import type { NotificationEvent } from './message.ts';
import type { Notifier } from './notifier.ts';

/** How a run ended. */
export interface RunEnd {
  store: string;
  upid: string;
  result: TaskResult;
}

/** The properties of a sync job that are told. */
export interface SyncedJob {
  id: string;
  remote?: string | undefined;
  'remote-store': string;
}

/** Told at the end of runs; never throws. */
export interface JobNotices {
  /** `figures`: of the run, by the names in `.gc-status`; null when it did not get that far. */
  garbageCollected(end: RunEnd, figures: Readonly<Record<string, unknown>> | null): void;
  pruned(end: RunEnd, jobId: string): void;
  synced(end: RunEnd, job: SyncedJob): void;
  /** `failed`: snapshots and groups. An aborted run is nobody's news. */
  verified(end: RunEnd, jobId: string, how: { failed: readonly string[]; aborted: boolean }): void;
}

/** Nobody is told. */
export const noNotices: JobNotices = { garbageCollected: () => {}, pruned: () => {}, synced: () => {}, verified: () => {} };

type Kind = keyof (typeof notifyOptions)['properties'];

const maxNamedFailures = 200;

/** Makes events of ended runs and hands them on in the way that their datastore is set to (spec server 14.3, 14.4). */
export class DatastoreNotices implements JobNotices {
  readonly #parts: { datastores: Pick<DatastoreTable, 'find'>; notifier: Pick<Notifier, 'notify' | 'notifyUser'>; clock: Clock; log: ProgressLog };

  constructor(parts: { datastores: Pick<DatastoreTable, 'find'>; notifier: Pick<Notifier, 'notify' | 'notifyUser'>; clock: Clock; log: ProgressLog }) {
    this.#parts = parts;
  }

  garbageCollected(end: RunEnd, figures: Readonly<Record<string, unknown>> | null): void {
    const [all, disk] = [Number(figures?.['index-data-bytes'] ?? 0), Number(figures?.['disk-bytes'] ?? 0)];
    this.#tell('gc', end, {}, { ...figures, 'deduplication-factor': (disk === 0 ? 0 : all / disk).toFixed(2) });
  }

  pruned(end: RunEnd, jobId: string): void {
    this.#tell('prune', end, { 'job-id': jobId });
  }

  synced(end: RunEnd, job: SyncedJob): void {
    this.#tell('sync', end, { 'job-id': job.id }, { remote: job.remote ?? null, 'remote-datastore': job['remote-store'] });
  }

  verified(end: RunEnd, jobId: string, { failed, aborted }: { failed: readonly string[]; aborted: boolean }): void {
    if (aborted) return;
    const rest = failed.length - maxNamedFailures;
    const named = [...failed.slice(0, maxNamedFailures), ...(rest > 0 ? [`and ${rest} more: see the task log`] : [])];
    this.#tell('verify', end, { 'job-id': jobId }, named.length === 0 ? {} : { 'failed-snapshot-list': named });
  }

  #tell(kind: Kind, { store, upid, result }: RunEnd, ids: Record<string, string>, data: Readonly<Record<string, unknown>> = {}): void {
    const isError = result.state === 'Error' || result.state === 'Unknown';
    const reason = result.state === 'Error' ? result.message : 'the task ended without a result';
    try {
      this.#send(kind, isError, store, {
        template: `${kind}-${isError ? 'err' : 'ok'}` satisfies TemplateName,
        severity: isError ? 'error' : 'info',
        fields: { type: kind, datastore: store, ...ids },
        data: { ...data, ...ids, datastore: store, upid, ...(isError ? { error: reason } : {}) },
        time: nowSeconds(this.#parts.clock),
        cause: isError ? `${kind} ${store} ${causeOf(reason)}` : null,
      });
    } catch (e) {
      this.#parts.log.error(`unable to notify of task ${upid}: ${errorChain(e)}`);
    }
  }

  #send(kind: Kind, isError: boolean, store: string, event: NotificationEvent): void {
    const { datastores, notifier } = this.#parts;
    // A datastore that was removed meanwhile has no settings any more.
    const record: Partial<DatastoreRecord> = datastores.find(store) ?? {};
    if (record['notification-mode'] !== 'legacy-sendmail') {
      notifier.notify(event);
      return;
    }
    const wanted = new Map(parsePropertyString(record.notify ?? '')).get(kind) ?? (kind === 'prune' ? 'error' : 'always');
    if (wanted === 'always' || (wanted === 'error' && isError)) notifier.notifyUser(record['notify-user'] ?? superuser, event);
  }
}

/** A reason without what differs between runs that fail for the same: numbers, digests, task ids. */
export function causeOf(reason: string): string {
  return reason
    .replaceAll(/UPID:\S+/g, 'UPID')
    .replaceAll(/\b[0-9a-f]{8,}\b/gi, '#')
    .replaceAll(/\d+/g, '#')
    .slice(0, 300);
}
