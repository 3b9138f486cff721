import assert from 'node:assert/strict';

/** So many bytes at a time; whoever wants more waits, in order. Bounds memory where pieces of very different size are under way. */
export class ByteBudget {
  readonly #limit: number;
  #free: number;
  readonly #waiting: Array<{ size: number; proceed: () => void }> = [];

  constructor(limit: number) {
    this.#limit = limit;
    this.#free = limit;
  }

  /** Runs `work` when `size` bytes are free; more than the whole budget counts as the whole. */
  async run<T>(size: number, work: () => Promise<T>): Promise<T> {
    assert.ok(Number.isSafeInteger(size) && size >= 0);
    const share = Math.min(size, this.#limit);
    await this.#take(share);
    try {
      return await work();
    } finally {
      this.#free += share;
      this.#serve();
    }
  }

  async #take(size: number): Promise<void> {
    // Nobody overtakes: a large piece would otherwise wait for ever.
    if (this.#waiting.length === 0 && size <= this.#free) {
      this.#free -= size;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push({ size, proceed: resolve }));
  }

  #serve(): void {
    for (let next = this.#waiting[0]; next !== undefined && next.size <= this.#free; next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#free -= next.size;
      next.proceed();
    }
  }
}
