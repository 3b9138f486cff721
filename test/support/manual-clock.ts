import type { Clock } from '../../src/base/clock.ts';

/** A clock that a test moves. */
export class ManualClock implements Clock {
  ms: number;

  /** `time` as for Date.parse. */
  constructor(time: string) {
    this.ms = Date.parse(time);
  }

  now(): number {
    return this.ms;
  }

  set(time: string): void {
    this.ms = Date.parse(time);
  }
}
