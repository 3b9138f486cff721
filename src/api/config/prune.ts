import type { PruneJobTable } from '../../config/job-config.ts';
import type { Endpoint } from '../endpoint.ts';
import { datastoreJobEndpoints, type DatastoreJobParts } from './datastore-job.ts';

/** `/config/prune` (spec rest-api 9.5, 10.3, 11.2). */
export function pruneConfigEndpoints(parts: DatastoreJobParts & { jobs: PruneJobTable }): Endpoint[] {
  return datastoreJobEndpoints(
    {
      path: '/config/prune',
      noun: 'prune job',
      jobType: 'prunejob',
      table: parts.jobs,
      deletable: ['comment', 'disable', 'ns', 'max-depth', 'keep-last', 'keep-hourly', 'keep-daily', 'keep-weekly', 'keep-monthly', 'keep-yearly'],
      list: ['Datastore.Audit', 'Datastore.Modify'],
      read: ['Datastore.Audit'],
      change: 'Datastore.Modify',
      keepComment: true,
    },
    parts,
  );
}
