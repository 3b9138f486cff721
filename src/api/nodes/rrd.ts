import { Type } from 'typebox';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import type { History } from '../../metrics/history.ts';
import { hostSeries, rrdParameters } from '../rrd-points.ts';
import { nodeParameter } from './node-parameter.ts';

/** History of the host's load. */
export function nodeRrdEndpoints({ clock, history }: { clock: Clock; history: History }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/rrd',
      description: 'Read node stats.',
      parameters: Type.Object({ ...nodeParameter, ...rrdParameters }),
      permission: { kind: 'privilege', path: '/system/status', privileges: ['Sys.Audit'] },
      handler: async ({ timeframe, cf }) => history.points(hostSeries, timeframe, cf, nowSeconds(clock)),
    }),
  ];
}
