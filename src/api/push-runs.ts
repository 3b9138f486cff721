import { tmpdir } from 'node:os';
import type { AccessControl } from '../access/access-control.ts';
import { namespaceAclPath } from '../access/datastore-access.ts';
import { AbortedError, ConfigError } from '../base/errors.ts';
import { systemClock } from '../base/clock.ts';
import type { EncryptionKeys } from '../config/encryption-keys.ts';
import type { SettingsFile } from '../config/farshore-config.ts';
import type { SyncJob } from '../config/job-config.ts';
import type { RemoteTable } from '../config/remote-config.ts';
import type { RemoteSecrets } from '../config/remote-secrets.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import type { RemoteEndpoint } from '../protocol/remote-endpoint.ts';
import { FlightControl } from '../replication/flight-control.ts';
import type { JobMemories } from '../replication/job-memory.ts';
import type { Journals } from '../replication/journals.ts';
import type { RetryPolicy } from '../replication/line-retry.ts';
import { LocalSource } from '../replication/local-source.ts';
import type { ReplicationPolicy, TargetPermissions } from '../replication/policy.ts';
import type { PossessionJournal } from '../replication/possession-journal.ts';
import { RemoteTarget } from '../replication/remote-target.ts';
import type { ReplicationReport } from '../replication/report.ts';
import { replicate } from '../replication/run.ts';
import type { TaskContext } from '../schedule/worker-task.ts';
import type { Datastores } from './datastores.ts';
import { remoteEndpoint } from './remote-connection.ts';
import type { SyncBandwidth } from './sync-bandwidth.ts';
import type { SyncLoops } from './sync-loops.ts';
import { explain, linePatience, rememberRun, remoteFailure } from './sync-line.ts';
import { mayReadGroup, remoteAclPath, requireKey } from './sync-permissions.ts';
import { associatedKeys, policyTerms } from './sync-terms.ts';

/** What one push does; the properties of a sync job that matter while it runs. */
export type PushParameters = Pick<
  SyncJob,
  | 'store' | 'ns' | 'remote-store' | 'remote-ns' | 'max-depth' | 'group-filter' | 'remove-vanished' | 'transfer-last' | 'encrypted-only' | 'verified-only' | 'worker-threads'
  | 'rate-in' | 'rate-out' | 'burst-in' | 'burst-out' | 'active-encryption-key' | 'associated-key'
> & { remote: string };

/** Both ends of a push, and its terms. */
export interface OpenPush extends Disposable {
  endpoint: RemoteEndpoint;
  source: LocalSource;
  target: RemoteTarget;
  policy: ReplicationPolicy;
  permissions: TargetPermissions & { remove(namespace: string): string | null };
  journal: PossessionJournal;
  flight: FlightControl;
  retry: RetryPolicy;
}

export interface PushRunParts {
  datastores: Datastores;
  remotes: RemoteTable;
  secrets: RemoteSecrets;
  settings: SettingsFile;
  keys: EncryptionKeys;
  access: AccessControl;
  journals: Journals;
  loops: SyncLoops;
  bandwidth: SyncBandwidth;
  memories: JobMemories;
}

/** Pushes a local datastore into a remote one (spec sync 6), with the rights of one user here. */
export class PushRuns {
  readonly #parts: PushRunParts;

  constructor(parts: PushRunParts) {
    this.#parts = parts;
  }

