import type { IncomingMessage, ServerResponse } from 'node:http';
import { Readable } from 'node:stream';
import { createZstdCompress } from 'node:zlib';
import { Type } from 'typebox';
import { plainPath, tarOf, zipOf } from '../../../archive/directory-download.ts';
import { errorCode, HttpError } from '../../../base/errors.ts';
import { flag, safeId } from '../../../config/schemas.ts';
import { ArchiveDirectory, type ArchiveAccessor, type ArchiveChild } from '../../../pxar/archive-accessor.ts';
import { sendBytes } from '../../byte-reply.ts';
import { rawEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { decodedPath, entryKindText, openingFailed, openTree } from './archive-access.ts';
import { contentPath, snapshotParameters, type ContentParts } from './content.ts';
import { withReadSnapshot } from './download.ts';

/** `GET pxar-file-download`: a file of a directory tree, or a directory as one file (spec catalog 5.5). */
export function pxarFileDownloadEndpoints(parts: ContentParts): Endpoint[] {
  return [
    rawEndpoint({
      method: 'GET',
      path: `${contentPath}/pxar-file-download`,
      description: 'Download single file from pxar file of a backup snapshot. Only works if it\'s not encrypted.',
      parameters: parameterObject({
        ...snapshotParameters,
        'archive-name': Type.Optional(safeId('Backup archive name.', 1, 255)),
        filepath: Type.String({ description: 'Base64 encoded path.' }),
        tar: Type.Optional(flag('Download a directory as tar, compressed with zstd, instead of zip.')),
      }),
      permission: { kind: 'any' },
      body: 'none',
      handler: async (p, caller, _request: IncomingMessage, response: ServerResponse) =>
        withReadSnapshot(parts, caller, p, async (snapshot) => {
          const wanted = wantedFile(p.filepath, p['archive-name']);
          const archive = await openTree(snapshot, wanted.archive, true);
          await sendBytes(response, await download(archive, wanted.path, p.tar ?? false));
        }),
    }),
  ];
}

/** Archive and path in it: without `archive` the path begins with its name. */
function wantedFile(filepath: string, archive: string | undefined): { archive: string; path: Buffer } {
  const decoded = decodedPath(filepath);
  if (decoded === null) throw new HttpError(400, 'error decoding base64 data');
  if (archive !== undefined) return { archive, path: decoded };
  const whole = decoded[0] === 0x2f ? decoded.subarray(1) : decoded;
  const slash = whole.indexOf(0x2f);
  if (slash < 0) return { archive: whole.toString(), path: Buffer.from('/') };
  return { archive: whole.subarray(0, slash).toString(), path: whole.subarray(slash + 1) };
}

async function download(archive: ArchiveAccessor, path: Buffer, isTar: boolean): Promise<AsyncGenerator<Buffer, void>> {
  if (path.length === 0) throw new HttpError(400, openingFailed(path));
  const found = await archive.lookup(path).catch((e: unknown) => {
    throw errorCode(e) === 'format.pxar-path' ? new HttpError(400, 'cannot enter parent directory in archive', { cause: e }) : e;
  });
  if (found === null) throw new HttpError(400, openingFailed(path));
  if (found instanceof ArchiveDirectory) return packed(archive, found, Buffer.alloc(0), isTar);
  const { entry } = found;
  if (entry.type === 'directory') return packed(archive, await archive.open(found), plainPath(path), isTar);
  if (entry.type === 'file') return content(archive, found);
  if (entry.type === 'hardlink') return content(archive, await archive.follow(entry));
  throw new HttpError(400, `cannot download file of type ${entryKindText(entry)}`);
}

async function* content(archive: ArchiveAccessor, file: ArchiveChild): AsyncGenerator<Buffer, void> {
  yield* archive.content(file);
}

function packed(archive: ArchiveAccessor, directory: ArchiveDirectory, path: Buffer, isTar: boolean): AsyncGenerator<Buffer, void> {
  return isTar ? compressed(tarOf({ archive, directory, path })) : zipOf({ archive, directory, path });
}

async function* compressed(pieces: AsyncGenerator<Buffer, void>): AsyncGenerator<Buffer, void> {
  const input = Readable.from(pieces, { objectMode: false });
  const compress = createZstdCompress();
  input.on('error', (e) => compress.destroy(e));
  try {
    yield* input.pipe(compress) as AsyncIterable<Buffer>;
  } finally {
    input.destroy();
    compress.destroy();
  }
}
