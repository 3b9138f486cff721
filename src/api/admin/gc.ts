import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { FarshoreError } from '../../base/errors.ts';
import { datastoreName } from '../../config/schemas.ts';
import type { Datastores } from '../datastores.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import type { GarbageCollectionRuns } from '../garbage-collection-runs.ts';
import { parameterObject } from '../parameter-object.ts';
import { datastoreVisibility } from './datastore.ts';

export interface GarbageCollectionListParts {
  datastores: Datastores;
  access: AccessControl;
  collections: GarbageCollectionRuns;
}

/** Garbage collection of every datastore that the caller sees, or of one (spec retention 5.4). */
export function adminGarbageCollectionEndpoints({ datastores, access, collections }: GarbageCollectionListParts): Endpoint[] {
  const one = async (authId: string, store: string): Promise<unknown[]> => {
    access.require(authId, `/datastore/${store}`, ['Datastore.Audit']);
    return [await collections.status(store)];
  };
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/gc',
      description: 'List all GC jobs (max one per datastore)',
      parameters: parameterObject({ store: Type.Optional(datastoreName) }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        if (p.store !== undefined) return one(authId, p.store);
        const visible = datastores.records().filter(({ name }) => datastoreVisibility(access, authId, name) !== null);
        const items = visible.map(async ({ name }) => {
          try {
            return await collections.status(name);
          } catch (e) {
            // One that cannot be opened must not hide the others; GET /admin/gc/{store} says what is wrong with it.
            if (e instanceof FarshoreError) return null;
            throw e;
          }
        });
        return (await Promise.all(items)).filter((item) => item !== null);
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: '/admin/gc/{store}',
      description: 'GC job of one datastore',
      parameters: parameterObject({ store: datastoreName }),
      permission: { kind: 'any' },
      handler: (p, { authId }) => one(authId, p.store),
    }),
  ];
}
