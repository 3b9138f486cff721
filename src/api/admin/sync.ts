import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import { syncJobSchema, type SyncJobTable } from '../../config/job-config.ts';
import { byteSize, datastoreName, flag, jobId, wholeNumber } from '../../config/schemas.ts';
import { parseHumanByte } from '../../format/human-byte.ts';
import { jobStatus } from '../../schedule/job-state.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { listedDirection, visibleSyncJobs } from '../config/sync.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { mayModifySyncJob } from '../sync-permissions.ts';
import type { SyncPlanReply } from '../sync-plan-reply.ts';
import type { SyncPlanOptions } from '../sync-plans.ts';

export interface SyncAdminParts {
  jobs: SyncJobTable;
  access: AccessControl;
  states: JobStates;
  /** Starts a job as a task of `authId`; the UPID. */
  runSyncJob: (id: string, authId: string) => Promise<string>;
  /** What the job's datastore held when it was taken over was made by this `remote/store`. */
  claimAdopted: (id: string, named: string) => Promise<void>;
  /** What a run would do now. */
  planSyncJob: (id: string, options: SyncPlanOptions) => Promise<SyncPlanReply>;
}

export const adoptedFrom = Type.String({
  pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]*/[A-Za-z0-9_][A-Za-z0-9._-]*$',
  maxLength: 80,
  typetext: '<remote>/<store>',
  description: 'What the datastore held when it was created with reuse-datastore came from there: it counts as delivered after a check of each chunk, and is not fetched again.',
});

const listed = Type.Object({
  ...syncJobSchema.properties,
  'last-run-endtime': Type.Optional(Type.Integer()),
  'last-run-state': Type.Optional(Type.String()),
  'last-run-upid': Type.Optional(Type.String()),
  'next-run': Type.Optional(Type.Integer()),
});

/** `/admin/sync`: sync jobs with how they stand, and their manual start (spec rest-api 10.3, sync 2.3). */
export function syncAdminEndpoints({ jobs, access, states, runSyncJob, planSyncJob, claimAdopted }: SyncAdminParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/sync',
      description: 'List sync jobs with their last and next run.',
      parameters: Type.Object({ store: Type.Optional(datastoreName), 'sync-direction': listedDirection }),
      permission: { kind: 'any' },
      returns: Type.Array(listed),
      handler: async (given, caller) => {
        const { records, digest } = visibleSyncJobs({ jobs, access }, caller.authId, given['sync-direction']);
        const wanted = records.filter((job) => given.store === undefined || job.store === given.store);
        const items = await Promise.all(wanted.map(async (job) => ({ ...job, ...jobStatus(await states.load({ jobType: 'syncjob', id: job.id }), job.schedule) })));
        return new Reply(items, { digest });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/admin/sync/{id}/plan',
      description: 'What a sync job would do now, group by group. Moves and changes nothing.',
      parameters: Type.Object({
        id: jobId,
        quick: Type.Optional(flag('Ask only for listings: sizes are those of whole snapshots, an upper bound.', { default: false })),
        rate: Type.Optional(byteSize('Bytes a second to reckon with; by default the rate-in of the job, or what its last run measured.')),
        window: Type.Optional(wholeNumber("Hours of a day in which the job shall fit.", { minimum: 1, maximum: 24, default: 8 })),
      }),
      permission: { kind: 'any' },
      handler: async ({ id, quick = false, rate, window = 8 }, caller) => {
        if (!mayModifySyncJob(access, caller.authId, jobs.get(id))) throw new HttpError(400, `permission check failed, '${caller.authId}' is missing access`);
        return planSyncJob(id, { quick, rate: rate === undefined ? undefined : parseHumanByte(rate), windowHours: window });
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path: '/admin/sync/{id}/run',
      description: 'Run a sync job now.',
      parameters: Type.Object({ id: jobId, 'adopted-from': Type.Optional(adoptedFrom) }),
      permission: { kind: 'any' },
      returns: Type.String(),
      handler: async ({ id, 'adopted-from': named }, caller) => {
        if (!mayModifySyncJob(access, caller.authId, jobs.get(id))) throw new HttpError(400, `permission check failed, '${caller.authId}' is missing access`);
        if (named !== undefined) {
          access.require(caller.authId, `/datastore/${jobs.get(id).store}`, ['Datastore.Modify']);
          await claimAdopted(id, named);
        }
        return runSyncJob(id, caller.authId);
      },
    }),
  ];
}
