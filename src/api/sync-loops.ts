import { HttpError, NetworkError, errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { SyncJob, SyncJobTable } from '../config/job-config.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import { edgesOf, findLoop, loopError, type EdgeDirection, type ReplicationEdge } from '../replication/loops.ts';
import type { Peer } from '../replication/peer.ts';

export interface SyncLoopParts {
  jobs: Pick<SyncJobTable, 'list'>;
  memories: JobMemories;
  /** Of this installation. */
  instanceId: string;
}

/** What of a job or an ad-hoc pull says from where to where. */
export type SyncWay = Pick<SyncJob, 'store' | 'ns' | 'remote' | 'remote-store' | 'remote-ns' | 'max-depth' | 'group-filter' | 'sync-direction'>;

/** Notices when copies would go in a circle: A → B → C → A, within this server or over others that are Farshores. */
export class SyncLoops {
  readonly #parts: SyncLoopParts;

  constructor(parts: SyncLoopParts) {
    this.#parts = parts;
  }

  /** What gets into a datastore of this server, or from it elsewhere, as peers ask for it (capability `replication-edges`). */
  async edgesOf(store: string, direction: EdgeDirection): Promise<ReplicationEdge[]> {
    return edgesOf(this.#parts.instanceId, store, direction, await this.#known());
  }

  /**
   * Asks the source where its data comes from, or the target of a push where it goes, and throws `sync.loop` when what this job writes comes back to where it
   * reads. One without `jobId` (by hand, for copying back after a loss) is only warned of, and so are ways that group filters may keep apart. Of a reference
   * server nothing can be known. `peer`: the remote; null = the source is of this server.
   */
  async check(way: SyncWay, peer: Peer | null, options: { jobId?: string | undefined; log: ProgressLog }): Promise<void> {
    const { memories, instanceId } = this.#parts;
    const { log, jobId } = options;
    const known = jobId === undefined ? null : (await memories.load(jobId)).peer;
    const asked = peer === null ? { instance: instanceId, edges: [] } : await ask(peer, way, known !== null && known.remote === way.remote, log);
    if (asked === null) return;
    const own = edgeOf(way, instanceId, asked.instance);
    const loop = findLoop(own, [...(await this.#known()), ...asked.edges]);
    if (loop !== null) {
      const error = loopError(own, loop, instanceId);
      const mayBeApart = own.filtered === true && loop.some((edge) => edge.filtered === true);
      if (jobId !== undefined && !mayBeApart) throw error;
      log.warn(`${error.message}${mayBeApart ? ', unless the group filters keep them apart' : ''}`);
    }
    // Only of a job that may run: a refused one must not stop the others.
    if (jobId !== undefined) await memories.rememberPeer(jobId, way.remote === undefined ? null : { remote: way.remote, instanceId: asked.instance }, asked.edges);
  }

  async #known(): Promise<ReplicationEdge[]> {
    const { jobs, memories, instanceId } = this.#parts;
    const edges: ReplicationEdge[] = [];
    for (const job of jobs.list().records) {
      if (job.remote === undefined) {
        edges.push(edgeOf(job, instanceId, instanceId));
        continue;
      }
      const { peer, upstream } = await memories.load(job.id);
      if (peer === null || peer.remote !== job.remote) continue;
      edges.push(edgeOf(job, instanceId, peer.instanceId), ...upstream);
    }
    return edges;
  }
}

/** `assumed`: it answered the last time, so everything is asked at once. */
async function ask(peer: Peer, way: SyncWay, assumed: boolean, log: ProgressLog): Promise<{ instance: string; edges: ReplicationEdge[] } | null> {
  const isPush = way['sync-direction'] === 'push';
  const edges = (): Promise<ReplicationEdge[] | null> => peer.edges(way['remote-store'], isPush ? 'out' : 'in', { assumed });
  try {
    const [instance, told] = assumed ? await Promise.all([peer.instanceId(), edges()]) : [await peer.instanceId(), null];
    if (instance === null) return null;
    return { instance, edges: (assumed ? told : await edges()) ?? [] };
  } catch (e) {
    // The run beside this meets the same and knows how to wait; next time it is asked again.
    if (!(e instanceof NetworkError || e instanceof HttpError)) throw e;
    log.info(`could not ask the remote where its data ${isPush ? 'goes' : 'comes from'}: ${errorChain(e)}`);
    return null;
  }
}

function edgeOf(way: SyncWay, ownInstance: string, otherInstance: string): ReplicationEdge {
  const here = { instance: ownInstance, store: way.store, ns: way.ns ?? '' };
  const there = { instance: otherInstance, store: way['remote-store'], ns: way['remote-ns'] ?? '' };
  const [from, to] = way['sync-direction'] === 'push' ? [here, there] : [there, here];
  const depth = way['max-depth'];
  return {
    'from-instance': from.instance,
    'from-store': from.store,
    'from-ns': from.ns,
    'to-instance': to.instance,
    'to-store': to.store,
    'to-ns': to.ns,
    ...(depth === undefined ? {} : { 'max-depth': depth }),
    ...((way['group-filter'] ?? []).length > 0 ? { filtered: true } : {}),
  };
}
