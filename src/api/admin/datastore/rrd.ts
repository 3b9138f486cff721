import { Type } from 'typebox';
import { nowSeconds, type Clock } from '../../../base/clock.ts';
import { datastoreName } from '../../../config/schemas.ts';
import type { Datastores } from '../../datastores.ts';
import { jsonEndpoint, type Endpoint } from '../../endpoint.ts';
import type { History } from '../../../metrics/history.ts';
import { datastoreSeries, rrdParameters } from '../../rrd-points.ts';

/** History of a datastore's space and load. */
export function datastoreRrdEndpoints({ datastores, clock, history }: { datastores: Datastores; clock: Clock; history: History }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/datastore/{store}/rrd',
      description: 'Read datastore stats.',
      parameters: Type.Object({ store: datastoreName, ...rrdParameters }),
      permission: { kind: 'privilege', path: '/datastore/{store}', privileges: ['Datastore.Audit', 'Datastore.Backup'], partial: true },
      handler: async ({ store, timeframe, cf }) => datastores.use(store, 'read', async () => history.points(datastoreSeries(store), timeframe, cf, nowSeconds(clock))),
    }),
  ];
}
