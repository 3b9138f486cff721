import { randomUUID } from 'node:crypto';
import { realpath } from 'node:fs/promises';
import { basename, dirname, join, normalize } from 'node:path';
import { errorChain, errorCode, FarshoreError, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { tuningOf, type DatastoreRecord, type DatastoreTable } from '../config/datastore-config.ts';
import type { PruneJob, PruneJobTable } from '../config/job-config.ts';
import { inspectDatastore } from '../datastore/adoption.ts';
import type { Datastore } from '../datastore/datastore.ts';
import type { AdoptedCopies } from '../replication/adopted-copies.ts';
import { ParameterError } from '../protocol/parameters.ts';
import type { JobStates } from '../schedule/job-states.ts';
import type { TaskContext, TaskStarter } from '../schedule/worker-task.ts';
import { createJob } from './config/job-section.ts';
import type { Datastores } from './datastores.ts';

export interface DatastoreCreationParts {
  table: DatastoreTable;
  datastores: Datastores;
  pruneJobs: PruneJobTable;
  states: JobStates;
  tasks: TaskStarter;
  /** Told of a datastore that is taken over, before anybody else can open it. */
  onReused?: (store: Datastore, context: Pick<TaskContext, 'log' | 'signal'>) => Promise<void>;
}

/** Retention that older versions kept with the datastore. */
export type LegacyPrune = Pick<DatastoreRecord, 'prune-schedule' | 'keep-last' | 'keep-hourly' | 'keep-daily' | 'keep-weekly' | 'keep-monthly' | 'keep-yearly'>;

export interface DatastoreCreation {
  record: DatastoreRecord;
  /** Take over what lies there. */
  reuse: boolean;
  /** Becomes a prune job. */
  prune: LegacyPrune;
}

const maxIdLength = 32;

/** Creates datastores as worker tasks (spec retention 9.1). */
export class DatastoreCreations {
  readonly #parts: DatastoreCreationParts;
  /** What is being made, and not configured yet, by name. The configuration is locked only while it is written, so that others can be opened. */
  readonly #underWay = new Map<string, DatastoreRecord>();

  constructor(parts: DatastoreCreationParts) {
    this.#parts = parts;
  }

  /** The UPID. ParameterError when the name is taken. */
  async start(creation: DatastoreCreation, authId: string): Promise<string> {
    const { record } = creation;
    if (this.#parts.table.find(record.name) !== undefined || this.#underWay.has(record.name)) throw alreadyExists(record.name);
    this.#underWay.set(record.name, record);
    try {
      const task = await this.#parts.tasks.start({ workerType: 'create-datastore', workerId: record.name, authId }, async (context) => {
        try {
          await this.#create(creation, context);
        } finally {
          this.#forget(record);
        }
      });
      // Of a task that was stopped before it began.
      void task.finished.then(() => this.#forget(record));
      return task.upid;
    } catch (e) {
      this.#forget(record);
      throw e;
    }
  }

  #forget(record: DatastoreRecord): void {
    if (this.#underWay.get(record.name) === record) this.#underWay.delete(record.name);
  }

  async #create(creation: DatastoreCreation, { log, signal }: TaskContext): Promise<void> {
    const { record, reuse } = creation;
    const { table, datastores, states } = this.#parts;
    if (normalize(record.path) === '/') throw new StoreError('store.path', 'cannot create datastore in root path');
    const others = [...table.list().records, ...this.#underWay.values()].filter((other) => other !== record);
    await refuseNesting(record, others);
    try {
      await datastores.create(record, reuse, { onProgress: (percent) => log.info(`Chunkstore create: ${percent}%`), check: async (store) => {
        await checkAccessTimes(store, record, log, signal);
        if (reuse) await this.#parts.onReused?.(store, { log, signal });
      } });
    } catch (e) {
      if (reuse && isOfLayout(e)) throw new StoreError(errorCode(e), `unable to open existing chunk store path "${record.path}" - ${errorChain(e)}`, { cause: e, hint: e.hint ?? 'create it without --reuse-datastore' });
      throw e;
    }
    signal.throwIfAborted();
    await table.file.update(async (config) => {
      if (config.has(record.name)) throw alreadyExists(record.name);
      // Another process may have been faster.
      await refuseNesting(record, config.list(table.type));
      config.set(table.type, record);
    });
    await states.create({ jobType: 'garbage_collection', id: record.name });
    await this.#createPruneJob(record.name, creation.prune, log);
  }

  async #createPruneJob(store: string, { 'prune-schedule': schedule, ...keep }: LegacyPrune, log: ProgressLog): Promise<void> {
    const { pruneJobs: table, states } = this.#parts;
    if (schedule === undefined) return;
    const keeps = Object.values(keep).some((value) => value !== undefined);
    const jobs = table.list().records;
    if (!keeps && jobs.some((job) => job.store === store)) return;
    const job: PruneJob = { id: defaultJobId(store, new Set(jobs.map((one) => one.id))), store, schedule, ...keep };
    await createJob({ table, states, jobType: 'prunejob' }, job);
    log.info(`Prune job created: ${job.id}`);
  }
}

