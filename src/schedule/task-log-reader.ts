import assert from 'node:assert/strict';
import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

export interface TaskLogLine {
  /** 1-based. */
  n: number;
  t: string;
}

export interface TaskLogQuery {
  /** First line; 0 and 1 both are the first (spec server, trap 5). */
  start: number;
  /** Lines at most; 0 = all. */
  limit: number;
  /** Count an unfinished line at the end too: right when the task is over, wrong while somebody writes it. */
  complete: boolean;
}

interface Checkpoint {
  /** Lines before `offset`. */
  lines: number;
  offset: number;
}

interface KnownLog {
  identity: string;
  checkpoints: Checkpoint[];
}

const newline = 0x0a;
const blockLength = 256 * 1024;
const linesPerCheckpoint = 4096;
const maxKnownLogs = 32;
/** A longer line is shown up to here. */
const maxLineBytes = 256 * 1024;

/**
 * Pages through task logs (spec rest-api 10.4) without holding them in memory. Clients poll with a growing start, so it
 * remembers where every 4096th line of the last logs starts: a poll of a long log reads its end only.
 */
export class TaskLogReader {
  readonly #known = new Map<string, KnownLog>();

  /**
   * Gives the lines from `start` on to `onLine`, in order, at most `limit`, and returns the number of all lines. An
   * `onLine` that returns a promise is waited for. File system errors are thrown as they are (`ENOENT`: no log).
   */
  async read(path: string, query: TaskLogQuery, onLine: (line: TaskLogLine) => void | Promise<void>): Promise<number> {
    const file = await open(path, 'r');
    try {
      const stat = await file.stat();
      const known = this.#checkpointsOf(path, `${stat.dev}:${stat.ino}`, stat.size);
      return await readLines(file, stat.size, known.checkpoints, query, onLine);
    } finally {
      await file.close();
    }
  }

  /** As `read`, with the lines as an array; for limits that bound it. */
  async page(path: string, query: TaskLogQuery): Promise<{ lines: TaskLogLine[]; total: number }> {
    const lines: TaskLogLine[] = [];
    const total = await this.read(path, query, (line) => void lines.push(line));
    return { lines, total };
  }

  #checkpointsOf(path: string, identity: string, size: number): KnownLog {
    let known = this.#known.get(path);
    const last = known?.checkpoints.at(-1)?.offset ?? 0;
    if (known === undefined || known.identity !== identity || last > size) known = { identity, checkpoints: [{ lines: 0, offset: 0 }] };
    // Reinserted: a Map keeps insertion order, so the first key is the one not asked for the longest.
    this.#known.delete(path);
    this.#known.set(path, known);
    if (this.#known.size > maxKnownLogs) this.#known.delete(this.#known.keys().next().value!);
    return known;
  }
}

/** The last checkpoint at or before line number `wanted` (1-based). */
function checkpointFor(checkpoints: readonly Checkpoint[], wanted: number): Checkpoint {
  let found = checkpoints[0]!;
  for (const checkpoint of checkpoints) if (checkpoint.lines < wanted) found = checkpoint;
  return found;
}

async function readLines(
  file: FileHandle,
  size: number,
  checkpoints: Checkpoint[],
  query: TaskLogQuery,
  onLine: (line: TaskLogLine) => void | Promise<void>,
): Promise<number> {
  assert.ok(query.start >= 0 && query.limit >= 0);
  const first = Math.max(query.start, 1);
  const last = query.limit === 0 ? Infinity : first + query.limit - 1;
  const block = Buffer.allocUnsafe(blockLength);
  let { lines, offset } = checkpointFor(checkpoints, first);
  let partial: Buffer[] = [];
  let partialLength = 0;
  const keep = (bytes: Buffer): void => {
    const room = maxLineBytes - partialLength;
    if (room > 0) partial.push(Buffer.from(bytes.subarray(0, room)));
    partialLength += bytes.length;
  };
  /** Ends the line that is being read; a promise when the taker of the lines wants to be waited for. */
  const finishLine = (): void | Promise<void> => {
    lines += 1;
    const wanted = lines >= first && lines <= last;
    const text = wanted ? Buffer.concat(partial).toString('utf8') : '';
    partial = [];
    partialLength = 0;
    return wanted ? onLine({ n: lines, t: text }) : undefined;
  };
  while (offset < size) {
    // Past the asked lines only the count matters, and what is counted already need not be read again.
    const skip = checkpoints.at(-1)!;
    if (lines >= last && partialLength === 0 && skip.offset > offset) ({ lines, offset } = skip);
    const { bytesRead } = await file.read(block, 0, Math.min(blockLength, size - offset), offset);
    if (bytesRead === 0) break;
    const read = block.subarray(0, bytesRead);
    let at = 0;
    for (let end = read.indexOf(newline); end >= 0; end = read.indexOf(newline, at)) {
      if (lines + 1 >= first && lines < last) keep(read.subarray(at, end));
      const taken = finishLine();
      if (taken !== undefined) await taken;
      at = end + 1;
      if (lines >= checkpoints.at(-1)!.lines + linesPerCheckpoint) checkpoints.push({ lines, offset: offset + at });
    }
    if (at < bytesRead) keep(read.subarray(at));
    offset += bytesRead;
  }
  if (partialLength > 0 && query.complete) await finishLine();
  return lines;
}
