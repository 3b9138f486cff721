import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { namespaceAclPath } from '../../access/datastore-access.ts';
import { missingSection } from '../../config/missing-section.ts';
import type { PruneJobTable } from '../../config/job-config.ts';
import { datastoreName, flag, jobId } from '../../config/schemas.ts';
import type { JobStates } from '../../schedule/job-states.ts';
import { jobStatus } from '../../schedule/job-state.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import { parameterObject } from '../parameter-object.ts';
import type { PruneRuns } from '../prune-runs.ts';

export interface PruneJobListParts {
  jobs: PruneJobTable;
  states: JobStates;
  access: AccessControl;
  prunes: PruneRuns;
}

/** Prune jobs with how they went, and starting one by hand (spec rest-api 10.3, retention 3.3). */
export function adminPruneEndpoints({ jobs, states, access, prunes }: PruneJobListParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/prune',
      description: 'List all prune jobs',
      parameters: parameterObject({ store: Type.Optional(datastoreName) }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const { records, digest } = jobs.list();
        const shown = records.filter(
          (job) => (p.store === undefined || job.store === p.store) && access.check(authId, namespaceAclPath(job.store, job.ns ?? ''), ['Datastore.Audit', 'Datastore.Modify'], { partial: true }),
        );
        const items = shown.map(async (job) => ({ ...job, ...jobStatus(await states.load({ jobType: 'prunejob', id: job.id }), job.disable === true ? undefined : job.schedule) }));
        return new Reply(await Promise.all(items), { digest });
      },
    }),
    jsonEndpoint({
      method: 'POST',
      path: '/admin/prune/{id}/run',
      description: 'Runs a prune job manually.',
      parameters: parameterObject({ id: jobId, 'dry-run': Type.Optional(flag('Say what would be removed, and remove nothing.', { default: false })) }),
      permission: { kind: 'any' },
      handler: (p, { authId }) => {
        const job = jobs.find(p.id);
        if (job === undefined) throw missingSection('prune', p.id);
        access.require(authId, namespaceAclPath(job.store, job.ns ?? ''), ['Datastore.Modify']);
        return prunes.runJob(p.id, authId, { dryRun: p['dry-run'] ?? false });
      },
    }),
  ];
}
