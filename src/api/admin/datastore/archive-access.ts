import { toHex } from '../../../base/bytes.ts';
import { HttpError } from '../../../base/errors.ts';
import { ChunkReader } from '../../../client/chunk-reader.ts';
import { ChunkSource } from '../../../client/chunk-source.ts';
import { compareArchiveContent } from '../../../datastore/archive-check.ts';
import type { Datastore } from '../../../datastore/datastore.ts';
import type { SnapshotReader } from '../../../datastore/snapshot-reader.ts';
import { archiveKind, serverArchiveName } from '../../../format/backup-path.ts';
import { ChunkIndex } from '../../../format/chunk-index.ts';
import { manifestFile, type Manifest, type ManifestFile } from '../../../format/manifest.ts';
import { splitFiles } from '../../../format/split-archive.ts';
import { debugText } from '../../../client/debug-text.ts';
import { ArchiveAccessor } from '../../../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../../../pxar/archive-entry.ts';
import type { ReadAt } from '../../../pxar/payload-source.ts';

/** An index is held in memory: enough for 24 TiB in chunks of 4 MiB. */
const maxIndexLength = 256 * 1024 * 1024;

/** A snapshot that is being read, with its manifest. */
export interface ReadSnapshot {
  store: Datastore;
  reader: SnapshotReader;
  manifest: Manifest;
}

/** Reads of this length and more are of contents, which are read front to back: chunks are fetched ahead. */
const contentLength = 1024 * 1024;
const chunksAhead = 2;

/** Random access to the plain bytes of an archive; every chunk is checked. HttpError 400 when it is encrypted, what reading and the formats throw. */
export async function openPlainArchive({ store, reader }: ReadSnapshot, file: ManifestFile): Promise<{ readAt: ReadAt; length: number }> {
  refuseEncrypted(file);
  const index = ChunkIndex.parse('dynamic', await reader.read(file.filename, maxIndexLength));
  compareArchiveContent(file, { size: index.size, csum: toHex(index.computeCsum()) });
  const source = new ChunkSource({ reader: { chunk: async (digest) => store.chunks.read(Buffer.from(digest)) }, crypt: undefined, cryptMode: file.cryptMode });
  const seeking = new ChunkReader(source, index);
  const streaming = new ChunkReader(source, index, { ahead: chunksAhead });
  return { readAt: async (offset, length) => (length < contentLength ? seeking : streaming).readAt(offset, length), length: index.size };
}

export function refuseEncrypted({ filename, cryptMode }: Pick<ManifestFile, 'filename' | 'cryptMode'>): void {
  if (cryptMode === 'encrypt') throw new HttpError(400, `cannot decode '${filename}' - is encrypted`);
}

function notFound(): HttpError {
  return new HttpError(400, 'archive not found in manifest');
}

/** Server name of an archive. HttpError 400 in the reference's words. */
function serverName(name: string): string {
  try {
    return serverArchiveName(name);
  } catch (e) {
    throw new HttpError(400, `failed to parse archive type for '${name}'`, { cause: e });
  }
}

/**
 * The directory tree that `name` means: a unified archive, or a split one under any of its names (spec catalog 5.4, 5.5). Without `contents` the payload of a split
 * one is not opened.
 */
export async function openTree(snapshot: ReadSnapshot, name: string, contents: boolean): Promise<ArchiveAccessor> {
  const { manifest } = snapshot;
  const fileName = serverName(name);
  const split = splitFiles(manifest, fileName);
  const file = split?.archive ?? manifestFile(manifest, fileName);
  if (file === undefined || archiveKind(file.filename) !== 'dynamic') throw notFound();
  const archive = await openPlainArchive(snapshot, file);
  const payload = split === null || !contents ? null : await openPlainArchive(snapshot, split.payload);
  return new ArchiveAccessor(archive.readAt, archive.length, payload);
}

function byteList(bytes: Buffer): string {
  return `[${[...bytes, 0].join(', ')}]`;
}

/** The kind of an entry as the reference's errors show it. */
export function entryKindText(entry: ArchiveEntry): string {
  switch (entry.type) {
    case 'symlink':
      return `Symlink(Symlink { data: ${byteList(entry.target)} })`;
    case 'hardlink':
      return `Hardlink(Hardlink { offset: ${entry.position - entry.target}, data: ${byteList(entry.targetPath)} })`;
    case 'device':
      return `Device(Device { major: ${entry.major}, minor: ${entry.minor} })`;
    case 'fifo':
      return 'Fifo';
    case 'socket':
      return 'Socket';
    case 'directory':
      return 'Directory';
    case 'file':
      return 'File';
  }
}

/** A path in quotes within quotes, as the reference shows it. */
export function openingFailed(path: Uint8Array): string {
  return `error opening '"${debugText(path)}"'`;
}

/** Bytes of base64 text, which must be spelled out to its end; null when it is none. */
export function decodedPath(text: string): Buffer | null {
  return /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/.test(text) ? Buffer.from(text, 'base64') : null;
}
