import { Semaphore, throwIfAborted } from '../base/async.ts';
import { systemClock, type Clock } from '../base/clock.ts';
import { AbortedError, FarshoreError, errorChain, toError } from '../base/errors.ts';
import type { DigestSet } from '../base/digest-set.ts';
import type { ProgressLog } from '../base/log.ts';
import { Progress } from '../base/progress.ts';
import { groupText } from '../format/backup-path.ts';
import { ChunkTransfer } from './chunk-transfer.ts';
import { FlightControl } from './flight-control.ts';
import { isFatalForJob, transferGroup, type GroupTransferParts } from './group-transfer.ts';
import { LineRetry, type RetryPolicy } from './line-retry.ts';
import { mapNamespaces } from './namespace-mapping.ts';
import { planNamespace, type GroupPlan, type NamespacePlan } from './plan.ts';
import type { ReplicationPolicy, TargetPermissions } from './policy.ts';
import type { ReplicationSource, ReplicationTarget, SourceNamespace } from './ports.ts';
import type { PossessionJournal } from './possession-journal.ts';
import { RecodingTransfer } from './recoding-transfer.ts';
import { ReplicationReport } from './report.ts';
import { removeVanishedGroups, removeVanishedNamespaces } from './vanished.ts';

/** Groups at a time where the job does not say; they mostly wait for the line. */
const defaultParallelGroups = 24;
/** Snapshots open at a time in a job; a session and a connection each. */
const defaultParallelSnapshots = 24;
/** Namespaces whose listing is asked for ahead of the one being worked on. */
const listedAhead = 8;
/** Progress lines come after one second, then ever more rarely, at last every ten seconds. */
const firstProgressMs = 1000;
const progressEveryMs = 10_000;

export interface ReplicationJob {
  source: ReplicationSource;
  target: ReplicationTarget;
  policy: ReplicationPolicy;
  journal: PossessionJournal;
  /** Chunks of an adopted copy that this source made (adopted-copies.ts). */
  adopted?: DigestSet | null | undefined;
  permissions: TargetPermissions;
  /** Under way beside the first listings; what it rejects with ends the run before anything is written. */
  admission?: Promise<void>;
  log: ProgressLog;
  signal: AbortSignal;
  flight?: FlightControl;
  /** Snapshots open at a time, over all groups. */
  parallelSnapshots?: number | undefined;
  retry?: RetryPolicy;
  clock?: Clock;
  /** Told when nothing more happens, however the run ends. */
  onEnd?: (report: ReplicationReport) => void;
}

/**
 * Runs a job to its end (spec sync 4.1). Goes on past the errors of single namespaces and groups, collects them, and throws
 * FarshoreError `sync.errors` at the end. A full disk, a target that cannot be written, or an abort ends it at once.
 */
export async function replicate(job: ReplicationJob): Promise<ReplicationReport> {
  const run = new ReplicationRun(job);
  return run.run();
}

class ReplicationRun {
  readonly #job: ReplicationJob;
  readonly #clock: Clock;
  readonly #report: ReplicationReport;
  readonly #progress: Progress;
  readonly #parts: GroupTransferParts;
  readonly #groupSlots: Semaphore;
  readonly #fatal = new AbortController();
  #fatalError: Error | undefined;
  #listedGroups = 0;
  #selectedGroups = 0;
  #totalBytes = 0;
  #settledBytes = 0;
  #lastProgressMs: number;
  #progressGapMs = firstProgressMs;

