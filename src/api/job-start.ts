import { errorCode, HttpError } from '../base/errors.ts';
import { superuser } from '../config/user-config.ts';
import { jobRunningCode } from '../schedule/job-run.ts';
import type { JobSource } from '../schedule/scheduler.ts';

/** How a job comes to run: by its schedule as root@pam, or by hand. */
export interface Trigger {
  authId: string;
  /** The calendar event, when the schedule did it. */
  schedule?: string;
}

/** How long a start waits for the job's lock (spec server 8): a person does, the scheduler comes again. */
export function lockWaitMs(trigger: Trigger): number {
  return trigger.schedule === undefined ? 10_000 : 0;
}

export function scheduled(schedule: string | undefined): Trigger {
  return { authId: superuser, schedule: schedule ?? '' };
}

/** A lock that is held as the answer `text`, for a start by hand; the scheduler needs the code. */
export function refusalOfRunning(e: unknown, trigger: Trigger, text: string): unknown {
  return errorCode(e) === jobRunningCode && trigger.schedule === undefined ? new HttpError(400, text, { cause: e }) : e;
}

/** The configured jobs of one type, for the scheduler: asked anew at each pass. */
export function configuredJobs<J extends { id: string; schedule?: string; disable?: boolean }>(
  jobType: string,
  list: () => readonly J[],
  start: (job: J, trigger: Trigger) => Promise<unknown>,
): JobSource {
  const scheduledJob = (job: J): Awaited<ReturnType<JobSource['list']>>[number] => ({
    id: job.id,
    schedule: job.schedule,
    disabled: job.disable ?? false,
    run: async () => {
      await start(job, scheduled(job.schedule));
    },
  });
  return { jobType, list: () => Promise.resolve(list().map((job) => scheduledJob(job))) };
}
