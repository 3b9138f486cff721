export type Timeframe = 'hour' | 'day' | 'week' | 'month' | 'year' | 'decade';

const day = 86_400;

/** Histories as the reference has them: how far back, and seconds between two points. */
export const timeframes: Readonly<Record<Timeframe, { span: number; step: number }>> = {
  hour: { span: 3600, step: 60 },
  day: { span: day, step: 60 },
  week: { span: 7 * day, step: 1800 },
  month: { span: 30 * day, step: 1800 },
  year: { span: 365 * day, step: 6 * 3600 },
  decade: { span: 3660 * day, step: 7 * day },
};

/** As long as a series of the reference gets. */
export const maxPoints = 1440;

/** Steps at which values are kept, each for `maxPoints` of it or for the longest history that needs it. */
export const keptSteps: ReadonlyArray<{ step: number; span: number }> = [60, 1800, 6 * 3600, 7 * day].map((step) => ({
  step,
  span: Math.max(...Object.values(timeframes).flatMap((frame) => (frame.step === step ? [frame.span + step] : []))),
}));
