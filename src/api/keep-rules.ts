import type { PruneJob } from '../config/job-config.ts';
import { selectForPrune } from '../datastore/prune.ts';
import { isNamespaceWithin } from '../format/backup-path.ts';
import type { KeptTimes } from '../replication/plan.ts';
import { keepOptionsOf } from './prune-runs.ts';

/**
 * What the enabled prune jobs that cover a namespace would leave of a group (spec retention 2, 3.3). Several jobs work on what the others left, until
 * nothing goes any more. Without any job everything is kept. `timeZone`: IANA name, as the prunes use it.
 */
export function keptByJobs(jobs: readonly PruneJob[], store: string, namespace: string, timeZone: string): KeptTimes {
  const covering = jobs.filter((job) => job.store === store && job.disable !== true && isNamespaceWithin(namespace, job.ns ?? '', job['max-depth']));
  return (candidates) => {
    let left = [...candidates];
    for (let before = -1; before !== left.length; ) {
      before = left.length;
      for (const job of covering) left = selectForPrune(left, keepOptionsOf(job), timeZone).filter(({ keep }) => keep).map(({ snapshot }) => snapshot);
    }
    return new Set(left.map(({ time }) => time));
  };
}
