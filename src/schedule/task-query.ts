import { tokenNameOf, userOf } from '../format/auth-id.ts';
import type { Upid } from '../format/upid.ts';
import type { ListedTask } from './task-list-file.ts';
import { taskStatusText } from './task-status.ts';
import type { TaskResult } from './worker-task.ts';

export type StatusFilter = 'ok' | 'error' | 'warning' | 'unknown';

/** Parameters of the task list, in the words of spec rest-api 10.4. */
export interface TaskQuery {
  /** Matching tasks to leave out first. */
  start?: number;
  /** Default 50; 0 = all. */
  limit?: number;
  store?: string;
  /** Only tasks that run. */
  running?: boolean;
  /** Leaves out those that ended with OK. */
  errors?: boolean;
  /** Part of the auth id. */
  userfilter?: string;
  /** Leaves out tasks that started earlier, and ends the walk at the first that ended before (the former is observed). */
  since?: number;
  /** Leaves out tasks that started later. */
  until?: number;
  /** Part of the worker type. */
  typefilter?: string;
  statusfilter?: readonly StatusFilter[];
  /** Whether the caller may see a task. */
  visible?: (upid: Upid) => boolean;
}

/** Whether a task is one of datastore `store`, as far as the filter knows (spec rest-api 10.4). */
export function isTaskOfStore(upid: Upid, store: string): boolean {
  const { workerType, workerId } = upid;
  if (workerType === 'syncjob') return workerId.split(':')[2] === store;
  const counts = workerType.startsWith('verif') || ['prune', 'prunejob', 'backup', 'garbage_collection'].includes(workerType);
  return counts && (workerId === store || workerId.startsWith(`${store}:`));
}

const filterOf: Record<TaskResult['state'], StatusFilter> = { OK: 'ok', Warning: 'warning', Error: 'error', Unknown: 'unknown' };

function matches(task: ListedTask, query: TaskQuery): boolean {
  const { upid, result } = task;
  if (query.errors === true && result?.state === 'OK') return false;
  if (query.statusfilter !== undefined && (result === null || !query.statusfilter.includes(filterOf[result.state]))) return false;
  if (query.since !== undefined && upid.starttime < query.since) return false;
  if (query.until !== undefined && upid.starttime > query.until) return false;
  if (query.userfilter !== undefined && !upid.authId.includes(query.userfilter)) return false;
  if (query.typefilter !== undefined && !upid.workerType.includes(query.typefilter)) return false;
  if (query.store !== undefined && !isTaskOfStore(upid, query.store)) return false;
  return query.visible === undefined || query.visible(upid);
}

/**
 * Takes the asked part of `tasks` (newest first, as of TaskRegistry.tasks) and reads no further than it must. `total` is
 * the reference's: start + returned, one more when the page is full.
 */
export async function queryTasks(tasks: AsyncIterable<ListedTask>, query: TaskQuery): Promise<{ tasks: ListedTask[]; total: number }> {
  const start = query.start ?? 0;
  const limit = query.limit ?? 50;
  const found: ListedTask[] = [];
  let skipped = 0;
  for await (const task of tasks) {
    if (query.running === true && task.result !== null) break;
    if (query.since !== undefined && task.result !== null && task.result.endtime < query.since) break;
    if (!matches(task, query)) continue;
    if (skipped < start) skipped += 1;
    else found.push(task);
    if (limit > 0 && found.length >= limit) break;
  }
  const full = limit > 0 && found.length >= limit;
  return { tasks: found, total: start + found.length + (full ? 1 : 0) };
}

/** A task as in the reply of the task list (spec rest-api 10.4; server, traps 2, 3, 22). */
export function taskListItem(task: ListedTask): Record<string, unknown> {
  const { upid, result } = task;
  return {
    upid: task.text,
    node: 'localhost',
    pid: upid.pid,
    pstart: upid.pstart,
    starttime: upid.starttime,
    worker_type: upid.workerType,
    worker_id: upid.workerId === '' ? null : upid.workerId,
    user: upid.authId,
    ...(result === null ? {} : { endtime: result.endtime, status: taskStatusText(result) }),
  };
}

/** The reply of a task's status; `result` null while it runs (spec rest-api 10.4). */
export function taskStatusReply(text: string, upid: Upid, result: TaskResult | null): Record<string, unknown> {
  const tokenName = tokenNameOf(upid.authId);
  return {
    upid: text,
    node: upid.node,
    pid: upid.pid,
    pstart: upid.pstart,
    starttime: upid.starttime,
    type: upid.workerType,
    id: upid.workerId === '' ? null : upid.workerId,
    user: userOf(upid.authId),
    ...(tokenName === null ? {} : { tokenid: tokenName }),
    ...(result === null ? { status: 'running' } : { status: 'stopped', exitstatus: taskStatusText(result), endtime: result.endtime }),
  };
}
