import type { FreshnessContract } from '../config/freshness-config.ts';
import type { SyncJob, SyncJobTable } from '../config/job-config.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { walkGroups } from '../datastore/group-walk.ts';
import { groupExists } from '../datastore/groups.ts';
import { newestSnapshot } from '../datastore/newest-snapshot.ts';
import { groupText, type BackupGroup } from '../format/backup-path.ts';
import { parseUpid } from '../format/upid.ts';
import { believedAheadSeconds } from '../freshness/judgement.ts';
import type { Look, SeenSubject } from '../freshness/watch.ts';
import { isGroupSelected, parseGroupFilter } from '../replication/group-filter.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import type { JobStates } from '../schedule/job-states.ts';
import { taskStatusText } from '../schedule/task-status.ts';
import type { Datastores } from './datastores.ts';

export interface FreshnessEvidenceParts {
  datastores: Datastores;
  jobs: Pick<SyncJobTable, 'find'>;
  states: JobStates;
  memories: JobMemories;
}

const runSubject = 'last successful run';
const newestSubject = 'newest snapshot';

/** Where snapshots of a contract are looked for. */
interface Scope {
  store: string;
  ns: string;
  maxDepth: number | undefined;
  takes: (group: BackupGroup) => boolean;
}

/** Looks at what a contract speaks of: the snapshots that are really there, and what is known of the job's runs. Throws when the datastore cannot be looked at. */
export async function lookAtContract(parts: FreshnessEvidenceParts, contract: FreshnessContract, now: number): Promise<Look> {
  const { job: jobId } = contract;
  if (jobId === undefined) return lookAtSnapshots(parts, contract, scopeOf(contract), now);
  const job = parts.jobs.find(jobId);
  const run = await lookAtRuns(parts, jobId, job, now);
  // What a push brings lies elsewhere: its successful runs are what is known of it.
  if (job?.['sync-direction'] === 'push') return run;
  const snapshots = await lookAtSnapshots(parts, contract, job === undefined ? scopeOf(contract) : scopeOfJob(job), now);
  return { subjects: [...run.subjects, ...snapshots.subjects], notes: [...run.notes, ...snapshots.notes] };
}

function scopeOf(contract: FreshnessContract): Scope {
  const { 'backup-type': type, 'backup-id': id } = contract;
  return { store: contract.store, ns: contract.ns ?? '', maxDepth: contract['max-depth'], takes: (group) => (type === undefined || group.type === type) && (id === undefined || group.id === id) };
}

function scopeOfJob(job: SyncJob): Scope {
  const filters = (job['group-filter'] ?? []).map((text) => parseGroupFilter(text));
  return { store: job.store, ns: job.ns ?? '', maxDepth: job['max-depth'], takes: (group) => isGroupSelected(group, filters) };
}

async function lookAtSnapshots({ datastores }: FreshnessEvidenceParts, contract: FreshnessContract, scope: Scope, now: number): Promise<Look> {
  return datastores.use(scope.store, 'read', async (store) => {
    const { 'backup-type': type, 'backup-id': id } = contract;
    const isOneGroup = contract.job === undefined && type !== undefined && id !== undefined;
    const found: SeenSubject[] = [];
    let ahead = 0;
    const add = async (namespace: string, group: BackupGroup): Promise<void> => {
      const newest = await newestSnapshot(store, namespace, group, { notAfter: now + believedAheadSeconds, verified: contract.verified === true });
      ahead += newest.ahead;
      found.push({ name: groupName(namespace, group), time: newest.time });
    };
    if (isOneGroup) await addOne(store, scope.ns, { type, id }, add);
    else await addAll(store, scope, add);
    const notes = ahead === 0 ? [] : [`${ahead} snapshots lie in the future and do not count`];
    if (isOneGroup) return { subjects: found.length > 0 ? found : [{ name: groupName(scope.ns, { type, id }), time: null }], notes };
    if (contract['every-group'] === true && found.length > 0) return { subjects: found, notes };
    const times = found.flatMap(({ time }) => (time === null ? [] : [time]));
    return { subjects: [{ name: newestSubject, time: times.length === 0 ? null : times.reduce((a, b) => Math.max(a, b)) }], notes };
  });
}

async function addOne(store: Datastore, namespace: string, group: BackupGroup, add: (namespace: string, group: BackupGroup) => Promise<void>): Promise<void> {
  if (await groupExists(store, namespace, group)) await add(namespace, group);
}

async function addAll(store: Datastore, scope: Scope, add: (namespace: string, group: BackupGroup) => Promise<void>): Promise<void> {
  for await (const item of walkGroups(store, { namespace: scope.ns, maxDepth: scope.maxDepth })) {
    // A part that cannot be read may be the one that is stale.
    if ('error' in item) throw item.error;
    if (scope.takes(item.group)) await add(item.namespace, item.group);
  }
}

function groupName(namespace: string, group: BackupGroup): string {
  return namespace === '' ? groupText(group) : `${namespace}:${groupText(group)}`;
}

/** Start of the last run that ended well, also one before the last. */
async function lookAtRuns({ states, memories }: FreshnessEvidenceParts, id: string, job: SyncJob | undefined, now: number): Promise<Look> {
  const notes: string[] = [];
  if (job === undefined) notes.push(`sync job '${id}' does not exist any more`);
  else if (job.schedule === undefined) notes.push(`sync job '${id}' has no schedule`);
  const { runs, totals } = await memories.load(id);
  const good = [totals['last-success'], ...runs.filter(({ ok }) => ok).map(({ start }) => start)].filter((start) => start > 0);
  const state = await states.load({ jobType: 'syncjob', id });
  if (state.state === 'finished') {
    if (state.result.state === 'OK' || state.result.state === 'Warning') good.push(parseUpid(state.upid).starttime);
    else notes.push(`last run: ${taskStatusText(state.result).slice(0, 200)}`);
  }
  // Runs of a time when the clock was wrong say nothing.
  const believed = good.filter((start) => start <= now + believedAheadSeconds);
  return { subjects: [{ name: runSubject, time: believed.length === 0 ? null : believed.reduce((a, b) => Math.max(a, b)), past: true }], notes };
}
