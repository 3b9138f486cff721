/** Connections of a job, over all its snapshots. A snapshot's first lane is not counted against it: snapshots are bounded themselves. */
export class LaneBudget {
  readonly #most: number;
  #open = 0;

  constructor(most: number) {
    this.#most = most;
  }

  get open(): number {
    return this.#open;
  }

  /** Takes a place for an additional lane if `wanted` lanes and the bound allow it. */
  tryTake(wanted: number): boolean {
    if (this.#open >= Math.min(this.#most, wanted)) return false;
    this.#open += 1;
    return true;
  }

  take(): void {
    this.#open += 1;
  }

  giveBack(): void {
    this.#open -= 1;
  }
}
