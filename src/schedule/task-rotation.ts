import { createReadStream, createWriteStream } from 'node:fs';
import { lstat, open, opendir, rename, rm, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { createZstdCompress } from 'node:zlib';
import { nowSeconds } from '../base/clock.ts';
import type { Clock } from '../base/clock.ts';
import { errorCode } from '../base/errors.ts';
import { failpoint } from '../base/failpoint.ts';
import { archivedTasks, archiveNames, openArchive, parseTaskList, readListText } from './task-list-file.ts';
import type { ArchiveName } from './task-list-file.ts';
import { listRights, withListLock } from './task-registry.ts';
import type { TaskFolder } from './task-registry.ts';

export interface RotationPolicy {
  /** The archive is rotated when it is larger. Default 512 KiB - 1. */
  maxBytes?: number;
  /** Rotated archives kept. Default 20; does not count when `maxDays` is set. */
  keepFiles?: number;
  /** `task-log-max-days` of node.cfg. */
  maxDays?: number;
}

export interface RotationReport {
  rotated: boolean;
  archivesRemoved: number;
  logsRemoved: number;
}

const defaultMaxBytes = 512 * 1024 - 1;
const defaultKeepFiles = 20;
const daySeconds = 86_400;

async function fileSize(path: string): Promise<number> {
  try {
    return (await stat(path)).size;
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return 0;
    throw e;
  }
}

async function syncPath(path: string): Promise<void> {
  const file = await open(path, 'r');
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

function archivePath(folder: TaskFolder, age: number, compressed: boolean): string {
  return join(folder.path, `archive${age === 0 ? '' : `.${age}`}${compressed ? '.zst' : ''}`);
}

/** Replaces plain `from` by compressed `to`, whole or not at all. */
async function compressArchive(folder: TaskFolder, from: string, to: string): Promise<void> {
  const temporary = `${to}.tmp_rotate`;
  const { mode, owner } = listRights(folder);
  await pipeline(createReadStream(from), createZstdCompress(), createWriteStream(temporary, { mode }));
  const file = await open(temporary, 'r+');
  try {
    await file.chmod(mode);
    if (owner !== null) await file.chown(owner.uid, owner.gid);
    await file.sync();
  } finally {
    await file.close();
  }
  await rename(temporary, to);
  await syncPath(folder.path);
  failpoint('tasks.archive-compressed');
  await rm(from);
}

/** Makes room at age 1 by moving each archive one up, oldest first, and compresses what gets to age 2. */
async function shift(folder: TaskFolder, archives: readonly ArchiveName[]): Promise<void> {
  for (const { name, age, compressed } of archives.toReversed()) {
    const from = join(folder.path, name);
    const to = archivePath(folder, age + 1, age > 0);
    if (age === 0 || compressed) await rename(from, to);
    else await compressArchive(folder, from, to);
  }
  await syncPath(folder.path);
}

/** Smallest end time in an archive; null when it holds no task. */
async function oldestEnd(folder: TaskFolder, archive: ArchiveName): Promise<number | null> {
  const file = await openArchive(folder.path, archive);
  if (file === null) return null;
  let oldest: number | null = null;
  try {
    for await (const { result } of archivedTasks(file, archive)) {
      if (result !== null && (oldest === null || result.endtime < oldest)) oldest = result.endtime;
    }
  } finally {
    await file.close();
  }
  return oldest;
}

/** Archives that the policy no longer keeps (spec server 7). */
async function surplus(folder: TaskFolder, archives: readonly ArchiveName[], policy: RotationPolicy, now: number): Promise<ArchiveName[]> {
  if (policy.maxDays === undefined) return archives.filter(({ age }) => age > (policy.keepFiles ?? defaultKeepFiles));
  const cutoff = now - policy.maxDays * daySeconds;
  for (const [i, archive] of archives.entries()) {
    const oldest = await oldestEnd(folder, archive);
    if (oldest !== null && oldest < cutoff) return archives.slice(i + 1);
  }
  return [];
}

/** Removes the logs last written before `cutoff`, but not those of `running` tasks. */
async function removeOldLogs(folder: TaskFolder, cutoff: number, running: ReadonlySet<string>): Promise<number> {
  let removed = 0;
  for await (const entry of await opendir(folder.path)) {
    if (!entry.isDirectory() || !/^[0-9A-F]{2}$/.test(entry.name)) continue;
    for await (const log of await opendir(join(folder.path, entry.name))) {
      if (!log.isFile() || !log.name.startsWith('UPID:') || running.has(log.name)) continue;
      const path = join(folder.path, entry.name, log.name);
      if ((await lstat(path)).mtimeMs >= cutoff * 1000) continue;
      await rm(path);
      removed += 1;
    }
  }
  return removed;
}

/**
 * Rotates the task archive when it is too large, drops archives that the policy does not keep, and removes the logs of
 * tasks that no archive lists any more (spec server 7). Nothing is removed when the clock lies before the oldest entry.
 */
export function rotateTasks(folder: TaskFolder, policy: RotationPolicy, clock: Clock): Promise<RotationReport> {
  return withListLock(folder, async () => {
    const rotated = (await fileSize(join(folder.path, 'archive'))) > (policy.maxBytes ?? defaultMaxBytes);
    if (rotated) await shift(folder, await archiveNames(folder.path));
    const drop = await surplus(folder, await archiveNames(folder.path), policy, nowSeconds(clock));
    for (const { name } of drop) await rm(join(folder.path, name));
    const oldestArchive = (await archiveNames(folder.path)).at(-1);
    const cutoff = oldestArchive === undefined ? null : await oldestEnd(folder, oldestArchive);
    const running = new Set(parseTaskList(await readListText(join(folder.path, 'active'))).map(({ text }) => text));
    const usable = cutoff !== null && cutoff <= nowSeconds(clock);
    const logsRemoved = usable ? await removeOldLogs(folder, cutoff, running) : 0;
    return { rotated, archivesRemoved: drop.length, logsRemoved };
  });
}
