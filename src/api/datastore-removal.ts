import { rm, rmdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pause } from '../base/async.ts';
import { errorChain, errorCode, HttpError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { AclFile } from '../config/acl-config.ts';
import { maintenanceOf, type DatastoreRecord, type DatastoreTable } from '../config/datastore-config.ts';
import type { PruneJobTable, SyncJobTable, VerifyJobTable } from '../config/job-config.ts';
import { changedRecord, type SectionTable } from '../config/section-table.ts';
import { ProcessLock } from '../datastore/process-lock.ts';
import { chunksName, processLockName } from '../datastore/chunk-store-layout.ts';
import type { JobStates } from '../schedule/job-states.ts';
import type { TaskContext, TaskStarter } from '../schedule/worker-task.ts';
import type { Datastores } from './datastores.ts';

export interface DatastoreRemovalParts {
  table: DatastoreTable;
  datastores: Datastores;
  syncJobs: SyncJobTable;
  pruneJobs: PruneJobTable;
  verifyJobs: VerifyJobTable;
  acl: AclFile;
  states: JobStates;
  tasks: TaskStarter;
  /** Told when a datastore is gone from the configuration, to drop what else is kept about it. */
  onRemoved?: (name: string) => Promise<void>;
}

export interface DatastoreRemoval {
  name: string;
  destroyData: boolean;
  keepJobConfigs: boolean;
  digest: string | undefined;
}

const contentNames = ['ns', 'ct', 'vm', 'host'];
/** A listing that was opened just before ends within this; for a backup or a sync nobody waits. */
const closeAttempts = 20;
const closePauseMs = 100;

/** Removes datastores as worker tasks (spec retention 9.3). */
export class DatastoreRemovals {
  readonly #parts: DatastoreRemovalParts;

  constructor(parts: DatastoreRemovalParts) {
    this.#parts = parts;
  }

  /** The UPID. HttpError 404 `datastore 'x' does not exist.` */
  async start(removal: DatastoreRemoval, authId: string): Promise<string> {
    const { table, tasks } = this.#parts;
    const { name, digest } = removal;
    // Changes nothing; compares the digest under the lock.
    await table.file.update(
      (config) => {
        if (config.find(table.type, name) === undefined) throw new HttpError(404, `datastore '${name}' does not exist.`);
      },
      { digest },
    );
    const task = await tasks.start({ workerType: 'delete-datastore', workerId: name, authId }, (context) => this.#remove(removal, context));
    return task.upid;
  }

  async #remove({ name, destroyData, keepJobConfigs }: DatastoreRemoval, { log, signal }: TaskContext): Promise<void> {
    const { datastores, table, states, onRemoved } = this.#parts;
    const record = table.get(name);
    await this.#shut(record, destroyData, signal);
    if (!keepJobConfigs) await this.#removeJobs(name);
    if (destroyData) {
      log.info('Deleting datastore data...');
      if (!(await destroyContent(record.path, log))) {
        log.info('There were errors deleting data.');
        return;
      }
    }
    log.info('Removing datastore from config...');
    await table.remove(name);
    if (destroyData) await removeBase(record.path, log);
    await states.remove({ jobType: 'garbage_collection', id: name });
    await datastores.close(name);
    await onRemoved?.(name);
  }

  /**
   * Nobody opens the datastore any more when this returns. When it is in use, or its data cannot be had, it stays as it was: the
   * reference leaves it in mode `delete` and without its jobs (spec retention 12.8).
   */
  async #shut(record: DatastoreRecord, destroyData: boolean, signal: AbortSignal): Promise<void> {
    const { table } = this.#parts;
    const { name } = record;
    const before = record['maintenance-mode'];
    if (maintenanceOf(record)?.type !== 'delete') await table.update(name, (current) => ({ ...current, 'maintenance-mode': 'delete' }));
    try {
      await this.#close(name, signal);
      if (destroyData) await refuseForeignWriters(record.path);
      signal.throwIfAborted();
    } catch (e) {
      await table.update(name, (current) => changedRecord(current, { delete: ['maintenance-mode'], set: { 'maintenance-mode': before } }));
      throw e;
    }
  }

  async #close(name: string, signal: AbortSignal): Promise<void> {
    for (let attempt = 1; ; attempt += 1) {
      try {
        await this.#parts.datastores.close(name);
        return;
      } catch (e) {
        if (!(e instanceof HttpError)) throw e;
        if (attempt === closeAttempts) throw inUse();
      }
      await pause(closePauseMs, signal);
    }
  }

  async #removeJobs(store: string): Promise<void> {
    const { syncJobs, pruneJobs, verifyJobs, acl } = this.#parts;
    await this.#removeJobsOf(verifyJobs, 'verificationjob', store);
    await this.#removeJobsOf(syncJobs, 'syncjob', store);
    await this.#removeJobsOf(pruneJobs, 'prunejob', store);
    await acl.update((tree) => tree.removeSubtree(`/datastore/${store}`));
  }

  async #removeJobsOf(table: SyncJobTable | PruneJobTable | VerifyJobTable, jobType: string, store: string): Promise<void> {
    const { file, type } = table as SectionTable<VerifyJobTable['type']['schema']>;
    const ids = await file.update((config) => {
      const found = config.list(type).filter((job) => job.store === store).map((job) => job.id);
      for (const id of found) config.remove(type, id);
      return found;
    });
    for (const id of ids) await this.#parts.states.remove({ jobType, id });
  }
}

