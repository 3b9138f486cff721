import type { Duplex } from 'node:stream';
import { Type } from 'typebox';
import type { AccessControl } from '../access/access-control.ts';
import { namespaceAclPath } from '../access/datastore-access.ts';
import { AbortedError, errorChain, HttpError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { backupId, backupTime, backupType, datastoreName, flag, namespace } from '../config/schemas.ts';
import { namespaceExists } from '../datastore/namespaces.ts';
import { groupText, type BackupGroup, type BackupSnapshot } from '../format/backup-path.ts';
import { backupProtocol, serveBackupSession } from '../protocol/backup-endpoints.ts';
import { Deliveries } from '../replication/deliveries.ts';
import type { JournalLease } from '../replication/journals.ts';
import type { TaskContext, TaskStarter } from '../schedule/worker-task.ts';
import { BackupTarget } from './backup-target.ts';
import type { DatastoreLease, Datastores } from './datastores.ts';
import { upgradeEndpoint, type Caller, type Endpoint, type UpgradeRequest } from './endpoint.ts';
import { requireProtocol } from './upgrade-protocol.ts';
import type { VerifyRuns } from './verify-runs.ts';

export interface BackupParts {
  datastores: Datastores;
  access: AccessControl;
  tasks: TaskStarter;
  /** Verifies new snapshots where the datastore asks for it. */
  verifications: Pick<VerifyRuns, 'startNew'>;
  /** What a user has uploaded into a datastore. */
  uploadsOf: (store: string, authId: string) => JournalLease;
  /** The server's log: a verification that could not be started. */
  log: ProgressLog;
}

/** `GET /backup`: writing one snapshot over HTTP/2 (spec backup-protocol 2 to 6). */
export function backupEndpoints(parts: BackupParts): Endpoint[] {
  return [
    upgradeEndpoint({
      method: 'GET',
      path: '/backup',
      description: 'Upgraded to HTTP/2: write a new backup snapshot.',
      parameters: Type.Object({
        'backup-id': backupId,
        'backup-time': backupTime,
        'backup-type': backupType,
        benchmark: Type.Optional(flag('Job is a benchmark (do not keep data).')),
        debug: Type.Optional(flag('Log every request in the task log.')),
        'farshore-deliveries': Type.Optional(flag('Remember what is uploaded, and tell its uploader when it is pushed again.')),
        'no-cache': Type.Optional(flag('Without the local chunk cache (S3 datastores only).')),
        ns: Type.Optional(namespace),
        store: datastoreName,
      }),
      permission: { kind: 'any' },
      handler: async (p, caller, upgrade) => {
        const ns = p.ns ?? '';
        const benchmark = p.benchmark ?? false;
        const snapshot: BackupSnapshot = { type: p['backup-type'], id: p['backup-id'], time: p['backup-time'] };
        const aclPath = namespaceAclPath(p.store, ns);
        if (!parts.access.check(caller.authId, aclPath, ['Datastore.Backup'])) throw new HttpError(403, `missing permissions 'Datastore.Backup' on '${aclPath}'`);
        await using held = new AsyncDisposableStack();
        const lease = held.use(await parts.datastores.open(p.store, 'write'));
        requireProtocol(upgrade, backupProtocol);
        if (!(await namespaceExists(lease.store, ns))) throw new HttpError(404, 'namespace not found');
        checkBenchmark(snapshot, benchmark);
        const target = held.use(await BackupTarget.open(lease.store, ns, snapshot, { authId: caller.authId, benchmark }));
        await startSession(parts, { lease, target, namespace: ns, snapshot, caller, benchmark, debug: p.debug ?? false, deliveries: p['farshore-deliveries'] ?? false }, upgrade);
        // The task lets go of them from here on.
        held.move();
      },
    }),
  ];
}

/** `host/benchmark` is for benchmarks, and they are for nothing else: it is removed at the end. */
function checkBenchmark(group: BackupGroup, benchmark: boolean): void {
  const isBenchmarkGroup = group.type === 'host' && group.id === 'benchmark';
  if (isBenchmarkGroup && !benchmark) throw new HttpError(400, 'unable to run benchmark without --benchmark flags');
  if (benchmark && !isBenchmarkGroup) throw new HttpError(400, "benchmark flags is only allowed on 'host/benchmark'");
}

interface Session {
  lease: DatastoreLease;
  target: BackupTarget;
  namespace: string;
  snapshot: BackupSnapshot;
  caller: Caller;
  benchmark: boolean;
  debug: boolean;
  /** The client asked that its uploads are remembered. */
  deliveries: boolean;
}

/**
 * Starts the task, then upgrades: a task that cannot start, or cannot have its share of the chunk store's lock, is still an answer. Resolves when the
 * connection is the session's. When it rejects the task has ended; datastore and target are released in any case, once.
 */
async function startSession(parts: BackupParts, session: Session, upgrade: UpgradeRequest): Promise<void> {
  const { lease, snapshot, caller, benchmark } = session;
  const begun = Promise.withResolvers<void>();
  const upgraded = Promise.withResolvers<Duplex>();
  // A task that is aborted before it runs never looks at it.
  upgraded.promise.catch(() => {});
  const workerId = `${lease.record.name}:${groupText(snapshot)}`;
  const task = await parts.tasks.start({ workerType: benchmark ? 'benchmark' : 'backup', workerId, authId: caller.authId }, (context) =>
    runSession(parts, session, context, { begun: begun.resolve, socket: upgraded.promise }),
  );
  void task.finished.then(async (result) => {
    begun.reject(result.state === 'Error' ? new HttpError(400, result.message) : new AbortedError());
    // Again, since the body of an aborted task may never run.
    await release(session, parts.log);
    verifyNew(parts, session);
  });
  await begun.promise;
  let socket: Duplex;
  try {
    socket = await upgrade.accept(backupProtocol);
  } catch (e) {
    upgraded.reject(e);
    await task.finished;
    throw e;
  }
  upgraded.resolve(socket);
  // An abort may come before the body runs.
  void task.finished.then(() => socket.destroy());
}

/** Body of the task. The snapshot is removed, if need be, before the task has its result. */
async function runSession({ uploadsOf }: BackupParts, session: Session, { log, signal }: TaskContext, steps: { begun: () => void; socket: Promise<Duplex> }): Promise<void> {
  const { lease, target, caller, benchmark, debug } = session;
  try {
    target.begin();
    log.info(`starting new ${benchmark ? 'benchmark' : 'backup'} on datastore '${lease.record.name}' from ${caller.remoteAddress}: ${JSON.stringify(target.snapshotPath)}`);
    steps.begun();
    using deliveries = session.deliveries && !benchmark ? new Deliveries(uploadsOf(lease.record.name, caller.authId)) : null;
    await serveBackupSession(await steps.socket, { store: target, log, debug, benchmark, signal, deliveries });
    // A finished backup is on the disk.
    deliveries?.beginFlush()();
  } finally {
    await release(session, log);
  }
}

async function release({ target, lease }: Session, log: ProgressLog): Promise<void> {
  try {
    await target.close(log);
  } catch (e) {
    log.error(`unable to remove the unfinished backup: ${errorChain(e)}`);
  }
  lease[Symbol.dispose]();
}

/** A finished backup of a datastore with `verify-new` is verified by a task of its own (spec server 16). */
function verifyNew({ verifications, log }: BackupParts, { lease, target, namespace: ns, snapshot, caller, benchmark }: Session): void {
  if (!target.finished || benchmark || lease.record['verify-new'] !== true) return;
  verifications.startNew(lease.record.name, ns, snapshot, caller.authId).catch((e: unknown) => {
    log.error(`unable to verify the new backup ${lease.record.name}:${target.snapshotPath}: ${errorChain(e)}`);
  });
}
