import { createHash } from 'node:crypto';
import { HttpError, NetworkError } from '../base/errors.ts';
import type { Digest } from '../base/bytes.ts';

import { isBackupId, isBackupType, parseNamespace, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import type { RateLimiter } from '../protocol/rate-limit.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { RestClient } from '../protocol/rest-client.ts';
import type { FlightControl } from './flight-control.ts';
import type { ListedFile, NamespaceListing, ReplicationSource, SnapshotSource, SourceNamespace, SourceSnapshot } from './ports.ts';
import { LaneBudget, SnapshotLanes } from './snapshot-lanes.ts';

export interface RemoteSourceOptions {
  endpoint: RemoteEndpoint;
  /** Name of the remote, for logs. */
  remote: string;
  store: string;
  /** Anchor namespace at the remote. */
  namespace: string;
  flight: FlightControl;
  limiter?: RateLimiter | undefined;
  signal: AbortSignal;
  /** A request that gets no byte for so long has failed; default as the protocol's. */
  stallTimeoutMs?: number | undefined;
  maxLanes?: number | undefined;
}

const defaultMaxLanes = 16;

/** A remote datastore as source: two listings a namespace over REST, snapshots over reader sessions (spec sync 1.3, 4; backup-protocol 7). */
export class RemoteSource implements ReplicationSource {
  readonly label: string;
  readonly #options: RemoteSourceOptions;
  readonly #rest: RestClient;
  readonly #lanes: LaneBudget;

  constructor(options: RemoteSourceOptions) {
    this.label = `${options.remote}/${options.store}`;
    this.#options = options;
    this.#rest = new RestClient(options.endpoint, { limiter: options.limiter, signal: options.signal, stallTimeoutMs: options.stallTimeoutMs });
    this.#lanes = new LaneBudget(options.maxLanes ?? defaultMaxLanes);
  }

  async namespaces(maxDepth: number | undefined): Promise<NamespaceListing> {
    const { store, namespace } = this.#options;
    if (namespace === '' && maxDepth === 0) return { namespaces: [''], withoutNamespaces: false };
    try {
      const reply = await this.#rest.get(`/admin/datastore/${store}/namespace`, {
        'max-depth': maxDepth,
        parent: namespace === '' ? undefined : namespace,
      });
      const namespaces = asList(reply.data, 'namespaces').map((item) => parseListedNamespace(item));
      return { namespaces: namespaces.filter((name) => namespace === '' || name === namespace || name.startsWith(`${namespace}/`)), withoutNamespaces: false };
    } catch (e) {
      if (e instanceof HttpError && e.status === 404 && namespace === '' && maxDepth === undefined) return { namespaces: [''], withoutNamespaces: true };
      throw e;
    }
  }

  async list(namespace: string): Promise<SourceNamespace> {
    const ns = namespace === '' ? undefined : namespace;
    const path = `/admin/datastore/${this.#options.store}`;
    const [groups, snapshots] = await Promise.all([this.#rest.get(`${path}/groups`, { ns }), this.#rest.get(`${path}/snapshots`, { ns })]);
    return {
      groups: asList(groups.data, 'groups').map((item) => parseListedGroup(asRecord(item, 'group'))),
      snapshots: asList(snapshots.data, 'snapshots').map((item) => parseListedSnapshot(asRecord(item, 'snapshot'))),
    };
  }

  async open(namespace: string, snapshot: BackupSnapshot): Promise<SnapshotSource> {
    const { endpoint, store, limiter, signal, stallTimeoutMs, flight } = this.#options;
    return SnapshotLanes.open({
      endpoint,
      session: {
        store,
        ns: namespace,
        backupType: snapshot.type,
        backupId: snapshot.id,
        backupTime: snapshot.time,
        debug: false,
        limiter,
        signal,
        authHeaders: () => this.#rest.authHeaders(),
        ...(stallTimeoutMs === undefined ? {} : { stallTimeoutMs }),
      },
      flight,
      budget: this.#lanes,
    });
  }

  close(): Promise<void> {
    this.#rest.close();
    return Promise.resolve();
  }
}

function lie(what: string): never {
  throw new NetworkError('net.protocol', `the remote's listing has ${what}`);
}

function asList(data: unknown, what: string): unknown[] {
  if (!Array.isArray(data)) lie(`no list of ${what}`);
  return data;
}

function asRecord(item: unknown, what: string): Record<string, unknown> {
  if (typeof item !== 'object' || item === null) lie(`a ${what} that is not an object`);
  return item as Record<string, unknown>;
}

function parseListedNamespace(item: unknown): string {
  const { ns } = asRecord(item, 'namespace');
  if (typeof ns !== 'string') lie('a namespace without name');
  return parseNamespace(ns);
}

/** Names become paths in the target, so nothing that is not a safe name gets past here. */
function parseListedGroup(item: Record<string, unknown>): BackupGroup {
  const type = item['backup-type'];
  const id = item['backup-id'];
  if (typeof type !== 'string' || !isBackupType(type)) lie(`a group of type ${JSON.stringify(type)}`);
  if (typeof id !== 'string' || !isBackupId(id)) lie(`a group with id ${JSON.stringify(id)}`);
  return { type, id };
}

function parseListedSnapshot(item: Record<string, unknown>): SourceSnapshot {
  const group = parseListedGroup(item);
  const time = item['backup-time'];
  if (typeof time !== 'number' || !Number.isSafeInteger(time) || time < 1) lie(`a snapshot with time ${JSON.stringify(time)}`);
  const files = asList(item['files'] ?? [], 'files').map((file): ListedFile => parseListedFile(file));
  const size = item['size'];
  const verification = item['verification'];
  const state = typeof verification === 'object' && verification !== null && 'state' in verification ? verification.state : null;
  return {
    ...group,
    time,
    size: typeof size === 'number' && Number.isSafeInteger(size) && size >= 0 ? size : null,
    files,
    verifyState: state === 'ok' || state === 'failed' ? state : null,
    fingerprint: listingFingerprint(item, files),
  };
}

function parseListedFile(file: unknown): ListedFile {
  // Older servers list bare names.
  if (typeof file === 'string') return { filename: file, cryptMode: null, size: null };
  const record = asRecord(file, 'file');
  const { filename, size } = record;
  if (typeof filename !== 'string') lie('a file without name');
  const cryptMode = record['crypt-mode'];
  return {
    filename,
    cryptMode: typeof cryptMode === 'string' ? cryptMode : null,
    size: typeof size === 'number' ? size : null,
  };
}

/** Owner and protection are not transferred, so they do not count as changes. */
function listingFingerprint(item: Record<string, unknown>, files: readonly ListedFile[]): Digest {
  const content = [item['size'] ?? null, item['comment'] ?? null, item['fingerprint'] ?? null, item['verification'] ?? null, files.map((file) => [file.filename, file.cryptMode, file.size])];
  return createHash('sha256').update(JSON.stringify(content)).digest();
}
