/** Time source, injected wherever behaviour depends on time so that tests can move it. */
export interface Clock {
  /** Milliseconds since the epoch. */
  now(): number;
}

export const systemClock: Clock = { now: () => Date.now() };

/** Whole seconds since the epoch. */
export function nowSeconds(clock: Clock): number {
  return Math.floor(clock.now() / 1000);
}
