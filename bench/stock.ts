import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { forEachLimited } from '../src/base/async.ts';
import { manifestFileName } from '../src/format/backup-path.ts';

const chunkName = /^[0-9a-f]{64}$/;
const parallelFolders = 16;

/** What a datastore holds, whoever wrote it. */
export interface Stock {
  /** With a manifest. */
  snapshots: number;
  /** Length of all chunk files. */
  chunkBytes: number;
}

export async function stockOf(path: string): Promise<Stock> {
  const stock: Stock = { snapshots: 0, chunkBytes: 0 };
  const entries = (await readdir(path, { withFileTypes: true })).filter((entry) => entry.isDirectory() && !entry.name.startsWith('.'));
  for (const { name } of entries) {
    const files = await readdir(join(path, name), { recursive: true });
    stock.snapshots += files.filter((file) => file.endsWith(`/${manifestFileName}`)).length;
  }
  const chunks = join(path, '.chunks');
  await forEachLimited(await readdir(chunks), parallelFolders, async (folder) => {
    for (const name of await readdir(join(chunks, folder))) {
      if (!chunkName.test(name)) continue;
      const { size } = await stat(join(chunks, folder, name));
      stock.chunkBytes += size;
    }
  });
  return stock;
}
