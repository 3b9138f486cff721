import { throwIfAborted } from '../base/async.ts';
import { errorChain, toError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { groupText, snapshotPath, snapshotText, type BackupGroup, type BackupType } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { depthText, storeAndNamespaceText, walkGroups, type WalkOptions } from './group-walk.ts';
import { groupExists, noSuchGroup } from './groups.ts';
import { requireNamespace } from './namespaces.ts';
import { keepOptionsText, keepsAnything, selectForPrune, type KeepOptions, type PruneDecision } from './prune.ts';
import { removeSnapshot } from './removal.ts';
import { listSnapshots, type SnapshotEntry } from './snapshots.ts';
import { quotedPath } from './store-error.ts';

export interface PruneRunOptions {
  keep: KeepOptions;
  /** IANA name of the server's time zone: periods are local. */
  timeZone: string;
  dryRun?: boolean;
  log: ProgressLog;
  /** Looked at before each snapshot (spec retention 12.13). */
  signal?: AbortSignal | undefined;
}

/** One snapshot in the reply of a group prune (spec retention 3.1). */
export interface PruneResultItem {
  'backup-type': BackupType;
  'backup-id': string;
  'backup-time': number;
  /** What was decided, not whether the removal succeeded. */
  keep: boolean;
  protected: boolean;
  /** Only of a dry run outside the root namespace. */
  ns?: string;
}

const datastoreMarks = { keep: 'keep', 'keep-partial': 'keep partial', protected: 'keep protected', remove: 'remove' } as const;

async function decide(store: Datastore, namespace: string, group: BackupGroup, options: PruneRunOptions): Promise<Array<PruneDecision<SnapshotEntry>>> {
  return selectForPrune(await listSnapshots(store, namespace, group), options.keep, options.timeZone);
}

/**
 * Prunes one group, oldest snapshot first, and returns what was decided in that order (spec retention 3.1, log lines 11.2). A dry run writes no
 * log. Snapshots that cannot be removed, since they are in use or protected meanwhile, are warnings. Throws StoreError
 * `store.namespace-missing`, `store.no-such-group`; ConfigError for keep options below 1; AbortedError.
 */
export async function pruneGroup(store: Datastore, namespace: string, group: BackupGroup, options: PruneRunOptions): Promise<PruneResultItem[]> {
  await requireNamespace(store, namespace);
  if (!(await groupExists(store, namespace, group))) throw noSuchGroup(store, namespace, group);
  const decisions = await decide(store, namespace, group, options);
  if (options.dryRun !== true) {
    const { log } = options;
    if (keepsAnything(options.keep)) {
      log.info(`retention options: ${optionsText(namespace, undefined, options.keep)}`);
      log.info(`Starting prune on ${storeAndNamespaceText(store, namespace)} group "${groupText(group)}"`);
    } else {
      log.info('No prune selection - keeping all files.');
    }
    for (const decision of decisions) {
      throwIfAborted(options.signal);
      log.info(`${snapshotText(decision.snapshot)} ${decision.keep && decision.mark === 'remove' ? 'keep' : decision.mark}`);
      if (!decision.keep) await removeLogged(store, namespace, decision.snapshot, log, errorChain);
    }
  }
  return decisions.map(({ snapshot, mark, keep }) => ({
    'backup-type': snapshot.type,
    'backup-id': snapshot.id,
    'backup-time': snapshot.time,
    keep,
    protected: mark === 'protected',
    ...(options.dryRun === true && namespace !== '' ? { ns: namespace } : {}),
  }));
}

/**
 * Prunes every group of a datastore or namespace that the walk reaches (spec retention 3.2, log lines 11.3). Snapshots that cannot be removed are
 * warnings; what cannot be listed ends the run with its error.
 */
export async function pruneNamespaces(store: Datastore, walk: WalkOptions, options: PruneRunOptions): Promise<void> {
  const { log } = options;
  const start = walk.namespace ?? '';
  log.info(`Starting datastore prune on ${storeAndNamespaceText(store, start)}, ${depthText(walk.maxDepth)}`);
  if (options.dryRun === true) log.info('(dry test run)');
  if (keepsAnything(options.keep)) log.info(`retention options: ${optionsText(start, walk.maxDepth, options.keep)}`);
  else log.warn('No prune selection - keeping all files.');
  for await (const item of walkGroups(store, walk)) {
    throwIfAborted(options.signal);
    if ('error' in item) throw item.error;
    const { namespace, group } = item;
    log.info(`Pruning group ${namespace}:"${groupText(group)}"`);
    for (const { snapshot, mark, keep } of await decide(store, namespace, group, options)) {
      throwIfAborted(options.signal);
      const shown = datastoreMarks[keep && mark === 'remove' ? 'keep' : mark];
      log.info(`${options.dryRun === true ? 'would ' : ''}${shown} ${snapshotText(snapshot)}`);
      if (!keep && options.dryRun !== true) await removeLogged(store, namespace, snapshot, log, (e) => toError(e).message);
    }
  }
}

async function removeLogged(store: Datastore, namespace: string, snapshot: SnapshotEntry, log: ProgressLog, text: (e: unknown) => string): Promise<void> {
  log.info(`removing backup snapshot ${quotedPath(store.snapshotPath(namespace, snapshot))}`);
  try {
    await removeSnapshot(store, namespace, snapshot);
  } catch (e) {
    log.warn(`failed to remove dir ${quotedPath(snapshotPath(namespace, snapshot))}: ${text(e)}`);
  }
}

function optionsText(namespace: string, maxDepth: number | undefined, keep: KeepOptions): string {
  return [...(namespace === '' ? [] : [`--ns ${namespace}`]), ...(maxDepth === undefined ? [] : [`--max-depth ${maxDepth}`]), keepOptionsText(keep)].join(' ');
}
