import { FarshoreError, HttpError } from '../base/errors.ts';
import type { RestClient } from '../protocol/rest-client.ts';
import type { FlightControl } from './flight-control.ts';
import { asList, parseListedGroup, parseListedNamespace, parseListedSnapshot } from './listing.ts';
import { LaneBudget } from './lane-budget.ts';
import type { NamespaceListing, ReplicationSource, SnapshotSource, SourceNamespace, SourceSnapshot } from './ports.ts';
import { restClientOf, sessionOf, type RemoteLine } from './remote-sessions.ts';
import { SnapshotLanes } from './snapshot-lanes.ts';

export interface RemoteSourceOptions extends RemoteLine {
  /** Name of the remote, for logs. */
  remote: string;
  /** Anchor namespace at the remote. */
  namespace: string;
  flight: FlightControl;
  maxLanes?: number | undefined;
}

const defaultMaxLanes = 16;
/** How often a job that fetches chunks looks whether the line has become longer or shorter. */
const observeLineMs = 60_000;

/** A remote datastore as source: two listings a namespace over REST, snapshots over reader sessions (spec sync 1.3, 4; backup-protocol 7). */
export class RemoteSource implements ReplicationSource {
  readonly label: string;
  readonly #options: RemoteSourceOptions;
  readonly #rest: RestClient;
  readonly #lanes: LaneBudget;
  /** The anchor's listing, asked for together with the list of namespaces. */
  #anchor: Promise<SourceNamespace> | null = null;
  #observedMs = performance.now();

  constructor(options: RemoteSourceOptions) {
    this.label = `${options.remote}/${options.store}`;
    this.#options = options;
    this.#rest = restClientOf(options);
    this.#lanes = new LaneBudget(options.maxLanes ?? defaultMaxLanes);
  }

  async namespaces(maxDepth: number | undefined): Promise<NamespaceListing> {
    const { store, namespace } = this.#options;
    if (namespace === '' && maxDepth === 0) return { namespaces: [''], withoutNamespaces: false };
    this.#anchor = this.#list(namespace);
    this.#anchor.catch(() => {});
    try {
      const reply = await this.#rest.get(`/admin/datastore/${store}/namespace`, {
        'max-depth': maxDepth,
        parent: namespace === '' ? undefined : namespace,
      });
      const namespaces = asList(reply.data, 'namespaces').map((item) => parseListedNamespace(item));
      return { namespaces: namespaces.filter((name) => namespace === '' || name === namespace || name.startsWith(`${namespace}/`)), withoutNamespaces: false };
    } catch (e) {
      if (!(e instanceof HttpError) || e.status !== 404 || namespace !== '' || maxDepth !== undefined) throw e;
      // An old server, or something that is no backup server at all and knows none of its paths.
      await this.#rest.get('version');
      return { namespaces: [''], withoutNamespaces: true };
    }
  }

  async list(namespace: string): Promise<SourceNamespace> {
    const anchor = namespace === this.#options.namespace ? this.#anchor : null;
    if (anchor !== null) this.#anchor = null;
    return anchor ?? this.#list(namespace);
  }

  async #list(namespace: string): Promise<SourceNamespace> {
    const ns = namespace === '' ? undefined : namespace;
    const path = `/admin/datastore/${this.#options.store}`;
    const [groups, snapshots] = await Promise.all([this.#rest.get(`${path}/groups`, { ns }), this.#rest.get(`${path}/snapshots`, { ns })]).catch((e: unknown) => {
      throw this.#namespaceProblem(namespace, e);
    });
    this.#options.flight.observeRoundTrip(this.#rest.shortestHandshakeMs);
    return {
      groups: asList(groups.data, 'groups').map((item) => parseListedGroup(item)),
      snapshots: asList(snapshots.data, 'snapshots').map((item) => parseListedSnapshot(item)),
    };
  }

  /** Servers say no more than `ENOENT` of a namespace that is not there. */
  #namespaceProblem(namespace: string, e: unknown): unknown {
    if (namespace === '' || !(e instanceof HttpError) || e.status !== 400 || !/ENOENT|not found|does not exist|no such namespace/i.test(e.message)) return e;
    const { remote, store } = this.#options;
    return new FarshoreError('sync.namespace', `datastore '${store}' of remote '${remote}' has no namespace '${namespace}'`, { cause: e, hint: `\`farshore remote test ${remote}\` shows the namespaces that are visible` });
  }

  async open(namespace: string, snapshot: SourceSnapshot): Promise<SnapshotSource> {
    const { endpoint, flight } = this.#options;
    return SnapshotLanes.open({
      endpoint,
      session: sessionOf(this.#options, this.#rest, namespace, snapshot),
      flight,
      budget: this.#lanes,
      observeLine: () => this.#observeLine(),
      files: snapshot.files,
    });
  }

  /** One small request now and then, on a connection of its own: those with chunks would tell of their own queue. */
  #observeLine(): void {
    const now = performance.now();
    if (now - this.#observedMs < observeLineMs) return;
    this.#observedMs = now;
    const observe = async (): Promise<void> => {
      // The first may have to connect.
      await this.#rest.get('version');
      const startedMs = performance.now();
      await this.#rest.get('version');
      this.#options.flight.observeRoundTrip(performance.now() - startedMs);
    };
    // Only a measurement: the chunks tell what is wrong with the line.
    observe().catch(() => {});
  }

  close(): Promise<void> {
    this.#rest.close();
    return Promise.resolve();
  }
}
