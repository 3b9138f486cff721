import type { ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';

/**
 * Answers with a stream of bytes, `application/octet-stream`, at the caller's pace. Nothing is sent before the first piece is there: what fails
 * until then can still be answered. Later failures cut the connection, which is how the caller learns of them. Resolves also when the caller
 * has left.
 */
export async function sendBytes(response: ServerResponse, pieces: AsyncGenerator<Buffer, void>): Promise<void> {
  let first: IteratorResult<Buffer, void>;
  try {
    first = await pieces.next();
  } catch (e) {
    await pieces.return();
    throw e;
  }
  response.statusCode = 200;
  response.setHeader('content-type', 'application/octet-stream');
  try {
    await pipeline(Readable.from(withFirst(first, pieces), { objectMode: false, highWaterMark: 1 }), response);
  } catch (e) {
    if (!isPrematureClose(e)) throw e;
  } finally {
    await pieces.return();
  }
}

async function* withFirst(first: IteratorResult<Buffer, void>, rest: AsyncGenerator<Buffer, void>): AsyncGenerator<Buffer, void> {
  if (first.done === true) return;
  yield first.value;
  yield* rest;
}

function isPrematureClose(e: unknown): boolean {
  return e instanceof Error && 'code' in e && (e.code === 'ERR_STREAM_PREMATURE_CLOSE' || e.code === 'ECONNRESET' || e.code === 'EPIPE');
}
