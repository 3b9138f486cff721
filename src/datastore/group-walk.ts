import { maxNamespaceDepth, type BackupGroup } from '../format/backup-path.ts';
import type { Datastore } from './datastore.ts';
import { listGroups, readOwner } from './groups.ts';
import { listNamespaces } from './namespaces.ts';

/** What a caller may touch in a namespace: all groups, none, or those whose owner the function accepts. */
export type GroupAccess = 'all' | 'none' | ((owner: string) => boolean);

export interface WalkOptions {
  /** Where to start; root by default. */
  namespace?: string;
  /** Levels below it; 0 = only the start, absent = all. */
  maxDepth?: number | undefined;
  /** Asked once per namespace; absent = all groups. */
  access?: ((namespace: string) => GroupAccess) | undefined;
}

export type WalkItem = { namespace: string; group: BackupGroup } | { namespace: string; error: unknown };

/**
 * The groups that a caller may touch (spec retention 1.2): namespaces depth-first, a parent before its children, groups in display order. What
 * cannot be read is handed over as an error in place of the groups that it hides; the walk goes on.
 */
export async function* walkGroups(store: Datastore, options: WalkOptions): AsyncGenerator<WalkItem, void> {
  const start = options.namespace ?? '';
  let namespaces: string[];
  try {
    namespaces = await listNamespaces(store, { anchor: start, maxDepth: options.maxDepth });
  } catch (error) {
    yield { namespace: start, error };
    return;
  }
  for (const namespace of namespaces) {
    const access = options.access?.(namespace) ?? 'all';
    if (access === 'none') continue;
    try {
      for (const group of await listGroups(store, namespace)) {
        if (access === 'all' || access(await readOwner(store, namespace, group))) yield { namespace, group };
      }
    } catch (error) {
      yield { namespace, error };
    }
  }
}

/** How far a walk goes down, as logs say it. */
export function depthText(maxDepth: number | undefined): string {
  if (maxDepth === undefined || maxDepth >= maxNamespaceDepth) return 'down to full depth';
  return maxDepth === 0 ? 'non-recursive' : `to depth ${maxDepth}`;
}

/** `datastore 'main', root namespace` (spec retention 11.1). */
export function storeAndNamespaceText(store: Datastore, namespace: string): string {
  return namespace === '' ? `datastore '${store.name}', root namespace` : `datastore '${store.name}', namespace '${namespace}'`;
}
