import assert from 'node:assert/strict';
import { FarshoreError, HttpError, NetworkError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { formatBackupTime, groupText, joinNamespace, namespaceDepth, parentNamespace, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import type { RestClient } from '../protocol/rest-client.ts';
import type { FlightControl } from './flight-control.ts';
import { LineRetry, type RetryPolicy } from './line-retry.ts';
import { asList, parseListedNamespace } from './listing.ts';
import { Peer } from './peer.ts';
import type { RemovedGroup, ReplicationTarget, TargetGroup, TargetGroupSession } from './ports.ts';
import { RemoteGroupSession } from './remote-group.ts';
import { restClientOf, type RemoteLine } from './remote-sessions.ts';
import { parseListedOwner, parseListedTarget, type ListedTarget } from './target-listing.ts';

export interface RemoteTargetOptions extends RemoteLine {
  /** Name of the remote, for logs. */
  remote: string;
  flight: FlightControl;
  log: ProgressLog;
  retry?: RetryPolicy | undefined;
  /** Existing folder for indexes while they are on their way. */
  spoolFolder: string;
  /** Whether the job may remove groups and snapshots of a namespace of the target: the reason why not, or null. */
  mayRemove: (namespace: string) => string | null;
}

/** What the remote can do, from its version and its capabilities. */
export interface TargetAbilities {
  /** Knows `error-on-protected` and counts what it removes (spec sync 6). */
  countsRemovals: boolean;
  /** Tells an uploader which chunks it delivered before (docs/compatibility.md, `deliveries`). */
  deliveries: boolean;
}

/** Oldest server with namespaces, and the first that counts what it removes. */
const oldestVersion = [2, 2, 0] as const;
const countingVersion = [3, 2, 11] as const;

/**
 * A remote datastore as target (spec sync 6): listings and removals over REST, each snapshot as a backup session. Everything there belongs to the
 * remote's user; groups of others are left alone. The remote decides what it takes: nothing older than a group's newest snapshot, nothing that it has.
 */
export class RemoteTarget implements ReplicationTarget {
  readonly label: string;
  readonly line: LineRetry;
  readonly peer: Peer;
  readonly #options: RemoteTargetOptions;
  readonly #rest: RestClient;
  #abilities: TargetAbilities = { countsRemovals: false, deliveries: false };
  /** Asked for ahead, and added to. */
  #namespaces: Promise<Set<string>> | null = null;
  readonly #owners = new Map<string, string>();

  constructor(options: RemoteTargetOptions) {
    this.label = `${options.remote}/${options.store}`;
    this.#options = options;
    this.line = new LineRetry(options.log, options.signal, options.retry);
    this.#rest = restClientOf(options);
    this.peer = new Peer(this.#rest);
  }

  /** Asks what the remote is. The remote itself keeps garbage collection away from what a session brings. */
  async begin(): Promise<{ end(): Promise<void> }> {
    void this.#namespacesAhead();
    const [{ data }, deliveries] = await Promise.all([this.line.run('version', () => this.#rest.get('version')), this.line.run('capabilities', () => this.peer.can('deliveries'))]);
    const version = parseVersion(data);
    if (!isAtLeast(version, oldestVersion)) {
      throw new FarshoreError('sync.remote-version', `remote '${this.#options.remote}' has version ${version.join('.')}: pushing needs ${oldestVersion.join('.')} or later`);
    }
    this.#options.flight.observeRoundTrip(this.#rest.shortestHandshakeMs);
    this.#abilities = { countsRemovals: isAtLeast(version, countingVersion), deliveries };
    return { end: () => Promise.resolve() };
  }

  async namespaceExists(namespace: string): Promise<boolean> {
    return namespace === '' || (await this.#namespacesAhead()).has(namespace);
  }

  #namespacesAhead(): Promise<Set<string>> {
    const asked = (this.#namespaces ??= this.#listNamespaces());
    // Whoever needs them asks again, and hears why.
    asked.catch(() => {
      if (this.#namespaces === asked) this.#namespaces = null;
    });
    return asked;
  }

  /** With what is missing above it. */
  async createNamespace(namespace: string): Promise<void> {
    const missing: string[] = [];
    for (let one: string | null = namespace; one !== null && one !== '' && !(await this.namespaceExists(one)); one = parentNamespace(one)) missing.unshift(one);
    for (const one of missing) {
      const parent = parentNamespace(one) ?? '';
      const name = one.slice(parent === '' ? 0 : parent.length + 1);
      try {
        await this.line.run(`namespace '${one}'`, () => this.#rest.post(this.#path('namespace'), { name, ...(parent === '' ? {} : { parent }) }));
      } catch (e) {
        // The answer to an earlier attempt was lost, or the remote's user does not see it.
        if (!(e instanceof HttpError && /already exists/i.test(e.message))) throw e;
      }
      (await this.#namespacesAhead()).add(one);
    }
  }

  async namespaces(anchor: string, maxDepth: number): Promise<readonly string[]> {
    const all = await this.#listNamespaces();
    const deepest = namespaceDepth(anchor) + maxDepth;
    return [...all].filter((name) => (anchor === '' || name === anchor || name.startsWith(`${anchor}/`)) && namespaceDepth(name) <= deepest);
  }

  async removeEmptyNamespace(namespace: string): Promise<boolean> {
    try {
      await this.line.run(`namespace '${namespace}'`, () => this.#rest.delete(this.#path('namespace'), { ns: namespace, 'delete-groups': false }));
      (await this.#namespaces)?.delete(namespace);
      return true;
    } catch (e) {
      if (e instanceof HttpError && e.status === 400) return false;
      throw e;
    }
  }

  async groups(namespace: string): Promise<readonly TargetGroup[]> {
    const ns = namespace === '' ? undefined : namespace;
    const [groups, snapshots] = await this.line.run(`groups of namespace '${namespace}'`, () =>
      Promise.all([this.#rest.get(this.#path('groups'), { ns }), this.#rest.get(this.#path('snapshots'), { ns })]),
    );
    const listed = Map.groupBy(asList(snapshots.data, 'snapshots').map((item) => parseListedTarget(item)), groupText);
    return asList(groups.data, 'groups').map((item) => {
      const { group, owner } = parseListedOwner(item);
      this.#owners.set(`${namespace}:${groupText(group)}`, owner);
      return { ...group, owner, snapshots: listed.get(groupText(group)) ?? [] };
    });
  }

  async openGroup(namespace: string, group: BackupGroup, owner: string): Promise<TargetGroupSession> {
    this.#requireOwn(namespace, group, owner);
    return new RemoteGroupSession({
      ...this.#options,
      line: this.line,
      rest: this.#rest,
      abilities: this.#abilities,
      namespace,
      group,
      owner,
      list: () => this.snapshotsOf(namespace, group),
      download: (snapshot, filename) => this.download(namespace, snapshot, filename),
    });
  }

  /** A group of somebody else at the remote is left alone (spec sync 6.2.4). */
  #requireOwn(namespace: string, group: BackupGroup, owner: string): void {
    const found = this.#owners.get(`${namespace}:${groupText(group)}`);
    if (found === undefined || found === owner) return;
    throw new FarshoreError('sync.skipped', `group ${groupText(group)} belongs to ${found} at the remote, not to ${owner}: it is left alone`, {
      hint: `change the owner of the group at the remote to ${owner}, or push into another namespace`,
    });
  }

  /** The other end tells an uploader which chunks it delivered before; known once begun. */
  get remembersDeliveries(): boolean {
    return this.#abilities.deliveries;
  }

  /** A file of a finished snapshot, as stored. */
  async download(namespace: string, snapshot: BackupSnapshot, filename: string): Promise<Buffer> {
    return this.line.run(`${formatBackupTime(snapshot.time)}/${filename}`, () =>
      this.#rest.getBytes(this.#path('download'), {
        'backup-type': snapshot.type,
        'backup-id': snapshot.id,
        'backup-time': snapshot.time,
        'file-name': filename,
        ns: namespace === '' ? undefined : namespace,
      }),
    );
  }

  async snapshotsOf(namespace: string, group: BackupGroup): Promise<ListedTarget[]> {
    const { data } = await this.line.run(`snapshots of ${groupText(group)}`, () =>
      this.#rest.get(this.#path('snapshots'), { 'backup-type': group.type, 'backup-id': group.id, ns: namespace === '' ? undefined : namespace }),
    );
    return asList(data, 'snapshots').map((item) => parseListedTarget(item));
  }

  async removeGroup(namespace: string, group: BackupGroup): Promise<RemovedGroup> {
    this.#requireOwn(namespace, group, this.#options.endpoint.authId);
    const refused = this.#options.mayRemove(namespace);
    if (refused !== null) throw new FarshoreError('sync.permission', refused);
    const { data } = await this.line.run(`group ${groupText(group)}`, () =>
      this.#rest.delete(this.#path('groups'), {
        'backup-type': group.type,
        'backup-id': group.id,
        ns: namespace === '' ? undefined : namespace,
        'error-on-protected': this.#abilities.countsRemovals ? false : undefined,
      }),
    );
    return { removedSnapshots: numberIn(data, 'removed-snapshots'), protectedSnapshots: numberIn(data, 'protected-snapshots') };
  }

  touchChunk(): Promise<boolean> {
    return assert.fail('chunks go into sessions');
  }

  readChunk(): Promise<Buffer | null> {
    return assert.fail('chunks go into sessions');
  }

  storeChunk(): Promise<{ duplicate: boolean }> {
    return assert.fail('chunks go into sessions');
  }

  /** The remote makes each snapshot durable before it says that it is finished. */
  async flush(): Promise<void> {}

  close(): void {
    this.#rest.close();
  }

  #path(what: string): string {
    return `admin/datastore/${this.#options.store}/${what}`;
  }

  async #listNamespaces(): Promise<Set<string>> {
    const { data } = await this.line.run('namespaces', () => this.#rest.get(this.#path('namespace')));
    return new Set(asList(data, 'namespaces').map((item) => joinNamespace('', parseListedNamespace(item))));
  }
}

function numberIn(data: unknown, name: string): number {
  const value = typeof data === 'object' && data !== null ? (data as Record<string, unknown>)[name] : undefined;
  return typeof value === 'number' ? value : 0;
}

function parseVersion(data: unknown): number[] {
  const { version, release } = (typeof data === 'object' && data !== null ? data : {}) as Record<string, unknown>;
  const parts = `${String(version)}.${String(release)}`.split(/[.-]/).map(Number);
  if (parts.length < 3 || parts.slice(0, 3).some((part) => !Number.isSafeInteger(part))) throw new NetworkError('net.protocol', `the remote's version is not understood: ${JSON.stringify(data)}`);
  return parts.slice(0, 3);
}

function isAtLeast(version: readonly number[], wanted: readonly [number, number, number]): boolean {
  for (const [i, least] of wanted.entries()) if (version[i] !== least) return version[i]! > least;
  return true;
}
