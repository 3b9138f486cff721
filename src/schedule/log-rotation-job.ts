import type { Clock } from '../base/clock.ts';
import { errorChain, StoreError } from '../base/errors.ts';
import { startJob } from './job-run.ts';
import type { JobGround } from './job-run.ts';
import type { JobSource } from './scheduler.ts';
import type { TaskFolder } from './task-registry.ts';
import { rotateTasks } from './task-rotation.ts';
import type { StartedTask } from './worker-task.ts';

const jobType = 'logrotate';
const id = 'access-log_and_task-archive';
const schedule = '00:00';

/** Another log that is rotated with the task archive. */
export interface RotatedLog {
  /** As in the task's log: `API access log`. */
  name: string;
  /** Rotates if the log is large enough; whether it was. */
  rotate(): Promise<boolean>;
}

export interface LogRotationOptions {
  ground: JobGround;
  folder: TaskFolder;
  clock: Clock;
  /** `task-log-max-days` of node.cfg, asked at each run. */
  maxDays: () => Promise<number | undefined>;
  others: readonly RotatedLog[];
}

/** Rotates the task archive and the other logs as a worker task (spec server 7). One that fails does not keep the others. */
export function startLogRotation(options: LogRotationOptions): Promise<StartedTask> {
  return startJob(options.ground, {
    job: { jobType, id },
    task: { workerType: jobType, workerId: '', authId: 'root@pam' },
    intro: 'starting task log rotation',
    waitMs: 0,
    body: async ({ log }) => {
      const failures: string[] = [];
      const attempt = async (name: string, rotate: () => Promise<boolean>): Promise<void> => {
        try {
          log.info(`${name} was ${(await rotate()) ? '' : 'not '}rotated`);
        } catch (e) {
          failures.push(`${name} could not be rotated: ${errorChain(e)}`);
        }
      };
      await attempt('task log archive', async () => {
        const maxDays = await options.maxDays();
        const report = await rotateTasks(options.folder, maxDays === undefined ? {} : { maxDays }, options.clock);
        if (report.archivesRemoved > 0) log.info(`removed ${report.archivesRemoved} old task archives`);
        if (report.logsRemoved > 0) log.info(`removed ${report.logsRemoved} old task logs`);
        return report.rotated;
      });
      for (const other of options.others) await attempt(other.name, () => other.rotate());
      if (failures.length > 0) throw new StoreError('store.log-rotation', failures.join('; '));
    },
  });
}

/** The daily rotation, for the scheduler. */
export function logRotationSource(options: LogRotationOptions): JobSource {
  const run = async (): Promise<void> => {
    await startLogRotation(options);
  };
  return { jobType, list: () => Promise.resolve([{ id, schedule, run }]) };
}