/** Looks through a datastore that is taken over, says what it found, and keeps which chunks it held. */
export async function recordAdoption(adopted: AdoptedCopies, store: Datastore, context: Pick<TaskContext, 'log' | 'signal'>): Promise<void> {
  using _hold = store.processLock.shared();
  const { chunks } = await inspectDatastore(store, context);
  await adopted.record(store.name, chunks);
}

function alreadyExists(name: string): ParameterError {
  return new ParameterError([['name', `datastore '${name}' already exists.`]]);
}

function isOfLayout(e: unknown): e is FarshoreError {
  return e instanceof FarshoreError && ['store.layout', 'store.missing'].includes(e.code);
}

async function checkAccessTimes(store: Datastore, record: DatastoreRecord, log: ProgressLog, signal: AbortSignal): Promise<void> {
  if (tuningOf(record)['gc-atime-safety-check'] === false) {
    log.info('Access time update check skipped.');
    return;
  }
  using _hold = store.processLock.shared();
  await store.chunks.checkAccessTimes({ log, signal });
  log.info('Access time update check successful.');
}

/** `default-{store}-{uuid}`, cut to what an id may be; of a long name less, so that something of the UUID is left. */
function defaultJobId(store: string, taken: ReadonlySet<string>): string {
  const id = `default-${store}-${randomUUID()}`.slice(0, maxIdLength);
  return taken.has(id) || store.length > 20 ? `default-${store.slice(0, 15)}-${randomUUID()}`.slice(0, maxIdLength) : id;
}

/** ParameterError when one of the paths lies in the other, by name or by where symbolic links lead. */
async function refuseNesting(record: DatastoreRecord, others: readonly DatastoreRecord[]): Promise<void> {
  const own = await formsOf(record.path);
  for (const other of others) {
    const theirs = await formsOf(other.path);
    if (own.some((a) => theirs.some((b) => isWithin(a, b) || isWithin(b, a)))) {
      throw new ParameterError([['path', `nested datastores not allowed: '${other.name}' already in "${other.path}"`]]);
    }
  }
}

async function formsOf(path: string): Promise<string[]> {
  const plain = normalize(`${path}/.`).replace(/(.)\/$/, '$1');
  return [plain, await realPath(plain)];
}

/** Where a path leads that may not exist yet. */
async function realPath(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (e) {
    if (errorCode(e) !== 'ENOENT' || path === dirname(path)) return path;
    return join(await realPath(dirname(path)), basename(path));
  }
}

function isWithin(path: string, folder: string): boolean {
  return path === folder || path.startsWith(folder.endsWith('/') ? folder : `${folder}/`);
}
