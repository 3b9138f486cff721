import type { RememberedRun } from './job-memory.ts';

const daySeconds = 86_400;
/** Fewer days say nothing about a trend. */
const fewestDays = 4;
/** Beyond this nothing is foretold. */
const farthestDays = 365;
/** A window of eight hours is tight from six on. */
const tightShare = 0.75;

export interface WindowForecast {
  /** What a day brings, encoded bytes: the median of the days on which something ran, the first sync left out. Null: no run yet. */
  bytesPerDay: number | null;
  /** Time for that at the rate. */
  secondsPerDay: number | null;
  verdict: 'fits' | 'tight' | 'too small' | 'unknown';
  /** Days until a day's delta fills the window, if the trend goes on; null: not within a year, or nothing is known. */
  daysUntilFull: number | null;
}

/**
 * Whether the day's delta fits into a nightly window (rule of thumb: six to eight hours), now and as the trend of the runs goes. Pure.
 * `rate`: bytes a second.
 */
export function forecastWindow(runs: readonly RememberedRun[], rate: number | null, windowSeconds: number): WindowForecast {
  // The first one brought everything that there was.
  const days = new Map<number, number>();
  for (const run of runs.slice(1)) days.set(Math.floor(run.start / daySeconds), (days.get(Math.floor(run.start / daySeconds)) ?? 0) + run.bytes);
  const bytesPerDay = days.size === 0 ? null : median([...days.values()]);
  if (bytesPerDay === null || rate === null || rate <= 0) return { bytesPerDay, secondsPerDay: null, verdict: 'unknown', daysUntilFull: null };
  const secondsPerDay = bytesPerDay / rate;
  const verdict = secondsPerDay > windowSeconds ? 'too small' : secondsPerDay > windowSeconds * tightShare ? 'tight' : 'fits';
  return { bytesPerDay, secondsPerDay, verdict, daysUntilFull: verdict === 'too small' ? 0 : daysUntil([...days], windowSeconds * rate) };
}

/** By the median of all slopes between two days: single large days do not bend it. */
function daysUntil(days: ReadonlyArray<[day: number, bytes: number]>, fullBytes: number): number | null {
  if (days.length < fewestDays) return null;
  const slopes: number[] = [];
  for (const [i, [day, bytes]] of days.entries()) for (const [later, more] of days.slice(i + 1)) if (later !== day) slopes.push((more - bytes) / (later - day));
  const slope = median(slopes);
  if (!(slope > 0)) return null;
  const lastDay = Math.max(...days.map(([day]) => day));
  const level = median(days.map(([day, bytes]) => bytes + slope * (lastDay - day)));
  const left = Math.max(0, Math.ceil((fullBytes - level) / slope));
  return left <= farthestDays ? left : null;
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}
