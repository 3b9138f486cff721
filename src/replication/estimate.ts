import { forEachLimited, throwIfAborted } from '../base/async.ts';
import { DigestSet } from '../base/digest-set.ts';
import { FormatError, HttpError, errorChain } from '../base/errors.ts';
import type { Digest } from '../base/bytes.ts';
import type { ProgressLog } from '../base/log.ts';
import { groupText, manifestFileName, maxNamespaceDepth, namespaceDepth, snapshotText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { archiveKind, ChunkIndex, type IndexEntry } from '../format/chunk-index.ts';
import { maxChunkEncodedSize } from '../format/data-blob.ts';
import { decodeManifestBlob, sameProtectedContent, type Manifest } from '../format/manifest.ts';
import { mapNamespaces, type NamespacePair } from './namespace-mapping.ts';
import { planNamespace, type GroupPlan, type NamespacePlan, type SnapshotStep } from './plan.ts';
import type { ReplicationPolicy } from './policy.ts';
import type { ReplicationSource, ReplicationTarget, SnapshotSource } from './ports.ts';

/** An index is looked at in memory; what is larger (an image of 64 TiB) counts with its listed size. */
const largestIndex = 512 * 1024 * 1024;
/** Snapshots looked at side by side. */
const snapshotsAtATime = 6;
/** Without key or header of the chunks: what one that does not compress has on top of its content. */
const blobHeader = 12;

/** What estimating needs of a target beside its listings. Nothing of it changes anything or takes a lock. */
export interface EstimateTarget extends Pick<ReplicationTarget, 'label' | 'groups' | 'namespaces' | 'namespaceExists'> {
  /** False where a chunk that one group brought is no use to others; default true. */
  readonly sharesChunks?: boolean;
  /** `held`: what `heldDigests` said of the group. */
  hasChunk(digest: Digest, held: DigestSet): Promise<boolean>;
  /** As `TargetGroupSession.heldDigests`. */
  heldDigests(namespace: string, group: BackupGroup, also: BackupSnapshot | null, log: ProgressLog): Promise<DigestSet>;
  /** Raw manifest blob; null when there is none. */
  manifest(namespace: string, snapshot: BackupSnapshot): Promise<Buffer | null>;
}

/**
 * How many bytes the chunks at the positions `entries` (ascending) of an index take at the source; null = it cannot say, 0 = the chunk is missing.
 */
export type ChunkSizes = (namespace: string, snapshot: BackupSnapshot, archive: string, entries: readonly number[]) => Promise<readonly number[] | null>;

export interface EstimateParts {
  source: ReplicationSource;
  chunkSizes?: ChunkSizes | undefined;
  target: EstimateTarget;
  policy: ReplicationPolicy;
  /** What this source has delivered, or what an adopted copy holds for it. */
  isDelivered: (digest: Digest) => boolean;
  isUnchanged: (namespace: string, snapshot: BackupSnapshot, listing: Uint8Array) => boolean;
  /** Groups of others are not even removed with their namespace. */
  onlyOwn?: boolean;
  /** Only the listings: sizes are those of whole snapshots, an upper bound. */
  quick: boolean;
  log: ProgressLog;
  signal: AbortSignal;
}

/**
 * `exact`: the source told the size of every chunk. `ratio`: the chunks are known, their sizes follow from how well the snapshot's backup
 * compressed. `listing`: sizes of whole snapshots, without looking at what is here already.
 */
export type EstimateBasis = 'exact' | 'ratio' | 'listing';

export interface EstimatedSnapshot {
  step: SnapshotStep;
  basis: EstimateBasis;
  /** Chunks and their encoded bytes that would be fetched. */
  chunks: number;
  bytes: number;
  /** Of manifest, indexes and blobs. */
  metadataBytes: number;
  /** Chunks that are here already and may be used, and their plain bytes. */
  reusedChunks: number;
  reusedBytes: number;
}

export interface EstimatedGroup {
  sourceNamespace: string;
  targetNamespace: string;
  plan: GroupPlan;
  snapshots: EstimatedSnapshot[];
}

export interface SyncEstimate {
  groups: EstimatedGroup[];
  /** Groups that would be removed since the source does not list them any more. */
  vanishedGroups: Array<{ namespace: string; group: BackupGroup; snapshots: NamespacePlan['vanishedGroups'][number]['snapshots'] }>;
  vanishedNamespaces: string[];
  newNamespaces: string[];
  /** Because of these the run would do less, or fail. */
  problems: string[];
}

/**
 * What a run would move now, without moving it: asks the source for listings, manifests and indexes, never for chunks; changes nothing in the
 * target. NetworkError and HttpError of the listings are thrown, problems of single snapshots become `problems`.
 */
export async function estimateSync(parts: EstimateParts): Promise<SyncEstimate> {
  return new Estimate(parts).run();
}

class Estimate {
  readonly #parts: EstimateParts;
  /** Chunks that some snapshot before accounts for, of the whole target or of a group. */
  readonly #seen = new Map<EstimatedGroup | null, DigestSet>();
  readonly #result: SyncEstimate = { groups: [], vanishedGroups: [], vanishedNamespaces: [], newNamespaces: [], problems: [] };

  constructor(parts: EstimateParts) {
    this.#parts = parts;
  }

  async run(): Promise<SyncEstimate> {
    const { source, policy } = this.#parts;
    const listing = await source.namespaces(policy.maxDepth);
    const pairs = mapNamespaces(listing.namespaces, policy);
    if (listing.withoutNamespaces) this.#result.problems.push('the source does not know namespaces: only the root namespace is synced, and the job counts as failed');
    for (const pair of pairs) await this.#namespace(pair);
    if (policy.removeVanished && !listing.withoutNamespaces) await this.#vanishedNamespaces([...pairs, ...mapNamespaces(listing.hidden ?? [], policy)]);
    if (!this.#parts.quick) {
      const work = this.#result.groups.flatMap((group) => group.plan.steps.map((step) => ({ group, step })));
      const held = new Map<EstimatedGroup, Promise<DigestSet>>();
      const found = new Map<SnapshotStep, EstimatedSnapshot>();
      await forEachLimited(work, snapshotsAtATime, async ({ group, step }) => {
        throwIfAborted(this.#parts.signal);
        const ofGroup = held.get(group) ?? this.#parts.target.heldDigests(group.targetNamespace, group.plan.group, null, this.#parts.log);
        held.set(group, ofGroup);
        found.set(step, await this.#looked(group, step, await ofGroup));
      });
      for (const group of this.#result.groups) group.snapshots = group.plan.steps.map((step) => found.get(step)!);
    }
    return this.#result;
  }

  async #namespace({ from, to }: NamespacePair): Promise<void> {
    const { source, target, policy, isUnchanged } = this.#parts;
    const listed = await source.list(from);
    const exists = await target.namespaceExists(to);
    if (!exists) this.#result.newNamespaces.push(to);
    const present = exists ? await target.groups(to, { lookForCorrupt: policy.resyncCorrupt || policy.backfill !== undefined }) : [];
    const plan = planNamespace(listed, present, policy, (snapshot) => isUnchanged(to, snapshot, snapshot.fingerprint), policy.backfill?.(to));
    const owners = new Map(present.map((group) => [groupText(group), group.owner]));
    for (const group of plan.groups) {
      const owner = owners.get(groupText(group.group)) ?? policy.owner;
      if (owner !== policy.owner && (group.steps.length > 0 || group.vanished.length > 0)) {
        this.#result.problems.push(`group ${groupText(group.group)} belongs to ${owner}, the job's owner is ${policy.owner}: it would be refused`);
        continue;
      }
      this.#result.groups.push({ sourceNamespace: from, targetNamespace: to, plan: group, snapshots: group.steps.map(listedOnly) });
    }
    if (plan.totalGroups === 0 && plan.vanishedGroups.length > 0) {
      this.#result.problems.push(`the source shows no groups at all${to === '' ? '' : ` for namespace '${to}'`}, the target has ${present.length}: nothing would be removed`);
      return;
    }
    const hidden = new Set((listed.hidden ?? []).map((group) => groupText(group)));
    for (const { type, id, snapshots } of plan.vanishedGroups) if (!hidden.has(groupText({ type, id }))) this.#result.vanishedGroups.push({ namespace: to, group: { type, id }, snapshots });
  }

  async #vanishedNamespaces(pairs: readonly NamespacePair[]): Promise<void> {
    const { target, policy } = this.#parts;
    if (!(await target.namespaceExists(policy.targetNamespace))) return;
    const depth = Math.min(policy.maxDepth ?? maxNamespaceDepth - namespaceDepth(policy.sourceNamespace), maxNamespaceDepth - namespaceDepth(policy.targetNamespace));
    const synced = new Set(pairs.map(({ to }) => to));
    for (const namespace of await target.namespaces(policy.targetNamespace, depth)) {
      if (namespace === policy.targetNamespace || namespace === '' || synced.has(namespace)) continue;
      this.#result.vanishedNamespaces.push(namespace);
      for (const { type, id, owner, snapshots } of await target.groups(namespace, { lookForCorrupt: false })) {
        if (this.#parts.onlyOwn !== true || owner === policy.owner) this.#result.vanishedGroups.push({ namespace, group: { type, id }, snapshots });
        else this.#result.problems.push(`group ${groupText({ type, id })} of the vanished namespace '${namespace}' belongs to ${owner}: it would be left alone`);
      }
    }
  }

  /** A look at manifest and indexes; what cannot be had counts with its listed size, and is a problem. */
  async #looked(group: EstimatedGroup, step: SnapshotStep, held: DigestSet): Promise<EstimatedSnapshot> {
    const { source, log } = this.#parts;
    const { snapshot } = step;
    let session: SnapshotSource | null = null;
    try {
      session = await source.open(group.sourceNamespace, snapshot);
      const blob = await collect(await session.file(manifestFileName, maxChunkEncodedSize));
      const manifest = decodeManifestBlob(blob);
      const result: EstimatedSnapshot = { step, basis: 'exact', chunks: 0, bytes: 0, metadataBytes: blob.byteLength, reusedChunks: 0, reusedBytes: 0 };
      if (step.action !== 'repair' && (await this.#isThere(group, snapshot, manifest))) return result;
      const ofGroup = step.action === 'repair' ? await this.#parts.target.heldDigests(group.targetNamespace, group.plan.group, snapshot, log) : held;
      for (const file of manifest.files) {
        if (archiveKind(file.filename) === 'blob') result.metadataBytes += file.size;
        else await this.#archive(group, session, manifest, file.filename, ofGroup, result);
      }
      return result;
    } catch (e) {
      throwIfAborted(this.#parts.signal);
      if (!(e instanceof FormatError || e instanceof HttpError)) throw e;
      this.#result.problems.push(`${snapshotText(snapshot)}: ${errorChain(e)}`);
      return listedOnly(step);
    } finally {
      await session?.close();
    }
  }

  async #isThere(group: EstimatedGroup, snapshot: BackupSnapshot, manifest: Manifest): Promise<boolean> {
    const current = await this.#parts.target.manifest(group.targetNamespace, snapshot);
    try {
      return current !== null && sameProtectedContent(decodeManifestBlob(current), manifest);
    } catch (e) {
      if (e instanceof FormatError) return false;
      throw e;
    }
  }

  async #archive(group: EstimatedGroup, session: SnapshotSource, manifest: Manifest, name: string, held: DigestSet, result: EstimatedSnapshot): Promise<void> {
    const { chunkSizes } = this.#parts;
    const bytes = await collect(await session.file(name, largestIndex));
    result.metadataBytes += bytes.byteLength;
    const index = ChunkIndex.parse(archiveKind(name) === 'fixed' ? 'fixed' : 'dynamic', bytes);
    const missing: Array<{ position: number; size: number }> = [];
    const seen = this.#seenBy(group);
    for (let position = 0; position < index.count; position += 1) {
      const entry = index.entry(position);
      if (!seen.add(entry.digest)) continue;
      if (await this.#isReusable(entry, held)) {
        result.reusedChunks += 1;
        result.reusedBytes += entry.end - entry.start;
      } else {
        missing.push({ position, size: entry.end - entry.start });
      }
    }
    if (missing.length === 0) return;
    const sizes = (await chunkSizes?.(group.sourceNamespace, result.step.snapshot, name, missing.map(({ position }) => position))) ?? null;
    const ratio = compressionOf(manifest);
    if (sizes === null && result.basis === 'exact') result.basis = 'ratio';
    missing.forEach(({ size }, i) => {
      result.chunks += 1;
      result.bytes += sizes?.[i] ?? Math.ceil(size * ratio) + blobHeader;
    });
  }

  #seenBy(group: EstimatedGroup): DigestSet {
    const scope = this.#parts.target.sharesChunks === false ? group : null;
    const seen = this.#seen.get(scope) ?? new DigestSet();
    this.#seen.set(scope, seen);
    return seen;
  }

  async #isReusable({ digest }: IndexEntry, held: DigestSet): Promise<boolean> {
    const { source, target, isDelivered } = this.#parts;
    const known = source.holds === undefined ? held.has(digest) || isDelivered(digest) : await source.holds(digest);
    return known && (await target.hasChunk(digest, held));
  }
}

function listedOnly(step: SnapshotStep): EstimatedSnapshot {
  const { snapshot, action } = step;
  const ofFile = (keep: (name: string) => boolean): number => snapshot.files.filter(({ filename }) => keep(filename)).reduce((sum, { size }) => sum + (size ?? 0), 0);
  const isIndex = (name: string): boolean => /\.[fd]idx$/.test(name);
  return {
    step,
    basis: 'listing',
    chunks: 0,
    bytes: action === 'check' ? 0 : ofFile(isIndex),
    metadataBytes: action === 'check' ? 0 : ofFile((name) => !isIndex(name)),
    reusedChunks: 0,
    reusedBytes: 0,
  };
}

/** Encoded by plain bytes of what the client uploaded for this snapshot, which its manifest tells; 1 when it does not. */
function compressionOf(manifest: Manifest): number {
  const statistics = manifest.unprotected['chunk_upload_stats'];
  if (typeof statistics !== 'object' || statistics === null) return 1;
  const { size, compressed_size: compressed } = statistics as Record<string, unknown>;
  if (typeof size !== 'number' || typeof compressed !== 'number' || !(size > 0) || !(compressed > 0)) return 1;
  return Math.min(1, compressed / size);
}

async function collect(data: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of data) parts.push(part);
  return Buffer.concat(parts);
}
