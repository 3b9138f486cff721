import { Type } from 'typebox';
import { typeLetter } from '../../../archive/archive-listing.ts';
import { plainPath, wholeSeconds } from '../../../archive/directory-download.ts';
import { errorCode, HttpError } from '../../../base/errors.ts';
import { safeId } from '../../../config/schemas.ts';
import { catalogFileName } from '../../../format/backup-path.ts';
import { CatalogReader } from '../../../format/catalog.ts';
import { manifestFile } from '../../../format/manifest.ts';
import { ArchiveDirectory } from '../../../pxar/archive-accessor.ts';
import type { ArchiveEntry } from '../../../pxar/archive-entry.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { decodedPath, entryKindText, openingFailed, openPlainArchive, openTree, type ReadSnapshot } from './archive-access.ts';
import { contentPath, snapshotParameters, type ContentParts } from './content.ts';
import { withReadSnapshot } from './download.ts';

/** An entry of a directory as browsers of backups get it (spec catalog 5.4). */
interface ListedEntry {
  filepath: string;
  leaf: boolean;
  mtime?: number;
  size?: number;
  text: string;
  type: string;
}

function listed(folder: Buffer, name: Buffer, type: string, file: { size: number; mtime: number } | null): ListedEntry {
  return { filepath: Buffer.concat([folder, Buffer.from('/'), name]).toString('base64'), leaf: type !== 'd', ...file, text: name.toString(), type };
}

/** `GET catalog`: one directory of a snapshot (spec catalog 5.4). */
export function catalogEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/catalog`,
      description: 'Get the entries of the given path of the catalog',
      parameters: parameterObject({
        ...snapshotParameters,
        'archive-name': Type.Optional(safeId('Backup archive name.', 1, 255)),
        filepath: Type.String({ description: 'Base64 encoded path.' }),
      }),
      permission: { kind: 'any' },
      handler: async (p, caller) =>
        withReadSnapshot(parts, caller, p, async (snapshot) => {
          const { filepath, 'archive-name': name } = p;
          const path = filepath === 'root' || filepath === '/' ? Buffer.from('/') : decodedPath(filepath);
          if (path === null) throw new HttpError(400, 'base64 decoding of path failed - error decoding base64 data');
          return name === undefined ? listCatalog(snapshot, path) : listArchive(snapshot, name, path);
        }),
    }),
  ];
}

async function openCatalog(snapshot: ReadSnapshot): Promise<CatalogReader> {
  const file = manifestFile(snapshot.manifest, catalogFileName);
  if (file === undefined) {
    const path = JSON.stringify(snapshot.reader.filePath(catalogFileName));
    throw new HttpError(400, `unable to read dynamic index '${path}' - Unable to open dynamic index ${path} - No such file or directory (os error 2)`);
  }
  const chunks = await openPlainArchive(snapshot, file);
  return new CatalogReader(chunks.readAt, chunks.length);
}

async function listCatalog(snapshot: ReadSnapshot, path: Buffer): Promise<ListedEntry[]> {
  const catalog = await openCatalog(snapshot);
  if (path.length === 0) throw new HttpError(400, 'path "" not found in catalog');
  const entry = await catalog.lookup(path);
  if (entry !== null && entry.type !== 'd') throw new HttpError(400, 'parent is not a directory - internal error');
  const folder = path[0] === 0x2f ? path.subarray(1) : path;
  const children = await catalog.directory(entry === null ? await catalog.root() : entry.position);
  return children.map((child) => listed(folder, child.name, child.type, child.type === 'f' ? { mtime: child.mtime, size: child.size } : null));
}

async function listArchive(snapshot: ReadSnapshot, name: string, path: Buffer): Promise<ListedEntry[]> {
  const archive = await openTree(snapshot, name, false);
  const found = await archive.lookup(path).catch((e: unknown) => {
    throw errorCode(e) === 'format.pxar-path' ? new HttpError(400, 'lookup failed - cannot enter parent directory in archive', { cause: e }) : e;
  });
  if (found === null) throw new HttpError(400, `lookup failed - ${openingFailed(path)}`);
  const isDirectory = found instanceof ArchiveDirectory;
  if (!isDirectory && found.entry.type !== 'directory') throw new HttpError(400, `expected directory entry, got entry kind '${entryKindText(found.entry)}'`);
  const directory = isDirectory ? found : await archive.open(found);
  const plain = plainPath(path);
  const folder = plain.length === 0 ? plain : Buffer.concat([Buffer.from('/'), plain]);
  const entries: ListedEntry[] = [];
  for await (const { entry } of directory.children()) entries.push(listed(folder, entry.name, typeLetter(entry), fileFields(entry)));
  return entries;
}

function fileFields(entry: ArchiveEntry): { size: number; mtime: number } | null {
  return entry.type === 'file' ? { mtime: wholeSeconds(entry.metadata.mtimeNs), size: entry.size } : null;
}
