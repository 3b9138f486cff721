import { Type } from 'typebox';
import { datastoreName } from '../../../config/schemas.ts';
import { edgeSchema, type EdgeDirection, type ReplicationEdge } from '../../../replication/loops.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath } from './content.ts';

/**
 * Where the data of a datastore comes from, and where it goes, for peers that copy it, or push into it, and must not copy in a circle. Not in the reference; peers learn of it from
 * `GET /farshore` (capability `replication-edges`).
 */
export function replicationEdgeEndpoints({ edgesOf }: { edgesOf: (store: string, direction: EdgeDirection) => Promise<ReplicationEdge[]> }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/replication-edges`,
      description: 'Sync jobs by which data gets into a datastore, or from it elsewhere, directly or over others.',
      parameters: parameterObject({ store: datastoreName, direction: Type.Optional(Type.Enum(['in', 'out'], { description: 'What arrives in the datastore, or what leaves it.', default: 'in' })) }),
      permission: { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Audit', 'Datastore.Read', 'Datastore.Backup'], partial: true },
      returns: Type.Array(edgeSchema),
      handler: async ({ store, direction = 'in' }) => edgesOf(store, direction),
    }),
  ];
}
