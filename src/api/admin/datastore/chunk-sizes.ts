import { Type } from 'typebox';
import { HttpError } from '../../../base/errors.ts';
import { safeId } from '../../../config/schemas.ts';
import { storedChunkSizes } from '../../../datastore/chunk-sizes.ts';
import { SnapshotReader } from '../../../datastore/snapshot-reader.ts';
import { archiveKind } from '../../../format/backup-path.ts';
import { maxSizedChunks, parseRanges } from '../../../replication/index-ranges.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, inGroup, manifestNotFound, snapshotOf, snapshotParameters, type ContentParts } from './content.ts';

/**
 * What a sync would move, for a peer that plans: the encoded sizes of chunks that an index names. Not in the reference; peers learn of it from
 * `GET /farshore` (capability `chunk-sizes`).
 */
export function chunkSizeEndpoints(parts: ContentParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/chunk-sizes`,
      description: 'Stored sizes of the chunks that an index names.',
      parameters: parameterObject({
        ...snapshotParameters,
        'file-name': safeId('Name of the index.', 1, 255),
        entries: Type.String({ maxLength: 8192, pattern: '^[0-9]{1,10}(-[0-9]{1,10})?(,[0-9]{1,10}(-[0-9]{1,10})?)*$', description: `Positions in the index, ascending: '0-99,107'; at most ${maxSizedChunks}.` }),
      }),
      permission: { kind: 'any' },
      returns: Type.Array(Type.Integer()),
      handler: async (p, caller) => {
        const positions = parseRanges(p.entries);
        if (positions === null) throw new HttpError(400, `entries: positions must ascend, at most ${maxSizedChunks} of them`);
        if (archiveKind(p['file-name']) === 'blob') throw new HttpError(400, `'${p['file-name']}' is not an index`);
        return inGroup(parts, caller, p, { full: ['Datastore.Read'], own: ['Datastore.Backup'] }, 'read', async (store, namespace) => {
          try {
            using reader = await SnapshotReader.open(store, namespace, snapshotOf(p));
            return await storedChunkSizes(store, reader.filePath(p['file-name']), positions);
          } catch (e) {
            throw manifestNotFound(e, snapshotOf(p));
          }
        });
      },
    }),
  ];
}
