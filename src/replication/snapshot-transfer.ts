import { createHash } from 'node:crypto';
import { bytesEqual } from '../base/bytes.ts';
import { FormatError, HttpError, errorChain } from '../base/errors.ts';
import { forEachLimited, throwIfAborted } from '../base/async.ts';
import { failpoint } from '../base/failpoint.ts';
import { humanSize } from '../base/human-size.ts';
import type { DigestSet } from '../base/digest-set.ts';
import type { ProgressLog } from '../base/log.ts';
import { clientLogFileName, formatBackupTime, manifestFileName, snapshotText } from '../format/backup-path.ts';
import { archiveKind } from '../format/chunk-index.ts';
import { maxBlobPlainSize, maxChunkEncodedSize } from '../format/data-blob.ts';
import { decodeManifestBlob, encodeManifestBlob, sameProtectedContent, verifyState, type Manifest, type ManifestFile } from '../format/manifest.ts';
import type { ChunkTransfer } from './chunk-transfer.ts';
import type { LineRetry } from './line-retry.ts';
import type { SnapshotStep } from './plan.ts';
import type { ReplicationPolicy } from './policy.ts';
import type { ExpectedContent, ReplicationSource, SnapshotSink, SnapshotSource, TargetGroupSession } from './ports.ts';
import type { PossessionJournal } from './possession-journal.ts';
import { isPartlyEncrypted, planDecryption, planEncryption, type RecodingPlan } from './recoding-plan.ts';
import type { RecodingTransfer } from './recoding-transfer.ts';
import type { Recoder } from './recoder.ts';
import type { ReplicationReport } from './report.ts';

/** No index of a sane archive is larger; a source that sends more is cut off. */
const largestIndexFile = 8 * 1024 ** 3;

/** Of a blob that is decoded in memory. */
const maxBlobFileSize = maxBlobPlainSize + 44;

/** Files of one snapshot on their way at a time: a round trip each would otherwise add up. */
const parallelFiles = 8;

export type SnapshotOutcome = 'synced' | 'unchanged' | 'vanished' | 'filtered';

export interface SnapshotTransferParts {
  source: ReplicationSource;
  chunks: ChunkTransfer;
  recoding: RecodingTransfer;
  journal: PossessionJournal;
  retry: LineRetry;
  report: ReplicationReport;
  policy: ReplicationPolicy;
  signal: AbortSignal;
  /** Plain bytes of archives settled. */
  onSettled: (plainBytes: number) => void;
}

export interface SnapshotTask {
  step: SnapshotStep;
  sourceNamespace: string;
  targetNamespace: string;
  group: TargetGroupSession;
  log: ProgressLog;
  /** Digests that the group's newest finished snapshot names; asked for only when an index has to be transferred. */
  heldByGroup: () => Promise<DigestSet | null>;
  /** Resolves when the previous snapshot of the group is published; rejects when it will not be. */
  previous: Promise<unknown>;
}

/** Brings one snapshot over (spec sync 4.4). It appears in the target whole, after the ones before it, or not at all. */
export async function transferSnapshot(parts: SnapshotTransferParts, task: SnapshotTask): Promise<SnapshotOutcome> {
  const { step } = task;
  if (parts.policy.encryptionKey !== undefined && isPartlyEncrypted(step.snapshot)) {
    // Before a session begins: the remote would have to clean up after it while the next one wants in.
    task.log.warn(`skipping snapshot ${formatBackupTime(step.snapshot.time)} - only a part of it is encrypted`);
    await task.previous;
    return 'filtered';
  }
  const sink = await task.group.openSnapshot(step.snapshot);
  try {
    const session = await openSource(parts, task);
    if (session === null) {
      task.log.info(`skipping snapshot ${formatBackupTime(step.snapshot.time)} - vanished since start of sync`);
      await task.previous;
      return 'vanished';
    }
    try {
      return await new SnapshotRun(parts, task, sink, session).run();
    } finally {
      await session.close();
    }
  } finally {
    await sink.close();
  }
}

/** Null when the snapshot was removed at the source since it was listed. */
async function openSource(parts: SnapshotTransferParts, task: SnapshotTask): Promise<SnapshotSource | null> {
  try {
    return await parts.retry.run(snapshotText(task.step.snapshot), () => parts.source.open(task.sourceNamespace, task.step.snapshot));
  } catch (e) {
    if (e instanceof HttpError && e.status === 400 && e.message.endsWith('does not exist.')) return null;
    throw e;
  }
}