function inUse(): StoreError {
  return new StoreError('store.in-use', 'datastore is currently in use', { hint: 'wait for its tasks, or stop them: farshore task list --running' });
}

/** StoreError when another process writes to the chunk store, or when it is not there: its disk may only be unmounted. */
async function refuseForeignWriters(path: string): Promise<void> {
  try {
    await stat(path);
  } catch (e) {
    throw new StoreError('store.missing', `the data cannot be destroyed, "${path}" is not there`, { cause: e, hint: 'mount its file system, or remove the datastore without --destroy-data' });
  }
  let lock: ProcessLock;
  try {
    lock = ProcessLock.open(join(path, processLockName));
  } catch (e) {
    // What is left of an earlier removal has no lock any more.
    if (errorCode(e) === 'store.missing') return;
    throw e;
  }
  try {
    using _alone = lock.exclusive();
  } catch (e) {
    if (['store.locked', 'store.gc-running'].includes(errorCode(e))) throw new StoreError('store.in-use', inUse().message, { cause: e });
    throw e;
  } finally {
    lock.close();
  }
}

/** Groups and namespaces first, chunks last: what is left after a failure is never an index without its chunks. False after a failure. */
async function destroyContent(path: string, log: ProgressLog): Promise<boolean> {
  let isGone = true;
  const remove = async (name: string, what: string): Promise<void> => {
    try {
      await rm(join(path, name), { recursive: true, force: true });
    } catch (e) {
      isGone = false;
      log.warn(`failed to remove ${what}: ${errorChain(e)}`);
    }
  };
  for (const name of contentNames) await remove(name, `"${name}" subdirectory`);
  if (isGone) await remove('.gc-status', '.gc-status');
  if (isGone) await remove(chunksName, `"${chunksName}" subdirectory`);
  return isGone;
}

async function removeBase(path: string, log: ProgressLog): Promise<void> {
  log.info('Finished deleting data.');
  try {
    await rm(join(path, processLockName), { force: true });
    await rmdir(path);
    log.info('Removed empty datastore directory.');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return;
    if (errorCode(e) === 'ENOTEMPTY') log.warn('Datastore directory not empty, not deleting.');
    else if (errorCode(e) === 'EBUSY') log.warn('Cannot delete datastore directory (is it a mount point?).');
    else log.warn(`failed to remove the datastore directory: ${errorChain(e)}`);
  }
}
