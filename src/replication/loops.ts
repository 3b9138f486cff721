import { Type, type Static } from 'typebox';
import { FarshoreError } from '../base/errors.ts';
import { isNamespaceWithin } from '../format/backup-path.ts';

/** More edges than any real chain of copies has; what a peer says beyond it is refused. */
export const maxEdges = 256;

const instance = Type.String({ pattern: '^[0-9a-f]{32}$' });
const store = Type.String({ minLength: 1, maxLength: 64 });
const ns = Type.String({ maxLength: 256 });

export const edgeSchema = Type.Object({
  'from-instance': instance,
  'from-store': store,
  'from-ns': ns,
  'to-instance': instance,
  'to-store': store,
  'to-ns': ns,
  /** Levels below both namespaces; absent = all. */
  'max-depth': Type.Optional(Type.Integer({ minimum: 0, maximum: 7 })),
  /** Only some groups take this way. */
  filtered: Type.Optional(Type.Boolean()),
});

/** Some sync job copies one part of a datastore to another. Instances are installations (config/instance-id.ts). */
export type ReplicationEdge = Static<typeof edgeSchema>;

interface Region {
  instance: string;
  store: string;
  ns: string;
  depth: number | undefined;
}

function source(edge: ReplicationEdge): Region {
  return { instance: edge['from-instance'], store: edge['from-store'], ns: edge['from-ns'], depth: edge['max-depth'] };
}

function destination(edge: ReplicationEdge): Region {
  return { instance: edge['to-instance'], store: edge['to-store'], ns: edge['to-ns'], depth: edge['max-depth'] };
}

function overlap(a: Region, b: Region): boolean {
  return a.instance === b.instance && a.store === b.store && (isNamespaceWithin(a.ns, b.ns, b.depth) || isNamespaceWithin(b.ns, a.ns, a.depth));
}

function isSame(a: ReplicationEdge, b: ReplicationEdge): boolean {
  const start = source(a);
  const end = destination(a);
  return JSON.stringify([start.instance, start.store, start.ns, end.instance, end.store, end.ns]) === JSON.stringify([source(b).instance, source(b).store, source(b).ns, destination(b).instance, destination(b).store, destination(b).ns]);
}

/** The edges over which what `own` writes comes back to where `own` reads: the shortest such way, or null. */
export function findLoop(own: ReplicationEdge, known: readonly ReplicationEdge[]): ReplicationEdge[] | null {
  const others = known.filter((edge) => !isSame(edge, own));
  const reached = new Set<ReplicationEdge>();
  let ways: ReplicationEdge[][] = [[]];
  while (ways.length > 0) {
    const next: ReplicationEdge[][] = [];
    for (const way of ways) {
      const at = destination(way.at(-1) ?? own);
      if (overlap(at, source(own))) return way;
      for (const edge of others) {
        if (reached.has(edge) || !overlap(at, source(edge))) continue;
        reached.add(edge);
        next.push([...way, edge]);
      }
    }
    ways = next;
  }
  return null;
}

/** `in`: what gets into a datastore; `out`: what goes from there. */
export type EdgeDirection = 'in' | 'out';

/**
 * Edges over which anything gets into a datastore, or leaves it, directly or over others: what a peer has to know who copies from it, or pushes into it.
 */
export function edgesOf(instanceId: string, storeName: string, direction: EdgeDirection, known: readonly ReplicationEdge[]): ReplicationEdge[] {
  const [near, far] = direction === 'in' ? [destination, source] : [source, destination];
  const found = new Set<ReplicationEdge>();
  let targets: Array<(edge: ReplicationEdge) => boolean> = [(edge) => near(edge).instance === instanceId && near(edge).store === storeName];
  while (targets.length > 0) {
    const next: typeof targets = [];
    for (const edge of known) {
      if (found.has(edge) || !targets.some((isTarget) => isTarget(edge))) continue;
      found.add(edge);
      next.push((other) => overlap(near(other), far(edge)));
    }
    targets = next;
  }
  return [...found].slice(0, maxEdges);
}

/** `this` for `ownInstance`. */
function place(region: Region, ownInstance: string): string {
  const path = region.ns === '' ? region.store : `${region.store}/${region.ns}`;
  return region.instance === ownInstance ? path : `${path} on server ${region.instance.slice(0, 8)}`;
}

/** The error for a loop that `findLoop` found. */
export function loopError(own: ReplicationEdge, way: readonly ReplicationEdge[], ownInstance: string): FarshoreError {
  const stations = [source(own), destination(own), ...way.map((edge) => destination(edge))].map((region) => place(region, ownInstance));
  return new FarshoreError('sync.loop', `the copies would go in a circle: ${stations.join(' → ')}`, {
    hint: 'remove one of these sync jobs, or let them work on different namespaces; to copy back once after a loss use `farshore pull`, which only warns',
  });
}
