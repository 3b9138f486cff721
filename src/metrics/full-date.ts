/** Samples that a line is not drawn through yet. */
const fewestSamples = 7;
/** A forecast beyond this says no more than that it does not grow. */
const furthestSeconds = 200 * 365 * 86_400;

/**
 * When a file system is full, by a straight line through its past: seconds since the epoch, 0 when it does not grow, null with fewer than 7 samples (spec rest-api 10.1).
 * `share`: 0 to 1.
 */
export function fullDate(samples: ReadonlyArray<{ time: number; share: number }>): number | null {
  if (samples.length < fewestSamples) return null;
  const meanTime = mean(samples.map(({ time }) => time));
  const meanShare = mean(samples.map(({ share }) => share));
  let covariance = 0;
  let variance = 0;
  for (const { time, share } of samples) {
    covariance += (time - meanTime) * (share - meanShare);
    variance += (time - meanTime) ** 2;
  }
  const slope = variance === 0 ? 0 : covariance / variance;
  if (slope <= 0) return 0;
  const seconds = (1 - meanShare) / slope;
  return seconds > furthestSeconds ? 0 : Math.round(meanTime + seconds);
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}
