import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { backendOf, type DatastoreRecord } from '../../config/datastore-config.ts';
import type { Datastores } from '../datastores.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

export interface DatastoreListParts {
  datastores: Datastores;
  access: AccessControl;
}

/** `full`: privileges on the datastore itself; `name`: only on something in it. */
export function datastoreVisibility(access: AccessControl, authId: string, name: string): 'full' | 'name' | null {
  const path = `/datastore/${name}`;
  if (access.check(authId, path, ['Datastore.Audit', 'Datastore.Backup'], { partial: true })) return 'full';
  return access.anyPrivilegeBelow(authId, path) ? 'name' : null;
}

/** `GET /admin/datastore` (spec rest-api 10.2). */
export function datastoreListEndpoints({ datastores, access }: DatastoreListParts): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/datastore',
      description: 'Datastore list',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      handler: (_, { authId }) =>
        Promise.resolve(
          datastores.records().flatMap((record) => {
            const visible = datastoreVisibility(access, authId, record.name);
            return visible === null ? [] : [listItem(record, visible === 'full')];
          }),
        ),
    }),
  ];
}

function listItem(record: DatastoreRecord, full: boolean): Record<string, unknown> {
  const maintenance = record['maintenance-mode'];
  return {
    store: record.name,
    comment: full ? (record.comment ?? null) : null,
    'mount-status': record['backing-device'] === undefined ? 'nonremovable' : 'notmounted',
    'backend-type': backendOf(record).type,
    ...(maintenance === undefined ? {} : { maintenance }),
  };
}
