import assert from 'node:assert/strict';
import type { AccessControl } from '../access/access-control.ts';
import { missingSection } from '../config/missing-section.ts';
import type { PruneJob, PruneJobTable } from '../config/job-config.ts';
import { keepOptionNames, type KeepOptions } from '../datastore/prune.ts';
import { pruneGroup, pruneNamespaces, type PruneResultItem } from '../datastore/prune-run.ts';
import { groupText, type BackupGroup } from '../format/backup-path.ts';
import { noNotices, type JobNotices } from '../notify/job-notices.ts';
import { startJob, type JobGround } from '../schedule/job-run.ts';
import { processTimeZone } from '../schedule/local-time.ts';
import type { JobSource } from '../schedule/scheduler.ts';
import type { StartedTask, TaskContext } from '../schedule/worker-task.ts';
import type { DatastoreLease, Datastores } from './datastores.ts';
import { configuredJobs, lockWaitMs, type Trigger } from './job-start.ts';
import { startInDatastore } from './leased-task.ts';
import { walkAccess } from './walk-access.ts';

const jobType = 'prunejob';

export interface PruneRunParts {
  datastores: Datastores;
  access: AccessControl;
  jobs: PruneJobTable;
  ground: JobGround;
  /** Default: nobody is told. */
  notices?: JobNotices;
  /** IANA name; default: the process's. */
  timeZone?: string;
}

export interface NamespacePrune {
  store: string;
  namespace: string;
  maxDepth?: number | undefined;
  keep: KeepOptions;
  dryRun?: boolean | undefined;
}

/** The keep options among other properties. */
export function keepOptionsOf(from: KeepOptions): KeepOptions {
  return Object.fromEntries(keepOptionNames.filter((name) => from[name] !== undefined).map((name) => [name, from[name]]));
}

/** Starts prunes as worker tasks (spec retention 3, server 6). Permissions of a whole call are checked by the caller, those of each namespace here. */
export class PruneRuns {
  readonly #parts: PruneRunParts;
  readonly #timeZone: string;

  constructor(parts: PruneRunParts) {
    this.#parts = parts;
    this.#timeZone = parts.timeZone ?? processTimeZone();
  }

  /** Runs a configured job by hand, also a disabled one; the UPID. ConfigError `no such prune 'x'`. */
  async runJob(id: string, authId: string, options: { dryRun?: boolean } = {}): Promise<string> {
    const job = this.#parts.jobs.find(id);
    if (job === undefined) throw missingSection('prune', id);
    // Not as a run of the job: its state must not say that something was pruned.
    if (options.dryRun === true) return this.namespaces({ store: job.store, namespace: job.ns ?? '', maxDepth: job['max-depth'], keep: keepOptionsOf(job), dryRun: true }, authId);
    return (await this.#startJob(job, { authId })).upid;
  }

  /** What the scheduler asks at each pass. */
  jobSource(): JobSource {
    return configuredJobs(jobType, () => this.#parts.jobs.list().records, (job, trigger) => this.#startJob(job, trigger));
  }

  /** Prunes the groups of a namespace and below that `authId` may prune (spec retention 3.2); the UPID. */
  async namespaces(prune: NamespacePrune, authId: string): Promise<string> {
    const task = await startInDatastore(this.#parts.datastores, prune.store, 'write', (lease) =>
      this.#parts.ground.tasks.start({ workerType: 'prune', workerId: `${prune.store}:${prune.namespace}`, authId }, (context) => this.#prune(lease, prune, authId, context)),
    );
    return task.upid;
  }

  /** Prunes one group as a task; what was decided is there when it has ended (spec retention 3.1). */
  async group(store: string, namespace: string, group: BackupGroup, keep: KeepOptions, authId: string): Promise<{ task: StartedTask; decisions: () => PruneResultItem[] }> {
    let decided: PruneResultItem[] | null = null;
    const task = await startInDatastore(this.#parts.datastores, store, 'write', (lease) =>
      this.#parts.ground.tasks.start({ workerType: 'prune', workerId: `${store}:${namespace}:${groupText(group)}`, authId }, async ({ log, signal }) => {
        decided = await pruneGroup(lease.store, namespace, group, { keep, timeZone: this.#timeZone, log, signal });
      }),
    );
    return {
      task,
      decisions: () => {
        assert.ok(decided !== null, 'the task has ended well');
        return decided;
      },
    };
  }

  /** What a prune of the group would do now. */
  async preview(store: string, namespace: string, group: BackupGroup, keep: KeepOptions): Promise<PruneResultItem[]> {
    return this.#parts.datastores.use(store, 'write', (open) => pruneGroup(open, namespace, group, { keep, timeZone: this.#timeZone, dryRun: true, log: this.#parts.ground.log }));
  }

  async #startJob(job: PruneJob, trigger: Trigger): Promise<StartedTask> {
    const namespace = job.ns ?? '';
    const { authId, schedule } = trigger;
    return startInDatastore(this.#parts.datastores, job.store, 'write', (lease) =>
      startJob(this.#parts.ground, {
        job: { jobType, id: job.id },
        task: { workerType: jobType, workerId: namespace === '' ? job.store : `${job.store}:${namespace}`, authId },
        intro: `prune job '${job.id}'`,
        ...(schedule === undefined ? {} : { schedule }),
        waitMs: lockWaitMs(trigger),
        onEnd: (upid, result) => (this.#parts.notices ?? noNotices).pruned({ store: job.store, upid, result }, job.id),
        body: (context) => this.#prune(lease, { store: job.store, namespace, maxDepth: job['max-depth'], keep: keepOptionsOf(job) }, authId, context),
      }),
    );
  }

  async #prune(lease: DatastoreLease, prune: NamespacePrune, authId: string, { log, signal }: TaskContext): Promise<void> {
    const access = walkAccess(this.#parts.access, authId, prune.store, { override: ['Datastore.Modify'], owner: 'Datastore.Prune' });
    await pruneNamespaces(lease.store, { namespace: prune.namespace, maxDepth: prune.maxDepth, access }, { keep: prune.keep, timeZone: this.#timeZone, dryRun: prune.dryRun ?? false, log, signal });
  }
}
