import type { VerifyJobTable } from '../../config/job-config.ts';
import type { Endpoint } from '../endpoint.ts';
import { datastoreJobEndpoints, type DatastoreJobParts } from './datastore-job.ts';

/** `/config/verify` (spec rest-api 9.6, 10.3, 11.2). */
export function verifyConfigEndpoints(parts: DatastoreJobParts & { jobs: VerifyJobTable }): Endpoint[] {
  return datastoreJobEndpoints(
    {
      path: '/config/verify',
      noun: 'verify job',
      jobType: 'verificationjob',
      table: parts.jobs,
      deletable: ['ignore-verified', 'comment', 'schedule', 'outdated-after', 'ns', 'max-depth', 'read-threads', 'verify-threads'],
      list: ['Datastore.Audit', 'Datastore.Verify'],
      read: ['Datastore.Audit', 'Datastore.Verify'],
      change: 'Datastore.Verify',
      keepComment: false,
    },
    parts,
  );
}
