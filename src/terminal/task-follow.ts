import { FarshoreError, NetworkError } from '../base/errors.ts';
import type { Parameters } from './command.ts';
import type { InterruptSource } from './interrupts.ts';
import { jsonText, outputFormat, type OutputSettings, type TextSink } from './output.ts';
import { TaskProgress } from './task-progress.ts';

const logPath = '/nodes/localhost/tasks/{upid}/log';
const statusPath = '/nodes/localhost/tasks/{upid}/status';
const taskPath = '/nodes/localhost/tasks/{upid}';
const linesPerPoll = 500;
const pollMilliseconds = 1000;

/** `2026-11-24T01:58:37+00:00: ` */
const timeStampLength = 27;

/** The calls of a server's API that following a task takes. */
export interface TaskApi {
  /** `path` is a template whose `{upid}` is filled in from `parameters`; the others go into the query. */
  call(method: 'GET' | 'DELETE', path: string, parameters: Readonly<Record<string, string | number | boolean>>): Promise<{ readonly data?: unknown; readonly [sibling: string]: unknown }>;
}

/** What following a task needs of its command. */
export interface TaskContext {
  readonly api: TaskApi;
  readonly stdout: TextSink;
  readonly stderr: TextSink;
  readonly output: OutputSettings;
  /** True when stderr is a terminal: progress may be drawn there. */
  readonly drawsProgress: boolean;
  readonly interrupts: InterruptSource;
  /** Waits between two polls; an abort of `signal` ends the waiting early. */
  readonly pause: (milliseconds: number, signal?: AbortSignal) => Promise<void>;
}

/** A followed task ended badly. The message is what the reference prints (spec manager-cli 3.2). */
export class TaskFailed extends FarshoreError {
  constructor(message: string) {
    super('task.failed', message);
  }
}

/** A line of a task log without its time stamp. */
export function withoutTimeStamp(line: string): string {
  if (line.length <= timeStampLength || line.slice(timeStampLength - 2, timeStampLength) !== ': ') return line;
  return line.slice(timeStampLength);
}

interface LogPage {
  lines: string[];
  active: boolean;
}

/** `start`: number of the first line wanted; lines count from 1 (spec server, trap 5). */
async function readLog(api: TaskApi, upid: string, start: number): Promise<LogPage> {
  const reply = await api.call('GET', logPath, { upid, start, limit: linesPerPoll, 'test-status': true });
  const entries = Array.isArray(reply.data) ? (reply.data as Array<{ t?: unknown }>) : [];
  const lines = entries.map((entry) => (typeof entry.t === 'string' ? entry.t : ''));
  return { lines, active: reply['active'] === true || reply['active'] === 1 };
}

/** Throws TaskFailed when `upid` did not end well; returns otherwise. */
async function checkResult(api: TaskApi, upid: string): Promise<void> {
  const { data } = await api.call('GET', statusPath, { upid });
  const exitStatus = (data as { exitstatus?: unknown } | null)?.exitstatus;
  if (typeof exitStatus !== 'string') throw new TaskFailed('task stopped with unknown status');
  if (exitStatus === 'OK' || exitStatus.startsWith('WARNINGS:')) return;
  throw new TaskFailed(`task failed (status ${exitStatus})`);
}

export interface FollowOptions {
  /** What Ctrl-C does: asks the server to abort the task, or only ends the watching (`task log`). */
  onInterrupt: 'abort' | 'leave';
  /** False: print what is there and judge, do not wait for a running task. */
  wait?: boolean;
}

/**
 * Prints the log of `upid` to stdout until the task has ended. Returns normally for `OK` and warnings, and also when the
 * user left; TaskFailed otherwise (spec manager-cli 3.2, 14).
 */
export async function followTask(context: TaskContext, upid: string, options: FollowOptions): Promise<void> {
  const { stderr } = context;
  const progress = new TaskProgress(context.drawsProgress ? stderr : null, context.output.width);
  const watch: Watch = { interrupts: 0, wakeUp: new AbortController(), progress };
  const left = Promise.withResolvers<'left'>();
  const stopListening = context.interrupts.listen(() => {
    watch.interrupts += 1;
    if (options.onInterrupt === 'leave') {
      left.resolve('left');
    } else {
      progress.clear();
      stderr.write(watch.interrupts === 1 ? 'got shutdown request (SIGINT)\n' : 'forced exit (task still running)\n');
      if (watch.interrupts > 1) left.resolve('left');
    }
    watch.wakeUp.abort();
  });
  const watching = watchLog(context, upid, watch, options);
  // Whoever leaves does not wait for a server that hangs; what becomes of the last call is then nobody's business.
  watching.catch(() => {});
  try {
    if ((await Promise.race([left.promise, watching])) === 'left') return;
  } catch (e) {
    if (!(e instanceof NetworkError) || e.hint !== undefined) throw e;
    throw new NetworkError(e.code, e.message, { cause: e.cause, hint: `the server cannot be reached any more; a task ends with its server. When it runs again, see what became of it: task log '${upid}'` });
  } finally {
    progress.clear();
    stopListening();
  }
  await checkResult(context.api, upid);
}

interface Watch {
  interrupts: number;
  wakeUp: AbortController;
  progress: TaskProgress;
}

/** Prints lines until the task has ended, or the user left. */
async function watchLog({ api, stdout, pause }: TaskContext, upid: string, watch: Watch, options: FollowOptions): Promise<'ended' | 'left'> {
  const { progress } = watch;
  const allowed = options.onInterrupt === 'leave' ? 0 : 1;
  for (let start = 1; ; ) {
    // Renewed before the calls, so that a Ctrl-C during one of them cuts the waiting after it short.
    watch.wakeUp = new AbortController();
    if (watch.interrupts === 1 && allowed === 1) await api.call('DELETE', taskPath, { upid });
    const page = await readLog(api, upid, start);
    if (watch.interrupts > allowed) return 'left';
    progress.clear();
    for (const line of page.lines) {
      const text = withoutTimeStamp(line);
      stdout.write(`${text}\n`);
      progress.see(text);
    }
    start += page.lines.length;
    if (page.lines.length >= linesPerPoll) continue;
    if (!page.active) return 'ended';
    if (options.wait === false) return 'left';
    progress.draw();
    await pause(pollMilliseconds, watch.wakeUp.signal);
    if (watch.interrupts > allowed) return 'left';
  }
}

/** What a command does with the UPID that its call returned: follows the task, or prints the UPID as JSON at once. */
export async function presentTask(context: TaskContext, upid: unknown, parameters: Parameters): Promise<number> {
  const format = outputFormat(parameters['output-format'], context.output);
  if (format !== 'text') context.stdout.write(jsonText(upid, format));
  else if (typeof upid === 'string') await followTask(context, upid, { onInterrupt: 'abort' });
  return 0;
}

/**
 * Waits for a task whose log is not shown: only the last line of a failed one goes to stderr, and the exit code stays 0
 * (spec manager-cli 3.4).
 */
export async function awaitQuietTask(context: TaskContext, upid: unknown): Promise<void> {
  if (typeof upid !== 'string') return;
  for (let delay = 20; ; delay = Math.min(delay * 2, pollMilliseconds)) {
    const { data } = await context.api.call('GET', statusPath, { upid });
    const { status, exitstatus } = (data ?? {}) as { status?: unknown; exitstatus?: unknown };
    if (status !== 'running') {
      const text = typeof exitstatus === 'string' ? exitstatus : 'unknown';
      if (text !== 'OK' && !text.startsWith('WARNINGS:')) context.stderr.write(`TASK ERROR: ${text}\n`);
      return;
    }
    await context.pause(delay);
  }
}
