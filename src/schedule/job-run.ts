import { errorChain, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import type { JobKey, JobRun, JobStates } from './job-states.ts';
import type { StartedTask, TaskContext, TaskDescription, TaskResult, TaskStarter } from './worker-task.ts';

/** Code of the error for a job whose lock is held: the scheduler skips it in silence, a caller of the API gets 400. */
export const jobRunningCode = 'store.job-running';

export interface JobStart {
  job: JobKey;
  /** Worker type and id as in spec server 6. */
  task: TaskDescription;
  /** First line of the log, e.g. `Starting datastore sync job '…'`. */
  intro?: string;
  /** Set when the schedule started it: gives the log a line that says so. */
  schedule?: string;
  /** How long to wait for the job's lock; 10 s for manual runs, 0 for the scheduler (spec server 8). */
  waitMs: number;
  body: (context: TaskContext) => Promise<void>;
  /** Told how the task ended, before the job's state is written. Must not throw. */
  onEnd?: (upid: string, result: TaskResult) => void;
}

/** Where jobs start: their states, their tasks, and the server's log for what cannot go into a task's. */
export interface JobGround {
  states: JobStates;
  tasks: TaskStarter;
  log: ProgressLog;
}

async function close(ground: JobGround, start: JobStart, run: JobRun, upid: string, result: TaskResult): Promise<void> {
  try {
    await run.finished(upid, result);
  } catch (e) {
    ground.log.error(`unable to write the state of job ${start.job.jobType} '${start.job.id}': ${errorChain(e)}`);
  } finally {
    run.release();
  }
}

/**
 * Runs a job as a worker task under its lock, and keeps its state file (spec server 8; sync 3). Resolves when the task
 * has started and the state says so; `finished` resolves after the state is written and the lock is free. StoreError `store.job-running` when
 * the job runs already.
 */
export async function startJob(ground: JobGround, start: JobStart): Promise<StartedTask> {
  const run = await ground.states.tryLock(start.job, start.waitMs);
  if (run === null) {
    throw new StoreError(jobRunningCode, `job '${start.job.id}' is already running`, { hint: 'wait for the task, or stop it: farshore task list --running' });
  }
  const begun = Promise.withResolvers<void>();
  let task: StartedTask;
  try {
    task = await ground.tasks.start(start.task, async (context) => {
      await run.started(context.upid);
      begun.resolve();
      if (start.intro !== undefined) context.log.info(start.intro);
      if (start.schedule !== undefined) context.log.info(`task triggered by schedule '${start.schedule}'`);
      await start.body(context);
    });
  } catch (e) {
    run.release();
    throw e;
  }
  const finished = task.finished.then(async (result) => {
    start.onEnd?.(task.upid, result);
    await close(ground, start, run, task.upid, result);
    return result;
  });
  // A caller that asks for the job's state now sees this run.
  await Promise.race([begun.promise, finished]);
  return { upid: task.upid, finished };
}
