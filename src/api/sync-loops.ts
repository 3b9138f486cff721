import { HttpError, NetworkError, errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { SyncJob, SyncJobTable } from '../config/job-config.ts';
import type { RestClient } from '../protocol/rest-client.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import { edgesInto, findLoop, loopError, type ReplicationEdge } from '../replication/loops.ts';
import { Peer } from '../replication/peer.ts';

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

  /** What gets into a datastore of this server, as peers ask for it (capability `replication-edges`). */
  async edgesInto(store: string): Promise<ReplicationEdge[]> {
    return edgesInto(this.#parts.instanceId, store, await this.#known());
  }

  /**
   * Asks the source where its data comes from, and throws `sync.loop` when it comes from where this pull writes. A pull without `jobId` (by hand, for
   * copying back after a loss) is only warned of, and so are ways that group filters may keep apart. Of a reference server nothing can be known.
   * `rest`: to the remote; null = the source is of this server.
   */
  async check(pull: SyncWay, rest: RestClient | null, options: { jobId?: string | undefined; log: ProgressLog }): Promise<void> {
    const { memories, instanceId } = this.#parts;
    const { log, jobId } = options;
    const asked = rest === null ? { instance: instanceId, upstream: [] } : await ask(new Peer(rest), pull['remote-store'], log);
    if (asked === null) return;
    const own = edgeOf(pull, instanceId, asked.instance);
    const loop = findLoop(own, [...(await this.#known()), ...asked.upstream]);
    if (loop !== null) {
      const error = loopError(own, loop, instanceId);
      const mayBeApart = own.filtered === true && loop.some((edge) => edge.filtered === true);
      if (jobId !== undefined && !mayBeApart) throw error;
      log.warn(`${error.message}${mayBeApart ? ', unless the group filters keep them apart' : ''}`);
    }
    // Only of a job that may run: a refused one must not stop the others.
    if (jobId !== undefined) await memories.rememberPeer(jobId, pull.remote === undefined ? null : { remote: pull.remote, instanceId: asked.instance }, asked.upstream);
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

async function ask(peer: Peer, store: string, log: ProgressLog): Promise<{ instance: string; upstream: ReplicationEdge[] } | null> {
  try {
    const instance = await peer.instanceId();
    if (instance === null) return null;
    return { instance, upstream: (await peer.edges(store)) ?? [] };
  } catch (e) {
    // The run that follows meets the same and knows how to wait; next time it is asked again.
    if (!(e instanceof NetworkError || e instanceof HttpError)) throw e;
    log.info(`could not ask the remote where its data comes from: ${errorChain(e)}`);
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
