import { pause } from '../base/async.ts';
import { errorChain } from '../base/errors.ts';
import type { ProgressLog } from '../base/log.ts';
import { isTemporary, isUnset } from './delivery-error.ts';
import type { Message } from './message.ts';

export interface OutboxOptions {
  /** Delivers; throws NetworkError `net.delivery…`. */
  send: (target: string, message: Message) => Promise<void>;
  log: ProgressLog;
  /** Waits before each further try. */
  retryDelaysMs?: readonly number[];
  /** Waits; an abort ends the wait. */
  pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
  /** Messages that wait at most, over all targets. */
  maxWaiting?: number;
}

const defaultRetryDelaysMs = [10_000, 60_000, 300_000];

/** Messages on their way, in memory: one at a time for each target, in order; what fails for the moment is tried again. Nothing here fails: what is lost is in the log. */
export class Outbox {
  readonly #options: Required<OutboxOptions>;
  readonly #lines = new Map<string, Message[]>();
  readonly #working = new Set<Promise<void>>();
  readonly #hurry = new AbortController();
  #waiting = 0;

  constructor(options: OutboxOptions) {
    this.#options = { retryDelaysMs: defaultRetryDelaysMs, pause, maxWaiting: 1000, ...options };
  }

  submit(target: string, message: Message): void {
    const { log, maxWaiting } = this.#options;
    if (this.#waiting >= maxWaiting) {
      log.error(`notification '${message.title}' for target '${target}' is dropped: ${maxWaiting} are waiting already`);
      return;
    }
    this.#waiting += 1;
    const line = this.#lines.get(target);
    if (line !== undefined) {
      line.push(message);
      return;
    }
    this.#lines.set(target, [message]);
    const work = this.#work(target).finally(() => this.#working.delete(work));
    this.#working.add(work);
  }

  /** Resolves when nothing is on its way. */
  async idle(): Promise<void> {
    while (this.#working.size > 0) await Promise.all(this.#working);
  }

  /** Tries everything once more without waiting in between, for at most `limitMs`; the log tells what is left. */
  async close(limitMs: number): Promise<void> {
    this.#hurry.abort();
    const timer = new AbortController();
    await Promise.race([this.idle(), pause(limitMs, timer.signal).catch(() => {})]);
    timer.abort();
    for (const [target, line] of this.#lines) {
      for (const message of line) this.#options.log.error(`notification '${message.title}' for target '${target}' is lost: the server stops`);
    }
  }

  async #work(target: string): Promise<void> {
    const line = this.#lines.get(target)!;
    for (let message = line[0]; message !== undefined; message = line[0]) {
      await this.#deliver(target, message);
      line.shift();
      this.#waiting -= 1;
    }
    this.#lines.delete(target);
  }

  async #deliver(target: string, message: Message): Promise<void> {
    const { send, log, retryDelaysMs } = this.#options;
    for (const [tries, delayMs] of [...retryDelaysMs, null].entries()) {
      try {
        await send(target, message);
        log.info(`notified via target '${target}': ${message.title}`);
        return;
      } catch (e) {
        if (isUnset(e)) {
          log.debug(`nobody is told via target '${target}' (${message.title}): ${errorChain(e)}`);
          return;
        }
        const isLast = delayMs === null || !isTemporary(e) || this.#hurry.signal.aborted;
        const outcome = isLast ? `given up after ${tries + 1} ${tries === 0 ? 'try' : 'tries'}` : `next try in ${delayMs / 1000} s`;
        log[isLast ? 'error' : 'warn'](`could not notify via target '${target}' (${message.title}): ${errorChain(e)}; ${outcome}`);
        if (isLast) return;
        await this.#options.pause(delayMs, this.#hurry.signal).catch(() => {});
      }
    }
  }
}
