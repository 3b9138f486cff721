import { HttpError, NetworkError, errorChain } from '../base/errors.ts';
import { pause, throwIfAborted } from '../base/async.ts';
import type { ProgressLog } from '../base/log.ts';

export interface RetryPolicy {
  /** First pause in milliseconds; doubled each time. */
  firstPauseMs: number;
  longestPauseMs: number;
  /** Give up after this many attempts between which nothing at all arrived. */
  attemptsWithoutProgress: number;
}

export const defaultRetryPolicy: RetryPolicy = { firstPauseMs: 500, longestPauseMs: 30_000, attemptsWithoutProgress: 8 };

/** Errors for which nothing will be different in a minute. */
const finalCodes = new Set(['net.fingerprint', 'net.certificate', 'net.not-tls', 'net.protocol']);

/**
 * The one place where a job tries again after the line failed. All requests of a job share it: as long as anything arrives
 * anywhere in the job the count starts anew, so a line that drops every minute still finishes, and a dead one ends the job.
 */
export class LineRetry {
  readonly #policy: RetryPolicy;
  readonly #log: ProgressLog;
  readonly #signal: AbortSignal | undefined;
  #arrived = 0;
  #reported = -1;
  retries = 0;

  constructor(log: ProgressLog, signal?: AbortSignal, policy: RetryPolicy = defaultRetryPolicy) {
    this.#policy = policy;
    this.#log = log;
    this.#signal = signal;
  }

  /** Something arrived: the line works. */
  progress(): void {
    this.#arrived += 1;
  }

  async run<T>(what: string, work: () => Promise<T>): Promise<T> {
    let attempts = 0;
    let arrived = this.#arrived;
    for (;;) {
      throwIfAborted(this.#signal);
      try {
        const result = await work();
        this.progress();
        return result;
      } catch (e) {
        throwIfAborted(this.#signal);
        if (!isTransient(e)) throw e;
        if (this.#arrived !== arrived) attempts = 0;
        arrived = this.#arrived;
        attempts += 1;
        if (attempts >= this.#policy.attemptsWithoutProgress) throw e;
        this.retries += 1;
        this.#report(what, e);
        await pause(Math.min(this.#policy.longestPauseMs, this.#policy.firstPauseMs * 2 ** (attempts - 1)), this.#signal);
      }
    }
  }

  /** One line per interruption, not one per request that was in flight. */
  #report(what: string, e: unknown): void {
    if (this.#reported === this.#arrived) return;
    this.#reported = this.#arrived;
    this.#log.info(`${what}: line interrupted (${errorChain(e)}), trying again`);
  }
}

/** The line failed, or the source is restarting: worth another attempt. */
export function isTransient(e: unknown): boolean {
  if (e instanceof NetworkError) return !finalCodes.has(e.code);
  return e instanceof HttpError && (e.status === 502 || e.status === 503 || e.status === 504);
}
