import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import { syncJobSchema, type SyncJob, type SyncJobTable } from '../../config/job-config.ts';
import type { BackfillJobs } from '../../config/backfill-jobs.ts';
import type { EncryptionKeys } from '../../config/encryption-keys.ts';
import type { JobBandwidth } from '../../config/job-bandwidth.ts';
import { configDigest, deletable, flag, jobId, oneOf } from '../../config/schemas.ts';
import { superuser } from '../../config/user-config.ts';
import { namespaceDepth } from '../../format/backup-path.ts';
import { normalizeHumanByte } from '../../format/human-byte.ts';
import { parseGroupFilter } from '../../replication/group-filter.ts';
import type { JobMemories } from '../../replication/job-memory.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { groupFilterList } from '../group-filter-parameter.ts';
import { maySeeSyncJob, mayModifySyncJob, requireKey } from '../sync-permissions.ts';
import { refuseMutualRemoval } from '../sync-pairs.ts';
import { createJob, removeJob, trimmedComment, updateJob, type JobSection } from './job-section.ts';

export interface SyncConfigParts {
  jobs: SyncJobTable;
  access: AccessControl;
  states: JobStates;
  keys: Pick<EncryptionKeys, 'find'>;
  /** A property of jobs beside sync.cfg. */
  backfill: BackfillJobs;
  /** The other one. */
  bandwidth: JobBandwidth;
  memories: Pick<JobMemories, 'forget'>;
}

export const listedDirection = Type.Optional(oneOf(['all', 'push', 'pull'], 'Direction of the jobs to list.', { default: 'pull' }));

const jobParameters = Type.Object({ ...syncJobSchema.properties, 'group-filter': Type.Optional(groupFilterList) });
const backfillOption = { backfill: Type.Optional(flag('Fill gaps: also take older, deleted or corrupt snapshots that the prune jobs of the target would keep.')) };
export const bandwidthOption = {
  bandwidth: Type.Optional(Type.String({ maxLength: 1024, format: 'bandwidth-timetable', description: 'Limit by the time of day, e.g. `mon..fri 8-18=5MiB, else unlimited`; replaces the rates at the times that it names. Empty: none.' })),
};
const { id: _id, ...changeable } = jobParameters.properties;

const deletableNames = [
  'remote', 'owner', 'comment', 'schedule', 'remove-vanished', 'group-filter', 'rate-in', 'burst-in', 'rate-out', 'burst-out', 'ns', 'remote-ns', 'max-depth', 'transfer-last',
  'encrypted-only', 'verified-only', 'run-on-mount', 'unmount-on-done', 'sync-direction', 'worker-threads', 'active-encryption-key', 'associated-key',
] as const;

/** The jobs of one direction (the reference lists only pulls when nobody says otherwise) that `authId` may see. */
export function visibleSyncJobs(parts: Pick<SyncConfigParts, 'jobs' | 'access'>, authId: string, direction: 'all' | 'push' | 'pull' = 'pull'): { records: SyncJob[]; digest: string } {
  const { records, digest } = parts.jobs.list();
  const wanted = (job: SyncJob): boolean => direction === 'all' || (job['sync-direction'] ?? 'pull') === direction;
  return { records: records.filter((job) => wanted(job) && maySeeSyncJob(parts.access, authId, job)), digest };
}

/** HttpError 400 when a run would go deeper than a namespace can be. */
export function checkSyncDepth(job: Pick<SyncJob, 'ns' | 'remote-ns' | 'max-depth'>): void {
  const depth = job['max-depth'];
  if (depth === undefined) return;
  for (const ns of [job.ns ?? '', job['remote-ns'] ?? '']) {
    const levels = namespaceDepth(ns);
    if (levels + depth > 7) throw new HttpError(400, `namespace '${ns}'s depth and recursion depth exceed limit: ${levels} + ${depth} > 7`);
  }
}