class SnapshotRun {
  readonly #parts: SnapshotTransferParts;
  readonly #task: SnapshotTask;
  readonly #sink: SnapshotSink;
  readonly #session: SnapshotSource;
  readonly #time: string;

  constructor(parts: SnapshotTransferParts, task: SnapshotTask, sink: SnapshotSink, session: SnapshotSource) {
    this.#parts = parts;
    this.#task = task;
    this.#sink = sink;
    this.#session = session;
    this.#time = formatBackupTime(task.step.snapshot.time);
  }

  async run(): Promise<SnapshotOutcome> {
    const { step, log, previous } = this.#task;
    const { report } = this.#parts;
    log.info(step.action === 'new' || step.action === 'fill' ? `${this.#time}: start sync` : `re-sync snapshot ${this.#time}${step.action === 'repair' ? ' (the copy is corrupt)' : ''}`);

    const manifestBlob = await this.#fetchManifest();
    if (manifestBlob === null) {
      log.info(`skipping snapshot ${this.#time} - vanished since start of sync`);
      await previous;
      return 'vanished';
    }
    const currentBlob = await this.#sink.currentManifest();
    if (step.action !== 'repair' && currentBlob !== null && bytesEqual(currentBlob, manifestBlob)) {
      await this.#fetchClientLog(null);
      log.info(`${this.#time}: no data changes`);
      await previous;
      this.#recordArrival(decodeManifestBlob(manifestBlob));
      report.unchangedSnapshots += 1;
      return 'unchanged';
    }

    const manifest = this.#checkedManifest(manifestBlob);
    const refused = this.#refusal(manifest);
    if (refused !== null) {
      log.info(`skipping snapshot ${this.#time} - ${refused}`);
      await previous;
      return 'filtered';
    }

    const current = step.action === 'repair' || currentBlob === null ? null : decodeManifestBlob(currentBlob);
    const plan = this.#recodingPlan(manifest, current);
    if (plan.kind === 'skip') {
      log.warn(`skipping snapshot ${this.#time} - ${plan.note}`);
      await previous;
      return 'filtered';
    }
    if (plan.kind === 'unchanged') {
      await this.#fetchClientLog(plan.recoder);
      log.info(`${this.#time}: no data changes`);
      await previous;
      this.#recordArrival(manifest);
      report.unchangedSnapshots += 1;
      return 'unchanged';
    }
    const staged: string[] = [];
    let toStore = (): Buffer => this.#manifestToStore(manifestBlob, manifest, current);
    if (plan.kind === 'recode') {
      const files = await this.#transferRecoded(manifest, plan.recoder);
      staged.push(...files.map((file) => file.filename));
      toStore = () => encodeManifestBlob(plan.manifest(files));
    } else if (current === null || !sameProtectedContent(current, manifest)) {
      await forEachLimited(manifest.files, parallelFiles, async (file) => {
        if (await this.#transferFile(file)) staged.push(file.filename);
      });
    }
    // Before the manifest: a target over a line takes nothing once the snapshot is finished.
    await this.#fetchClientLog(plan.kind === 'recode' ? plan.recoder : null);
    failpoint('replication.before-publish');
    await previous;
    throwIfAborted(this.#parts.signal);
    await forEachLimited(staged, parallelFiles, (filename) => this.#sink.commitFile(filename));
    await this.#sink.publish(toStore(), manifest.files.map((file) => file.filename));
    failpoint('replication.after-publish');
    this.#recordArrival(manifest);
    report.snapshots += 1;
    log.info(`${this.#time}: sync done`);
    return 'synced';
  }

  async #fetchManifest(): Promise<Buffer | null> {
    try {
      return await this.#parts.retry.run(`${this.#time}/${manifestFileName}`, async () => collect(await this.#session.file(manifestFileName, maxChunkEncodedSize)));
    } catch (e) {
      if (e instanceof HttpError && e.status === 404) return null;
      throw e;
    }
  }

  /** A source that answers with another snapshot's manifest must not get it stored under this name. */
  #checkedManifest(blob: Buffer): Manifest {
    const manifest = decodeManifestBlob(blob);
    const { snapshot } = this.#task.step;
    if (manifest.backupType !== snapshot.type || manifest.backupId !== snapshot.id || manifest.backupTime !== snapshot.time) {
      throw new FormatError('format.manifest', `the source's manifest of ${snapshotText(snapshot)} is that of ${manifest.backupType}/${manifest.backupId} at ${manifest.backupTime}`);
    }
    const names = new Set(manifest.files.map((file) => file.filename));
    if (names.size !== manifest.files.length) throw new FormatError('format.manifest', `the source's manifest of ${snapshotText(snapshot)} names a file twice`);
    if (names.has(manifestFileName) || names.has(clientLogFileName)) throw new FormatError('format.manifest', `the source's manifest of ${snapshotText(snapshot)} names a reserved file`);
    return manifest;
  }

  #refusal(manifest: Manifest): string | null {
    const { policy } = this.#parts;
    if (policy.verifiedOnly && verifyState(manifest)?.state !== 'ok') return 'not verified';
    if (policy.encryptedOnly && !manifest.files.every((file) => file.cryptMode === 'encrypt')) return 'not encrypted';
    return null;
  }

