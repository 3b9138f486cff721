import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import type { ServerResponse } from 'node:http';
import { pipeline } from 'node:stream/promises';
import { errorCode, HttpError } from '../../base/errors.ts';
import type { Upid } from '../../format/upid.ts';
import type { TaskLogLine, TaskLogQuery, TaskLogReader } from '../../schedule/task-log-reader.ts';
import { sendText } from '../answer.ts';

/** Text of a missing log in the reference's words. */
function missingLog(e: unknown): unknown {
  return errorCode(e) === 'ENOENT' ? new HttpError(400, 'No such file or directory (os error 2)', { cause: e }) : e;
}

/** Characters that are collected before they are sent; most pages are shorter. */
const blockLength = 64 * 1024;

/**
 * Writes a page of a task's log as `{"data":[{"n":1,"t":"line"}...],"success":1,"total":N}`, with `active` if given. In blocks:
 * with limit 0 a page is as long as the log. HttpError 400 when there is no log.
 */
export async function sendLogPage(response: ServerResponse, reader: TaskLogReader, path: string, query: TaskLogQuery, active: boolean | undefined): Promise<void> {
  let text = '{"data":[';
  let separator = '';
  const onLine = (line: TaskLogLine): void | Promise<void> => {
    text += separator + JSON.stringify(line);
    separator = ',';
    if (text.length < blockLength) return undefined;
    const block = text;
    text = '';
    return sendBlock(response, block);
  };
  let total: number;
  try {
    total = await reader.read(path, query, onLine);
  } catch (e) {
    throw missingLog(e);
  }
  text += `],"success":1,"total":${total}${active === undefined ? '' : `,"active":${active}`}}`;
  if (response.headersSent) response.end(text);
  else sendText(response, 200, text, 'application/json');
}

/** Resolves when the block is on its way, so that a slow caller holds no more than one in memory. */
async function sendBlock(response: ServerResponse, block: string): Promise<void> {
  if (response.destroyed) throw new HttpError(400, 'the caller has hung up');
  if (!response.headersSent) response.setHeader('content-type', 'application/json');
  const sent = Promise.withResolvers<void>();
  const onClose = (): void => sent.resolve();
  response.once('close', onClose);
  // Not `drain`: it stays out when the socket takes in one go what the response called too much.
  response.write(block, () => sent.resolve());
  await sent.promise;
  response.off('close', onClose);
}

/** Sends the whole log as a file to save. HttpError 400 when there is none. */
export async function sendLogFile(response: ServerResponse, path: string, upid: Upid): Promise<void> {
  let size: number;
  try {
    ({ size } = await stat(path));
  } catch (e) {
    throw missingLog(e);
  }
  const started = new Date(upid.starttime * 1000).toISOString().replace('.000Z', 'Z');
  response.setHeader('content-type', 'text/plain');
  response.setHeader('content-disposition', `attachment; filename=task-${upid.node}-${headerWord(upid.workerType)}-${started}.log`);
  response.setHeader('content-length', size);
  // A log that grows meanwhile is sent up to where it was.
  if (size === 0) response.end();
  else await pipeline(createReadStream(path, { end: size - 1 }), response);
}

/** The worker type comes with the request. */
function headerWord(text: string): string {
  return text.replace(/[^A-Za-z0-9_-]/g, '_');
}