/** Values as they are stored: rates with their unit, filters without `include:`. */
function normalized<T extends Partial<SyncJob>>(given: T): T {
  const result = { ...given };
  for (const name of ['rate-in', 'rate-out', 'burst-in', 'burst-out'] as const) {
    const text = given[name];
    if (text !== undefined) result[name] = normalizeHumanByte(text);
  }
  const filters = given['group-filter'];
  if (filters !== undefined) result['group-filter'] = filters.map((text) => parseGroupFilter(text).text);
  return result;
}

/** HttpError 400 when the job's owner may not use a key that the job names; an archived one does not encrypt. */
function checkKeys({ keys, access }: Pick<SyncConfigParts, 'keys' | 'access'>, job: SyncJob, names: { active: boolean; associated: boolean }): void {
  const owner = job.owner ?? superuser;
  const active = names.active ? job['active-encryption-key'] : undefined;
  if (active !== undefined) requireKey(keys, access, owner, active, 'encrypt');
  for (const id of names.associated ? (job['associated-key'] ?? []) : []) requireKey(keys, access, owner, id, 'decrypt');
}

/** A key that was active stays with the job: backups that it encrypted may need it. */
function withFormerKey(before: SyncJob, after: SyncJob): SyncJob {
  const former = before['active-encryption-key'];
  const kept = after['associated-key'] ?? [];
  if (former === undefined || former === after['active-encryption-key'] || kept.includes(former)) return after;
  return { ...after, 'associated-key': [...kept, former] };
}

function requireModify(access: AccessControl, authId: string, ...jobs: SyncJob[]): void {
  if (!jobs.every((job) => mayModifySyncJob(access, authId, job))) throw new HttpError(400, 'permission check failed');
}

function checkNew(parts: SyncConfigParts, job: SyncJob): void {
  if (job.remote === undefined && job.store === job['remote-store']) throw new HttpError(400, "source and target datastore can't be the same");
  if (job['sync-direction'] === 'push' && job['resync-corrupt'] !== undefined) throw new HttpError(400, 'push jobs do not support resync-corrupt option');
  if (job['sync-direction'] !== 'push' && job['active-encryption-key'] !== undefined) throw new HttpError(400, "'active-encryption-key' only applies to push sync jobs");
  checkSyncDepth(job);
  checkKeys(parts, job, { active: true, associated: true });
  refuseMutualRemoval(job, parts.jobs.list().records);
}

function refuseBackfillOfPush(job: SyncJob): void {
  if (job['sync-direction'] === 'push') throw new HttpError(400, 'push jobs do not support backfill option: the keep rules of the target are not known here');
}

/** A change must not bring two jobs into each other's way; those that are already may be changed all the same. */
function refuseNewPair(parts: SyncConfigParts, before: SyncJob, after: SyncJob): void {
  const others = parts.jobs.list().records;
  try {
    refuseMutualRemoval(before, others);
  } catch {
    return;
  }
  refuseMutualRemoval(after, others);
}

function checkChange(parts: SyncConfigParts, given: Partial<SyncJob>, before: SyncJob, after: SyncJob): void {
  refuseNewPair(parts, before, after);
  if (given['sync-direction'] === 'push' && given['resync-corrupt'] !== undefined) throw new HttpError(400, 'push jobs do not support resync-corrupt option');
  if (given['unmount-on-done'] === true && after['run-on-mount'] !== true) throw new HttpError(400, "'unmount-on-done' can only be set when 'run-on-mount' is enabled");
  if (after['sync-direction'] !== 'push' && after['active-encryption-key'] !== undefined) throw new HttpError(400, "'active-encryption-key' only applies to push sync jobs");
  checkSyncDepth(after);
  const newOwner = after.owner !== before.owner;
  checkKeys(parts, after, { active: newOwner || given['active-encryption-key'] !== undefined, associated: newOwner || given['associated-key'] !== undefined });
}

