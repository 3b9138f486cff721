import { HttpError } from '../../../base/errors.ts';
import { backendOf } from '../../../config/datastore-config.ts';
import { flag } from '../../../config/schemas.ts';
import type { GroupAccess } from '../../../datastore/group-walk.ts';
import { countContent, datastoreUsage, type ListingFilter } from '../../../datastore/snapshot-info.ts';
import { Type } from 'typebox';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import type { GarbageCollectionRuns } from '../../garbage-collection-runs.ts';
import { parameterObject } from '../../parameter-object.ts';
import { walkAccess } from '../../walk-access.ts';
import { contentPath, storeParameters, type ContentParts } from './content.ts';

/** `status` and `active-operations` of a datastore (spec rest-api 10.2). */
export function datastoreStatusEndpoints(parts: ContentParts & { collections: GarbageCollectionRuns }): Endpoint[] {
  const { datastores, access, collections } = parts;
  return [
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/status`,
      description: 'Get datastore status.',
      parameters: parameterObject({ ...storeParameters, verbose: Type.Optional(flag('Include additional information like snapshot counts and GC status.', { default: false })) }),
      permission: { kind: 'any' },
      handler: async (p, { authId }) => {
        const path = `/datastore/${p.store}`;
        const numbers = access.check(authId, path, ['Datastore.Audit', 'Datastore.Backup'], { partial: true });
        if (!numbers && !access.check(authId, path, ['Datastore.Read']) && !access.anyPrivilegeBelow(authId, path)) throw new HttpError(403, 'permission check failed');
        return datastores.use(p.store, 'read', async (store, record) => {
          const usage = numbers ? await datastoreUsage(store) : { total: 0, used: 0, avail: 0 };
          const status = { ...usage, 'backend-type': backendOf(record).type };
          if (p.verbose !== true) return status;
          const allowed = walkAccess(access, authId, p.store, { override: ['Datastore.Audit', 'Datastore.Read'], owner: null });
          const counts = await (access.check(authId, path, ['Datastore.Audit']) ? countContent(store) : countContent(store, (namespace) => filterOf(allowed(namespace))));
          return { ...status, ...(numbers ? { 'gc-status': await collections.lastResult(store.path) } : {}), counts };
        });
      },
    }),
    jsonEndpoint({
      method: 'GET',
      path: `${contentPath}/active-operations`,
      description: 'Read datastore stats',
      parameters: parameterObject(storeParameters),
      permission: { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Audit'], partial: true },
      handler: (p) => {
        datastores.record(p.store);
        return Promise.resolve(datastores.activeOperations(p.store));
      },
    }),
  ];
}

function filterOf(access: GroupAccess): ListingFilter | null {
  if (access === 'none') return null;
  return access === 'all' ? {} : { owned: access };
}
