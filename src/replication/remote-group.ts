import { DigestSet } from '../base/digest-set.ts';
import { FarshoreError, HttpError, NetworkError } from '../base/errors.ts';
import { formatBackupTime, manifestFileName, snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { decodeManifestBlob, sameProtectedContent } from '../format/manifest.ts';
import { BackupClient } from '../protocol/backup-client.ts';
import type { RestClient } from '../protocol/rest-client.ts';
import type { LineRetry } from './line-retry.ts';
import type { ChunkTarget, SnapshotSink, StagedIndex, TargetGroup, TargetGroupSession } from './ports.ts';
import { sessionOf } from './remote-sessions.ts';
import { RemoteSnapshotSink } from './remote-snapshot.ts';
import type { RemoteTargetOptions, TargetAbilities } from './remote-target.ts';
import { baseOf, type ListedTarget } from './target-listing.ts';

export interface RemoteGroupOptions extends RemoteTargetOptions {
  line: LineRetry;
  rest: RestClient;
  abilities: TargetAbilities;
  namespace: string;
  group: BackupGroup;
  /** The remote's user. */
  owner: string;
  list: () => Promise<ListedTarget[]>;
  /** A file of a finished snapshot, as stored. */
  download: (snapshot: BackupSnapshot, filename: string) => Promise<Buffer>;
}

/** A group of a remote target. The remote locks it for as long as a session is open, so there is one at a time. */
export class RemoteGroupSession implements TargetGroupSession {
  readonly #options: RemoteGroupOptions;
  #listed: ListedTarget[] | null = null;
  /** Snapshots whose session broke: the remote may have finished them all the same, or may not have noticed yet. */
  readonly #begun = new Set<number>();
  /** A session was asked for over a connection that may have been dead: then the remote may have begun one that nobody has. */
  #usedIdle = false;

  constructor(options: RemoteGroupOptions) {
    this.#options = options;
  }

  async current(): Promise<TargetGroup> {
    const { group, owner } = this.#options;
    this.#listed = await this.#options.list();
    return { ...group, owner, snapshots: this.#listed };
  }

  /** The remote says itself what its sessions may reuse. */
  heldDigests(): Promise<DigestSet> {
    return Promise.resolve(new DigestSet());
  }

  async openSnapshot(snapshot: BackupSnapshot): Promise<SnapshotSink> {
    const again = this.#begun.has(snapshot.time);
    // What was pushed since the listing is the base of what comes now.
    if (again || this.#listed === null || this.#begun.size > 0) this.#listed = await this.#options.list();
    const listed = this.#listed;
    const present = listed.find((one) => one.time === snapshot.time);
    if (present?.finished === true) return new FinishedSnapshot(snapshot, await this.#options.download(snapshot, manifestFileName));
    this.#begun.add(snapshot.time);
    const client = await this.#openSession(snapshot, again);
    return new RemoteSnapshotSink({ client, base: baseOf(listed), deliveries: this.#options.abilities.deliveries, line: this.#options.line, log: this.#options.log, spoolFolder: this.#options.spoolFolder });
  }

  async #openSession(snapshot: BackupSnapshot, again: boolean): Promise<BackupClient> {
    try {
      return await this.#connect(snapshot);
    } catch (e) {
      if (!(e instanceof HttpError) || e.status !== 400) throw e;
      if (/already exists/.test(e.message)) {
        if (await this.#removeLeftover(snapshot)) return this.#connect(snapshot);
        if (!again && !this.#usedIdle) throw new FarshoreError('sync.leftover', `the remote has an unfinished snapshot of that time: ${e.message}`, { cause: e, hint: `if nobody is writing it, remove ${snapshotText(snapshot)} at the remote` });
      } else if (!(again || this.#usedIdle) || !/lock/i.test(e.message)) throw e;
      // The remote removes what the broken session left, or does not know yet that it is broken.
      throw new NetworkError('net.busy', `the remote has not ended the broken session yet: ${e.message}`, { cause: e });
    }
  }

  async #connect(snapshot: BackupSnapshot): Promise<BackupClient> {
    const { endpoint, namespace, rest, abilities } = this.#options;
    const session = sessionOf(this.#options, rest, namespace, snapshot);
    return BackupClient.open(endpoint, {
      ...session,
      deliveries: abilities.deliveries,
      idleConnection: () => {
        const idle = session.idleConnection();
        this.#usedIdle ||= idle !== undefined;
        return idle;
      },
    });
  }

  /**
   * A remote that was killed keeps the folder of a session without manifest, which is no backup and would bar this one for ever. One that a session works
   * on is locked, so that the remote refuses. False: it is not there, or may not be removed.
   */
  async #removeLeftover(snapshot: BackupSnapshot): Promise<boolean> {
    const found = (await this.#options.list()).find((one) => one.time === snapshot.time);
    if (found === undefined || found.finished || found.protected || found.files.includes(manifestFileName)) return false;
    try {
      await this.#delete(snapshot);
    } catch (e) {
      if (e instanceof HttpError) return false;
      throw e;
    }
    this.#options.log.info(`${formatBackupTime(snapshot.time)}: removed what a broken session had left at the remote`);
    return true;
  }

  async removeSnapshot(snapshot: BackupSnapshot): Promise<void> {
    const refused = this.#options.mayRemove(this.#options.namespace);
    if (refused !== null) throw new FarshoreError('sync.permission', refused);
    await this.#delete(snapshot);
  }

  async #delete(snapshot: BackupSnapshot): Promise<void> {
    const { store, namespace, rest, line } = this.#options;
    await line.run(`snapshot ${formatBackupTime(snapshot.time)}`, () =>
      rest.delete(`admin/datastore/${store}/snapshots`, {
        'backup-type': snapshot.type,
        'backup-id': snapshot.id,
        'backup-time': snapshot.time,
        ns: namespace === '' ? undefined : namespace,
      }),
    );
  }

  close(): Promise<void> {
    return Promise.resolve();
  }
}

/**
 * A snapshot that the remote has already. It cannot be changed by the backup protocol; what is left is to see that it is the same, since two sources
 * that feed one group would otherwise each believe that the other's snapshot is their own.
 */
class FinishedSnapshot implements SnapshotSink {
  readonly isNew = false;
  readonly #snapshot: BackupSnapshot;
  readonly #manifest: Buffer;

  constructor(snapshot: BackupSnapshot, manifest: Buffer) {
    this.#snapshot = snapshot;
    this.#manifest = manifest;
  }

  currentManifest(): Promise<Buffer> {
    return Promise.resolve(this.#manifest);
  }

  hasFile(): Promise<boolean> {
    return Promise.resolve(true);
  }

  stageIndex(): Promise<StagedIndex> {
    return Promise.reject(this.#other());
  }

  stageBlob(): Promise<void> {
    return Promise.reject(this.#other());
  }

  chunksOf(): ChunkTarget {
    throw this.#other();
  }

  commitFile(): Promise<void> {
    return Promise.resolve();
  }

  publish(manifestBlob: Uint8Array): Promise<void> {
    return sameProtectedContent(decodeManifestBlob(this.#manifest), decodeManifestBlob(manifestBlob)) ? Promise.resolve() : Promise.reject(this.#other());
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  #other(): FarshoreError {
    return new FarshoreError('sync.other-snapshot', `snapshot exists already at target, with other content: ${snapshotText(this.#snapshot)}`, {
      hint: 'another source feeds this group: push into a namespace of its own',
    });
  }
}
