import { setTimeout as sleep } from 'node:timers/promises';
import { AbortedError } from './errors.ts';

/** Counting semaphore; waiters are served in order. */
export class Semaphore {
  #free: number;
  readonly #waiting: Array<() => void> = [];

  constructor(slots: number) {
    this.#free = slots;
  }

  async acquire(): Promise<void> {
    if (this.#free > 0) {
      this.#free -= 1;
      return;
    }
    await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  release(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#free += 1;
    else next();
  }

  async run<T>(work: () => Promise<T>): Promise<T> {
    await this.acquire();
    try {
      return await work();
    } finally {
      this.release();
    }
  }
}

/** In-process mutual exclusion. */
export class Mutex extends Semaphore {
  constructor() {
    super(1);
  }
}

/**
 * Runs `work` on every item, at most `limit` at a time, items taken in order. The first error stops the taking of
 * further items, is thrown after the started ones have settled.
 */
export async function forEachLimited<T>(
  items: Iterable<T> | AsyncIterable<T>,
  limit: number,
  work: (item: T) => Promise<void>,
): Promise<void> {
  const slots = new Semaphore(limit);
  const running = new Set<Promise<void>>();
  let failed = false;
  let failure: unknown;
  for await (const item of items) {
    await slots.acquire();
    if (failed) break;
    const one = work(item)
      .catch((e: unknown) => {
        if (!failed) failure = e;
        failed = true;
      })
      .finally(() => {
        running.delete(one);
        slots.release();
      });
    running.add(one);
  }
  await Promise.all(running);
  if (failed) throw failure;
}

/** Rejects with AbortedError once `signal` is aborted. */
export function throwIfAborted(signal: AbortSignal | undefined): void {
  if (signal?.aborted === true) throw new AbortedError(undefined, { cause: signal.reason });
}

/** Sleeps; an abort ends the sleep with AbortedError. */
export async function pause(milliseconds: number, signal?: AbortSignal): Promise<void> {
  try {
    await sleep(milliseconds, undefined, signal === undefined ? {} : { signal });
  } catch (e) {
    throw new AbortedError(undefined, { cause: e });
  }
}

/**
 * The result of `work`, or the error that `late` makes when it takes longer than `limitMs` milliseconds. Only the waiting ends then: the work goes on,
 * and how it ends is nobody's business any more. An abort ends the waiting with AbortedError.
 */
export async function inTime<T>(work: Promise<T>, limitMs: number, late: () => Error, signal?: AbortSignal): Promise<T> {
  const over = new AbortController();
  const timeUp = pause(limitMs, signal === undefined ? over.signal : AbortSignal.any([over.signal, signal])).then(() => {
    throw late();
  });
  try {
    return await Promise.race([work, timeUp]);
  } finally {
    over.abort();
  }
}
