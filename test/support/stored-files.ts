import { createHash } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

/** SHA-256 of every file below a datastore, but for locks, owners, the chunks' bookkeeping and what is never copied (spec sync 4.5). */
export function storedFiles(root: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(root, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile() || ['.lock', 'owner', '.protected', '.gc-status', '.bad'].includes(entry.name)) continue;
    const path = join(entry.parentPath, entry.name);
    files.set(path.slice(root.length + 1), createHash('sha256').update(readFileSync(path)).digest('hex'));
  }
  return files;
}

/** How many of the files are chunks. */
export function chunkCount(files: ReadonlyMap<string, string>): number {
  return [...files.keys()].filter((name) => name.startsWith('.chunks/')).length;
}
