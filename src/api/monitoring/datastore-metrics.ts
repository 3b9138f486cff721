import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath } from '../../access/datastore-access.ts';
import { pause } from '../../base/async.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { FarshoreError } from '../../base/errors.ts';
import { surveyContent, type SurveyedGroup } from '../../datastore/content-survey.ts';
import { readGcStatus, type GarbageCollectionStatus } from '../../datastore/gc-status.ts';
import { datastoreUsage, type DatastoreUsage } from '../../datastore/snapshot-info.ts';
import { parseUpid } from '../../format/upid.ts';
import { gauge, type Metric, type Sample } from '../../metrics/exposition.ts';
import type { JobState } from '../../schedule/job-state.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import type { Datastores } from '../datastores.ts';

export interface DatastoreMetricsParts {
  datastores: Datastores;
  states: JobStates;
  access: AccessControl;
  clock: Clock;
}

/** Groups of all datastores that are shown one by one; each is a handful of series. */
export const maxGroups = 5000;
const surveyAgeSeconds = 60;
/** A scrape waits no longer for a datastore: it gets what was seen last. */
const patienceMs = 5000;

interface Survey {
  usage: DatastoreUsage | null;
  gc: GarbageCollectionStatus | null;
  gcRun: JobState;
  groups: SurveyedGroup[];
  omitted: number;
}

/** Numbers of the datastores and of what is in them, in the names of the known exporters. A datastore is looked through at most once a minute, whoever asks. */
export class DatastoreMetrics {
  readonly #parts: DatastoreMetricsParts;
  readonly #surveys = new Map<string, { at: number; running: Promise<Survey> | null; last: Survey | null }>();

  constructor(parts: DatastoreMetricsParts) {
    this.#parts = parts;
  }