/** `/config/sync` (spec sync 2.3). */
export function syncConfigEndpoints(parts: SyncConfigParts): Endpoint[] {
  return [...readEndpoints(parts), ...writeEndpoints(parts)];
}

function readEndpoints({ jobs, access, backfill, bandwidth }: Pick<SyncConfigParts, 'jobs' | 'access' | 'backfill' | 'bandwidth'>): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/config/sync',
      description: 'List sync jobs.',
      parameters: Type.Object({ 'sync-direction': listedDirection }),
      permission: { kind: 'any' },
      returns: Type.Array(syncJobSchema),
      handler: async (given, caller) => {
        const { records, digest } = visibleSyncJobs({ jobs, access }, caller.authId, given['sync-direction']);
        return new Reply(records.map((job) => bandwidth.shown(backfill.shown(job))), { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/config/sync/{id}',
      description: 'Read a sync job.',
      parameters: Type.Object({ id: jobId }),
      permission: { kind: 'any' },
      returns: syncJobSchema,
      handler: async ({ id }, caller) => {
        const job = jobs.get(id);
        if (!maySeeSyncJob(access, caller.authId, job)) throw new HttpError(400, 'permission check failed');
        return new Reply(bandwidth.shown(backfill.shown(job)), { digest: jobs.digest() });
      },
    }),
  ];
}

function writeEndpoints(parts: SyncConfigParts): Endpoint[] {
  const { jobs, access, states, backfill, bandwidth } = parts;
  const section: JobSection<typeof syncJobSchema> = { table: jobs, states, jobType: 'syncjob' };
  return [
    jsonEndpoint({
      method: 'POST',
      path: '/config/sync',
      description: 'Create a sync job.',
      parameters: Type.Object({ ...jobParameters.properties, ...backfillOption, ...bandwidthOption }),
      permission: { kind: 'any' },
      handler: async ({ backfill: fills = false, bandwidth: timetable = '', ...given }, caller) => {
        const job = trimmedComment(normalized(given));
        requireModify(access, caller.authId, job);
        checkNew(parts, job);
        if (fills) refuseBackfillOfPush(job);
        await createJob(section, job);
        await backfill.set(job.id, fills);
        await bandwidth.set(job.id, timetable);
        return null;
      },
    }),
    jsonEndpoint({
      method: 'PUT',
      path: '/config/sync/{id}',
      description: 'Change a sync job.',
      parameters: Type.Object({ id: jobId, ...Type.Partial(Type.Object(changeable)).properties, ...backfillOption, ...bandwidthOption, delete: Type.Optional(deletable(deletableNames)), digest: Type.Optional(configDigest) }),
      permission: { kind: 'any' },
      handler: async ({ id, delete: names, digest, backfill: fills, bandwidth: timetable, ...given }, caller) => {
        const set = normalized(given);
        await updateJob(section, id, {
          changes: { delete: names, set },
          digest,
          amend: withFormerKey,
          check: (before, after) => {
            requireModify(access, caller.authId, before, after);
            checkChange(parts, set, before, after);
            if (fills === true) refuseBackfillOfPush(after);
          },
        });
        if (fills !== undefined) await backfill.set(id, fills);
        if (timetable !== undefined) await bandwidth.set(id, timetable);
        return null;
      },
    }),
    jsonEndpoint({
      method: 'DELETE',
      path: '/config/sync/{id}',
      description: 'Remove a sync job.',
      parameters: Type.Object({ id: jobId, digest: Type.Optional(configDigest) }),
      permission: { kind: 'any' },
      handler: async ({ id, digest }, caller) => {
        await removeJob(section, id, {
          digest,
          check: (job) => requireModify(access, caller.authId, job),
          missing: new HttpError(404, `job '${id}' does not exist.`),
        });
        await backfill.set(id, false);
        await bandwidth.set(id, '');
        await parts.memories.forget(id);
        return null;
      },
    }),
  ];
}
