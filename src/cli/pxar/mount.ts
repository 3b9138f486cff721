import { open, realpath } from 'node:fs/promises';
import { StoreError } from '../../base/errors.ts';
import { abortable } from '../../client/abortable.ts';
import { ArchiveFiles } from '../../client/mount/archive-files.ts';
import { serveMount } from '../../client/mount/serve-mount.ts';
import { systemErrorText } from '../../client/system-error-text.ts';
import { ArchiveAccessor } from '../../pxar/archive-accessor.ts';
import { fileTypes } from '../../pxar/entry-metadata.ts';
import type { ReadAt } from '../../pxar/payload-source.ts';
import type { PxarIo } from './pxar-io.ts';

/** A file that is read at any place, for as long as it is open. */
async function openRandom(path: string, held: AsyncDisposableStack): Promise<{ readAt: ReadAt; length: number }> {
  try {
    const file = held.use(await open(path, 'r'));
    const { size } = await file.stat();
    return {
      readAt: async (offset, length) => {
        const { buffer, bytesRead } = await file.read(Buffer.allocUnsafeSlow(length), 0, length, offset);
        return buffer.subarray(0, bytesRead);
      },
      length: size,
    };
  } catch (e) {
    throw new StoreError('store.source', `unable to open ${JSON.stringify(path)} - ${systemErrorText(e)}`);
  }
}

/**
 * `pxar mount` (spec client-cli 10): the archive as a read-only file system, in the foreground until it is unmounted or interrupted. StoreError `store.source`, `store.fuse`,
 * FormatError.
 */
export async function mountPxar(archivePath: string, payloadPath: string | null, mountPoint: string, io: PxarIo): Promise<void> {
  const target = await realpath(mountPoint).catch((e: unknown) => {
    throw new StoreError('store.fuse', `unable to mount on ${JSON.stringify(mountPoint)} - ${systemErrorText(e)}`);
  });
  await abortable(io.interrupts, async (signal) => {
    await using held = new AsyncDisposableStack();
    const file = await openRandom(archivePath, held);
    const payload = payloadPath === null ? null : await openRandom(payloadPath, held);
    const archive = new ArchiveAccessor(file.readAt, file.length, payload);
    // A damaged root is seen before anybody looks.
    await archive.root();
    await serveMount({
      files: new ArchiveFiles({ archive, length: file.length + (payload?.length ?? 0) }),
      target,
      rootMode: fileTypes.directory,
      searchPath: io.searchPath,
      log: (line) => io.stderr.write(`error reading from ${archivePath}: ${line}\n`),
      onReady: async () => {},
      signal,
    });
  });
}
