import { open } from 'node:fs/promises';
import { errorCode } from '../base/errors.ts';
import { parseRfc3339 } from './local-time.ts';
import type { TaskResult } from './worker-task.ts';

/** Longest error text in a final line, in UTF-16 units: the line must fit into the 8192 bytes that readers look at. */
const maxMessageLength = 2000;

/** Bytes at the end of a log in which its final line is looked for (spec server 3). */
const tailLength = 8192;

function clip(text: string): string {
  const line = text.slice(0, maxMessageLength + 1).replace(/[\r\n]+/g, ' ').trim();
  // A pair of surrogates may have been cut in half.
  return (text.length > maxMessageLength ? `${line.slice(0, maxMessageLength - 4)} ...` : line).toWellFormed();
}

/**
 * An error's message as one line of bounded length. One that readers, the reference's too, would take for another status
 * (`OK`) gets words before it.
 */
function errorText(message: string): string {
  const text = clip(message);
  const status = parseTaskStatus(text, 0);
  const isPlain = text !== '' && status.state === 'Error' && status.message === text;
  return isPlain ? text : clip(`task failed${text === '' ? '' : `: ${text}`}`);
}

/** Status text as shown and listed: `OK`, `WARNINGS: n`, the error message, `unknown` (spec server 3). */
export function taskStatusText(result: TaskResult): string {
  if (result.state === 'OK') return 'OK';
  if (result.state === 'Warning') return `WARNINGS: ${result.count}`;
  return result.state === 'Error' ? errorText(result.message) : 'unknown';
}

/** Final line of a log, without time (spec server 3). */
export function finalLine(result: TaskResult): string {
  return result.state === 'Error' ? `TASK ERROR: ${taskStatusText(result)}` : `TASK ${taskStatusText(result)}`;
}

/** Reads a status text back; everything that is nothing else is an error's message. */
export function parseTaskStatus(text: string, endtime: number): TaskResult {
  if (text === 'OK') return { state: 'OK', endtime };
  if (text === 'unknown') return { state: 'Unknown', endtime };
  const warnings = /^WARNINGS: ([0-9]{1,15})$/.exec(text);
  if (warnings !== null) return { state: 'Warning', count: Number(warnings[1]), endtime };
  return { state: 'Error', message: text.startsWith('ERROR: ') ? text.slice('ERROR: '.length) : text, endtime };
}

/** Splits `{time}: {message}`; null when the line does not start with a time. */
export function splitLogLine(line: string): { time: number; message: string } | null {
  const colon = line.indexOf(': ');
  if (colon < 0 || colon > 40) return null;
  const time = parseRfc3339(line.slice(0, colon));
  return time === null ? null : { time, message: line.slice(colon + 2) };
}

/** How a task ended by the tail of its log; `starttime` is the end time of a log without lines (spec server 3). */
export function taskResultFromTail(tail: string, starttime: number): TaskResult {
  const lines = tail.replace(/\n+$/, '').split('\n');
  for (let i = lines.length - 1; i >= 0; i -= 1) {
    const line = splitLogLine(lines[i]!);
    if (line === null) continue;
    if (!line.message.startsWith('TASK ')) return { state: 'Unknown', endtime: line.time };
    return parseTaskStatus(line.message.slice('TASK '.length), line.time);
  }
  return { state: 'Unknown', endtime: starttime };
}

/** How a task ended, read from its log; null when there is no log. */
export async function readTaskResult(path: string, starttime: number): Promise<TaskResult | null> {
  let file;
  try {
    file = await open(path, 'r');
  } catch (e) {
    if (errorCode(e) === 'ENOENT') return null;
    throw e;
  }
  try {
    const { size } = await file.stat();
    const tail = Buffer.alloc(Math.min(size, tailLength));
    const { bytesRead } = await file.read(tail, 0, tail.length, size - tail.length);
    return taskResultFromTail(tail.toString('utf8', 0, bytesRead), starttime);
  } finally {
    await file.close();
  }
}