  /** Those that `authId` may audit. */
  async of(authId: string): Promise<Metric[]> {
    const { datastores, access } = this.#parts;
    const names = datastores.records().map(({ name }) => name);
    for (const name of this.#surveys.keys()) if (!names.includes(name)) this.#surveys.delete(name);
    const audited = names.filter((name) => access.check(authId, namespaceAclPath(name, ''), ['Datastore.Audit']));
    const surveys = await Promise.all(audited.map(async (name) => [name, await this.#survey(name)] as const));
    const shown = surveys.flatMap(([name, survey]) => (survey === null ? [] : [[name, survey] as const])).map(([name, survey]) => [name, { ...survey, groups: survey.groups.filter(({ namespace }) => access.check(authId, namespaceAclPath(name, namespace), ['Datastore.Audit'])) }] as const);
    return [...spaceMetrics(shown), ...contentMetrics(shown), ...collectionMetrics(shown)];
  }

  /** Null: the first look has not ended yet. One look at a time: a file system that hangs is not asked again. */
  async #survey(name: string): Promise<Survey | null> {
    const now = nowSeconds(this.#parts.clock);
    const known = this.#surveys.get(name) ?? { at: Number.NEGATIVE_INFINITY, running: null, last: null };
    this.#surveys.set(name, known);
    if (known.running === null && Math.abs(now - known.at) >= surveyAgeSeconds) {
      known.at = now;
      known.running = this.#look(name)
        .then((survey) => (known.last = survey))
        .finally(() => {
          known.running = null;
        });
      // Who waits for it hears of it; nobody may be left to wait.
      known.running.catch(() => {});
    }
    if (known.running === null) return known.last;
    const over = new AbortController();
    const patience = pause(patienceMs, over.signal).then(() => known.last, () => known.last);
    try {
      return await Promise.race([known.running, patience]);
    } finally {
      over.abort();
    }
  }

  async #look(name: string): Promise<Survey> {
    const { datastores, states } = this.#parts;
    const gcRun = await states.load({ jobType: 'garbage_collection', id: name });
    try {
      return await datastores.use(name, 'lookup', async (store) => ({ usage: await datastoreUsage(store), gc: await readGcStatus(store.path), gcRun, ...(await surveyContent(store, maxGroups)) }));
    } catch (e) {
      // One that is away must not hide the others; its own series end, which alert rules see.
      if (!(e instanceof FarshoreError)) throw e;
      return { usage: null, gc: null, gcRun, groups: [], omitted: 0 };
    }
  }
}

type Surveys = ReadonlyArray<readonly [name: string, survey: Survey]>;

function spaceMetrics(surveys: Surveys): Metric[] {
  const of = (value: (usage: DatastoreUsage) => number): Sample[] => surveys.flatMap(([datastore, { usage }]) => (usage === null ? [] : [{ labels: { datastore }, value: value(usage) }]));
  const labels = ['datastore'];
  const total = of((usage) => usage.total);
  const used = of((usage) => usage.used);
  const available = of((usage) => usage.avail);
  return [
    gauge('pbs_size', 'The size of the underlying storage in bytes.', labels, total),
    gauge('pbs_used', 'The used bytes of the underlying storage.', labels, used),
    gauge('pbs_available', 'The available bytes of the underlying storage.', labels, available),
    gauge('pbs_datastore_total_bytes', 'Size of the datastore in bytes.', labels, total),
    gauge('pbs_datastore_used_bytes', 'Used bytes of the datastore.', labels, used),
    gauge('pbs_datastore_available_bytes', 'Available bytes of the datastore.', labels, available),
    gauge('pbs_datastore_up', 'Whether the datastore could be looked at.', labels, surveys.map(([datastore, { usage }]) => ({ labels: { datastore }, value: usage === null ? 0 : 1 }))),
  ];
}

function contentMetrics(surveys: Surveys): Metric[] {
  const counts = new Map<string, Sample & { value: number }>();
  const groups: Array<{ datastore: string; group: SurveyedGroup }> = [];
  let omitted = 0;
  for (const [datastore, survey] of surveys) {
    omitted += survey.omitted;
    for (const group of survey.groups) {
      const key = `${datastore}\n${group.namespace}`;
      const count = counts.get(key);
      counts.set(key, { labels: { datastore, namespace: group.namespace }, value: (count?.value ?? 0) + group.snapshots });
      if (groups.length < maxGroups) groups.push({ datastore, group });
      else omitted += 1;
    }
  }
  const of = (value: (group: SurveyedGroup) => number | null): Sample[] =>
    groups.flatMap(({ datastore, group }) => {
      const number = value(group);
      const labels = { datastore, namespace: group.namespace, backup_type: group.type, backup_id: group.id, vm_id: group.id, vm_name: group.comment };
      return number === null ? [] : [{ labels, value: number }];
    });
  const vm = ['datastore', 'namespace', 'backup_type', 'vm_id', 'vm_name'];
  return [
    gauge('pbs_snapshot_count', 'The total number of backups.', ['datastore', 'namespace'], [...counts.values()].slice(0, maxGroups)),
    gauge('pbs_snapshot_vm_count', 'The total number of backups of a group.', vm, of(({ snapshots }) => snapshots)),
    gauge('pbs_snapshot_vm_last_timestamp', 'The time of the last backup of a group.', vm, of(({ newest }) => newest)),
    gauge('pbs_snapshot_vm_last_verify', 'Whether the last backup of a group was verified and is good; no value before it was verified.', vm, of(({ verified }) => (verified === null ? null : Number(verified)))),
    gauge('pbs_snapshot_last_timestamp_seconds', 'The time of the last backup of a group.', ['datastore', 'namespace', 'backup_type', 'backup_id'], of(({ newest }) => newest)),
    gauge('pbs_snapshot_groups_omitted', 'Groups that have no series of their own since there are too many.', [], [{ labels: {}, value: omitted }]),
  ];
}

function collectionMetrics(surveys: Surveys): Metric[] {
  const of = (value: (survey: Survey) => number | null): Sample[] =>
    surveys.flatMap(([datastore, survey]) => {
      const number = value(survey);
      return number === null ? [] : [{ labels: { datastore }, value: number }];
    });
  const labels = ['datastore'];
  const finished = (state: JobState): Extract<JobState, { state: 'finished' }> | null => (state.state === 'finished' ? state : null);
  return [
    gauge('pbs_gc_last_run_timestamp', 'End of the last garbage collection.', labels, of(({ gcRun }) => finished(gcRun)?.result.endtime ?? null)),
    gauge('pbs_gc_duration_seconds', 'Duration of the last garbage collection.', labels, of(({ gcRun }) => {
      const run = finished(gcRun);
      return run === null ? null : Math.max(0, run.result.endtime - parseUpid(run.upid).starttime);
    })),
    gauge('pbs_gc_status', 'Whether the last garbage collection ended well.', labels, of(({ gcRun }) => {
      const run = finished(gcRun);
      return run === null ? null : Number(run.result.state === 'OK' || run.result.state === 'Warning');
    })),
    gauge('pbs_gc_removed_bytes', 'Bytes that the last whole garbage collection removed.', labels, of(({ gc }) => (gc === null || gc.upid === null ? null : gc.removedBytes))),
    gauge('pbs_gc_pending_bytes', 'Bytes that a later garbage collection may remove.', labels, of(({ gc }) => (gc === null || gc.upid === null ? null : gc.pendingBytes))),
  ];
}
