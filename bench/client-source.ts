import { mkdirSync, writeFileSync } from 'node:fs';
import { mkdir, open } from 'node:fs/promises';
import { join } from 'node:path';
import { noise } from '../test/support/made-snapshots.ts';
import type { ClientScenario } from './client-scenarios.ts';

const mebibyte = 2 ** 20;
const pieceLength = 4 * mebibyte;

/** Files of `least` (default 1) to `most` bytes, which do not compress, so many in each folder. */
export interface TreeContent {
  folders: number;
  files: number;
  least?: number;
  most: number;
}

/** Makes what is backed up, at `path`; the same bytes each time. */
export async function makeClientSource(path: string, content: ClientScenario['content']): Promise<void> {
  if ('imageBytes' in content) await makeImage(path, content.imageBytes);
  else await makeTree(path, content);
}

/** Half of each 4 MiB compresses to nothing. */
async function makeImage(path: string, bytes: number): Promise<void> {
  await using file = await open(path, 'wx');
  const text = Buffer.alloc(pieceLength / 2, 'x');
  for (let at = 0; at < bytes; at += pieceLength) {
    await file.write(noise(`image-${at}`, pieceLength / 2));
    await file.write(text);
  }
}

async function makeTree(path: string, { folders, files, least = 1, most }: TreeContent): Promise<void> {
  await mkdir(path);
  for (let folder = 0; folder < folders; folder += 1) {
    const at = join(path, `folder-${folder}`);
    mkdirSync(at);
    const content = noise(`folder-${folder}`, Math.max(most + files, most));
    for (let file = 0; file < files; file += 1) {
      const length = least + ((file * 7919) % (most - least + 1));
      // Each begins at another byte: no two are equal.
      writeFileSync(join(at, `file-${file}.bin`), content.subarray(file, file + length));
    }
  }
}
