import { open } from 'node:fs/promises';
import { callOffThread } from './off-thread-call.ts';

const syncfsBody = `
  const { functions: c } = ffi.dlopen(null, {
    syncfs: { arguments: ['i32'], return: 'i32' },
    __errno_location: { arguments: [], return: 'pointer' },
  });
  const errnoAddress = c.__errno_location();
  for (;;) {
    if (c.syncfs(input) === 0) return { value: null };
    const errno = ffi.getInt32(errnoAddress);
    if (errno !== 4) return { errno };
  }`;

/**
 * `syncfs(2)`: everything written to the file system that holds `path` (file or folder) is on disk afterwards. Takes as long as the
 * disk needs, off the event loop. Throws SystemCallError, also for write errors since the last call.
 */
export async function syncFilesystem(path: string): Promise<void> {
  const handle = await open(path, 'r');
  try {
    await callOffThread('syncfs', syncfsBody, handle.fd);
  } finally {
    await handle.close();
  }
}
