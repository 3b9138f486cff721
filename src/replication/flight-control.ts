import { type Clock } from '../base/clock.ts';
import { throwIfAborted } from '../base/async.ts';

const mebibyte = 1024 * 1024;

/** Enough for four usual chunks: below that even a fast line waits for its own round trips. */
const smallestLimit = 12 * mebibyte;
/** Bound on what chunks in flight may hold in memory (an estimate may be wrong by its safety factor). */
const largestLimit = 64 * mebibyte;
const shortestIntervalMs = 200;
const longDelayMs = 50;
const plateauIntervals = 3;
const rememberedIntervals = 10;

export interface FlightOptions {
  /** So many chunks at a time whatever their size, instead of following the line. */
  fixedChunks?: number | undefined;
}

export interface Permit {
  /** The chunk has arrived with so many bytes, or failed (0). Must be called exactly once. */
  release(receivedBytes: number): void;
}

/**
 * How many encoded bytes of chunks may be on their way at a time, for a whole job: about twice the bandwidth-delay product, found
 * as BBR does. It doubles while that makes the line faster, and then follows the best recent rate. Too little leaves the line
 * idle for part of each round trip; too much is lost when the line is cut, costs memory, and crowds out others.
 */
export class FlightControl {
  readonly #clock: Clock;
  readonly #fixedChunks: number | undefined;
  #limit = smallestLimit;
  #inFlight = 0;
  #chunksInFlight = 0;
  readonly #waiting: Array<{ bytes: number; start: () => void }> = [];
  /** Encoded bytes per plain byte, smoothed; chunks are asked for by plain size. */
  #density = 0.6;
  #roundTripMs = Infinity;
  #intervalStart: number;
  #intervalBytes = 0;
  #rates: number[] = [];
  #bestRate = 0;
  #plateau = 0;

  constructor(clock: Clock, options: FlightOptions = {}) {
    this.#clock = clock;
    this.#fixedChunks = options.fixedChunks;
    this.#intervalStart = clock.now();
  }

  get limit(): number {
    return this.#limit;
  }

  get inFlight(): number {
    return this.#inFlight;
  }

  /** Shortest round trip seen, in milliseconds; Infinity before the first. */
  get roundTripMs(): number {
    return this.#roundTripMs;
  }

  /** Bytes per second over the last intervals. */
  get rate(): number {
    return Math.max(0, ...this.#rates);
  }

  observeRoundTrip(milliseconds: number): void {
    if (!Number.isFinite(milliseconds)) return;
    // A long line would need many round trips to find out that it is wide.
    if (this.#roundTripMs === Infinity && milliseconds >= longDelayMs) this.#limit = Math.max(this.#limit, 2 * smallestLimit);
    this.#roundTripMs = Math.min(this.#roundTripMs, Math.max(0.05, milliseconds));
  }

  /** Waits, first come first served, until a chunk of `plainSize` bytes may be asked for. */
  async acquire(plainSize: number, signal?: AbortSignal): Promise<Permit> {
    throwIfAborted(signal);
    // At least a quarter of the plain size, so that data that suddenly does not compress costs at most four times the limit.
    // Whole bytes: sums of fractions would not come back to zero, and then a chunk above the limit would wait for ever.
    const bytes = Math.ceil(Math.max(Math.min(plainSize, plainSize * this.#density * 1.25), plainSize / 4, 1024));
    if (this.#waiting.length > 0 || !this.#fits(bytes)) {
      await new Promise<void>((resolve) => this.#waiting.push({ bytes, start: resolve }));
    } else {
      this.#take(bytes);
    }
    return { release: (receivedBytes) => this.#release(bytes, plainSize, receivedBytes) };
  }

  #fits(bytes: number): boolean {
    if (this.#fixedChunks !== undefined) return this.#chunksInFlight < this.#fixedChunks;
    return this.#inFlight === 0 || this.#inFlight + bytes <= this.#limit;
  }

  #take(bytes: number): void {
    this.#inFlight += bytes;
    this.#chunksInFlight += 1;
  }

  #release(bytes: number, plainSize: number, receivedBytes: number): void {
    this.#inFlight -= bytes;
    this.#chunksInFlight -= 1;
    if (receivedBytes > 0 && plainSize > 0) {
      this.#density += (Math.min(1, receivedBytes / plainSize) - this.#density) * 0.05;
      this.#intervalBytes += receivedBytes;
      this.#adapt();
    }
    for (let next = this.#waiting[0]; next !== undefined && this.#fits(next.bytes); next = this.#waiting[0]) {
      this.#waiting.shift();
      this.#take(next.bytes);
      next.start();
    }
  }

  #adapt(): void {
    const elapsed = this.#clock.now() - this.#intervalStart;
    const roundTrip = Number.isFinite(this.#roundTripMs) ? this.#roundTripMs : 1;
    if (elapsed < Math.max(shortestIntervalMs, roundTrip)) return;
    const rate = (this.#intervalBytes / elapsed) * 1000;
    this.#intervalStart += elapsed;
    this.#intervalBytes = 0;
    this.#rates = [...this.#rates.slice(1 - rememberedIntervals), rate];
    if (this.#plateau < plateauIntervals) {
      // Start: as long as a larger limit makes the line faster, double it.
      if (rate >= this.#bestRate * 1.15) {
        this.#bestRate = rate;
        this.#plateau = 0;
        // On a line without delay a larger limit cannot help.
        if (roundTrip > 4) this.#limit = Math.min(largestLimit, this.#limit * 2);
        return;
      }
      this.#plateau += 1;
      if (this.#plateau < plateauIntervals) return;
    }
    const product = (this.rate * roundTrip) / 1000;
    this.#limit = Math.min(largestLimit, Math.max(smallestLimit, 2 * product));
  }
}
