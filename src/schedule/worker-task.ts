import type { ProgressLog } from '../base/log.ts';

/** What the body of a worker task gets. */
export interface TaskContext {
  /** UPID text (spec server 2). */
  readonly upid: string;
  /** The task's log; `warn` and `error` lines count as warnings (spec server 3). */
  readonly log: ProgressLog;
  /** Aborted when somebody stops the task or the server ends. */
  readonly signal: AbortSignal;
}

export interface TaskDescription {
  /** e.g. `syncjob` (spec server 6). */
  workerType: string;
  /** Unescaped; empty when there is none. */
  workerId: string;
  /** Who runs it: `user@realm`, `user@realm!token`. */
  authId: string;
}

/** Result of a finished task (spec server 3). */
export type TaskResult =
  | { state: 'OK'; endtime: number }
  | { state: 'Warning'; count: number; endtime: number }
  | { state: 'Error'; message: string; endtime: number }
  | { state: 'Unknown'; endtime: number };

export interface StartedTask {
  upid: string;
  /** Never rejects: a failed body is a result. */
  finished: Promise<TaskResult>;
}

/** Starts worker tasks; the one implementation keeps their logs and lists on disk. */
export interface TaskStarter {
  start(description: TaskDescription, body: (context: TaskContext) => Promise<void>): Promise<StartedTask>;
}
