import { open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { Mutex } from '../base/async.ts';
import { nowSeconds } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { errorChain, errorCode, FormatError } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import type { ProgressLog } from '../base/log.ts';
import { replaceFile } from '../config/atomic-file.ts';
import type { FileRights } from '../config/atomic-file.ts';
import { LockFile } from '../datastore/lock-file.ts';
import type { Upid } from '../format/upid.ts';
import { processStartTicks } from '../sys/process-start.ts';
import { archivedTasks, archiveNames, formatTaskLine, openArchive, parseTaskList, readListText } from './task-list-file.ts';
import type { ArchiveName, ListedTask } from './task-list-file.ts';
import { readTaskResult } from './task-status.ts';
import type { TaskResult } from './worker-task.ts';

/** Waiting time for `.active.lock` (spec server 4). */
const lockTimeoutMs = 15_000;

/** The folder of task logs and lists, and whom its files belong to (null: the running user). */
export interface TaskFolder {
  path: string;
  owner: { uid: number; gid: number } | null;
}

/** Modes as the reference's (spec server 1). */
export function listRights(folder: TaskFolder): FileRights {
  return { mode: 0o660, owner: folder.owner };
}

/** Path of a task's log: `{XX}/{upid}`, XX = low byte of pstart (spec server 3). */
export function taskLogPath(folder: TaskFolder, text: string, upid: Upid): string {
  return join(folder.path, (upid.pstart & 0xff).toString(16).toUpperCase().padStart(2, '0'), text);
}

/** Runs `work` under the lock of the list files. StoreError `store.locked` when it is not had in 15 s. */
export async function withListLock<R>(folder: TaskFolder, work: () => Promise<R>): Promise<R> {
  using _lock = await LockFile.acquire(join(folder.path, '.active.lock'), { mode: 'exclusive', timeoutMs: lockTimeoutMs });
  return await work();
}

type Change = { begun: ListedTask } | { ended: ListedTask } | 'look';

interface Batch {
  changes: Change[];
  done: Promise<void>;
}

interface OpenArchive {
  archive: ArchiveName;
  file: FileHandle;
}

/**
 * The list files of running and finished tasks (spec server 4), shared with other processes under a lock. Changes that
 * come while a change is being written are written together.
 */
export class TaskRegistry {
  readonly folder: TaskFolder;
  readonly #self: { pid: number; pstart: number };
  readonly #clock: Clock;
  readonly #log: ProgressLog;
  readonly #running = new Set<string>();
  readonly #writing = new Mutex();
  #next: Batch | null = null;

  /** `log` is the server's; `self` names this process. */
  constructor(folder: TaskFolder, self: { pid: number; pstart: number }, clock: Clock, log: ProgressLog) {
    this.folder = folder;
    this.#self = self;
    this.#clock = clock;
    this.#log = log;
  }

  /** Whether the process of a task without result still works on it: own tasks by the table in memory, others by pid and start time. */
  isAlive(task: { text: string; upid: Upid }): boolean {
    const { pid, pstart } = task.upid;
    if (pid === this.#self.pid && pstart === this.#self.pstart) return this.#running.has(task.text);
    return processStartTicks(pid) === pstart;
  }

  /** Enters a task that starts. */
  async begin(text: string, upid: Upid): Promise<void> {
    this.#running.add(text);
    try {
      await this.#apply({ begun: { text, upid, result: null } });
    } catch (e) {
      this.#running.delete(text);
      throw e;
    }
  }

  /** Moves a task to the archive. When that fails the next change makes up for it, from the final line of the log. */
  async end(text: string, upid: Upid, result: TaskResult): Promise<void> {
    try {
      await this.#apply({ ended: { text, upid, result } });
    } finally {
      // Not before: an update on its way would take the task for a dead one and archive it as well.
      this.#running.delete(text);
    }
  }

  /** Moves tasks of dead processes to the archive; done at start, and by readers that notice some. */
  async refresh(): Promise<void> {
    await this.#apply('look');
  }

  /** All tasks, newest first: running ones, then finished ones by end time through all archives (spec server 4). */
  async *tasks(): AsyncGenerator<ListedTask> {
    let active: ListedTask[];
    let archives: OpenArchive[];
    for (let round = 0; ; round += 1) {
      [active, archives] = await withListLock(this.folder, () => this.#openLists());
      if (round > 0 || active.every((task) => task.result === null && this.isAlive(task))) break;
      await Promise.all(archives.map(({ file }) => file.close()));
      await this.refresh();
    }
    try {
      yield* active.toReversed();
      for (const { archive, file } of archives) yield* this.#archived(archive, file);
    } finally {
      await Promise.all(archives.map(({ file }) => file.close()));
    }
  }

  /** Opened under the lock, so that a rotation in the middle of a walk neither hides nor doubles tasks. */
  async #openLists(): Promise<[ListedTask[], OpenArchive[]]> {
    const active = parseTaskList(await readListText(join(this.folder.path, 'active')));
    const archives: OpenArchive[] = [];
    for (const archive of await archiveNames(this.folder.path)) {
      const file = await openArchive(this.folder.path, archive);
      if (file !== null) archives.push({ archive, file });
    }
    return [active, archives];
  }

  async *#archived(archive: ArchiveName, file: FileHandle): AsyncGenerator<ListedTask> {
    try {
      yield* archivedTasks(file, archive);
    } catch (e) {
      // One broken archive must not hide the others.
      if (!(e instanceof FormatError)) throw e;
      this.#log.warn(errorChain(e));
    }
  }

  async #apply(change: Change): Promise<void> {
    if (this.#next === null) {
      const changes: Change[] = [];
      const done = this.#writing.run(async () => {
        this.#next = null;
        await withListLock(this.folder, () => this.#write(changes));
      });
      this.#next = { changes, done };
    }
    const batch = this.#next;
    batch.changes.push(change);
    await batch.done;
  }

  /** The update procedure; the lock is held. */
  async #write(changes: readonly Change[]): Promise<void> {
    const activePath = join(this.folder.path, 'active');
    const indexPath = join(this.folder.path, 'index');
    const before = await readListText(activePath);
    const legacy = parseTaskList(await readListText(indexPath));
    const ended = new Map(changes.flatMap((change) => (typeof change === 'object' && 'ended' in change ? [[change.ended.text, change.ended]] : [])));
    const begun = changes.flatMap((change) => (typeof change === 'object' && 'begun' in change ? [change.begun] : []));
    const remaining: ListedTask[] = [];
    const recovered: ListedTask[] = [];
    for (const task of [...legacy, ...parseTaskList(before)]) {
      if (ended.has(task.text)) continue;
      if (task.result !== null) recovered.push(task);
      else if (!legacy.includes(task) && this.isAlive(task)) remaining.push(task);
      else recovered.push({ ...task, result: await this.#resultOfDead(task) });
    }
    remaining.push(...begun.filter((task) => !ended.has(task.text)));
    const finished = [...ended.values(), ...(await this.#notYetArchived(recovered))];
    // First the archive, then the list of active ones: a crash in between leaves an entry twice, not none.
    if (finished.length > 0) await this.#archive(finished);
    failpoint('tasks.before-active');
    const after = remaining.map(formatTaskLine).join('');
    if (after !== before) await replaceFile(activePath, Buffer.from(after, 'utf8'), listRights(this.folder));
    if (legacy.length > 0) await rm(indexPath, { force: true });
  }

  async #resultOfDead(task: ListedTask): Promise<TaskResult> {
    const unknown: TaskResult = { state: 'Unknown', endtime: nowSeconds(this.#clock) };
    try {
      return (await readTaskResult(taskLogPath(this.folder, task.text, task.upid), task.upid.starttime)) ?? unknown;
    } catch (e) {
      this.#log.warn(`unable to read the log of task ${task.text}: ${errorChain(e)}`);
      return unknown;
    }
  }

  /** What an update that was cut off has not already archived. */
  async #notYetArchived(tasks: ListedTask[]): Promise<ListedTask[]> {
    if (tasks.length === 0) return tasks;
    const missing = new Map(tasks.map((task) => [task.text, task]));
    for (const archive of (await archiveNames(this.folder.path)).filter(({ compressed }) => !compressed)) {
      const file = await openArchive(this.folder.path, archive);
      if (file === null) continue;
      try {
        for await (const { text } of archivedTasks(file, archive)) missing.delete(text);
      } finally {
        await file.close();
      }
    }
    return [...missing.values()];
  }

  async #archive(finished: ListedTask[]): Promise<void> {
    const lines = finished
      .toSorted((a, b) => (a.result?.endtime ?? 0) - (b.result?.endtime ?? 0))
      .map(formatTaskLine)
      .join('');
    const file = await openForAppend(join(this.folder.path, 'archive'), listRights(this.folder));
    try {
      // A line that a crash cut off must not swallow the next one.
      const { size } = await file.stat();
      const last = Buffer.alloc(1);
      if (size > 0) await file.read(last, 0, 1, size - 1);
      await file.writeFile(size > 0 && last[0] !== 0x0a ? `\n${lines}` : lines);
      await file.sync();
    } finally {
      await file.close();
    }
  }
}

async function openForAppend(path: string, rights: FileRights): Promise<FileHandle> {
  try {
    const made = await open(path, 'ax+', rights.mode);
    await made.chmod(rights.mode);
    if (rights.owner !== null) await made.chown(rights.owner.uid, rights.owner.gid);
    return made;
  } catch (e) {
    if (errorCode(e) !== 'EEXIST') throw e;
  }
  return open(path, 'a+');
}
