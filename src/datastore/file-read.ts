import { constants } from 'node:fs';
import { open, type FileHandle } from 'node:fs/promises';
import { StoreError } from '../base/errors.ts';
import { quotedPath, toStoreError } from './store-error.ts';

/** Bytes per read of a stream. */
const streamBlockSize = 1024 * 1024;

/** Opens a regular file for reading; links are not followed, devices and pipes refused. Throws StoreError, `store.missing` when there is none. */
export async function openRegularFile(path: string): Promise<{ handle: FileHandle; size: number; inode: number }> {
  let handle;
  try {
    // Non-blocking: opening a pipe must not wait for its writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    const stats = await handle.stat();
    if (!stats.isFile()) throw new StoreError('store.layout', `${quotedPath(path)} is not a regular file`);
    return { handle, size: stats.size, inode: stats.ino };
  } catch (e) {
    await handle?.close();
    throw toStoreError(e, `unable to open ${quotedPath(path)}`);
  }
}

/** Whole file of at most `maxSize` bytes. Throws StoreError, `store.missing` when there is none, `store.too-large`. */
export async function readFileLimited(path: string, maxSize: number): Promise<Buffer> {
  const { handle, size } = await openRegularFile(path);
  try {
    if (size > maxSize) throw new StoreError('store.too-large', `${quotedPath(path)} has ${size} bytes, more than ${maxSize}`);
    return await handle.readFile();
  } catch (e) {
    throw toStoreError(e, `unable to read ${quotedPath(path)}`);
  } finally {
    await handle.close();
  }
}

/** An open file's bytes in order, in new buffers of up to 1 MiB; the handle stays open. `path` is for messages. */
export async function* streamOpenFile(handle: FileHandle, path: string): AsyncGenerator<Buffer, void> {
  try {
    for (let position = 0; ; ) {
      const { buffer, bytesRead } = await handle.read(Buffer.allocUnsafe(streamBlockSize), 0, streamBlockSize, position);
      if (bytesRead === 0) return;
      position += bytesRead;
      yield buffer.subarray(0, bytesRead);
    }
  } catch (e) {
    throw toStoreError(e, `unable to read ${quotedPath(path)}`);
  }
}

/** The file's bytes in order, in new buffers of up to 1 MiB. */
export async function* streamFile(path: string): AsyncGenerator<Buffer, void> {
  const { handle } = await openRegularFile(path);
  try {
    yield* streamOpenFile(handle, path);
  } finally {
    await handle.close();
  }
}
