import { FormatError } from '../base/errors.ts';
import { ArchiveDirectory, type ArchiveAccessor, type ArchiveChild } from '../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../pxar/archive-entry.ts';
import { joinPath } from './shown-path.ts';

/** An entry below a directory of an archive, and how to read it. */
export interface FoundEntry {
  /** Names joined by `/`, from where the walk began, with the prefix that was given. */
  path: Buffer;
  child: ArchiveChild;
}

/** Paths of archives are no longer than those of file systems. */
const maxPathLength = 64 * 1024;

/** By name, the last one first. */
async function childrenFromLast(directory: ArchiveDirectory): Promise<ArchiveChild[]> {
  const children = await Array.fromAsync(directory.children());
  return children.toSorted((a, b) => Buffer.compare(b.entry.name, a.entry.name));
}

/**
 * Everything below `directory`, a directory before what is in it, brothers by name; `prefix` stands before the paths. Holds the children of the directories that are open. FormatError,
 * and what reading throws.
 */
export async function* walkArchive(archive: ArchiveAccessor, directory: ArchiveDirectory, prefix: Buffer): AsyncGenerator<FoundEntry, void, undefined> {
  const open = [{ path: prefix, left: await childrenFromLast(directory) }];
  for (let top = open.at(-1); top !== undefined; top = open.at(-1)) {
    const child = top.left.pop();
    if (child === undefined) {
      open.pop();
      continue;
    }
    const path = joinPath(top.path, child.entry.name);
    if (path.length > maxPathLength) throw new FormatError('format.pxar', 'archive: directories are nested too deeply');
    yield { path, child };
    if (child.entry.type === 'directory') open.push({ path, left: await childrenFromLast(await archive.open(child)) });
  }
}

/** The letter of an entry in catalogs and lists (spec catalog 1). */
export function typeLetter(entry: ArchiveEntry): 'd' | 'f' | 'l' | 'h' | 'b' | 'c' | 'p' | 's' {
  if (entry.type === 'device') return (entry.metadata.mode & 0o170000) === 0o060000 ? 'b' : 'c';
  return ({ directory: 'd', file: 'f', symlink: 'l', hardlink: 'h', fifo: 'p', socket: 's' } as const)[entry.type];
}
