import { typeLetter } from '../archive/archive-listing.ts';
import type { CryptConfig } from '../crypto/crypt-config.ts';
import { catalogFileName } from '../format/backup-path.ts';
import { CatalogReader } from '../format/catalog.ts';
import { manifestFile, type Manifest, type ManifestFile } from '../format/manifest.ts';
import { ArchiveAccessor, type ArchiveDirectory } from '../pxar/archive-accessor.ts';
import type { TextSink } from '../terminal/output.ts';
import { ChunkReader } from './chunk-reader.ts';
import { ChunkSource } from './chunk-source.ts';
import { debugText } from './debug-text.ts';
import { downloadIndex, listedFile } from './snapshot-contents.ts';
import type { SnapshotReader } from './steady-reader.ts';

const metadataSuffix = '.mpxar.didx';
const chunksAhead = 4;

export interface CatalogDumpParts {
  reader: SnapshotReader;
  manifest: Manifest;
  crypt: CryptConfig | null;
  /** Takes the lines. */
  output: TextSink;
  /** Zone of the times; undefined: the system's. */
  timeZone: string | undefined;
}

/** Times as the reference shows them: of the local zone, although they end in `Z`. */
function timeText(timeZone: string | undefined): (seconds: number) => string {
  const format = new Intl.DateTimeFormat('sv-SE', { ...(timeZone === undefined ? {} : { timeZone }), dateStyle: 'short', timeStyle: 'medium' });
  return (seconds) => `${format.format(seconds * 1000).replace(' ', 'T')}Z`;
}

class DumpLines {
  readonly #output: TextSink;
  readonly #time: (seconds: number) => string;

  constructor({ output, timeZone }: CatalogDumpParts) {
    this.#output = output;
    this.#time = timeText(timeZone);
  }

  write(type: string, path: readonly Buffer[], file: { size: number; mtime: number } | null): void {
    const name = path.map((part) => debugText(part)).join('/');
    this.#output.write(`${type} "./${name}"${file === null ? '' : ` ${file.size} ${this.#time(file.mtime)}`}\n`);
  }
}

async function chunkReader({ reader, crypt }: CatalogDumpParts, file: ManifestFile): Promise<ChunkReader> {
  const index = await downloadIndex(reader, 'dynamic', file);
  return new ChunkReader(new ChunkSource({ reader, crypt: crypt ?? undefined, cryptMode: file.cryptMode }), index, { ahead: chunksAhead });
}

async function dumpDirectory(archive: ArchiveAccessor, directory: ArchiveDirectory, path: readonly Buffer[], lines: DumpLines): Promise<void> {
  const children = await Array.fromAsync(directory.children());
  children.sort((a, b) => Buffer.compare(a.entry.name, b.entry.name));
  for (const child of children) {
    const { entry } = child;
    const childPath = [...path, entry.name];
    lines.write(typeLetter(entry), childPath, entry.type === 'file' ? { size: entry.size, mtime: Number(entry.metadata.mtimeNs / 1_000_000_000n) } : null);
    if (entry.type === 'directory') await dumpDirectory(archive, await archive.open(child), childPath, lines);
  }
}

/**
 * Lists what is in a snapshot, a line an entry (spec catalog 5.1): from the catalog, or from the metadata archives when there is none. Throws what
 * the session throws, and FormatError.
 */
export async function dumpCatalog(parts: CatalogDumpParts): Promise<void> {
  const { manifest } = parts;
  const lines = new DumpLines(parts);
  const metadataFiles = manifest.files.filter(({ filename }) => filename.endsWith(metadataSuffix)).sort((a, b) => (a.filename < b.filename ? -1 : 1));
  if (manifestFile(manifest, catalogFileName) !== undefined || metadataFiles.length === 0) {
    const chunks = await chunkReader(parts, listedFile(manifest, catalogFileName));
    const catalog = new CatalogReader(chunks.readAt, chunks.length);
    for await (const { path, entry } of catalog.walk(await catalog.root())) lines.write(entry.type, path, entry.type === 'f' ? entry : null);
    return;
  }
  for (const file of metadataFiles) {
    const chunks = await chunkReader(parts, file);
    const archive = new ArchiveAccessor(chunks.readAt, chunks.length);
    await dumpDirectory(archive, await archive.root(), [Buffer.from(file.filename)], lines);
  }
}
