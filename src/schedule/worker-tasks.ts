import { chmod, chown, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { pause } from '../base/async.ts';
import { nowSeconds } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { AbortedError, errorChain, StoreError } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { escapeUnit, formatUpid, parseUpid } from '../format/upid.ts';
import type { Upid } from '../format/upid.ts';
import { makeFolders } from '../sys/make-folders.ts';
import { processStartTicks } from '../sys/process-start.ts';
import { processTimeZone } from './local-time.ts';
import { TaskLogWriter } from './task-log-writer.ts';
import { TaskRegistry, taskLogPath } from './task-registry.ts';
import type { TaskFolder } from './task-registry.ts';
import { readTaskResult } from './task-status.ts';
import type { StartedTask, TaskContext, TaskDescription, TaskResult, TaskStarter } from './worker-task.ts';

/** Longest UPID: it is a file name. */
const maxUpidBytes = 255;

export interface WorkerTasksOptions {
  folder: TaskFolder;
  /** Short host name, part of each UPID. */
  node: string;
  clock: Clock;
  /** The server's log: told of what cannot go into a task's log. */
  log: ProgressLog;
  /** Default: the process's. */
  timeZone?: string;
  /** Writes debug lines into the task logs. */
  debug?: boolean;
  /** Told of each task that was started, by whomever. */
  onStart?: (upid: string, description: TaskDescription) => void;
}

interface RunningTask extends StartedTask {
  readonly description: TaskDescription;
  readonly parsed: Upid;
  readonly writer: TaskLogWriter;
  readonly controller: AbortController;
  /** Ends the task although its body goes on. */
  readonly giveUp: (reason: Error) => void;
}

/** A worker id that fits: what is too long for a file name is cut, marked by `~`. */
function fittingUpid(upid: Upid): string {
  const room = maxUpidBytes - formatUpid({ ...upid, workerId: '' }).length;
  if (escapeUnit(upid.workerId).length <= room) return formatUpid(upid);
  const chars = Array.from(upid.workerId);
  const mark = '~';
  while (chars.length > 0 && escapeUnit(chars.join('') + mark).length > room) chars.pop();
  return formatUpid({ ...upid, workerId: chars.join('') + mark });
}

/** Worker tasks of this process: identity, log, list files, abort, end (spec server 2 to 5). */
export class WorkerTasks implements TaskStarter {
  readonly registry: TaskRegistry;
  readonly #options: WorkerTasksOptions;
  readonly #pstart: number;
  readonly #running = new Map<string, RunningTask>();
  /** Results of tasks whose end is not yet in the list; longer than they run. */
  readonly #unsettled = new Set<Promise<TaskResult>>();
  #nextId = 0;
  #stopping = false;

  constructor(options: WorkerTasksOptions) {
    this.#options = options;
    const pstart = processStartTicks(process.pid);
    if (pstart === null) throw new StoreError('store.proc', 'start time of this process is not known', { hint: 'mount /proc' });
    this.#pstart = pstart;
    this.registry = new TaskRegistry(options.folder, { pid: process.pid, pstart }, options.clock, options.log);
  }

  /**
   * Starts a task: makes its log, enters it into the list, runs `body`. Rejects, and runs nothing, when the log or the
   * list cannot be written or the server is going down (StoreError `store.shutdown`).
   */
  async start(description: TaskDescription, body: (context: TaskContext) => Promise<void>): Promise<StartedTask> {
    const text = fittingUpid({
      node: this.#options.node,
      pid: process.pid,
      pstart: this.#pstart,
      taskId: this.#nextId,
      starttime: nowSeconds(this.#options.clock),
      ...description,
    });
    this.#nextId += 1;
    const parsed = parseUpid(text);
    const path = taskLogPath(this.#options.folder, text, parsed);
    await this.#makeFolder(dirname(path));
    // From here to the entry into the table nothing is waited for: a shutdown either refuses the task or ends it.
    if (this.#stopping) throw new StoreError('store.shutdown', 'server is shutting down');
    const writer = TaskLogWriter.create(path, { mode: 0o644, owner: this.#options.folder.owner }, {
      clock: this.#options.clock,
      timeZone: this.#options.timeZone ?? processTimeZone(),
      debug: this.#options.debug ?? false,
      onWriteError: (e) => this.#options.log.error(`unable to write the log of task ${text}: ${errorChain(e)}`),
    });
    const ended = Promise.withResolvers<TaskResult>();
    const givenUp = Promise.withResolvers<never>();
    const controller = new AbortController();
    const task: RunningTask = { upid: text, finished: ended.promise, description, parsed, writer, controller, giveUp: givenUp.reject };
    this.#running.set(text, task);
    try {
      await this.registry.begin(text, parsed);
    } catch (e) {
      this.#running.delete(text);
      const result: TaskResult = { state: 'Error', message: errorChain(e), endtime: nowSeconds(this.#options.clock) };
      writer.finish(result);
      await rm(path, { force: true });
      ended.resolve(result);
      throw e;
    }
    this.#options.onStart?.(text, description);
    this.#unsettled.add(ended.promise);
    void this.#run(task, body, givenUp.promise)
      .finally(() => this.#unsettled.delete(ended.promise))
      .then(ended.resolve, ended.reject);
    return { upid: text, finished: ended.promise };
  }

  /** Running tasks of this process, oldest first. */
  running(): Array<TaskDescription & { upid: string }> {
    return [...this.#running.values()].map(({ upid, description }) => ({ ...description, upid }));
  }

  /** Asks a task to stop; false when it does not run in this process (spec server 5: no error). */
  abort(upid: string): boolean {
    const task = this.#running.get(upid);
    if (task === undefined) return false;
    if (!task.controller.signal.aborted) {
      task.writer.info('received abort request ...');
      task.controller.abort(new AbortedError());
    }
    return true;
  }

  /** Result of a task of any process; null while it runs. A task whose log is gone is `Unknown`. FormatError for text that is no UPID. */
  async result(text: string): Promise<TaskResult | null> {
    const upid = parseUpid(text);
    if (this.#running.has(text)) return null;
    const result = await readTaskResult(taskLogPath(this.#options.folder, text, upid), upid.starttime);
    if (result === null) return { state: 'Unknown', endtime: upid.starttime };
    // A process that lives and has not written a final line is at work.
    return result.state === 'Unknown' && this.registry.isAlive({ text, upid }) ? null : result;
  }

  /** Path of the log of a task, of any process. FormatError for text that is no UPID. */
  logPath(text: string): string {
    return taskLogPath(this.#options.folder, text, parseUpid(text));
  }

  /** Resolves when no task runs any more. */
  async idle(): Promise<void> {
    while (this.#running.size + this.#unsettled.size > 0) await Promise.all([...[...this.#running.values()].map((task) => task.finished), ...this.#unsettled]);
  }

  /**
   * Takes no further tasks, aborts all, and waits for them. What still runs after `limitMs` milliseconds is given up: its
   * log gets a final line and its result is an error, whatever its body does.
   */
  async shutdown(limitMs: number): Promise<void> {
    this.#stopping = true;
    const tasks = [...this.#running.values()];
    for (const task of tasks) this.abort(task.upid);
    const all = Promise.all([...tasks.map((task) => task.finished), ...this.#unsettled]);
    const timer = new AbortController();
    const timeUp = pause(limitMs, timer.signal).then(
      () => {
        for (const task of tasks) task.giveUp(new AbortedError('server shutdown - task did not stop in time'));
      },
      // The timer was stopped: all tasks ended before.
      () => {},
    );
    await Promise.race([all, timeUp]);
    await all;
    timer.abort();
    await timeUp;
  }

  async #makeFolder(path: string): Promise<void> {
    if (!(await makeFolders(path, 0o755))) return;
    await chmod(path, 0o755);
    const { owner } = this.#options.folder;
    if (owner !== null) await chown(path, owner.uid, owner.gid);
  }

  async #run(task: RunningTask, body: (context: TaskContext) => Promise<void>, givenUp: Promise<never>): Promise<TaskResult> {
    const { upid, writer, controller } = task;
    let failure: unknown;
    let failed = false;
    try {
      controller.signal.throwIfAborted();
      await Promise.race([body({ upid, log: writer, signal: controller.signal }), givenUp]);
    } catch (e) {
      failed = true;
      failure = e;
    }
    const endtime = nowSeconds(this.#options.clock);
    let result: TaskResult = { state: 'OK', endtime };
    if (failed) result = { state: 'Error', message: errorChain(failure), endtime };
    else if (writer.warnings > 0) result = { state: 'Warning', count: writer.warnings, endtime };
    writer.finish(result);
    this.#running.delete(upid);
    try {
      await this.registry.end(upid, task.parsed, result);
    } catch (e) {
      // The result stands, in the log too; the next change of the list enters it.
      this.#options.log.error(`unable to update the task list for ${upid}: ${errorChain(e)}`);
    }
    return result;
  }
}
