import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { HttpError } from '../../base/errors.ts';
import { syncJobSchema, type SyncJobTable } from '../../config/job-config.ts';
import { datastoreName, jobId } from '../../config/schemas.ts';
import { jobStatus } from '../../schedule/job-state.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { listedDirection, visibleSyncJobs } from '../config/sync.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { mayModifySyncJob } from '../sync-permissions.ts';

export interface SyncAdminParts {
  jobs: SyncJobTable;
  access: AccessControl;
  states: JobStates;
  /** Starts a job as a task of `authId`; the UPID. */
  runSyncJob: (id: string, authId: string) => Promise<string>;
}

const listed = Type.Object({
  ...syncJobSchema.properties,
  'last-run-endtime': Type.Optional(Type.Integer()),
  'last-run-state': Type.Optional(Type.String()),
  'last-run-upid': Type.Optional(Type.String()),
  'next-run': Type.Optional(Type.Integer()),
});

/** `/admin/sync`: sync jobs with how they stand, and their manual start (spec rest-api 10.3, sync 2.3). */
export function syncAdminEndpoints({ jobs, access, states, runSyncJob }: SyncAdminParts): Endpoint[] {
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
      method: 'POST',
      path: '/admin/sync/{id}/run',
      description: 'Run a sync job now.',
      parameters: Type.Object({ id: jobId }),
      permission: { kind: 'any' },
      returns: Type.String(),
      handler: async ({ id }, caller) => {
        if (!mayModifySyncJob(access, caller.authId, jobs.get(id))) throw new HttpError(400, `permission check failed, '${caller.authId}' is missing access`);
        return runSyncJob(id, caller.authId);
      },
    }),
  ];
}
