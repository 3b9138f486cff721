import assert from 'node:assert/strict';
import { readFile, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { nowSeconds } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { errorCode, FormatError, StoreError } from '../base/errors.ts';
import { replaceFile } from '../config/atomic-file.ts';
import { LockFile } from '../datastore/lock-file.ts';
import { formatJobState, parseJobState } from './job-state.ts';
import type { JobState, WritableJobState } from './job-state.ts';
import type { TaskResult } from './worker-task.ts';

/** A job without a state file counts as this much older than now, so that the event just reached is not missed (spec server 8). */
const createdAgeSeconds = 30;
const maxStateBytes = 1024 * 1024;

export interface JobKey {
  /** `syncjob`, `prunejob`, `verificationjob`, `garbage_collection` ... */
  jobType: string;
  /** Id in the configuration; the datastore's name for garbage collection. */
  id: string;
}

export interface JobStateFolder {
  path: string;
  /** Null: the running user. */
  owner: { uid: number; gid: number } | null;
}

/** Finds how a task ended; null while it runs. WorkerTasks is one. */
export interface TaskResults {
  result(upid: string): Promise<TaskResult | null>;
}

/** The right to run one job: its lock is held until `release`. */
export class JobRun {
  readonly #lock: LockFile;
  readonly #write: (state: WritableJobState) => Promise<void>;
  readonly #takeRenewal: () => number | null;

  constructor(lock: LockFile, write: (state: WritableJobState) => Promise<void>, takeRenewal: () => number | null) {
    this.#lock = lock;
    this.#write = write;
    this.#takeRenewal = takeRenewal;
  }

  /** Writes that the job runs as task `upid`. */
  async started(upid: string): Promise<void> {
    await this.#write({ state: 'started', upid });
  }

  /** Writes how task `upid` ended. */
  async finished(upid: string, result: TaskResult): Promise<void> {
    await this.#write({ state: 'finished', upid, result, updated: this.#takeRenewal() });
  }

  release(): void {
    this.#lock.release();
  }
}

/** Job state files `{type}-{id}.json` and their locks (spec server 8). */
export class JobStates {
  readonly #folder: JobStateFolder;
  readonly #tasks: TaskResults;
  readonly #clock: Clock;
  /** When a schedule was changed while its job ran, by path. */
  readonly #renewals = new Map<string, number>();

  constructor(folder: JobStateFolder, tasks: TaskResults, clock: Clock) {
    this.#folder = folder;
    this.#tasks = tasks;
    this.#clock = clock;
  }

  /**
   * The state now. A missing file counts as created 30 seconds ago, a started job whose task is dead as finished with
   * what its log says, a file without sense as `unknown`.
   */
  async load(job: JobKey): Promise<JobState> {
    const state = await this.read(job);
    if (state === null) return { state: 'created', time: nowSeconds(this.#clock) - createdAgeSeconds };
    if (state.state !== 'started') return state;
    const result = await this.#tasks.result(state.upid);
    return result === null ? state : { state: 'finished', upid: state.upid, result, updated: null };
  }

  /** What the file says; null when there is none. StoreError `store.job-state` when it cannot be read. */
  async read(job: JobKey): Promise<JobState | null> {
    const path = this.#path(job, '.json');
    try {
      const { size, mtimeMs } = await stat(path);
      try {
        return parseJobState(size > maxStateBytes ? '' : await readFile(path, 'utf8'));
      } catch (e) {
        if (e instanceof FormatError) return { state: 'unknown', time: Math.floor(mtimeMs / 1000) };
        throw e;
      }
    } catch (e) {
      if (errorCode(e) === 'ENOENT') return null;
      throw new StoreError('store.job-state', `unable to read job state '${path}'`, { cause: e });
    }
  }

  /** Writes the state of a new job; `ageSeconds` back-dates it. */
  async create(job: JobKey, ageSeconds = 0): Promise<void> {
    await this.#write(job, { state: 'created', time: nowSeconds(this.#clock) - ageSeconds });
  }

  /** As `load`, but writes the state that a missing file stands for, so that time passes for a job that never ran. */
  async loadOrCreate(job: JobKey): Promise<JobState> {
    if ((await this.read(job)) === null) await this.create(job, createdAgeSeconds);
    return this.load(job);
  }

  /**
   * The schedule has changed, or the time of the last run cannot be believed: counts from now on, so that nothing fires for
   * the past (spec server 8). While the job runs, in this process, it is noted and written with the result.
   */
  async renew(job: JobKey): Promise<void> {
    const run = await this.tryLock(job, 0);
    if (run === null) {
      this.#renewals.set(this.#path(job, ''), nowSeconds(this.#clock));
      return;
    }
    try {
      const state = await this.load(job);
      const now = nowSeconds(this.#clock);
      if (state.state === 'finished') await this.#write(job, { ...state, updated: now });
      else if (state.state !== 'started') await this.#write(job, { state: 'created', time: now });
    } finally {
      run.release();
    }
  }

  /** The job is gone. Its lock file stays: somebody may hold it. */
  async remove(job: JobKey): Promise<void> {
    await rm(this.#path(job, '.json'), { force: true });
  }

  /** Takes the job's lock, waiting up to `waitMs`; null when the job runs. */
  async tryLock(job: JobKey, waitMs: number): Promise<JobRun | null> {
    let lock: LockFile;
    try {
      lock = await LockFile.acquire(this.#path(job, '.lck'), { mode: 'exclusive', timeoutMs: waitMs });
    } catch (e) {
      if (errorCode(e) === 'store.locked') return null;
      throw e;
    }
    const name = this.#path(job, '');
    const takeRenewal = (): number | null => {
      const at = this.#renewals.get(name) ?? null;
      this.#renewals.delete(name);
      return at;
    };
    // One that was noted during another process's run is none of this run's.
    takeRenewal();
    return new JobRun(lock, (state) => this.#write(job, state), takeRenewal);
  }

  #path(job: JobKey, suffix: string): string {
    for (const word of [job.jobType, job.id]) assert.match(word, /^[A-Za-z0-9_][A-Za-z0-9._-]*$/, 'job types and ids are safe ids');
    return join(this.#folder.path, `${job.jobType}-${job.id}${suffix}`);
  }

  async #write(job: JobKey, state: WritableJobState): Promise<void> {
    await replaceFile(this.#path(job, '.json'), Buffer.from(formatJobState(state)), { mode: 0o644, owner: this.#folder.owner });
  }
}
