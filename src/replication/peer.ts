import { Type, type Static } from 'typebox';
import { HttpError, NetworkError } from '../base/errors.ts';
import { recordProblem } from '../config/schema-check.ts';
import type { BackupSnapshot } from '../format/backup-path.ts';
import type { RestClient } from '../protocol/rest-client.ts';
import { rangeTexts } from './index-ranges.ts';
import { edgeSchema, maxEdges, type EdgeDirection, type ReplicationEdge } from './loops.ts';

/** What this version can do beyond the reference, by the names that peers ask for. */
export const peerCapabilities = ['chunk-sizes', 'replication-edges', 'deliveries'] as const;
export type PeerCapability = (typeof peerCapabilities)[number];

const identitySchema = Type.Object({ 'instance-id': Type.String({ pattern: '^[0-9a-f]{32}$' }), capabilities: Type.Array(Type.String({ maxLength: 64 }), { maxItems: 256 }) });

/** The other end as a Farshore: what it can do beyond the reference. Everything is null at a reference server. */
export class Peer {
  readonly #rest: RestClient;
  #identity: Promise<Static<typeof identitySchema> | null> | null = null;

  constructor(rest: RestClient) {
    this.#rest = rest;
  }

  async instanceId(): Promise<string | null> {
    return (await this.#ask())?.['instance-id'] ?? null;
  }

  async can(capability: PeerCapability): Promise<boolean> {
    return (await this.#ask())?.capabilities.includes(capability) === true;
  }

  /** Encoded sizes of chunks by their position in an index; null when the peer cannot say. */
  async chunkSizes(store: string, namespace: string, snapshot: BackupSnapshot, archive: string, entries: readonly number[]): Promise<number[] | null> {
    if (!(await this.can('chunk-sizes'))) return null;
    const sizes: number[] = [];
    for (const { text, count } of rangeTexts(entries)) {
      const { data } = await this.#rest.get(`/admin/datastore/${store}/chunk-sizes`, {
        ns: namespace === '' ? undefined : namespace,
        'backup-type': snapshot.type,
        'backup-id': snapshot.id,
        'backup-time': snapshot.time,
        'file-name': archive,
        entries: text,
      });
      if (!isSizes(data) || data.length !== count) throw new NetworkError('net.protocol', `the remote's answer about the chunks of ${archive} is not a list of ${count} sizes`);
      sizes.push(...data);
    }
    return sizes;
  }

  /**
   * What flows into the datastore, or out of it, as far as the peer knows; null when it cannot say. `assumed`: it could the last time, so it is asked without
   * asking first whether it can.
   */
  async edges(store: string, direction: EdgeDirection, { assumed = false }: { assumed?: boolean } = {}): Promise<ReplicationEdge[] | null> {
    if (!assumed && !(await this.can('replication-edges'))) return null;
    const { data } = await this.#rest.get(`/admin/datastore/${store}/replication-edges`, direction === 'in' ? {} : { direction }).catch((e: unknown) => {
      if (assumed && e instanceof HttpError && e.status === 404) return { data: null };
      throw e;
    });
    if (assumed && data === null) return null;
    if (!Array.isArray(data) || data.length > maxEdges || data.some((edge: unknown) => !isRecord(edge) || recordProblem(edgeSchema, edge) !== null)) {
      throw new NetworkError('net.protocol', `the remote's answer about what its datastore '${store}' is copied from is not one`);
    }
    return data as ReplicationEdge[];
  }

  async #ask(): Promise<Static<typeof identitySchema> | null> {
    const identity = (this.#identity ??= this.#identify());
    // Whoever tries again asks again.
    identity.catch(() => {
      if (this.#identity === identity) this.#identity = null;
    });
    return identity;
  }

  async #identify(): Promise<Static<typeof identitySchema> | null> {
    try {
      const { data } = await this.#rest.get('/farshore');
      return isRecord(data) && recordProblem(identitySchema, data) === null ? (data as Static<typeof identitySchema>) : null;
    } catch (e) {
      if (e instanceof HttpError && e.status >= 400 && e.status < 500) return null;
      throw e;
    }
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isSizes(data: unknown): data is number[] {
  return Array.isArray(data) && data.every((size) => Number.isSafeInteger(size) && (size as number) >= 0 && (size as number) <= 32 * 1024 * 1024);
}
