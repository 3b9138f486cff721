import { AbortedError, HttpError } from '../base/errors.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { missingSection } from '../config/missing-section.ts';
import type { ProgressLog } from '../base/log.ts';
import { systemClock } from '../base/clock.ts';
import type { AccessControl } from '../access/access-control.ts';
import { namespaceAclPath } from '../access/datastore-access.ts';
import { BackfillJobs } from '../config/backfill-jobs.ts';
import { JobBandwidth } from '../config/job-bandwidth.ts';
import type { EncryptionKeys } from '../config/encryption-keys.ts';
import type { SettingsFile } from '../config/farshore-config.ts';
import type { PruneJobTable, SyncJob, SyncJobTable } from '../config/job-config.ts';
import type { RemoteTable } from '../config/remote-config.ts';
import { superuser } from '../config/user-config.ts';
import type { RemoteSecrets } from '../config/remote-secrets.ts';
import { userOf } from '../format/auth-id.ts';
import { parentNamespace } from '../format/backup-path.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { RestClient } from '../protocol/rest-client.ts';
import type { AdoptedCopies } from '../replication/adopted-copies.ts';
import { FlightControl } from '../replication/flight-control.ts';
import type { JournalLease, Journals } from '../replication/journals.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import { LocalSource } from '../replication/local-source.ts';
import { LocalTarget } from '../replication/local-target.ts';
import { Peer } from '../replication/peer.ts';
import type { ReplicationPolicy, TargetPermissions } from '../replication/policy.ts';
import type { ReplicationSource } from '../replication/ports.ts';
import { RemoteSource } from '../replication/remote-source.ts';
import type { ReplicationReport } from '../replication/report.ts';
import { replicate } from '../replication/run.ts';
import { noNotices, type JobNotices } from '../notify/job-notices.ts';
import { processTimeZone } from '../schedule/local-time.ts';
import { startJob, type JobGround } from '../schedule/job-run.ts';
import type { JobSource } from '../schedule/scheduler.ts';
import type { TaskContext } from '../schedule/worker-task.ts';
import type { Datastores } from './datastores.ts';
import { keptByJobs } from './keep-rules.ts';
import { configuredJobs, lockWaitMs, type Trigger } from './job-start.ts';
import { PushRuns, pushParameters, type OpenPush, type PushParameters } from './push-runs.ts';
import { remoteEndpoint } from './remote-connection.ts';
import { explain, linePatience, rememberRun, remoteFailure } from './sync-line.ts';
import { refuseSharedGroups } from './shared-groups.ts';
import { SyncBandwidth } from './sync-bandwidth.ts';
import type { SyncLoops } from './sync-loops.ts';
import { refuseMutualRemoval, type PairedJob } from './sync-pairs.ts';
import { mayReadGroup } from './sync-permissions.ts';
import { associatedKeys, policyTerms } from './sync-terms.ts';

const jobType = 'syncjob';

/** What one pull does; the properties of a sync job that matter while it runs. */
export type PullParameters = Omit<SyncJob, 'id' | 'schedule' | 'comment' | 'owner' | 'sync-direction' | 'run-on-mount' | 'unmount-on-done' | 'active-encryption-key'>;

export interface SyncRunParts {
  datastores: Datastores;
  remotes: RemoteTable;
  secrets: RemoteSecrets;
  settings: SettingsFile;
  keys: EncryptionKeys;
  jobs: SyncJobTable;
  access: AccessControl;
  journals: Journals;
  ground: JobGround;
  loops: SyncLoops;
  memories: JobMemories;
  adopted: AdoptedCopies;
  pruneJobs: Pick<PruneJobTable, 'list'>;
  /** Default: nobody is told. */
  notices?: JobNotices;
}

/** Starts sync jobs, ad-hoc pulls and pushes as worker tasks (spec sync 3). */
export class SyncRuns {
  readonly #parts: SyncRunParts;
  readonly #pushes: PushRuns;
  readonly #bandwidth: SyncBandwidth;

  constructor(parts: SyncRunParts) {
    this.#parts = parts;
    this.#bandwidth = new SyncBandwidth({ timetables: new JobBandwidth(parts.settings), clock: systemClock, log: parts.ground.log });
    this.#pushes = new PushRuns({ ...parts, bandwidth: this.#bandwidth });
  }

