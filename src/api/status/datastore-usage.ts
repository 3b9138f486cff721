import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { errorChain, FarshoreError } from '../../base/errors.ts';
import type { DatastoreRecord } from '../../config/datastore-config.ts';
import { gcStatusJson, readGcStatus } from '../../datastore/gc-status.ts';
import { datastoreUsage } from '../../datastore/snapshot-info.ts';
import type { Datastores } from '../datastores.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';

export interface DatastoreUsageParts {
  datastores: Datastores;
  access: AccessControl;
  clock: Clock;
}

/** Seconds between two points of the reference's history. */
const historyDelta = 1800;

/** Space of all datastores at a glance (spec rest-api 10.1): what monitoring reads. */
export function datastoreUsageEndpoints(parts: DatastoreUsageParts): Endpoint[] {
  const { datastores, access } = parts;
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/status/datastore-usage',
      description: 'List Datastore usages and estimates.',
      parameters: Type.Object({}),
      permission: { kind: 'any' },
      handler: async (_, { authId }) => {
        const items = datastores.records().map(async (record) => {
          const aclPath = `/datastore/${record.name}`;
          if (access.check(authId, aclPath, ['Datastore.Audit', 'Datastore.Backup'], { partial: true })) return usageItem(parts, record);
          // With privileges further down only the name is told.
          return access.anyPrivilegeBelow(authId, aclPath) ? bareItem(record) : null;
        });
        return (await Promise.all(items)).filter((item) => item !== null);
      },
    }),
  ];
}

function bareItem({ name }: DatastoreRecord): Record<string, unknown> {
  return { store: name, 'mount-status': 'nonremovable', 'backend-type': 'filesystem' };
}

/** Numbers of one datastore, or the text that says why there are none: one that is away must not hide the others. */
async function usageItem({ datastores, clock }: DatastoreUsageParts, record: DatastoreRecord): Promise<Record<string, unknown>> {
  try {
    return await datastores.use(record.name, 'lookup', async (store) => ({
      ...bareItem(record),
      ...(await datastoreUsage(store)),
      'gc-status': gcStatusJson(await readGcStatus(store.path)),
      // No history is kept yet; an empty one is what readers of the reference's know how to take.
      history: [],
      'history-start': nowSeconds(clock),
      'history-delta': historyDelta,
    }));
  } catch (e) {
    if (!(e instanceof FarshoreError)) throw e;
    return { ...bareItem(record), error: errorChain(e) };
  }
}
