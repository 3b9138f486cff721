import type { Clock } from '../base/clock.ts';

/** Differences that setting a clock right by the network makes every day. */
const toleratedMs = 5 * 60_000;
/** After so long at an earlier time that time is the right one. */
const believedAfterMs = 24 * 3600_000;

export interface SteadyReading {
  /** Seconds since the epoch. */
  now: number;
  /** How far the wall clock is behind, in seconds; 0 when it is believed. */
  behind: number;
}

/**
 * Wall clock that never makes copies younger: when it was set back, also while the server was off, time goes on from the latest time that was read, measured by
 * a clock that nobody sets, until the wall clock has stayed there for a day. A clock that was set forward is believed at once.
 */
export class SteadyClock {
  readonly #wall: Clock;
  readonly #monotonicMs: () => number;
  #lastMs: number;
  #readAtMs: number;
  #behindSinceMs: number | null = null;

  /** `floorMs`: latest time that is known to have passed, in milliseconds since the epoch; 0 when nothing is known. */
  constructor(wall: Clock, monotonicMs: () => number, floorMs: number) {
    this.#wall = wall;
    this.#monotonicMs = monotonicMs;
    this.#lastMs = floorMs;
    this.#readAtMs = monotonicMs();
  }

  /** What the next server has to start from. */
  get floorMs(): number {
    return this.#lastMs;
  }

  read(): SteadyReading {
    const monotonic = this.#monotonicMs();
    const expected = this.#lastMs + (monotonic - this.#readAtMs);
    const wall = this.#wall.now();
    this.#readAtMs = monotonic;
    if (wall >= expected - toleratedMs) {
      this.#behindSinceMs = null;
      this.#lastMs = wall;
      return reading(wall, 0);
    }
    this.#behindSinceMs ??= monotonic;
    if (monotonic - this.#behindSinceMs >= believedAfterMs) {
      this.#behindSinceMs = null;
      this.#lastMs = wall;
      return reading(wall, 0);
    }
    this.#lastMs = expected;
    return reading(expected, expected - wall);
  }
}

function reading(nowMs: number, behindMs: number): SteadyReading {
  return { now: Math.floor(nowMs / 1000), behind: Math.round(behindMs / 1000) };
}
