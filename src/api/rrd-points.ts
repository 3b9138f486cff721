import { oneOf } from '../config/schemas.ts';

/** Parameters of all histories (spec rest-api 10.1). */
export const rrdParameters = {
  timeframe: oneOf(['hour', 'day', 'week', 'month', 'year', 'decade'], 'How far back.'),
  cf: oneOf(['MAX', 'AVERAGE'], 'How several values become one.'),
};

export type Timeframe = 'hour' | 'day' | 'week' | 'month' | 'year' | 'decade';

const day = 86_400;
const frames: Record<Timeframe, { span: number; step: number }> = {
  hour: { span: 3600, step: 60 },
  day: { span: day, step: 60 },
  week: { span: 7 * day, step: 1800 },
  month: { span: 30 * day, step: 1800 },
  year: { span: 365 * day, step: 6 * 3600 },
  decade: { span: 3660 * day, step: 7 * day },
};
/** As long as a series of the reference gets. */
const maxPoints = 1440;

/** The times of a history. Values that were not recorded are left out, as the reference does: no history is kept yet. */
export function rrdPoints(timeframe: Timeframe, now: number): Array<{ time: number }> {
  const { span, step } = frames[timeframe];
  const first = Math.floor((now - span) / step) * step;
  const count = Math.min(maxPoints, Math.floor(span / step) + 1);
  return Array.from({ length: count }, (_, i) => ({ time: first + i * step }));
}
