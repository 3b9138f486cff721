import type { Duplex } from 'node:stream';
import { Type } from 'typebox';
import type { AccessControl } from '../access/access-control.ts';
import { namespaceAccess, namespaceAclPath, type NamespaceAccess } from '../access/datastore-access.ts';
import { errorCode, HttpError } from '../base/errors.ts';
import { backupId, backupTime, backupType, datastoreName, flag, namespace } from '../config/schemas.ts';
import type { Datastore } from '../datastore/datastore.ts';
import { groupExists, readOwner } from '../datastore/groups.ts';
import { SnapshotReader } from '../datastore/snapshot-reader.ts';
import { isOwner } from '../format/auth-id.ts';
import { snapshotText, type BackupSnapshot } from '../format/backup-path.ts';
import { readerProtocol, readerStartLine, serveReaderSession } from '../protocol/reader-session.ts';
import type { StartedTask, TaskStarter } from '../schedule/worker-task.ts';
import type { DatastoreLease, Datastores } from './datastores.ts';
import { upgradeEndpoint, type Endpoint, type UpgradeRequest } from './endpoint.ts';
import { StoredSnapshot } from './stored-snapshot.ts';
import { requireProtocol } from './upgrade-protocol.ts';
import { snapshotWorkerId } from './worker-id.ts';

export interface ReaderParts {
  datastores: Datastores;
  access: AccessControl;
  tasks: TaskStarter;
  /** Delay of the 401 for a chunk that the session may not read. Default 3000. */
  unauthorizedDelayMs?: number;
}

/** `GET /reader`: reading one snapshot over HTTP/2 (spec backup-protocol 7). */
export function readerEndpoints(parts: ReaderParts): Endpoint[] {
  return [
    upgradeEndpoint({
      method: 'GET',
      path: '/reader',
      description: 'Upgraded to HTTP/2: read files and chunks of a snapshot.',
      parameters: Type.Object({
        'backup-id': backupId,
        'backup-time': backupTime,
        'backup-type': backupType,
        debug: Type.Optional(flag('Log every request in the task log.')),
        ns: Type.Optional(namespace),
        store: datastoreName,
      }),
      permission: { kind: 'any' },
      handler: async (p, caller, upgrade) => {
        const ns = p.ns ?? '';
        const snapshot: BackupSnapshot = { type: p['backup-type'], id: p['backup-id'], time: p['backup-time'] };
        const granted = namespaceAccess(parts.access, caller.authId, p.store, ns, { full: ['Datastore.Read'], own: ['Datastore.Backup'] });
        if (granted === null) throw new HttpError(400, `no permissions on ${namespaceAclPath(p.store, ns)}`);
        await using held = new AsyncDisposableStack();
        const lease = held.use(await parts.datastores.open(p.store, 'read'));
        requireProtocol(upgrade, readerProtocol);
        const reader = held.use(await openSnapshot(lease.store, ns, snapshot, granted, caller.authId));
        await startSession(parts, { lease, reader, authId: caller.authId, debug: p.debug ?? false }, upgrade);
        // The task lets go of them from here on.
        held.move();
      },
    }),
  ];
}

async function openSnapshot(store: Datastore, ns: string, snapshot: BackupSnapshot, granted: NamespaceAccess, authId: string): Promise<SnapshotReader> {
  // A group that is gone has no owner: its readers are to learn that it is gone.
  if (granted === 'own' && (await groupExists(store, ns, snapshot)) && !isOwner(await readOwner(store, ns, snapshot), authId)) throw new HttpError(400, 'backup owner check failed!');
  try {
    return await SnapshotReader.open(store, ns, snapshot);
  } catch (e) {
    if (errorCode(e) === 'store.no-such-snapshot') throw new HttpError(400, `snapshot ${snapshotText(snapshot)} does not exist.`, { cause: e });
    if (errorCode(e) === 'store.locked') {
      throw new HttpError(400, `while reading snapshot '${snapshotText(snapshot)}': it is being written or removed`, { cause: e, hint: 'try again later' });
    }
    throw e;
  }
}

interface Session {
  lease: DatastoreLease;
  reader: SnapshotReader;
  authId: string;
  debug: boolean;
}

/**
 * Starts the task, then upgrades: a task that cannot start is still an answer. Resolves when the connection is the session's; the snapshot stays
 * locked and the datastore in use until the task has ended. When it rejects both are still the caller's.
 */
async function startSession(parts: ReaderParts, session: Session, upgrade: UpgradeRequest): Promise<void> {
  const { lease, reader, authId, debug } = session;
  const snapshot = new StoredSnapshot(lease.store, reader);
  const upgraded = Promise.withResolvers<Duplex>();
  // A task that is aborted before it runs never looks at it.
  upgraded.promise.catch(() => {});
  const release = (): void => {
    reader.close();
    lease[Symbol.dispose]();
  };
  const workerId = `${lease.record.name}:${snapshotWorkerId(reader.snapshot)}`;
  const task: StartedTask = await parts.tasks.start({ workerType: 'reader', workerId, authId }, async ({ log, signal }) => {
    log.info(readerStartLine(lease.record.name, snapshot));
    const socket = await upgraded.promise;
    try {
      await serveReaderSession(socket, { snapshot, log, signal, debug, ...(parts.unauthorizedDelayMs === undefined ? {} : { unauthorizedDelayMs: parts.unauthorizedDelayMs }) });
    } finally {
      release();
    }
  });
  let socket: Duplex;
  try {
    socket = await upgrade.accept(readerProtocol);
  } catch (e) {
    upgraded.reject(e);
    await task.finished;
    throw e;
  }
  upgraded.resolve(socket);
  // Again, since an abort may come before the body runs.
  void task.finished.then(() => {
    socket.destroy();
    release();
  });
}
