import { Type } from 'typebox';
import { wholeNumber } from '../../config/schemas.ts';
import { trafficRuleSchema, type TrafficRuleTable } from '../../config/traffic-config.ts';
import { jsonEndpoint, Reply, type Endpoint } from '../endpoint.ts';
import type { TrafficControl } from '../traffic/traffic-control.ts';

const current = {
  'cur-rate-in': wholeNumber('Bytes per second that come in.', { minimum: 0 }),
  'cur-rate-out': wholeNumber('Bytes per second that go out.', { minimum: 0 }),
};

/** `/admin/traffic-control` (spec server 12): the rules, and what goes through them. */
export function trafficStatusEndpoints({ rules, traffic }: { rules: TrafficRuleTable; traffic: Pick<TrafficControl, 'current'> }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/admin/traffic-control',
      description: 'Show the present traffic of all traffic control rules.',
      parameters: Type.Object({}),
      permission: { kind: 'privilege', path: '/', privileges: ['Sys.Audit'] },
      returns: Type.Array(Type.Object({ ...trafficRuleSchema.properties, ...current })),
      handler: async () => {
        const { records, digest } = rules.list();
        const shown = records.map((rule) => {
          const { in: incoming, out: outgoing } = traffic.current(rule.name);
          return { ...rule, 'cur-rate-in': incoming, 'cur-rate-out': outgoing };
        });
        return new Reply(shown, { digest });
      },
    }),
  ];
}
