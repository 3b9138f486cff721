import { open, readdir, readFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { zstdDecompress } from 'node:zlib';
import { errorCode, FormatError } from '../base/errors.ts';
import { parseUpid } from '../format/upid.ts';
import type { Upid } from '../format/upid.ts';
import { taskStatusText, parseTaskStatus } from './task-status.ts';
import type { TaskResult } from './worker-task.ts';

/** One task of the list files (spec server 4). */
export interface ListedTask {
  /** UPID text. */
  readonly text: string;
  readonly upid: Upid;
  /** Null while it runs. */
  readonly result: TaskResult | null;
}

/** Larger than any archive that rotation leaves, small enough for memory. */
const maxArchiveBytes = 64 * 1024 * 1024;
const maxLineLength = 64 * 1024;
const blockLength = 64 * 1024;

const linePattern = /^(\S+)(?: ([0-9A-Fa-f]{8,13}) (.*))?$/;

/** Parses `{upid}` or `{upid} {endtime} {status}`; null for anything else. */
export function parseTaskLine(line: string): ListedTask | null {
  const match = line.length > maxLineLength ? null : linePattern.exec(line);
  if (match === null) return null;
  try {
    const [, text = '', endtime, status = ''] = match;
    const result = endtime === undefined ? null : parseTaskStatus(status, Number.parseInt(endtime, 16));
    return { text, upid: parseUpid(text), result };
  } catch (e) {
    if (e instanceof FormatError) return null;
    throw e;
  }
}

/** The line of a task, with newline. */
export function formatTaskLine(task: ListedTask): string {
  if (task.result === null) return `${task.text}\n`;
  const endtime = task.result.endtime.toString(16).toUpperCase().padStart(8, '0');
  return `${task.text} ${endtime} ${taskStatusText(task.result)}\n`;
}

/** All tasks of a list text in file order; unparsable lines are skipped. */
export function parseTaskList(text: string): ListedTask[] {
  return text.split('\n').flatMap((line) => parseTaskLine(line) ?? []);
}

/** Text of a list file; empty when it is missing. */
export async function readListText(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return '';
    throw e;
  }
}

export interface ArchiveName {
  name: string;
  /** 0 = the one that is written, higher = older. */
  age: number;
  compressed: boolean;
}

/** The archives in `folder`, newest first. Of an age that exists twice (a rotation that was cut off) the plain one counts. */
export async function archiveNames(folder: string): Promise<ArchiveName[]> {
  const found = new Map<number, ArchiveName>();
  for (const name of await readdir(folder)) {
    const match = /^archive(?:\.([1-9][0-9]{0,4}))?(\.zst)?$/.exec(name);
    if (match === null || (match[1] === undefined && match[2] !== undefined)) continue;
    const archive = { name, age: Number(match[1] ?? 0), compressed: match[2] !== undefined };
    if (!archive.compressed || !found.has(archive.age)) found.set(archive.age, archive);
  }
  return [...found.values()].sort((a, b) => a.age - b.age);
}

const decompress = promisify(zstdDecompress);

/** Whole text of a compressed archive. FormatError `format.task-archive` for broken or too large ones. */
export async function decompressArchive(file: FileHandle, name: string): Promise<string> {
  try {
    const { size } = await file.stat();
    if (size > maxArchiveBytes) throw new FormatError('format.task-archive', `larger than ${maxArchiveBytes} bytes`);
    return (await decompress(await file.readFile(), { maxOutputLength: maxArchiveBytes })).toString('utf8');
  } catch (e) {
    throw new FormatError('format.task-archive', `task archive '${name}' cannot be read`, { cause: e });
  }
}

/** Lines of a file from the last one upwards, in bounded memory; lines longer than 64 KiB are left out. */
async function* linesUpwards(file: FileHandle): AsyncGenerator<string> {
  let end = (await file.stat()).size;
  // Start of a line whose beginning lies further up; null while skipping a line that is too long.
  let rest: Buffer | null = Buffer.alloc(0);
  while (end > 0) {
    const block = Buffer.alloc(Math.min(blockLength, end));
    await file.read(block, 0, block.length, end - block.length);
    end -= block.length;
    let lineEnd = block.length;
    for (let at = block.lastIndexOf(0x0a); at >= 0; at = at === 0 ? -1 : block.lastIndexOf(0x0a, at - 1)) {
      const line = block.subarray(at + 1, lineEnd);
      if (rest !== null) yield Buffer.concat([line, rest]).toString('utf8');
      rest = Buffer.alloc(0);
      lineEnd = at;
    }
    const head = block.subarray(0, lineEnd);
    rest = rest === null || rest.length + head.length > maxLineLength ? null : Buffer.concat([head, rest]);
  }
  if (rest !== null) yield rest.toString('utf8');
}

/** Tasks of an open archive, newest first. */
export async function* archivedTasks(file: FileHandle, archive: ArchiveName): AsyncGenerator<ListedTask> {
  if (archive.compressed) {
    yield* parseTaskList(await decompressArchive(file, archive.name)).toReversed();
    return;
  }
  for await (const line of linesUpwards(file)) {
    const task = parseTaskLine(line);
    if (task !== null) yield task;
  }
}

/** Opens an archive; null when it is gone. */
export async function openArchive(folder: string, archive: ArchiveName): Promise<FileHandle | null> {
  try {
    return await open(join(folder, archive.name), 'r');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw e;
  }
}