  /** Runs a configured job; the UPID. The caller's permission has been checked. */
  async runJob(id: string, authId: string): Promise<string> {
    return (await this.#startJob(this.#job(id), { authId })).upid;
  }

  /** `POST pull`; the UPID. New groups belong to the caller. */
  async pull(parameters: PullParameters, authId: string): Promise<string> {
    const source = sourceLabel(parameters);
    const policy = policyOf(parameters, authId);
    this.#refuseSelf(parameters);
    if (parameters.remote !== undefined) remoteEndpoint(this.#parts, parameters.remote);
    await associatedKeys(this.#parts, parameters, authId);
    const task = await this.#parts.ground.tasks.start({ workerType: 'sync', workerId: parameters.store, authId }, async (context) => {
      context.log.info(`pull datastore '${parameters.store}' from '${source}'`);
      await this.#pull(parameters, policy, authId, context);
      context.log.info(`pull datastore '${parameters.store}' end`);
    });
    return task.upid;
  }

  /** `POST push`; the UPID. What is pushed belongs to the remote's user. */
  async push(parameters: PushParameters, authId: string): Promise<string> {
    const endpoint = this.#pushes.endpoint(parameters);
    await this.#pushes.encryptionKey(parameters, authId);
    const client = new RestClient(endpoint);
    try {
      await client.get('version');
    } catch (e) {
      throw remoteFailure(e, endpoint, parameters.remote);
    } finally {
      client.close();
    }
    const task = await this.#parts.ground.tasks.start({ workerType: 'sync', workerId: parameters.store, authId }, async (context) => {
      await this.#refusePairs({ ...parameters, 'sync-direction': 'push' }, context.log);
      context.log.info(`push datastore '${parameters.store}' to '${parameters.remote}/${parameters['remote-store']}'`);
      await this.#pushes.run(parameters, authId, context);
      context.log.info(`push datastore '${parameters.store}' end`);
    });
    return task.upid;
  }

  /** What the scheduler asks at each pass. Scheduled runs belong to root@pam. */
  jobSource(): JobSource {
    return configuredJobs(jobType, () => this.#parts.jobs.list().records, (job, trigger) => this.#startJob(job, trigger));
  }

  #job(id: string): SyncJob {
    const job = this.#parts.jobs.find(id);
    if (job === undefined) throw missingSection('sync', id);
    return job;
  }

  async #startJob(job: SyncJob, trigger: Trigger): Promise<{ upid: string }> {
    this.#refuseSelf(job);
    const workerId = `${job.remote ?? '-'}:${job['remote-store']}:${job.store}:${job.ns ?? ''}:${job.id}`;
    return startJob(this.#parts.ground, {
      job: { jobType, id: job.id },
      task: { workerType: jobType, workerId, authId: trigger.authId },
      intro: `Starting datastore sync job '${workerId}'`,
      ...(trigger.schedule === undefined ? {} : { schedule: trigger.schedule }),
      waitMs: lockWaitMs(trigger),
      onEnd: (upid, result) => (this.#parts.notices ?? noNotices).synced({ store: job.store, upid, result }, job),
      body: async (context) => {
        const owner = job.owner ?? superuser;
        await this.#refusePairs(job, context.log);
        if (job['sync-direction'] === 'push') {
          context.log.info(`sync datastore '${job.store}' to '${sourceLabel(job)}'`);
          await this.#pushes.run(pushParameters(job), owner, context, job.id);
        } else {
          context.log.info(`sync datastore '${job.store}' from '${sourceLabel(job)}'`);
          await this.#pull(job, this.withBackfill(policyOf(job, owner), job.id, job.store), owner, context, job.id);
        }
        context.log.info(`sync job '${workerId}' end`);
      },
    });
  }

  /** Also for jobs that were configured before they got into each other's way, or by another program. */
  async #refusePairs(job: PairedJob, log: ProgressLog): Promise<void> {
    const { datastores, remotes } = this.#parts;
    const jobs = this.#parts.jobs.list().records;
    const whereIs = (name: string): string => {
      const remote = remotes.find(name);
      return remote === undefined ? name : `${remote.host}:${remote.port ?? 8007}`;
    };
    try {
      refuseMutualRemoval(job, jobs, { whereIs, running: true });
      if (job['sync-direction'] === 'push') await refuseSharedGroups(job, { datastores, jobs, whereIs, log });
    } catch (e) {
      explain(log, e);
      throw e;
    }
  }

  #refuseSelf(parameters: PullParameters): void {
    if (parameters.remote === undefined && parameters.store === parameters['remote-store']) {
      throw new HttpError(400, `can't sync to same datastore`);
    }
  }

  /**
   * From now on what datastore `job.store` held when it was taken over counts as made by the job's remote, `named` as `remote/store`. The caller's right to
   * say so has been checked. HttpError 400 when the job has another source.
   */
  async claimAdopted(id: string, named: string): Promise<void> {
    const job = this.#job(id);
    if (job.remote === undefined || named !== sourceLabel(job) || job['sync-direction'] === 'push') throw new HttpError(400, `sync job '${id}' does not pull from '${named}' but from '${sourceLabel(job)}'`);
    await this.#parts.adopted.claim(job.store, { remote: job.remote, store: job['remote-store'], identity: journalIdentity(remoteEndpoint(this.#parts, job.remote)) });
  }

  /** Chunks that count for the source once they have been checked; see adopted-copies.ts. */
  async adoptedChunks({ store, remote, 'remote-store': remoteStore }: Pick<PullParameters, 'store' | 'remote' | 'remote-store'>, endpoint: RemoteEndpoint | undefined): Promise<DigestSet | null> {
    return remote === undefined || endpoint === undefined ? null : this.#parts.adopted.of(store, remote, remoteStore, journalIdentity(endpoint));
  }

  /** The policy of a job with its setting `backfill`, which farshore.json has: sync.cfg takes nothing that the reference does not know. */
  withBackfill(policy: ReplicationPolicy, jobId: string, store: string): ReplicationPolicy {
    if (!new BackfillJobs(this.#parts.settings).has(jobId)) return policy;
    const jobs = this.#parts.pruneJobs.list().records;
    return { ...policy, backfill: (namespace) => keptByJobs(jobs, store, namespace, processTimeZone()) };
  }

  async #checkLoops(parameters: PullParameters, endpoint: RemoteEndpoint | undefined, { log, signal }: Pick<TaskContext, 'log' | 'signal'>, jobId: string | undefined): Promise<void> {
    const rest = endpoint === undefined ? null : new RestClient(endpoint, { signal });
    try {
      await this.#parts.loops.check(parameters, rest === null ? null : new Peer(rest), { jobId, log });
    } finally {
      rest?.close();
    }
  }

  async #pull(parameters: PullParameters, policy: ReplicationPolicy, authId: string, context: TaskContext, jobId?: string): Promise<void> {
    using target = await this.#parts.datastores.open(parameters.store, 'write');
    const flight = new FlightControl(systemClock);
    const endpoint = parameters.remote === undefined ? undefined : remoteEndpoint(this.#parts, parameters.remote);
    const { stallTimeoutMs, retry } = linePatience(this.#parts.settings);
    const decryptionKeys = await associatedKeys(this.#parts, parameters, authId);
    using opened = await this.openSource(parameters, policy, { flight, endpoint, stallTimeoutMs, signal: context.signal });
    const startMs = systemClock.now();
    let ended: ReplicationReport | null = null;
    const over = new AbortController();
    const admission = this.#checkLoops(parameters, endpoint, { log: context.log, signal: AbortSignal.any([context.signal, over.signal]) }, jobId);
    admission.catch(() => {});
    try {
      await replicate({
        admission,
        onEnd: (report) => {
          ended = report;
        },
        source: opened.source,
        target: new LocalTarget(target.store),
        policy: { ...policy, decryptionKeys },
        journal: opened.journal.journal,
        adopted: await this.adoptedChunks(parameters, endpoint),
        permissions: targetPermissions(this.#parts.access, authId, parameters.store),
        log: context.log,
        signal: context.signal,
        flight,
        retry,
      });
    } catch (e) {
      if (e instanceof AbortedError && context.signal.aborted) throw new AbortedError('sync aborted');
      const failure = endpoint === undefined ? e : remoteFailure(e, endpoint, parameters.remote!);
      explain(context.log, failure);
      throw failure;
    } finally {
      over.abort();
      // It may be writing down what it heard.
      await admission.catch(() => {});
      if (jobId !== undefined && ended !== null) await rememberRun(this.#parts.memories, jobId, { startMs, report: ended, log: this.#parts.ground.log });
      await opened.source.close();
    }
  }

  /** For who only looks at what a push would do; see PushRuns. */
  async openPush(job: SyncJob, owner: string, context: Pick<TaskContext, 'log' | 'signal'>): Promise<OpenPush> {
    return this.#pushes.open(pushParameters(job), owner, context);
  }

  /** Also for who only looks. The caller closes the source, then disposes the rest. */
  async openSource(parameters: PullParameters, policy: ReplicationPolicy, line: SourceLine): Promise<{ source: ReplicationSource; journal: JournalLease } & Disposable> {
    const { journals, access } = this.#parts;
    const { store, remote } = parameters;
    const { endpoint, flight, signal } = line;
    const remoteStore = parameters['remote-store'];
    if (remote === undefined || endpoint === undefined) {
      const lease = await this.#parts.datastores.open(remoteStore, 'read');
      const journal = journals.ofDatastore(store, remoteStore);
      const source = new LocalSource(lease.store, policy.sourceNamespace, {
        mayRead: (namespace, owner) => mayReadGroup(access, policy.owner, remoteStore, namespace, owner),
      });
      return disposable(source, journal, () => lease[Symbol.dispose]());
    }
    const journal = journals.ofRemote(store, remote, journalIdentity(endpoint));
    const source = new RemoteSource({
      endpoint,
      remote,
      store: remoteStore,
      namespace: policy.sourceNamespace,
      flight,
      // A job's has its id.
      limiter: this.#bandwidth.limiterOf(parameters),
      stallTimeoutMs: line.stallTimeoutMs,
      signal,
    });
    return disposable(source, journal, () => {});
  }
}

/** How the source is reached. */
export interface SourceLine {
  /** Undefined: the source is a datastore of this host. */
  endpoint: RemoteEndpoint | undefined;
  flight: FlightControl;
  stallTimeoutMs: number | undefined;
  signal: AbortSignal;
}

function disposable(source: ReplicationSource, journal: JournalLease, also: () => void): { source: ReplicationSource; journal: JournalLease } & Disposable {
  return {
    source,
    journal,
    [Symbol.dispose]: () => {
      journal[Symbol.dispose]();
      also();
    },
  };
}

/** Where a remote leads to, and who we are there. */
function journalIdentity(endpoint: RemoteEndpoint): string {
  return `${endpoint.host}:${endpoint.port}:${userOf(endpoint.authId)}`;
}

/** `remote/store`, or the datastore's name. */
export function sourceLabel(parameters: Pick<PullParameters, 'remote' | 'remote-store'>): string {
  return parameters.remote === undefined ? parameters['remote-store'] : `${parameters.remote}/${parameters['remote-store']}`;
}

export function policyOf(parameters: PullParameters, owner: string): ReplicationPolicy {
  return {
    ...policyTerms(parameters),
    sourceNamespace: parameters['remote-ns'] ?? '',
    targetNamespace: parameters.ns ?? '',
    owner,
    resyncCorrupt: parameters['resync-corrupt'] ?? false,
  };
}

/** Run-time rights of the job's owner in the target (spec sync 2.4). */
function targetPermissions(access: AccessControl, authId: string, store: string): TargetPermissions {
  const missing = (namespace: string, privilege: 'Datastore.Backup' | 'Datastore.Modify'): string | null => {
    const path = namespaceAclPath(store, namespace);
    return access.check(authId, path, [privilege]) ? null : `missing permissions '${privilege}' on '${path}'`;
  };
  return {
    write: (namespace) => missing(namespace, 'Datastore.Backup'),
    createNamespace: (namespace) => missing(parentNamespace(namespace) ?? '', 'Datastore.Modify'),
    removeNamespace: (namespace) => missing(parentNamespace(namespace) ?? '', 'Datastore.Modify'),
  };
}
