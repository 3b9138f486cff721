import { Type } from 'typebox';
import { flag } from '../../../config/schemas.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import type { GarbageCollectionRuns } from '../../garbage-collection-runs.ts';
import { parameterObject } from '../../parameter-object.ts';
import { contentPath, storeParameters } from './content.ts';

/** Start garbage collection of a datastore, and see how the last one ended (spec retention 5.1, 5.4). */
export function garbageCollectionEndpoints({ collections }: { collections: GarbageCollectionRuns }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/gc`,
      description: 'Garbage collection status.',
      parameters: parameterObject(storeParameters),
      permission: { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Audit'] },
      handler: (p) => collections.status(p.store),
    }),
    jsonEndpoint({
      method: 'POST',
      path: `${contentPath}/gc`,
      description: 'Start garbage collection.',
      parameters: parameterObject({ ...storeParameters, 'dry-run': Type.Optional(flag('Say what would be removed, and remove nothing.', { default: false })) }),
      permission: { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Modify'] },
      handler: (p, { authId }) => collections.start(p.store, authId, { dryRun: p['dry-run'] ?? false }),
    }),
  ];
}
