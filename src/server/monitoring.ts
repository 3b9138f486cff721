import type { AccessControl } from '../access/access-control.ts';
import { apiPages } from '../api/api-pages.ts';
import type { Datastores } from '../api/datastores.ts';
import type { Gatekeeping } from '../api/gatekeeping.ts';
import { DatastoreMetrics } from '../api/monitoring/datastore-metrics.ts';
import { jobMetrics } from '../api/monitoring/job-metrics.ts';
import { monitoringPages } from '../api/monitoring/pages.ts';
import { repositoryId } from '../api/version.ts';
import type { Clock } from '../base/clock.ts';
import { errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { DatastoreTable } from '../config/datastore-config.ts';
import type { SyncJobTable } from '../config/job-config.ts';
import type { FreshnessWatch } from '../freshness/watch.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import type { JobStates } from '../schedule/job-states.ts';
import type { WorkerTasks } from '../schedule/worker-tasks.ts';

export interface MonitoringParts {
  gatekeeping: Gatekeeping;
  access: AccessControl;
  datastores: Datastores;
  tables: { datastores: DatastoreTable; syncJobs: SyncJobTable };
  states: JobStates;
  memories: JobMemories;
  tasks: WorkerTasks;
  freshness: FreshnessWatch;
  clock: Clock;
  log: ProgressLog;
  programVersion: string;
  unauthorizedMs: number;
  /** For the pages that describe the API. */
  openApi: () => object;
}

/** All pages outside the API: `/metrics`, `/healthz`, and those that describe the API. */
export function composePages(parts: MonitoringParts): ReturnType<typeof apiPages> {
  const { gatekeeping, access, tables, freshness, log } = parts;
  const content = new DatastoreMetrics(parts);
  return monitoringPages(
    {
      authenticate: (request) => gatekeeping.authenticateScraper(request),
      access,
      metricsOf: async (authId) => [...(await content.of(authId)), ...(await jobMetrics({ ...parts, jobs: tables.syncJobs }, authId))],
      isHealthy: () => {
        try {
          // Without its configuration the server refuses everything.
          tables.datastores.list();
          return freshness.isAlive;
        } catch (e) {
          log.error(`not healthy: ${errorChain(e)}`);
          return false;
        }
      },
      repositoryId: repositoryId(parts.programVersion),
      unauthorizedMs: parts.unauthorizedMs,
    },
    apiPages(parts.openApi),
  );
}
