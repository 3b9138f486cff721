import { ConfigError } from '../base/errors.ts';
import type { SyncJob } from '../config/job-config.ts';
import { isNamespaceWithin, joinNamespace, maxNamespaceDepth } from '../format/backup-path.ts';

/** A sync job, or what an ad-hoc pull or push would be as one. */
export type PairedJob = Omit<SyncJob, 'id'> & { id?: string | undefined };

interface Way {
  /** A datastore, wherever it is. */
  source: string;
  sourceNs: string;
  target: string;
  targetNs: string;
  depth: number;
}

/** `whereIs`: what two remote entries that lead to the same server have in common. */
function wayOf(job: PairedJob, whereIs: (remote: string) => string): Way {
  const far = job.remote === undefined ? `local/${job['remote-store']}` : `${whereIs(job.remote)}/${job['remote-store']}`;
  const near = `local/${job.store}`;
  const depth = job['max-depth'] ?? maxNamespaceDepth;
  const [nearNs, farNs] = [job.ns ?? '', job['remote-ns'] ?? ''];
  return job['sync-direction'] === 'push'
    ? { source: near, sourceNs: nearNs, target: far, targetNs: farNs, depth }
    : { source: far, sourceNs: farNs, target: near, targetNs: nearNs, depth };
}

/** The anchor of the part of the target that both write; null when there is none. */
function commonAnchor(a: Way, b: Way): string | null {
  if (a.target !== b.target) return null;
  if (isNamespaceWithin(a.targetNs, b.targetNs, b.depth)) return a.targetNs;
  return isNamespaceWithin(b.targetNs, a.targetNs, a.depth) ? b.targetNs : null;
}

function sourceOf(way: Way, targetNamespace: string): string {
  const below = way.targetNs === '' ? targetNamespace : targetNamespace.slice(way.targetNs.length + 1);
  return `${way.source}:${joinNamespace(way.sourceNs, below)}`;
}

/** True when the two bring different things to one place, so that each may meet the other's groups there. */
export function crossing(job: PairedJob, other: PairedJob, whereIs: (remote: string) => string): boolean {
  const [own, theirs] = [wayOf(job, whereIs), wayOf(other, whereIs)];
  const anchor = commonAnchor(own, theirs);
  return anchor !== null && sourceOf(own, anchor) !== sourceOf(theirs, anchor);
}

/** Whether `remover`, which removes what its source does not have, would remove what `other` brings. */
function wouldRemove(remover: PairedJob, other: PairedJob): boolean {
  if (remover['remove-vanished'] !== true) return false;
  // Below the other's anchor: whether the other brings anything there depends on its source (shared-groups.ts looks).
  if (anchorOf(remover) !== anchorOf(other) && isNamespaceWithin(anchorOf(remover), anchorOf(other))) return false;
  // Filters and owners protect groups, but a namespace that has vanished goes with everything in it.
  if (remover['max-depth'] !== 0) return true;
  const isPull = remover['sync-direction'] !== 'push';
  if (isPull && (remover.owner ?? 'root@pam') !== (other.owner ?? 'root@pam')) return false;
  return !areDisjoint(remover['group-filter'] ?? [], other['group-filter'] ?? []);
}

function anchorOf(job: PairedJob): string {
  return (job['sync-direction'] === 'push' ? job['remote-ns'] : job.ns) ?? '';
}

/** True only when no group can pass both: filters by type and by group, which can be compared. */
function areDisjoint(one: readonly string[], another: readonly string[]): boolean {
  const includes = (filters: readonly string[]): string[] => filters.filter((text) => !text.startsWith('exclude:')).map((text) => text.replace(/^include:/, ''));
  const [a, b] = [includes(one), includes(another)];
  if (a.length === 0 || b.length === 0 || [...a, ...b].some((text) => !/^(?:type|group):/.test(text))) return false;
  const parts = (text: string): { type: string; id: string | null } => {
    const [kind, value = ''] = text.split(':', 2);
    const [type = '', id = null] = value.split('/', 2);
    return kind === 'type' ? { type: value, id: null } : { type, id };
  };
  return a.every((left) => b.every((right) => {
    const [l, r] = [parts(left), parts(right)];
    return l.type !== r.type || (l.id !== null && r.id !== null && l.id !== r.id);
  }));
}

/**
 * ConfigError when `job` and one of `others` bring different backups into one place, and one of them removes what its source does not have: it would remove
 * what the other has brought. The reference takes such a pair (docs/compatibility.md). `running`: only what `job` itself would remove counts.
 */
export function refuseMutualRemoval(job: PairedJob, others: readonly SyncJob[], { whereIs = (remote) => remote, running = false }: { whereIs?: (remote: string) => string; running?: boolean } = {}): void {
  const direction = job['sync-direction'] ?? 'pull';
  for (const other of others) {
    if (other.id === job.id || (other['sync-direction'] ?? 'pull') !== direction || !crossing(job, other, whereIs)) continue;
    if (!wouldRemove(job, other) && (running || !wouldRemove(other, job))) continue;
    const [remover, victim] = wouldRemove(job, other) ? [job, other] : [other, job];
    const called = (one: PairedJob): string => (one.id === undefined ? `this ${direction}` : `sync job '${one.id}'`);
    throw new ConfigError('config.sync-pair', `${called(remover)} has remove-vanished and would remove what ${called(victim)} brings to the same place from somewhere else`, {
      hint: `give each a target namespace of its own${direction === 'push' ? ' (remote-ns)' : ' (ns)'}, or switch remove-vanished off`,
    });
  }
}
