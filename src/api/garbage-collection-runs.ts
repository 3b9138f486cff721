import type { DatastoreRecord } from '../config/datastore-config.ts';
import { collectGarbage } from '../datastore/garbage-collection.ts';
import { emptyGcStatus, gcStatusJson, readGcStatus } from '../datastore/gc-status.ts';
import { moveJournalPath } from '../datastore/lock-path.ts';
import { errorChain, FormatError } from '../base/errors.ts';
import { parseUpid } from '../format/upid.ts';
import { noNotices, type JobNotices } from '../notify/job-notices.ts';
import { startJob, type JobGround } from '../schedule/job-run.ts';
import { jobStatus } from '../schedule/job-state.ts';
import type { JobSource } from '../schedule/scheduler.ts';
import type { StartedTask } from '../schedule/worker-task.ts';
import type { Datastores } from './datastores.ts';
import { lockWaitMs, refusalOfRunning, scheduled, type Trigger } from './job-start.ts';
import { startInDatastore } from './leased-task.ts';

const jobType = 'garbage_collection';

export interface GarbageCollectionRunParts {
  datastores: Datastores;
  ground: JobGround;
  /** As of the datastores. */
  locksRoot: string;
  /** Default: nobody is told. */
  notices?: JobNotices;
  /** IANA name; default: the process's. */
  timeZone?: string;
}

/** Starts garbage collections as worker tasks and says how the last one ended (spec retention 5, server 6). */
export class GarbageCollectionRuns {
  readonly #parts: GarbageCollectionRunParts;

  constructor(parts: GarbageCollectionRunParts) {
    this.#parts = parts;
  }

  /** By hand; the UPID. HttpError 400 `garbage collection already running`. */
  async start(store: string, authId: string, options: { dryRun?: boolean } = {}): Promise<string> {
    return (await (options.dryRun === true ? this.#startDry(store, authId) : this.#start(store, { authId }))).upid;
  }

  /** Not a run of the job: its state and the figures of the last run stay. */
  async #startDry(name: string, authId: string): Promise<StartedTask> {
    const { datastores, ground } = this.#parts;
    return startInDatastore(datastores, name, 'write', (lease) =>
      ground.tasks.start({ workerType: jobType, workerId: name, authId }, async ({ upid, log, signal }) => {
        await collectGarbage(lease.store, { upid, log, signal, otherStores: otherStores(datastores.records(), name), dryRun: true });
      }),
    );
  }

  /** What the scheduler asks at each pass: every datastore with a `gc-schedule`. */
  jobSource(): JobSource {
    return {
      jobType,
      list: () =>
        Promise.resolve(
          this.#parts.datastores.records().map((record) => ({
            id: record.name,
            schedule: record['gc-schedule'],
            run: async () => {
              await this.#start(record.name, scheduled(record['gc-schedule']));
            },
          })),
        ),
    };
  }

  /** Result of the last run that reached its end, and state of the job (spec retention 5.4). HttpError when the datastore cannot be opened. */
  async status(name: string): Promise<Record<string, unknown>> {
    const { record, result } = await this.#parts.datastores.use(name, 'read', async (open, found) => ({ record: found, result: await this.lastResult(open.path) }));
    const schedule = record['gc-schedule'];
    const state = await this.#parts.ground.states.load({ jobType, id: name });
    const { 'last-run-upid': upid, ...shown } = jobStatus(state, schedule, this.#parts.timeZone);
    const end = shown['last-run-endtime'];
    return {
      ...result,
      store: name,
      ...(schedule === undefined ? {} : { schedule }),
      ...shown,
      // Start and end of one run: the last, which the figures above need not be of (spec retention 12.2).
      ...(upid === undefined || end === undefined ? {} : { duration: end - parseUpid(upid).starttime }),
    };
  }

  /** The figures of the last run that reached its end, in the API's form; zeros when there was none, or its file is damaged. */
  async lastResult(path: string): Promise<Record<string, unknown>> {
    try {
      return gcStatusJson(await readGcStatus(path));
    } catch (e) {
      if (!(e instanceof FormatError)) throw e;
      this.#parts.ground.log.warn(`status of garbage collection in ${path}: ${errorChain(e)}`);
      return gcStatusJson(emptyGcStatus());
    }
  }

  async #start(name: string, trigger: Trigger): Promise<StartedTask> {
    const { datastores, ground, locksRoot, notices = noNotices } = this.#parts;
    let figures: Record<string, unknown> | null = null;
    try {
      return await startInDatastore(datastores, name, 'write', (lease) =>
        startJob(ground, {
          job: { jobType, id: name },
          task: { workerType: jobType, workerId: name, authId: trigger.authId },
          waitMs: lockWaitMs(trigger),
          onEnd: (upid, result) => notices.garbageCollected({ store: name, upid, result }, figures),
          body: async ({ upid, log, signal }) => {
            const status = await collectGarbage(lease.store, {
              upid,
              log,
              signal,
              otherStores: otherStores(datastores.records(), name),
              moveJournal: moveJournalPath(locksRoot, name),
              ...(trigger.schedule === undefined ? {} : { scheduledBy: trigger.schedule }),
            });
            figures = gcStatusJson(status);
          },
        }),
      );
    } catch (e) {
      throw refusalOfRunning(e, trigger, 'garbage collection already running');
    }
  }
}

/** Removable ones are left out: where they lie is not known before they are mounted. */
function otherStores(records: readonly DatastoreRecord[], name: string): Array<{ name: string; path: string }> {
  return records.filter((record) => record.name !== name && record['backing-device'] === undefined).map((record) => ({ name: record.name, path: record.path }));
}