  #recodingPlan(manifest: Manifest, current: Manifest | null): RecodingPlan {
    const { decryptionKeys = [], encryptionKey } = this.#parts.policy;
    const plan = encryptionKey === undefined ? planDecryption(manifest, current, decryptionKeys) : planEncryption(manifest, current, encryptionKey, decryptionKeys);
    if (plan.kind === 'plain' && plan.note !== undefined) this.#task.log[plan.warning === true ? 'warn' : 'info'](`${this.#time}: ${plan.note}`);
    return plan;
  }

  /** All files in their new form, staged with all their chunks; their entries in the new manifest, in its order. What is there already cannot be compared: it is made again. */
  async #transferRecoded(manifest: Manifest, recoder: Recoder): Promise<ManifestFile[]> {
    this.#task.log.info(`${this.#time}: ${recoder.sourceEncrypted ? 'decrypting' : 'encrypting'} ${manifest.files.length} archives`);
    const files = new Map<string, ManifestFile>();
    await forEachLimited(manifest.files, parallelFiles, async (file) => {
      const content = archiveKind(file.filename) === 'blob' ? await this.#transferRecodedBlob(file, recoder) : await this.#transferRecodedIndex(file, recoder);
      files.set(file.filename, { ...file, ...content, cryptMode: recoder.sourceEncrypted ? 'none' : 'encrypt' });
    });
    return manifest.files.map((file) => files.get(file.filename)!);
  }

  async #transferRecodedBlob(file: ManifestFile, recoder: Recoder): Promise<ExpectedContent> {
    const name = `${this.#time}/${file.filename}`;
    this.#task.log.info(`${name}: sync archive`);
    const source = await this.#parts.retry.run(name, async () => checkedBlob(await collect(await this.#archive(file.filename, maxBlobFileSize)), file));
    const blob = await recoder.blob(source);
    const content = { size: blob.byteLength, csum: createHash('sha256').update(blob).digest('hex') };
    await this.#sink.stageBlob(file.filename, once(blob), content);
    this.#parts.onSettled(file.size);
    return content;
  }

  async #transferRecodedIndex(file: ManifestFile, recoder: Recoder): Promise<ExpectedContent> {
    const { retry, recoding, onSettled } = this.#parts;
    const name = `${this.#time}/${file.filename}`;
    this.#task.log.info(`${name}: sync archive`);
    const source = await retry.run(name, async () => {
      const data = await this.#archive(file.filename, largestIndexFile);
      return this.#sink.stageSourceIndex?.(file.filename, data, file) ?? this.#sink.stageIndex(file.filename, data, file);
    });
    const startedMs = performance.now();
    const into = this.#sink.chunksOf?.(file.filename);
    const recoded = await (into === undefined ? recoding : recoding.into(into)).transfer(this.#session, source, { archive: file.filename, recoder, repair: this.#task.step.action === 'repair', onSettled });
    await this.#sink.stageIndex(file.filename, recoded.file(), recoded.content);
    this.#logTransfer(name, recoded.result.fetchedBytes, startedMs);
    return recoded.content;
  }

  #logTransfer(name: string, fetchedBytes: number, startedMs: number): void {
    const seconds = (performance.now() - startedMs) / 1000;
    this.#task.log.info(`${name}: downloaded ${humanSize(fetchedBytes)} (${humanSize(seconds > 0 ? fetchedBytes / seconds : 0)}/s)`);
  }

  /** False when the file is there already; true when it is stored under a temporary name with all its chunks. */
  async #transferFile(file: ManifestFile): Promise<boolean> {
    const { retry } = this.#parts;
    const { log, step } = this.#task;
    const name = `${this.#time}/${file.filename}`;
    const expected = { size: file.size, csum: file.csum };
    if (step.action !== 'repair' && (await this.#sink.hasFile(file.filename, expected))) {
      this.#parts.onSettled(file.size);
      return false;
    }
    log.info(`${name}: sync archive`);
    if (archiveKind(file.filename) === 'blob') {
      const limit = Math.max(maxChunkEncodedSize, file.size);
      await retry.run(name, async () => this.#sink.stageBlob(file.filename, await this.#archive(file.filename, limit), expected));
      this.#parts.onSettled(file.size);
      return true;
    }
    const index = await retry.run(name, async () => this.#sink.stageIndex(file.filename, await this.#archive(file.filename, largestIndexFile), expected));
    const startedMs = performance.now();
    const into = this.#sink.chunksOf?.(file.filename);
    const chunks = into === undefined ? this.#parts.chunks : this.#parts.chunks.into(into);
    const result = await chunks.transfer(this.#session, index, {
      archive: file.filename,
      encrypted: file.cryptMode === 'encrypt',
      repair: step.action === 'repair',
      heldByGroup: await this.#task.heldByGroup(),
      onSettled: this.#parts.onSettled,
    });
    this.#logTransfer(name, result.fetchedBytes, startedMs);
    return true;
  }

  async #archive(filename: string, maxBytes: number): Promise<AsyncIterable<Buffer>> {
    try {
      return await this.#session.file(filename, maxBytes);
    } catch (e) {
      if (e instanceof HttpError && e.status === 404) throw new FormatError('format.archive-missing', `archive ${filename} is missing at the source`, { cause: e });
      throw e;
    }
  }

  /**
   * The source's bytes, unless this copy was verified here since it arrived: then the source's notes and other unprotected members are
   * taken over, the verify state is ours.
   */
  #manifestToStore(blob: Buffer, manifest: Manifest, current: Manifest | null): Buffer {
    const own = current === null ? null : verifyState(current);
    if (current === null || own === null || !sameProtectedContent(current, manifest)) return blob;
    const arrival = this.#parts.journal.arrival(this.#task.targetNamespace, this.#task.step.snapshot);
    if (arrival === null || arrival.verification === own.upid || verifyState(manifest)?.upid === own.upid) return blob;
    return encodeManifestBlob({ ...manifest, unprotected: { ...manifest.unprotected, verify_state: current.unprotected['verify_state'] } });
  }

  /** Missing at the source is normal; it may also come later, so it is asked for whenever the listing shows it. */
  async #fetchClientLog(recoder: Recoder | null): Promise<void> {
    const { step, log } = this.#task;
    if (!step.snapshot.files.some((file) => file.filename === clientLogFileName)) return;
    if (await this.#sink.hasFile(clientLogFileName, null)) return;
    try {
      await this.#parts.retry.run(`${this.#time}/${clientLogFileName}`, async () => {
        const data = await this.#session.file(clientLogFileName, maxChunkEncodedSize);
        await this.#sink.stageBlob(clientLogFileName, recoder === null ? data : once(await recoder.blob(await collect(data))), null);
      });
      await this.#sink.commitFile(clientLogFileName);
      log.info(`Snapshot ${snapshotText(step.snapshot)}: got backup log file ${clientLogFileName}`);
    } catch (e) {
      if (e instanceof HttpError && e.status === 404) return;
      if (recoder === null || !(e instanceof FormatError)) throw e;
      // Nothing vouches for the log, and everything else is there.
      log.warn(`Snapshot ${snapshotText(step.snapshot)}: the backup log is left out, it cannot be decrypted - ${errorChain(e)}`);
    }
  }

  #recordArrival(manifest: Manifest): void {
    const { snapshot } = this.#task.step;
    this.#parts.journal.recordArrival(this.#task.targetNamespace, snapshot, {
      listing: snapshot.fingerprint,
      verification: verifyState(manifest)?.upid ?? null,
    });
  }
}

async function collect(data: AsyncIterable<Buffer>): Promise<Buffer> {
  const parts: Buffer[] = [];
  for await (const part of data) parts.push(part);
  return Buffer.concat(parts);
}


async function* once(bytes: Buffer): AsyncGenerator<Buffer, void> {
  yield bytes;
}

/** A blob of the source as its manifest has it; FormatError otherwise. */
function checkedBlob(bytes: Buffer, file: ManifestFile): Buffer {
  if (bytes.byteLength !== file.size) throw new FormatError('format.size', `${file.filename}: the source sent ${bytes.byteLength} bytes, its manifest says ${file.size}`);
  if (createHash('sha256').update(bytes).digest('hex') !== file.csum) throw new FormatError('format.csum', `${file.filename}: the source sent content that does not match its manifest`);
  return bytes;
}
