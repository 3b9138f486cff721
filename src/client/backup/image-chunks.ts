import { open, type FileHandle } from 'node:fs/promises';
import { StoreError } from '../../base/errors.ts';
import { systemErrorText } from '../system-error-text.ts';
import type { BackupSource } from './source.ts';

/** As many bytes as `buffer` holds, or fewer at the end of the file. */
async function readUp(handle: FileHandle, buffer: Buffer, position: number | null): Promise<number> {
  let done = 0;
  while (done < buffer.byteLength) {
    const { bytesRead } = await handle.read(buffer, done, buffer.byteLength - done, position === null ? null : position + done);
    if (bytesRead === 0) break;
    done += bytesRead;
  }
  return done;
}

function failed({ path }: BackupSource, why: string): StoreError {
  return new StoreError('store.source', `unable to read '${path}' - ${why}`);
}

/** Chunks that are kept for the next ones: as many as are read, hashed and encoded at a time, about. */
const mostKept = 8;

/**
 * Memory of chunks, used again and again: fresh memory of this size costs many times what reading into it does, since
 * the system hands it out page by page.
 */
export class ChunkBuffers {
  readonly chunkSize: number;
  readonly #free: Buffer[] = [];

  constructor(chunkSize: number) {
    this.chunkSize = chunkSize;
  }

  /** Of `length` bytes, at most a chunk; with whatever was in it. */
  take(length: number): Buffer {
    return (this.#free.pop() ?? Buffer.allocUnsafeSlow(this.chunkSize)).subarray(0, length);
  }

  /** Gives back what was taken, or a part of it: nobody uses it any more. */
  give(bytes: Buffer): void {
    if (this.#free.length < mostKept) this.#free.push(Buffer.from(bytes.buffer, 0, this.chunkSize));
  }
}

/** The chunk at `position`; null at the end. Of a source with a size exactly so much is read, whatever becomes of it meanwhile. */
async function chunkAt(source: BackupSource, handle: FileHandle, position: number, buffers: ChunkBuffers): Promise<Buffer | null> {
  const { size } = source;
  const wanted = size === null ? buffers.chunkSize : Math.min(buffers.chunkSize, size - position);
  if (wanted === 0) return null;
  const buffer = buffers.take(wanted);
  let length: number;
  try {
    length = await readUp(handle, buffer, size === null ? null : position);
  } catch (e) {
    throw failed(source, systemErrorText(e));
  }
  if (size !== null && length < wanted) throw failed(source, `it ends after ${position + length} bytes instead of ${size}: it was cut while it was read`);
  return length === 0 ? null : buffer.subarray(0, length);
}

/** Chunks whose digests are made at a time. */
const digestsAtATime = 3;

/** Chunks in order, each with its digest; the next ones are being read and hashed while the caller works on one. Throws what both throw. */
export async function* withDigests(chunks: AsyncIterable<Buffer>, digestOf: (bytes: Buffer) => Promise<Buffer>): AsyncGenerator<{ bytes: Buffer; digest: Buffer }, void, undefined> {
  const waiting: Array<{ bytes: Buffer; digest: Promise<Buffer> }> = [];
  const next = async (): Promise<{ bytes: Buffer; digest: Buffer }> => {
    const { bytes, digest } = waiting.shift()!;
    return { bytes, digest: await digest };
  };
  for await (const bytes of chunks) {
    const digest = digestOf(bytes);
    // An error is met when its turn comes, or not at all after an earlier one.
    digest.catch(() => {});
    waiting.push({ bytes, digest });
    if (waiting.length >= digestsAtATime) yield await next();
  }
  while (waiting.length > 0) yield await next();
}

/** The chunks of an image, the next one being read while the caller works on one; the caller gives them back to `buffers`. StoreError `store.source`. */
export async function* imageChunks(source: BackupSource, buffers: ChunkBuffers): AsyncGenerator<Buffer, void, undefined> {
  const handle = await open(source.path, 'r').catch((e: unknown) => Promise.reject(failed(source, systemErrorText(e))));
  let ahead: Promise<Buffer | null> | null = null;
  try {
    let position = 0;
    ahead = chunkAt(source, handle, position, buffers);
    for (let chunk = await ahead; chunk !== null; chunk = await ahead) {
      position += chunk.byteLength;
      ahead = chunkAt(source, handle, position, buffers);
      ahead.catch(() => {});
      yield chunk;
    }
  } finally {
    // Nobody reads any more when the file is closed.
    await ahead?.catch(() => {});
    await handle.close();
  }
}
