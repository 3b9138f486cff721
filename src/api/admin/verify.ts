import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath } from '../../access/datastore-access.ts';
import { missingSection } from '../../config/missing-section.ts';
import type { VerifyJobTable } from '../../config/job-config.ts';
import { datastoreName, jobId } from '../../config/schemas.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { jobStatus } from '../../schedule/job-state.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { parameterObject } from '../parameter-object.ts';
import type { VerifyRuns } from '../verify-runs.ts';

export interface VerifyJobListParts {
  jobs: VerifyJobTable;
  states: JobStates;
  access: AccessControl;
  verifications: VerifyRuns;
}

/** Verify jobs with how they went, and starting one by hand (spec rest-api 10.3, retention 6.6). */
export function adminVerifyEndpoints({ jobs, states, access, verifications }: VerifyJobListParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/verify',
      description: 'List all verification jobs',
      parameters: parameterObject({ store: Type.Optional(datastoreName) }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const { records, digest } = jobs.list();
        const shown = records.filter(
          (job) => (p.store === undefined || job.store === p.store) && access.check(authId, namespaceAclPath(job.store, job.ns ?? ''), ['Datastore.Audit', 'Datastore.Verify'], { partial: true }),
        );
        const items = shown.map(async (job) => ({ ...job, ...jobStatus(await states.load({ jobType: 'verificationjob', id: job.id }), job.schedule) }));
        return new Reply(await Promise.all(items), { digest });
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path: '/admin/verify/{id}/run',
      description: 'Runs a verification job manually.',
      parameters: parameterObject({ id: jobId }),
      permission: { kind: 'any' },
      handler: (p, { authId }) => {
        const job = jobs.find(p.id);
        if (job === undefined) throw missingSection('verification', p.id);
        access.require(authId, namespaceAclPath(job.store, job.ns ?? ''), ['Datastore.Verify']);
        return verifications.runJob(p.id, authId);
      },
    }),
  ];
}
