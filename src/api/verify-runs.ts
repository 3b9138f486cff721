import type { AccessControl } from '../access/access-control.ts';
import { namespaceAclPath } from '../access/datastore-access.ts';
import { AbortedError } from '../base/errors.ts';
import { missingSection } from '../config/missing-section.ts';
import type { VerifyJob, VerifyJobTable } from '../config/job-config.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { verifyGroup, verifyNamespaces, verifySnapshot, type VerifyOptions } from '../datastore/verify.ts';
import { groupText, namespacePath, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { noNotices, type JobNotices } from '../notify/job-notices.ts';
import { startJob, type JobGround } from '../schedule/job-run.ts';
import type { JobSource } from '../schedule/scheduler.ts';
import type { StartedTask, TaskContext } from '../schedule/worker-task.ts';
import type { Datastores } from './datastores.ts';
import { configuredJobs, lockWaitMs, type Trigger } from './job-start.ts';
import { startInDatastore } from './leased-task.ts';
import { walkAccess } from './walk-access.ts';
import { snapshotWorkerId } from './worker-id.ts';

const jobType = 'verificationjob';

/**
 * Whether the verify state with this `upid` came with a copy of the snapshot: then it says nothing of the chunks that are here.
 */
export type ForeignVerification = (store: string, namespace: string, snapshot: BackupSnapshot, upid: string) => boolean;

export interface VerifyRunParts {
  datastores: Datastores;
  access: AccessControl;
  jobs: VerifyJobTable;
  ground: JobGround;
  isForeignVerification: ForeignVerification;
  /** Default: nobody is told. */
  notices?: JobNotices;
}

/** What to verify: a namespace and below, one group, or one snapshot. */
export type VerifyTarget = { namespace: string } & ({ kind: 'namespaces'; maxDepth?: number | undefined } | { kind: 'group'; group: BackupGroup } | { kind: 'snapshot'; snapshot: BackupSnapshot });

export type VerifyChoices = Pick<VerifyOptions, 'ignoreVerified' | 'outdatedAfter' | 'readThreads' | 'verifyThreads'>;

/** Starts verifications as worker tasks (spec retention 6, server 6). Permissions of the call are checked by the caller. */
export class VerifyRuns {
  readonly #parts: VerifyRunParts;

  constructor(parts: VerifyRunParts) {
    this.#parts = parts;
  }

  /** Runs a configured job by hand; the UPID. ConfigError `no such verification 'x'`. */
  async runJob(id: string, authId: string): Promise<string> {
    const job = this.#parts.jobs.find(id);
    if (job === undefined) throw missingSection('verification', id);
    return (await this.#startJob(job, { authId })).upid;
  }

  /** What the scheduler asks at each pass. */
  jobSource(): JobSource {
    return configuredJobs(jobType, () => this.#parts.jobs.list().records, (job, trigger) => this.#startJob(job, trigger));
  }

  /** `POST verify`; the UPID. Without Datastore.Verify on the namespace only own groups are visited. */
  async start(store: string, target: VerifyTarget, choices: VerifyChoices, authId: string): Promise<string> {
    const task = await startInDatastore(this.#parts.datastores, store, 'read', (lease) =>
      this.#parts.ground.tasks.start({ ...taskName(store, target), authId }, (context) => this.#verify(lease.store, target, choices, authId, context)),
    );
    return task.upid;
  }

  /** Verifies a snapshot that a backup has just made (spec server 16). `store.locked` and the like are the task's error. */
  async startNew(store: string, namespace: string, snapshot: BackupSnapshot, authId: string): Promise<StartedTask> {
    return startInDatastore(this.#parts.datastores, store, 'write', (lease) =>
      this.#parts.ground.tasks.start({ workerType: 'verify', workerId: `${store}:${snapshotWorkerId(snapshot)}`, authId }, async (context) => {
        context.log.info('Automatically verifying newly added snapshot');
        await verifySnapshot(lease.store, namespace, snapshot, this.#options(store, { ignoreVerified: false }, context));
      }),
    );
  }

  async #startJob(job: VerifyJob, trigger: Trigger): Promise<StartedTask> {
    const { authId, schedule } = trigger;
    const workerId = `${job.store}:${job.id}`;
    let failed: readonly string[] = [];
    let aborted = false;
    return startInDatastore(this.#parts.datastores, job.store, 'read', (lease) =>
      startJob(this.#parts.ground, {
        job: { jobType, id: job.id },
        task: { workerType: jobType, workerId, authId },
        intro: `Starting datastore verify job '${workerId}'`,
        ...(schedule === undefined ? {} : { schedule }),
        waitMs: lockWaitMs(trigger),
        onEnd: (upid, result) => (this.#parts.notices ?? noNotices).verified({ store: job.store, upid, result }, job.id, { failed, aborted: aborted && result.state === 'Error' }),
        body: async (context) => {
          const choices = { ignoreVerified: job['ignore-verified'], outdatedAfter: job['outdated-after'], readThreads: job['read-threads'], verifyThreads: job['verify-threads'] };
          try {
            const options = { ...this.#options(job.store, choices, context), onFailed: (failures: readonly string[]) => void (failed = failures) };
            await verifyNamespaces(lease.store, { namespace: job.ns ?? '', maxDepth: job['max-depth'] }, options);
          } catch (e) {
            aborted = e instanceof AbortedError;
            // Without its cause: the text is what notifications and people look for.
            throw e instanceof AbortedError ? new AbortedError('verification failed - job aborted') : e;
          }
        },
      }),
    );
  }

  async #verify(store: Datastore, target: VerifyTarget, choices: VerifyChoices, authId: string, context: TaskContext): Promise<void> {
    const options = this.#options(store.name, choices, context);
    const { access } = this.#parts;
    switch (target.kind) {
      case 'snapshot':
        await verifySnapshot(store, target.namespace, target.snapshot, options);
        return;
      case 'group':
        await verifyGroup(store, target.namespace, target.group, options);
        return;
      case 'namespaces': {
        const walk = { namespace: target.namespace, maxDepth: target.maxDepth };
        if (access.check(authId, namespaceAclPath(store.name, target.namespace), ['Datastore.Verify'])) {
          await verifyNamespaces(store, walk, options);
          return;
        }
        const own = walkAccess(access, authId, store.name, { override: ['Datastore.Verify'], owner: 'Datastore.Backup' });
        await verifyNamespaces(store, { ...walk, access: own }, { ...options, limitedTo: authId });
      }
    }
  }

  #options(store: string, choices: VerifyChoices, { upid, log, signal }: TaskContext): VerifyOptions {
    const { isForeignVerification } = this.#parts;
    return { ...choices, upid, log, signal, isForeign: (namespace, snapshot, verifiedBy) => isForeignVerification(store, namespace, snapshot, verifiedBy) };
  }
}

function taskName(store: string, target: VerifyTarget): { workerType: string; workerId: string } {
  const path = namespacePath(target.namespace);
  switch (target.kind) {
    case 'snapshot':
      return { workerType: 'verify_snapshot', workerId: `${store}:${path}/${snapshotWorkerId(target.snapshot)}` };
    case 'group':
      return { workerType: 'verify_group', workerId: `${store}:${path}/${groupText(target.group)}` };
    case 'namespaces':
      return { workerType: 'verify', workerId: path === '' ? store : `${store}:${path}` };
  }
}
