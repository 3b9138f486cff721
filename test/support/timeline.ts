import type { FairBucketOptions, Toll } from '../../src/protocol/fair-bucket.ts';

/** A clock whose timers fire when it is moved. */
export class Timeline {
  ms = 0;
  #timers: Array<{ at: number; work: () => void }> = [];
  now = (): number => this.ms;

  readonly options: FairBucketOptions = {
    clock: this,
    startTimer: (milliseconds, work) => {
      const timer = { at: this.ms + milliseconds, work };
      this.#timers.push(timer);
      return () => void (this.#timers = this.#timers.filter((one) => one !== timer));
    },
  };

  runTo(ms: number): void {
    for (;;) {
      const [next] = this.#timers.toSorted((a, b) => a.at - b.at);
      if (next === undefined || next.at > ms) break;
      this.#timers = this.#timers.filter((one) => one !== next);
      this.ms = next.at;
      next.work();
    }
    this.ms = ms;
  }
}

/** A stream that moves its next piece as soon as it may. */
export class BusyStream {
  moved = 0;
  readonly #toll: Toll;
  readonly #piece: number;
  stop: () => void = () => {};

  constructor(toll: Toll, piece: number) {
    this.#toll = toll;
    this.#piece = piece;
  }

  go(): void {
    for (;;) {
      this.moved += this.#piece;
      const wait = this.#toll.pay(this.#piece, () => this.go());
      if (wait === null) continue;
      this.stop = wait;
      return;
    }
  }
}
