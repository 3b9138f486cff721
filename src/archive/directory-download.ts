import { asBuffer } from '../base/bytes.ts';
import { FormatError } from '../base/errors.ts';
import type { ArchiveAccessor, ArchiveChild, ArchiveDirectory } from '../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../pxar/archive-entry.ts';
import { fileTypeOf, fileTypes } from '../pxar/entry-metadata.ts';
import { walkArchive, type FoundEntry } from './archive-listing.ts';
import { tarArchive, type TarEntry } from './tar-archive.ts';
import { zipArchive, type ZipEntry } from './zip-archive.ts';

/** A directory of an archive as one file to download (spec pxar 8.8). */
export interface DownloadedDirectory {
  archive: ArchiveAccessor;
  directory: ArchiveDirectory;
  /** Path in the archive, without slashes around; empty for the root, which gets no entry itself. */
  path: Buffer;
}

async function* bytesOf(bytes: Buffer): AsyncGenerator<Buffer, void, undefined> {
  if (bytes.length > 0) yield await Promise.resolve(bytes);
}

/** Whole seconds; below zero rounded up, as the reference does in its lists. */
export function wholeSeconds(nanoseconds: bigint): number {
  return Number(nanoseconds / 1_000_000_000n);
}

/** What `path` of the archive is called in a download of the directory: names from its parent on. */
function nameOf({ path }: DownloadedDirectory): Buffer {
  return path.subarray(path.lastIndexOf(0x2f) + 1);
}

/** The directory itself, then everything in it. */
async function* found(download: DownloadedDirectory): AsyncGenerator<{ path: Buffer; entry: ArchiveEntry; child: ArchiveChild | null }, void, undefined> {
  const name = nameOf(download);
  if (name.length > 0) yield { path: name, entry: download.directory.entry, child: null };
  for await (const { path, child } of walkArchive(download.archive, download.directory, name) as AsyncIterable<FoundEntry>) yield { path, entry: child.entry, child };
}

async function* zipEntries(download: DownloadedDirectory): AsyncGenerator<ZipEntry, void, undefined> {
  const { archive } = download;
  for await (const { path, entry, child } of found(download)) {
    // A zip knows no links between its files: each name has the content.
    const file = entry.type === 'hardlink' ? await archive.follow(entry) : child;
    const metadata = (file?.entry ?? entry) as Exclude<ArchiveEntry, { type: 'hardlink' }>;
    const { mode, mtimeNs } = metadata.metadata;
    const zipped = (content: AsyncIterable<Buffer>, name = path): ZipEntry => ({ path: name, mode, mtimeSeconds: wholeSeconds(mtimeNs), content });
    if (metadata.type === 'directory') yield zipped(bytesOf(Buffer.alloc(0)), Buffer.concat([path, Buffer.from('/')]));
    else if (metadata.type === 'symlink') yield zipped(bytesOf(metadata.target));
    else if (metadata.type === 'file') yield zipped(archive.content(file!));
  }
}

/** Sockets are left out: a tar cannot say them. */
async function* tarEntries(download: DownloadedDirectory): AsyncGenerator<TarEntry, void, undefined> {
  const { archive } = download;
  /** Names in the tar of files that hard links may lead to, by their place in the archive. */
  const names = new Map<number, Buffer>();
  for await (const { path, entry, child } of found(download)) {
    if (entry.type === 'hardlink') {
      const target = await archive.follow(entry);
      yield await tarLink(archive, path, target, names);
      continue;
    }
    const { metadata } = entry;
    switch (entry.type) {
      case 'directory':
      case 'fifo':
        yield { path, metadata, type: entry.type };
        break;
      case 'symlink':
        yield { path, metadata, type: 'symlink', target: entry.target };
        break;
      case 'device':
        yield { path, metadata, type: fileTypeOf(metadata.mode) === fileTypes.block ? 'block' : 'character', major: entry.major, minor: entry.minor };
        break;
      case 'file':
        names.set(entry.position, path);
        yield { path, metadata, type: 'file', size: entry.size, content: archive.content(child!) };
        break;
      case 'socket':
    }
  }
}

/** A link to a file that is in the tar already; otherwise the file, and later names link to it. */
async function tarLink(archive: ArchiveAccessor, path: Buffer, target: ArchiveChild, names: Map<number, Buffer>): Promise<TarEntry> {
  const { entry } = target;
  if (entry.type !== 'file') throw new FormatError('format.pxar', 'archive: hard link to something that is not a file');
  const known = names.get(entry.position);
  if (known !== undefined) return { path, metadata: entry.metadata, type: 'link', target: known };
  names.set(entry.position, path);
  return { path, metadata: entry.metadata, type: 'file', size: entry.size, content: archive.content(target) };
}

/** The directory as a zip. FormatError, and what reading throws. */
export function zipOf(download: DownloadedDirectory): AsyncGenerator<Buffer, void, undefined> {
  return zipArchive(zipEntries(download));
}

/** The directory as a tar. FormatError, and what reading throws. */
export function tarOf(download: DownloadedDirectory): AsyncGenerator<Buffer, void, undefined> {
  return tarArchive(tarEntries(download));
}

/** A path in an archive without empty and `.` parts. */
export function plainPath(path: Uint8Array): Buffer {
  const parts = asBuffer(path).toString('latin1').split('/');
  return Buffer.from(parts.filter((part) => part !== '' && part !== '.').join('/'), 'latin1');
}
