import type { Digest } from '../base/bytes.ts';
import { toHex } from '../base/bytes.ts';
import { DigestSet } from '../base/digest-set.ts';
import { FormatError, HttpError, errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { archiveKind, manifestFileName, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { ChunkIndex } from '../format/chunk-index.ts';
import { decodeManifestBlob } from '../format/manifest.ts';
import type { EstimateTarget } from './estimate.ts';
import type { TargetGroup } from './ports.ts';
import type { RemoteTarget } from './remote-target.ts';
import { baseOf } from './target-listing.ts';

/**
 * A remote datastore as the target of an estimate: listings, and the newest backup of each group, upon which the remote would build. What it has beyond that
 * it tells only in a session, so `isDelivered` (what the possession journal says was sent there) stands for it at a remote that remembers deliveries.
 */
export class RemoteEstimateTarget implements EstimateTarget {
  readonly label: string;
  readonly #target: RemoteTarget;
  readonly #isDelivered: (digest: Digest) => boolean;

  /** `target`: begun. */
  constructor(target: RemoteTarget, isDelivered: (digest: Digest) => boolean) {
    this.label = target.label;
    this.#target = target;
    this.#isDelivered = isDelivered;
  }

  /** Sessions see what others of this push have sent. */
  get sharesChunks(): boolean {
    return this.#target.remembersDeliveries;
  }

  async namespaceExists(namespace: string): Promise<boolean> {
    return this.#target.namespaceExists(namespace);
  }

  async namespaces(anchor: string, maxDepth: number): Promise<readonly string[]> {
    return this.#target.namespaces(anchor, maxDepth);
  }

  async groups(namespace: string): Promise<readonly TargetGroup[]> {
    return this.#target.groups(namespace);
  }

  hasChunk(digest: Digest, held: DigestSet): Promise<boolean> {
    return Promise.resolve(held.has(digest) || (this.#target.remembersDeliveries && this.#isDelivered(digest)));
  }

  /** Of the base: as `RemoteSnapshotSink` learns it, without a session. */
  async heldDigests(namespace: string, group: BackupGroup, _also: BackupSnapshot | null, log: ProgressLog): Promise<DigestSet> {
    const held = new DigestSet();
    const base = baseOf(await this.#target.snapshotsOf(namespace, group));
    if (base === null) return held;
    try {
      const manifest = decodeManifestBlob(await this.#target.download(namespace, base, manifestFileName));
      for (const { filename, size, csum } of manifest.files) {
        const kind = archiveKind(filename);
        if (kind === 'blob') continue;
        const index = ChunkIndex.parse(kind, await this.#target.download(namespace, base, filename));
        if (size !== index.size || csum !== toHex(index.computeCsum())) throw new FormatError('format.index-csum', `${filename} is not what its manifest says`);
        for (let i = 0; i < index.count; i += 1) held.add(index.digest(i));
      }
    } catch (e) {
      if (!(e instanceof HttpError || e instanceof FormatError)) throw e;
      log.info(`the newest backup of the group at the remote cannot be used, more would be sent - ${errorChain(e)}`);
    }
    return held;
  }

  async manifest(namespace: string, snapshot: BackupSnapshot): Promise<Buffer | null> {
    const present = (await this.#target.snapshotsOf(namespace, snapshot)).some(({ time, finished }) => finished && time === snapshot.time);
    return present ? this.#target.download(namespace, snapshot, manifestFileName) : null;
  }
}
