import { ConfigError, FormatError } from '../base/errors.ts';
import { parseUpid } from '../format/upid.ts';
import { nextEventAfter, parseCalendarEvent } from './calendar-event.ts';
import { taskStatusText } from './task-status.ts';
import type { TaskResult } from './worker-task.ts';

/** What a job's state file says (spec server 8). */
export type JobState =
  | { state: 'created'; time: number }
  | { state: 'started'; upid: string }
  | { state: 'finished'; upid: string; result: TaskResult; updated: number | null }
  /** The file cannot be read as a state; `time` is when it was last written. */
  | { state: 'unknown'; time: number };

export type WritableJobState = Exclude<JobState, { state: 'unknown' }>;

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function onlyEntry(value: unknown): [string, unknown] {
  const entries = isObject(value) ? Object.entries(value) : [];
  if (entries.length !== 1) throw new FormatError('format.job-state', 'job state is not an object with one tag');
  return entries[0]!;
}

function seconds(value: unknown): number {
  if (typeof value !== 'number' || !Number.isSafeInteger(value) || Math.abs(value) > 8e12) throw new FormatError('format.job-state', 'bad time in job state');
  return value;
}

function upidText(value: unknown): string {
  if (typeof value !== 'string') throw new FormatError('format.job-state', 'bad UPID in job state');
  parseUpid(value);
  return value;
}

function parseResult(value: unknown): TaskResult {
  const [tag, body] = onlyEntry(value);
  if (!isObject(body)) throw new FormatError('format.job-state', 'bad task state in job state');
  const endtime = seconds(body['endtime']);
  if (tag === 'OK') return { state: 'OK', endtime };
  if (tag === 'Unknown') return { state: 'Unknown', endtime };
  if (tag === 'Warning') return { state: 'Warning', count: seconds(body['count']), endtime };
  if (tag === 'Error' && typeof body['message'] === 'string') return { state: 'Error', message: body['message'], endtime };
  throw new FormatError('format.job-state', `unknown task state '${tag.slice(0, 64)}' in job state`);
}

/** Parses a state file's text. FormatError `format.job-state`. */
export function parseJobState(text: string): JobState {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (e) {
    throw new FormatError('format.job-state', 'job state is not JSON', { cause: e });
  }
  const [tag, body] = onlyEntry(json);
  if (!isObject(body)) throw new FormatError('format.job-state', 'bad job state');
  if (tag === 'created') return { state: 'created', time: seconds(body['time']) };
  if (tag === 'started') return { state: 'started', upid: upidText(body['upid']) };
  if (tag !== 'finished') throw new FormatError('format.job-state', `unknown job state '${tag.slice(0, 64)}'`);
  const updated = body['updated'] === undefined || body['updated'] === null ? null : seconds(body['updated']);
  return { state: 'finished', upid: upidText(body['upid']), result: parseResult(body['state']), updated };
}

/** Members in the reference's order. */
function resultBody(result: TaskResult): Record<string, unknown> {
  if (result.state === 'Warning') return { count: result.count, endtime: result.endtime };
  if (result.state === 'Error') return { message: result.message, endtime: result.endtime };
  return { endtime: result.endtime };
}

/** The file's text, byte for byte as the reference writes it. */
export function formatJobState(state: WritableJobState): string {
  if (state.state === 'created') return JSON.stringify({ created: { time: state.time } });
  if (state.state === 'started') return JSON.stringify({ started: { upid: state.upid } });
  const result = { [state.result.state]: resultBody(state.result) };
  return JSON.stringify({ finished: { upid: state.upid, state: result, updated: state.updated } });
}

/** When a job last ran, for the scheduler: counted from its start (spec server 8; trap 15). */
export function lastRunTime(state: JobState): number {
  if (state.state === 'created' || state.state === 'unknown') return state.time;
  if (state.state === 'finished' && state.updated !== null) return state.updated;
  return parseUpid(state.upid).starttime;
}

/** Status fields of job listings (spec server 8). Absent ones are left out. */
export interface JobStatus {
  'last-run-upid'?: string;
  'last-run-state'?: string;
  'last-run-endtime'?: number;
  'next-run'?: number;
}

/** Time from which a listing counts to the next run: from the end of the last one, unlike the scheduler. */
function listedFrom(state: JobState): number {
  if (state.state === 'finished') return state.updated ?? state.result.endtime;
  return lastRunTime(state);
}

/**
 * Status fields for a job with this `schedule`. A schedule that is no calendar event has no next run: one bad job must not
 * hide the others of a listing, and the scheduler says what is wrong with it.
 */
export function jobStatus(state: JobState, schedule: string | undefined, timeZone?: string): JobStatus {
  const status: JobStatus = {};
  if (state.state === 'started' || state.state === 'finished') status['last-run-upid'] = state.upid;
  if (state.state === 'finished') {
    status['last-run-state'] = taskStatusText(state.result);
    status['last-run-endtime'] = state.result.endtime;
  }
  if (state.state === 'unknown') status['last-run-state'] = 'unknown';
  const next = schedule === undefined || schedule === '' ? null : nextRun(schedule, listedFrom(state), timeZone);
  return next === null ? status : { ...status, 'next-run': next };
}

function nextRun(schedule: string, after: number, timeZone: string | undefined): number | null {
  try {
    return nextEventAfter(parseCalendarEvent(schedule), after, timeZone);
  } catch (e) {
    if (e instanceof ConfigError) return null;
    throw e;
  }
}

/**
 * Whether an update changes a job's schedule. Only a field that is present, or named in `remove`, can change it: the
 * reference takes an absent one for a change and puts the next run off (spec sync, trap 9).
 */
export function scheduleChanges(stored: string | undefined, update: { schedule?: string; remove?: readonly string[] }): boolean {
  if (update.remove?.includes('schedule') === true) return stored !== undefined;
  return update.schedule !== undefined && update.schedule !== stored;
}
