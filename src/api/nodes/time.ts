import { Type } from 'typebox';
import { nowSeconds, type Clock } from '../../base/clock.ts';
import { processTimeZone } from '../../schedule/local-time.ts';
import { jsonEndpoint, type Endpoint } from '../endpoint.ts';
import { nodeParameter } from './node-parameter.ts';

/** Time and time zone of the server. The zone is that of the process; it is set with the host, not here. */
export function timeEndpoints({ clock, timeZone = processTimeZone() }: { clock: Clock; timeZone?: string }): Endpoint[] {
  return [
    jsonEndpoint({
      method: 'GET',
      path: '/nodes/{node}/time',
      description: 'Read server time and time zone settings.',
      parameters: Type.Object(nodeParameter),
      permission: { kind: 'any' },
      handler: async () => {
        const time = nowSeconds(clock);
        const { offsetNanoseconds } = Temporal.Instant.fromEpochMilliseconds(time * 1000).toZonedDateTimeISO(timeZone);
        // What is often called the local time: the epoch shifted by the zone's offset.
        return { time, localtime: time + offsetNanoseconds / 1e9, timezone: timeZone };
      },
    }),
  ];
}
