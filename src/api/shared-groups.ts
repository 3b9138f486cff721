import { ConfigError, errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { SyncJob } from '../config/job-config.ts';
import { listGroups } from '../datastore/groups.ts';
import { listNamespaces } from '../datastore/namespaces.ts';
import { groupText } from '../format/backup-path.ts';
import { isGroupSelected, parseGroupFilter } from '../replication/group-filter.ts';
import { mapNamespaces } from '../replication/namespace-mapping.ts';
import type { Datastores } from './datastores.ts';
import { crossing, type PairedJob } from './sync-pairs.ts';

export interface SharedGroupsParts {
  datastores: Datastores;
  jobs: readonly SyncJob[];
  whereIs: (remote: string) => string;
  log: ProgressLog;
}

/**
 * ConfigError when another push job brings groups of the same names from somewhere else into the same place as `job`: to the target they would be one group,
 * and the newer backup of one machine would bar the older one of another for ever. The sources are here, so this is known before anything is sent.
 */
export async function refuseSharedGroups(job: PairedJob, { datastores, jobs, whereIs, log }: SharedGroupsParts): Promise<void> {
  const others = jobs.filter((other) => other.id !== job.id && other['sync-direction'] === 'push' && crossing(job, other, whereIs));
  if (others.length === 0) return;
  const own = await groupsInTarget(datastores, job);
  for (const other of others) {
    let theirs: Set<string>;
    try {
      theirs = await groupsInTarget(datastores, other);
    } catch (e) {
      log.info(`what sync job '${other.id}' brings to the same place cannot be compared: ${errorChain(e)}`);
      continue;
    }
    const anchor = job['remote-ns'] ?? '';
    const endangered = job['remove-vanished'] === true ? [...theirs].find((place) => anchor !== '' && place.startsWith(`${anchor}/`)) : undefined;
    if (endangered !== undefined) {
      throw new ConfigError('config.sync-pair', `sync job '${other.id}' brings '${endangered}' to a place where this one removes what its own source does not have`, {
        hint: 'choose a target namespace (remote-ns) that the other job does not write to, or switch remove-vanished off',
      });
    }
    const shared = [...own].filter((place) => theirs.has(place));
    if (shared.length === 0) continue;
    const [first] = shared;
    throw new ConfigError('config.sync-pair', `sync job '${other.id}' brings ${shared.length} group(s) of the same names from '${other.store}' to the same place, e.g. '${first}': they would be mixed up`, {
      hint: 'give each job a target namespace of its own (remote-ns), or let group filters choose different groups',
    });
  }
}

/** `ns/type/id` of everything that the job would bring, as it is called in the target. */
async function groupsInTarget(datastores: Datastores, job: PairedJob): Promise<Set<string>> {
  using lease = await datastores.open(job.store, 'read');
  const { store } = lease;
  const filters = (job['group-filter'] ?? []).map((text) => parseGroupFilter(text));
  const namespaces = await listNamespaces(store, { anchor: job.ns ?? '', maxDepth: job['max-depth'] });
  const places = new Set<string>();
  for (const { from, to } of mapNamespaces(namespaces, { sourceNamespace: job.ns ?? '', targetNamespace: job['remote-ns'] ?? '' })) {
    for (const group of await listGroups(store, from)) if (isGroupSelected(group, filters)) places.add(`${to === '' ? '' : `${to}/`}${groupText(group)}`);
  }
  return places;
}
