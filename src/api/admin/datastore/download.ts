import type { IncomingMessage, ServerResponse } from 'node:http';
import { errorCode, HttpError } from '../../../base/errors.ts';
import { safeId } from '../../../config/schemas.ts';
import { plainArchive } from '../../../datastore/archive-stream.ts';
import type { Datastore } from '../../../datastore/datastore.ts';
import { openRegularFile, readFileLimited, streamOpenFile } from '../../../datastore/file-read.ts';
import { openIndexFile } from '../../../datastore/index-file.ts';
import { SnapshotReader } from '../../../datastore/snapshot-reader.ts';
import { archiveKind, isArchiveName, type ArchiveKind, type BackupSnapshot } from '../../../format/backup-path.ts';
import { decodeBlobAsync, maxBlobPlainSize } from '../../../format/data-blob.ts';
import { manifestFile, type Manifest } from '../../../format/manifest.ts';
import { sendBytes } from '../../byte-reply.ts';
import type { Caller, Endpoint } from '../../endpoint.ts';
import { rawEndpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import type { ReadSnapshot } from './archive-access.ts';
import { contentPath, inGroup, manifestNotFound, snapshotOf, snapshotParameters, type ContentParts, type SnapshotChoice } from './content.ts';

const maxBlobFileSize = maxBlobPlainSize + 4096;
const reading = { full: ['Datastore.Read'], own: ['Datastore.Backup'] } as const;
const parameters = parameterObject({ ...snapshotParameters, 'file-name': safeId('Backup archive name.', 1, 255) });

/** Files of a snapshot over HTTP/1.1, as stored and decoded (spec backup-protocol 9). */
export function downloadEndpoints(parts: ContentParts): Endpoint[] {
  return [
    rawEndpoint({
      method: 'GET',
      path: `${contentPath}/download`,
      description: 'Download single raw file from backup snapshot.',
      parameters,
      permission: { kind: 'any' },
      body: 'none',
      handler: (p, caller, _request: IncomingMessage, response: ServerResponse) => withSnapshot(parts, caller, p, fileMissing, (_store, reader) => sendRaw(reader, p['file-name'], response)),
    }),
    rawEndpoint({
      method: 'GET',
      path: `${contentPath}/download-decoded`,
      description: 'Download single decoded file from backup snapshot. Only works if it\'s not encrypted.',
      parameters,
      permission: { kind: 'any' },
      body: 'none',
      handler: (p, caller, _request: IncomingMessage, response: ServerResponse) =>
        withSnapshot(parts, caller, p, (e) => manifestNotFound(e, snapshotOf(p)), (store, reader) => sendDecoded(store, reader, p['file-name'], snapshotOf(p), response)),
    }),
  ];
}

function fileMissing(e: unknown): unknown {
  const missing = ['store.missing', 'store.no-such-snapshot', 'store.name'].includes(errorCode(e));
  return missing ? new HttpError(400, 'File open failed: No such file or directory (os error 2)', { cause: e }) : e;
}

/** The snapshot's lock is held until the answer has left: a file that is being read is not removed or replaced. */
async function withSnapshot<T>(parts: ContentParts, caller: Caller, p: SnapshotChoice, failure: (e: unknown) => unknown, work: (store: Datastore, reader: SnapshotReader) => Promise<T>): Promise<T> {
  return inGroup(parts, caller, p, reading, 'read', async (store, namespace) => {
    try {
      using reader = await SnapshotReader.open(store, namespace, snapshotOf(p));
      return await work(store, reader);
    } catch (e) {
      throw failure(e);
    }
  });
}

/** The same with the manifest loaded, for what looks into archives. */
export async function withReadSnapshot<T>(parts: ContentParts, caller: Caller, p: SnapshotChoice, work: (snapshot: ReadSnapshot) => Promise<T>): Promise<T> {
  return withSnapshot(parts, caller, p, (e) => manifestNotFound(e, snapshotOf(p)), async (store, reader) => work({ store, reader, manifest: (await reader.manifest()).manifest }));
}

async function sendRaw(reader: SnapshotReader, name: string, response: ServerResponse): Promise<void> {
  const path = reader.filePath(name);
  const { handle } = await openRegularFile(path);
  try {
    await sendBytes(response, streamOpenFile(handle, path));
  } finally {
    await handle.close();
  }
}

async function sendDecoded(store: Datastore, reader: SnapshotReader, name: string, snapshot: BackupSnapshot, response: ServerResponse): Promise<void> {
  if (!isArchiveName(name)) throw new HttpError(400, `failed to parse archive type for '${name}'`);
  let manifest: Manifest;
  try {
    ({ manifest } = await reader.manifest());
  } catch (e) {
    throw manifestNotFound(e, snapshot);
  }
  if (manifestFile(manifest, name)?.cryptMode === 'encrypt') throw new HttpError(400, `cannot decode '${name}' - is encrypted`);
  try {
    await sendPlain(store, reader, name, archiveKind(name), manifest, response);
  } catch (e) {
    throw fileMissing(e);
  }
}

async function sendPlain(store: Datastore, reader: SnapshotReader, name: string, kind: ArchiveKind, manifest: Manifest, response: ServerResponse): Promise<void> {
  if (kind === 'blob') {
    const data = await decodeBlobAsync(await readFileLimited(reader.filePath(name), maxBlobFileSize));
    await sendBytes(response, once(data));
    return;
  }
  const expected = manifestFile(manifest, name);
  if (expected === undefined) throw new HttpError(400, `manifest does not contain file '${name}'`);
  await using index = await openIndexFile(reader.filePath(name));
  const gone = new AbortController();
  response.once('close', () => gone.abort());
  await sendBytes(response, plainArchive(index, store.chunks, expected, gone.signal));
}

async function* once(data: Buffer): AsyncGenerator<Buffer, void> {
  yield await Promise.resolve(data);
}
