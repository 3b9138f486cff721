import { Type } from 'typebox';
import type { AccessControl } from '../../access/access-control.ts';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { errorChain, FarshoreError } from '../../base/errors.ts';
import type { DatastoreRecord } from '../../config/datastore-config.ts';
import { gcStatusJson, readGcStatus } from '../../datastore/gc-status.ts';
import { datastoreUsage } from '../../datastore/snapshot-info.ts';
import { fullDate } from '../../metrics/full-date.ts';
import type { History } from '../../metrics/history.ts';
import type { Datastores } from '../datastores.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { datastoreSeries } from '../rrd-points.ts';

export interface DatastoreUsageParts {
  datastores: Datastores;
  access: AccessControl;
  clock: Clock;
  history: History;
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

/** The last month, from the first value on; without any an empty one. */
function pastUsage(history: History, name: string, now: number): Record<string, unknown> {
  const points = history.points(datastoreSeries(name), 'month', 'AVERAGE', now);
  const begin = points.findIndex(({ used }) => used !== undefined);
  const shown = (begin < 0 ? [] : points.slice(begin)).map(({ time, used, total }) => ({ time, share: used === undefined || total === undefined || total <= 0 ? null : used / total }));
  const full = fullDate(shown.flatMap(({ time, share }) => (share === null ? [] : [{ time, share }])));
  return {
    history: shown.map(({ share }) => share),
    'history-start': shown[0]?.time ?? now,
    'history-delta': historyDelta,
    ...(full === null ? {} : { 'estimated-full-date': full }),
  };
}

/** Numbers of one datastore, or the text that says why there are none: one that is away must not hide the others. */
async function usageItem({ datastores, clock, history }: DatastoreUsageParts, record: DatastoreRecord): Promise<Record<string, unknown>> {
  try {
    return await datastores.use(record.name, 'lookup', async (store) => ({
      ...bareItem(record),
      ...(await datastoreUsage(store)),
      'gc-status': gcStatusJson(await readGcStatus(store.path)),
      ...pastUsage(history, record.name, nowSeconds(clock)),
    }));
  } catch (e) {
    if (!(e instanceof FarshoreError)) throw e;
    return { ...bareItem(record), error: errorChain(e) };
  }
}