  /** ConfigError when the remote is not configured or its password cannot be had. */
  endpoint(parameters: PushParameters): RemoteEndpoint {
    return remoteEndpoint(this.#parts, parameters.remote);
  }

  /** The key that encrypts what is pushed, when the job names one: then nothing is pushed without it. HttpError 400, ConfigError when it cannot be had. */
  async encryptionKey({ 'active-encryption-key': id }: PushParameters, authId: string): Promise<CryptConfig | undefined> {
    if (id === undefined) return undefined;
    const { keys, access } = this.#parts;
    requireKey(keys, access, authId, id, 'encrypt');
    return keys.load(id, 'encrypt');
  }

  /** Also for who only looks. What is open is disposed by the caller. */
  async open(parameters: PushParameters, authId: string, { log, signal }: Pick<TaskContext, 'log' | 'signal'>): Promise<OpenPush> {
    const { datastores, access, journals, settings, bandwidth } = this.#parts;
    const endpoint = this.endpoint(parameters);
    using stack = new DisposableStack();
    const lease = stack.use(await datastores.open(parameters.store, 'read'));
    // Keys that were active before are named as well: what they encrypted is known again by them.
    const policy = { ...policyOf(parameters, endpoint.authId), encryptionKey: await this.encryptionKey(parameters, authId), decryptionKeys: await associatedKeys(this.#parts, parameters, authId) };
    const flight = new FlightControl(systemClock);
    const { stallTimeoutMs, retry } = linePatience(settings);
    const source = new LocalSource(lease.store, policy.sourceNamespace, sourcePermissions(access, authId, parameters.store));
    const permissions = targetPermissions(access, authId, parameters);
    const { remote, 'remote-store': store } = parameters;
    const { journal } = stack.use(journals.ofPush(parameters.store, remote, store, `${endpoint.host}:${endpoint.port}:${endpoint.authId}`));
    const target = new RemoteTarget({ endpoint, remote, store, flight, limiter: bandwidth.limiterOf(parameters), signal, log, retry, stallTimeoutMs, spoolFolder: tmpdir(), mayRemove: (namespace) => permissions.remove(namespace) });
    stack.defer(() => target.close());
    const open = stack.move();
    return { endpoint, source, target, policy, permissions, journal, flight, retry, [Symbol.dispose]: () => open.dispose() };
  }

  /** Body of a task. `authId`: whose rights count at the source, and for what the remote may be asked. `jobId`: undefined for a push by hand. */
  async run(parameters: PushParameters, authId: string, context: TaskContext, jobId?: string): Promise<void> {
    const { loops, memories } = this.#parts;
    const { log, signal } = context;
    using push = await this.open(parameters, authId, context);
    const { endpoint, target } = push;
    const startMs = systemClock.now();
    let ended: ReplicationReport | null = null;
    const admission = loops.check({ ...parameters, 'sync-direction': 'push' }, target.peer, { jobId, log });
    try {
      await replicate({
        ...push,
        admission,
        log,
        signal,
        onEnd: (report) => {
          ended = report;
        },
      });
    } catch (e) {
      if (e instanceof AbortedError && signal.aborted) throw new AbortedError('sync aborted');
      const failure = remoteFailure(e, endpoint, parameters.remote);
      explain(log, failure);
      throw failure;
    } finally {
      target.close();
      await admission.catch(() => {});
      if (jobId !== undefined && ended !== null) await rememberRun(memories, jobId, { startMs, report: ended, log });
    }
  }
}

/** A push needs a remote (spec sync 5). */
export function pushParameters(job: SyncJob): PushParameters {
  if (job.remote === undefined) throw new ConfigError('config.push', `sync job '${job.id}' pushes, but names no remote`, { hint: `farshore sync-job update ${job.id} --remote NAME` });
  return { ...job, remote: job.remote };
}

/** The remote's user owns what is pushed. */
function policyOf(parameters: PushParameters, remoteUser: string): ReplicationPolicy {
  return {
    ...policyTerms(parameters),
    sourceNamespace: parameters.ns ?? '',
    targetNamespace: parameters['remote-ns'] ?? '',
    owner: remoteUser,
    resyncCorrupt: false,
  };
}

function sourcePermissions(access: AccessControl, authId: string, store: string): { mayList: (namespace: string) => boolean; mayRead: (namespace: string, owner: string) => boolean } {
  return {
    mayList: (namespace) => access.check(authId, namespaceAclPath(store, namespace), ['Datastore.Read', 'Datastore.Backup'], { partial: true }),
    mayRead: (namespace, owner) => mayReadGroup(access, authId, store, namespace, owner),
  };
}

/** What the job may ask the remote for (spec sync 2.4, row "at run time"); the remote looks at its own user's rights besides. */
function targetPermissions(access: AccessControl, authId: string, { remote, 'remote-store': store }: PushParameters): TargetPermissions & { remove(namespace: string): string | null } {
  const missing = (namespace: string, privilege: 'Remote.DatastoreBackup' | 'Remote.DatastoreModify' | 'Remote.DatastorePrune'): string | null => {
    const path = remoteAclPath(remote, store, namespace);
    return access.check(authId, path, [privilege]) ? null : `missing permissions '${privilege}' on '${path}'`;
  };
  return {
    write: (namespace) => missing(namespace, 'Remote.DatastoreBackup'),
    createNamespace: (namespace) => missing(namespace, 'Remote.DatastoreModify'),
    removeNamespace: (namespace) => missing(namespace, 'Remote.DatastoreModify'),
    remove: (namespace) => missing(namespace, 'Remote.DatastorePrune'),
  };
}
