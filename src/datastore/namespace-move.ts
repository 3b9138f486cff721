import { throwIfAborted } from '../base/async.ts';
import { AbortedError, errorChain, errorCode, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { groupText, joinNamespace, maxNamespaceDepth, namespaceDepth, type BackupGroup } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { moveGroup } from './group-move.ts';
import { listGroups } from './groups.ts';
import { createNamespace, listNamespaces, removeEmptyNamespace } from './namespaces.ts';

export interface NamespaceMove {
  namespace: string;
  /** Its new name; the parent exists. */
  target: string;
  /** Levels below the namespace that go along; absent: all. */
  maxDepth?: number | undefined;
  mergeGroups: boolean;
  /** Remove namespaces that are empty then. */
  deleteSource: boolean;
}

interface Failed {
  namespace: string;
  group: BackupGroup;
  isLocked: boolean;
}

function failedText({ group, namespace }: Pick<Failed, 'group' | 'namespace'>): string {
  return `'${groupText(group)}' in '${namespace}'`;
}

/**
 * Moves what is in a namespace and below to another name (spec formats 4.8): namespaces are made, groups moved one by one, emptied namespaces removed. A group that cannot be moved stays where it is; what is in use is tried
 * again once at the end. StoreError `store.namespace-depth`, `store.move` with the groups that stayed, AbortedError between two groups.
 */
export async function moveNamespace(store: Datastore, move: NamespaceMove, log: ProgressLog, signal?: AbortSignal): Promise<void> {
  const { namespace, target } = move;
  const levels = await listNamespaces(store, { anchor: namespace, maxDepth: move.maxDepth });
  const depth = Math.max(...levels.map(namespaceDepth)) - namespaceDepth(namespace);
  if (depth + namespaceDepth(target) > maxNamespaceDepth) {
    throw new StoreError('store.namespace-depth', `namespace depth limit exceeded: source subtree depth (${depth}) + target depth (${namespaceDepth(target)}) would exceed max (${maxNamespaceDepth})`);
  }
  log.info(`moving namespace '${namespace}' -> '${target}': ${levels.length} namespace(s)`);
  const run = new NamespaceMoveRun(store, move, log, signal);
  for (const level of levels) await createNamespace(store, run.newName(level));
  const waiting: Failed[] = [];
  for (const level of levels) {
    for (const group of await listGroups(store, level)) waiting.push({ namespace: level, group, isLocked: false });
  }
  const deferred = await run.moveAll(waiting, true);
  if (deferred.length > 0) log.info(`retrying ${deferred.length} deferred group(s)...`);
  await run.moveAll(deferred, false);
  if (move.deleteSource) await run.removeEmptied(levels);
  run.finish();
}

class NamespaceMoveRun {
  readonly #store: Datastore;
  readonly #move: NamespaceMove;
  readonly #log: ProgressLog;
  readonly #signal: AbortSignal | undefined;
  readonly #failed: Failed[] = [];
  #moved = 0;

  constructor(store: Datastore, move: NamespaceMove, log: ProgressLog, signal: AbortSignal | undefined) {
    this.#store = store;
    this.#move = move;
    this.#log = log;
    this.#signal = signal;
  }

  newName(level: string): string {
    const { namespace, target } = this.#move;
    return level === namespace ? target : joinNamespace(target, level.slice(namespace.length + 1));
  }

  /** Those that are in use and are to be tried again. */
  async moveAll(groups: readonly Failed[], mayDefer: boolean): Promise<Failed[]> {
    const deferred: Failed[] = [];
    for (const one of groups) {
      throwIfAborted(this.#signal);
      const { namespace, group } = one;
      try {
        await moveGroup(this.#store, { namespace, group, target: this.newName(namespace), merge: this.#move.mergeGroups }, this.#log);
        this.#moved += 1;
        this.#log.info(`moved group ${this.#moved} (${failedText(one)})`);
      } catch (e) {
        if (e instanceof AbortedError) throw e;
        const isLocked = errorCode(e) === 'store.locked';
        if (isLocked && mayDefer) {
          deferred.push(one);
          this.#log.info(`deferring group ${failedText(one)} - lock conflict, will retry: ${errorChain(e)}`);
          continue;
        }
        this.#failed.push({ ...one, isLocked });
        this.#log.warn(`failed to move group ${failedText(one)}: ${errorChain(e)}`);
      }
    }
    return deferred;
  }

  /** Deepest first; what holds something stays. */
  async removeEmptied(levels: readonly string[]): Promise<void> {
    for (const level of levels.toReversed()) {
      if (this.#failed.some(({ namespace }) => namespace === level)) this.#log.info(`skipping source namespace '${level}' cleanup: contains group(s) that failed to move`);
      else await removeEmptyNamespace(this.#store, level);
    }
  }

  finish(): void {
    if (this.#failed.length === 0) return;
    const part = (groups: readonly Failed[], what: string): string => (groups.length === 0 ? '' : `; ${groups.length} with ${what}: ${groups.map(failedText).join(', ')}`);
    const fatal = part(this.#failed.filter(({ isLocked }) => !isLocked), 'a fatal error (investigate before retrying)');
    const locked = part(this.#failed.filter(({ isLocked }) => isLocked), 'a lock conflict (try again later)');
    throw new StoreError('store.move', `namespace move partially completed; ${this.#failed.length} group(s) could not be moved and remain at source${fatal}${locked}`);
  }
}
