import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';

/** Never goes back, so that a corrected system time neither stops nor floods a line. */
const steadyClock: Clock = { now: () => performance.timeOrigin + performance.now() };

/** Shorter waits are not worth a timer (spec sync 9); what is not waited for stays in the bucket. */
const ignoredDelayMs = 10;

/**
 * Token bucket (spec sync 9), shared by any number of streams. Each stream waits after its own traffic until all
 * traffic registered before has been paid for, so streams take turns.
 */
export class TokenBucket {
  readonly rate: number;
  readonly burst: number;
  readonly #clock: Clock;
  #consumed: number;
  #updatedMs: number;

  /** `rate` bytes per second, `burst` bytes (default: one second's worth). */
  constructor(rate: number, options: { burst?: number | undefined; clock?: Clock } = {}) {
    this.rate = rate;
    this.burst = options.burst ?? rate;
    this.#clock = options.clock ?? steadyClock;
    this.#consumed = this.burst;
    this.#updatedMs = this.#clock.now();
  }

  /** Counts `bytes` and returns the milliseconds to wait before the next traffic of the same stream. */
  consume(bytes: number): number {
    if (this.rate <= 0) return 0;
    const now = this.#clock.now();
    const elapsedMs = Math.max(0, now - this.#updatedMs);
    this.#updatedMs = now;
    this.#consumed = Math.max(0, this.#consumed - (this.rate * elapsedMs) / 1000) + bytes;
    const delayMs = Math.max(0, ((this.#consumed - this.burst) / this.rate) * 1000);
    return delayMs < ignoredDelayMs ? 0 : delayMs;
  }
}

/** Bytes per second and bytes; what is missing or 0 is not limited. */
export interface RateLimits {
  rateIn?: number | undefined;
  burstIn?: number | undefined;
  rateOut?: number | undefined;
  burstOut?: number | undefined;
}

/** One pair of buckets for all connections of a job (spec sync 9). Counts bytes below TLS. */
export class RateLimiter {
  readonly incoming: TokenBucket | undefined;
  readonly outgoing: TokenBucket | undefined;

  constructor(limits: RateLimits, clock?: Clock) {
    const bucket = (rate: number | undefined, burst: number | undefined): TokenBucket | undefined =>
      rate === undefined || rate <= 0 ? undefined : new TokenBucket(rate, clock === undefined ? { burst } : { burst, clock });
    this.incoming = bucket(limits.rateIn, limits.burstIn);
    this.outgoing = bucket(limits.rateOut, limits.burstOut);
  }

  /** The stream to put below TLS: the socket itself when nothing is limited, so that an unlimited line costs nothing. */
  wrap(socket: Socket): Socket | ThrottledSocket {
    return this.incoming === undefined && this.outgoing === undefined ? socket : new ThrottledSocket(socket, this.incoming, this.outgoing);
  }
}

/** A connected socket that waits between reads and between writes as its buckets say. */
export class ThrottledSocket extends Duplex {
  readonly #socket: Socket;
  readonly #incoming: TokenBucket | undefined;
  readonly #outgoing: TokenBucket | undefined;
  #readTimer: NodeJS.Timeout | undefined;
  #writeTimer: NodeJS.Timeout | undefined;
  #wanted = false;

  constructor(socket: Socket, incoming: TokenBucket | undefined, outgoing: TokenBucket | undefined) {
    super({ allowHalfOpen: true, highWaterMark: 256 * 1024, emitClose: true });
    this.#socket = socket;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    socket.pause();
    socket.on('data', (bytes: Buffer) => {
      const delayMs = this.#incoming?.consume(bytes.length) ?? 0;
      this.#wanted = this.push(bytes);
      if (delayMs > 0) {
        socket.pause();
        this.#readTimer = setTimeout(() => {
          this.#readTimer = undefined;
          if (this.#wanted) socket.resume();
        }, delayMs);
      } else if (!this.#wanted) {
        socket.pause();
      }
    });
    socket.on('end', () => this.push(null));
    socket.on('error', (e) => this.destroy(e));
    socket.on('close', () => this.destroy());
  }

  /** True while a bucket, not the other side, holds this connection back. */
  get heldBack(): boolean {
    return this.#readTimer !== undefined || this.#writeTimer !== undefined;
  }

  override _read(): void {
    this.#wanted = true;
    if (this.#readTimer === undefined) this.#socket.resume();
  }

  override _write(bytes: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const delayMs = this.#outgoing?.consume(bytes.length) ?? 0;
    this.#socket.write(bytes, (error) => {
      if (error !== null && error !== undefined) done(error);
      else if (delayMs === 0 || this.destroyed) done();
      else {
        this.#writeTimer = setTimeout(() => {
          this.#writeTimer = undefined;
          done();
        }, delayMs);
      }
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    clearTimeout(this.#readTimer);
    clearTimeout(this.#writeTimer);
    this.#socket.destroy();
    done(error);
  }
}