  constructor(job: ReplicationJob) {
    this.#job = job;
    this.#clock = job.clock ?? systemClock;
    this.#report = new ReplicationReport(this.#clock, job.target.line === undefined ? 'pull' : 'push');
    this.#progress = new Progress(this.#clock);
    this.#lastProgressMs = this.#clock.now();
    this.#groupSlots = new Semaphore(job.policy.workerThreads ?? defaultParallelGroups);
    const signal = AbortSignal.any([job.signal, this.#fatal.signal]);
    const retry = new LineRetry(job.log, signal, job.retry);
    const flight = job.flight ?? new FlightControl(this.#clock);
    const shared = { source: job.source, target: job.target, journal: job.journal, retry, report: this.#report, signal };
    this.#parts = {
      ...shared,
      policy: job.policy,
      chunks: new ChunkTransfer({ ...shared, flight, adopted: job.adopted }),
      recoding: new RecodingTransfer({ ...shared, flight, adopted: job.adopted }),
      snapshotSlots: new Semaphore(job.parallelSnapshots ?? defaultParallelSnapshots),
      onSettled: (bytes) => this.#onSettled(bytes),
      onSnapshotDone: (plan, done, total) => this.#onSnapshotDone(plan, done, total),
    };
  }

  async run(): Promise<ReplicationReport> {
    // Something else may fail first.
    this.#job.admission?.catch(() => {});
    try {
      return await this.#run();
    } catch (e) {
      this.#job.log.info(this.#report.kept(this.#job.journal.usable));
      throw e;
    }
  }

  async #run(): Promise<ReplicationReport> {
    const { log, target, policy, source } = this.#job;
    const { retry } = this.#parts;
    const lease = await target.begin();
    try {
      const listing = await retry.run('namespaces', () => source.namespaces(policy.maxDepth));
      const mapping = mapNamespaces(listing.namespaces, policy);
      if (listing.withoutNamespaces) {
        log.warn('the source does not know namespaces: only the root namespace is synced, and the job counts as failed');
        this.#report.errors.push('could not sync namespaces');
      }
      const synced = await this.#syncNamespaces(mapping);
      if (this.#fatalError !== undefined) throw this.#fatalError;
      throwIfAborted(this.#job.signal);
      await this.#job.admission;
      if (policy.removeVanished && !listing.withoutNamespaces) {
        for (const { to } of mapNamespaces(listing.hidden ?? [], policy)) synced.add(to);
        await removeVanishedNamespaces({ target, policy, permissions: this.#job.permissions, report: this.#report, log, synced, listedGroups: this.#listedGroups });
      }
      this.#report.complete = true;
    } finally {
      await this.#flush();
      await lease.end();
      this.#report.end();
      this.#job.onEnd?.(this.#report);
    }
    if (this.#selectedGroups === 0 && this.#listedGroups > 0) log.info(`None of the ${this.#listedGroups} groups at the source is selected by the group filters: ${policy.groupFilters.map(({ text }) => text).join(', ')}`);
    for (const line of this.#report.summary()) log.info(line);
    if (this.#report.errors.length > 0) {
      throw new FarshoreError('sync.errors', `sync failed with some errors: ${this.#report.errors.slice(0, 3).join('; ')}${this.#report.errors.length > 3 ? `; and ${this.#report.errors.length - 3} more` : ''}`);
    }
    return this.#report;
  }

  /** Works through the namespaces in order; their listings are asked for ahead. Returns the target namespaces that exist at the source. */
  async #syncNamespaces(mapping: Array<{ from: string; to: string }>): Promise<Set<string>> {
    const listings = mapping.map((): Promise<SourceNamespace> | null => null);
    const synced = new Set<string>();
    const running: Array<Promise<void>> = [];
    let started = 0;
    for (const [position, { from, to }] of mapping.entries()) {
      for (; started < Math.min(mapping.length, position + listedAhead); started += 1) {
        const name = mapping[started]!.from;
        const listing = this.#parts.retry.run(`namespace '${name}'`, () => this.#job.source.list(name));
        listing.catch(() => {});
        listings[started] = listing;
      }
      await this.#job.admission;
      if (this.#parts.signal.aborted) break;
      synced.add(to);
      const listing = listings[position]!;
      listings[position] = null;
      const one = this.#syncNamespace(from, to, listing);
      // Creating the namespace and planning happen in order; the transfer of groups goes on while the next namespace begins.
      running.push((await one).transfer);
    }
    await Promise.all(running);
    return synced;
  }

  async #syncNamespace(from: string, to: string, listing: Promise<SourceNamespace>): Promise<{ transfer: Promise<void> }> {
    const { log, source, target, policy, journal } = this.#job;
    const label = (namespace: string): string => (namespace === '' ? 'root namespace' : `namespace '${namespace}'`);
    try {
      log.info('----');
      log.info(`Syncing datastore '${source.label.slice(source.label.indexOf('/') + 1)}', ${label(from)} into datastore '${target.label}', ${label(to)}`);
      await this.#ensureNamespace(to);
      const listed = await listing;
      const groups = await target.groups(to, { lookForCorrupt: policy.resyncCorrupt || policy.backfill !== undefined });
      const plan = planNamespace(listed, groups, policy, (snapshot) => journal.isUnchanged(to, snapshot, snapshot.fingerprint), policy.backfill?.(to));
      log.info(`Found ${plan.groups.length} groups to sync (out of ${plan.totalGroups} total)`);
      this.#selectedGroups += plan.groups.length;
      this.#listedGroups += plan.totalGroups;
      for (const group of plan.groups) for (const step of group.steps) this.#totalBytes += step.snapshot.size ?? 0;
      return { transfer: this.#syncGroups(from, to, listed, groups.length, plan) };
    } catch (e) {
      this.#failed(`sync of ${label(to)} failed`, e);
      return { transfer: Promise.resolve() };
    }
  }

  async #ensureNamespace(namespace: string): Promise<void> {
    const { target, permissions, log } = this.#job;
    if (!(await target.namespaceExists(namespace))) {
      refuse(permissions.createNamespace(namespace));
      await target.createNamespace(namespace);
      log.info(`Created namespace ${namespace}`);
    }
    refuse(permissions.write(namespace));
  }

  async #syncGroups(from: string, to: string, listed: SourceNamespace, targetGroups: number, plan: NamespacePlan): Promise<void> {
    const { log, policy } = this.#job;
    const snapshots = Map.groupBy(listed.snapshots, groupText);
    const running: Array<Promise<void>> = [];
    for (const groupPlan of plan.groups) {
      await this.#groupSlots.acquire();
      if (this.#parts.signal.aborted) {
        this.#groupSlots.release();
        break;
      }
      const task = { plan: groupPlan, sourceSnapshots: snapshots.get(groupText(groupPlan.group)) ?? [], sourceNamespace: from, targetNamespace: to, log };
      running.push(
        transferGroup(this.#parts, task)
          .then(() => {
            this.#report.groups += 1;
          })
          .catch((e: unknown) => {
            this.#report.failedGroups += 1;
            this.#failed(`sync of group ${groupText(groupPlan.group)} failed`, e);
          })
          .finally(() => this.#groupSlots.release()),
      );
    }
    await Promise.all(running);
    if (this.#parts.signal.aborted) return;
    if (policy.removeVanished) {
      try {
        await removeVanishedGroups({ target: this.#job.target, journal: this.#job.journal, report: this.#report, log, namespace: to, plan, targetGroups, hidden: listed.hidden ?? [] });
      } catch (e) {
        this.#failed(`removing vanished groups of namespace '${to}' failed`, e);
      }
    }
    log.info(`Finished syncing ${from === '' ? 'root namespace' : `namespace ${from}`}, current progress: ${this.#report.groups} groups, ${this.#report.snapshots} snapshots`);
  }

  /** The run goes on past this, unless nothing else can succeed either. */
  #failed(what: string, e: unknown): void {
    if (this.#fatalError !== undefined) return;
    if (isFatalForJob(e)) {
      if (!(e instanceof AbortedError)) this.#job.log.error(`${what} - ${errorChain(e)}`);
      this.#fatalError = toError(e);
      this.#fatal.abort(e);
      return;
    }
    const text = `${what} - ${errorChain(e)}`;
    if (e instanceof FarshoreError && e.code === 'sync.skipped') {
      this.#job.log.warn(errorChain(e));
      return;
    }
    this.#job.log.error(text);
    if (e instanceof FarshoreError && e.hint !== undefined) this.#job.log.info(`Mend it with: ${e.hint}`);
    this.#report.errors.push(text);
  }

  #onSettled(plainBytes: number): void {
    this.#settledBytes += plainBytes;
    const now = this.#clock.now();
    this.#progress.update(Math.min(this.#settledBytes, this.#totalBytes), this.#totalBytes);
    if (now - this.#lastProgressMs < this.#progressGapMs) return;
    this.#lastProgressMs = now;
    this.#progressGapMs = Math.min(progressEveryMs, this.#progressGapMs * 2);
    this.#job.log.info(`progress: ${this.#progress.text()}`);
  }

  #onSnapshotDone(plan: GroupPlan, done: number, total: number): void {
    this.#job.log.info(`[${groupText(plan.group)}]: percentage done: ${((done / total) * 100).toFixed(2)}% (${done}/${total} snapshots)`);
  }

  /** Makes what has arrived durable and tells the journal so. */
  async #flush(): Promise<void> {
    const epoch = this.#job.journal.beginFlush();
    await this.#job.target.flush();
    this.#job.journal.flushed(epoch);
  }
}

function refuse(reason: string | null): void {
  if (reason !== null) throw new FarshoreError('sync.permission', reason);
}
