import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath } from '../../access/datastore-access.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { parseTimeSpan } from '../../base/time-span.ts';
import type { SyncJob, SyncJobTable } from '../../config/job-config.ts';
import { parseUpid } from '../../format/upid.ts';
import type { FreshnessWatch } from '../../freshness/watch.ts';
import { counter, gauge, type Metric, type Sample } from '../../metrics/exposition.ts';
import type { JobMemories, JobMemory } from '../../replication/job-memory.ts';
import type { JobState } from '../../schedule/job-state.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { queryTasks } from '../../schedule/task-query.ts';
import type { WorkerTasks } from '../../schedule/worker-tasks.ts';
import { seesContract } from '../config/freshness.ts';

export interface JobMetricsParts {
  jobs: Pick<SyncJobTable, 'list'>;
  states: JobStates;
  memories: JobMemories;
  tasks: WorkerTasks;
  freshness: Pick<FreshnessWatch, 'latest'>;
  access: AccessControl;
  clock: Clock;
}

const maxJobs = 1000;
const maxTasks = 2000;
const daySeconds = 86_400;
const jobLabels = ['job_id', 'datastore', 'remote', 'direction'];

interface KnownJob {
  job: SyncJob;
  state: JobState;
  memory: JobMemory;
}

/** Sync jobs of datastores that `authId` may audit, freshness contracts likewise, and tasks when he may see all. */
export async function jobMetrics(parts: JobMetricsParts, authId: string): Promise<Metric[]> {
  const { jobs, states, memories, access, clock } = parts;
  const visible = jobs.list().records.filter((job) => access.check(authId, namespaceAclPath(job.store, job.ns ?? ''), ['Datastore.Audit'])).slice(0, maxJobs);
  const known: KnownJob[] = [];
  for (const job of visible) known.push({ job, state: await states.load({ jobType: 'syncjob', id: job.id }), memory: await memories.load(job.id) });
  const now = nowSeconds(clock);
  return [...syncMetrics(known, now), ...contractMetrics(parts, authId), ...(access.check(authId, '/system/tasks', ['Sys.Audit']) ? await taskMetrics(parts.tasks, now) : [])];
}

/** Start of the last run that ended well. */
function lastSuccess({ state, memory }: KnownJob): number | null {
  const ended = state.state === 'finished' && (state.result.state === 'OK' || state.result.state === 'Warning') ? parseUpid(state.upid).starttime : 0;
  return Math.max(ended, memory.totals['last-success']) || null;
}

function syncMetrics(known: readonly KnownJob[], now: number): Metric[] {
  const samples = (value: (job: KnownJob) => number | null, more: Record<string, string> = {}): Sample[] =>
    known.flatMap((one) => {
      const number = value(one);
      const { id, store, remote, 'sync-direction': direction } = one.job;
      return number === null ? [] : [{ labels: { job_id: id, datastore: store, remote: remote ?? '', direction: direction ?? 'pull', ...more }, value: number }];
    });
  const startOf = ({ state }: KnownJob): number | null => (state.state === 'finished' || state.state === 'started' ? parseUpid(state.upid).starttime : null);
  const resultOf = ({ state }: KnownJob): number | null => (state.state === 'finished' ? Number(state.result.state === 'OK' || state.result.state === 'Warning') : null);
  const lastRun = ({ memory }: KnownJob): number | null => memory.runs.at(-1)?.['failed-groups'] ?? null;
  const lag = (one: KnownJob): number | null => {
    const success = lastSuccess(one);
    return success === null ? null : Math.max(0, now - success);
  };
  return [
    gauge('pbs_sync_job_last_success_timestamp_seconds', 'Start of the last run of a sync job that ended well.', jobLabels, samples(lastSuccess)),
    gauge('pbs_sync_job_last_run_timestamp_seconds', 'Start of the last run of a sync job.', jobLabels, samples(startOf)),
    gauge('pbs_sync_job_last_result', 'Whether the last ended run of a sync job ended well, also with warnings.', jobLabels, samples(resultOf)),
    gauge('pbs_sync_job_running', 'Whether a sync job runs.', jobLabels, samples(({ state }) => Number(state.state === 'started'))),
    gauge('pbs_sync_job_lag_seconds', 'Time since the start of the last run that ended well: what the copy may be behind.', jobLabels, samples(lag)),
    counter('pbs_sync_job_bytes_total', 'Encoded bytes of chunks that crossed the line.', jobLabels, samples(({ memory }) => memory.totals.bytes)),
    counter('pbs_sync_job_chunks_total', 'Chunks that crossed the line, and chunks that were there already.', [...jobLabels, 'kind'], [
      ...samples(({ memory }) => memory.totals.chunks, { kind: 'sent' }),
      ...samples(({ memory }) => memory.totals.reused, { kind: 'reused' }),
    ]),
    gauge('pbs_sync_job_groups_failed', 'Groups that the last run could not sync.', jobLabels, samples(lastRun)),
  ];
}

function contractMetrics({ freshness, access }: JobMetricsParts, authId: string): Metric[] {
  const judged = freshness.latest.filter(({ contract }) => contract.disable !== true && seesContract(access, authId, contract));
  const samples = (value: (one: (typeof judged)[number]) => number | null): Sample[] =>
    judged.flatMap((one) => {
      const number = value(one);
      return number === null ? [] : [{ labels: { contract: one.contract.id, datastore: one.contract.store }, value: number }];
    });
  const labels = ['contract', 'datastore'];
  return [
    gauge('pbs_freshness_holds', 'Whether a freshness contract held at the last check: 0 the copy is too old, or it cannot be seen.', labels, samples(({ judgement: { state } }) => Number(state === 'ok' || state === 'pending'))),
    gauge('pbs_freshness_age_seconds', 'Age of the oldest thing that a freshness contract speaks of.', labels, samples(({ judgement: { age } }) => age)),
    gauge('pbs_freshness_max_age_seconds', 'Age that a freshness contract allows.', labels, samples(({ contract }) => parseTimeSpan(contract['max-age']))),
  ];
}

async function taskMetrics(tasks: WorkerTasks, now: number): Promise<Metric[]> {
  const found = await queryTasks(tasks.registry.tasks(), { since: now - daySeconds, limit: maxTasks });
  const total = new Map<string, Sample>();
  const running = new Map<string, Sample>();
  const last = new Map<string, Sample>();
  const add = (to: Map<string, Sample>, labels: Record<string, string>): void => {
    const key = Object.values(labels).join('\n');
    to.set(key, { labels, value: (to.get(key)?.value ?? 0) + 1 });
  };
  for (const { upid, result } of found.tasks) {
    const { workerType, starttime } = upid;
    if (result === null) add(running, { worker_type: workerType });
    else add(total, { worker_type: workerType, status: result.state.toLowerCase() });
    last.set(workerType, { labels: { worker_type: workerType }, value: Math.max(starttime, last.get(workerType)?.value ?? 0) });
  }
  return [
    gauge('pbs_task_total', 'Tasks that ended within the last day.', ['worker_type', 'status'], [...total.values()]),
    gauge('pbs_task_running', 'Tasks that run.', ['worker_type'], [...running.values()]),
    gauge('pbs_task_last_run_timestamp_seconds', 'Start of the last task within the last day.', ['worker_type'], [...last.values()]),
  ];
}
