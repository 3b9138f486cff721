import { oneOf } from '../config/schemas.ts';

/** Parameters of all histories (spec rest-api 10.1). */
export const rrdParameters = {
  timeframe: oneOf(['hour', 'day', 'week', 'month', 'year', 'decade'], 'How far back.'),
  cf: oneOf(['MAX', 'AVERAGE'], 'How several values become one.'),
};

/** Series of the host, and of one datastore. */
export const hostSeries = 'host';

export function datastoreSeries(name: string): string {
  return `datastore/${name}`;
}
