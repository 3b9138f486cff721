import { type Clock } from '../base/clock.ts';
import { throwIfAborted } from '../base/async.ts';

const mebibyte = 1024 * 1024;

/** Where every line begins, and what a fast line without delay keeps: enough for four usual chunks, so that checking and storing never wait. */
const firstLimit = 12 * mebibyte;
/** A thin line needs no more than the chunk that arrives, the next one, and one more. */
const fewestChunks = 3;
/** What the line carries in this time may be in flight even without any delay. */
const shortestFlightMs = 100;
/** By how much the limit exceeds the bandwidth-delay product: a chunk also takes time to be sent, over a connection that carries a part of the line. */
const gain = 2;
/** Bound on what chunks in flight may hold in memory (an estimate may be wrong by its safety factor). */
const largestLimit = 64 * mebibyte;
const shortestIntervalMs = 200;
const longDelayMs = 50;
const plateauIntervals = 3;
const rememberedIntervals = 10;
/** The shortest round trip is that of the last one or two such spans: a line may become longer. */
const roundTripSpanMs = 120_000;

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
 *
 * Fair to others: the product is made of the *shortest* round trip. A queue that makes round trips longer without making the line faster
 * does not raise the limit, so this job never adds more than about a round trip of queue; and as others take their share, rate and limit fall.
 */
export class FlightControl {
  readonly #clock: Clock;
  readonly #fixedChunks: number | undefined;
  #limit = firstLimit;
  #inFlight = 0;
  #chunksInFlight = 0;
  readonly #waiting: Array<{ bytes: number; start: () => void }> = [];
  /** Encoded bytes per plain byte, smoothed; chunks are asked for by plain size. */
  #density = 0.6;
  /** Smoothed estimate of a chunk's bytes. */
  #chunkBytes = firstLimit / 4;
  /** Of this span and of the one before. */
  #roundTrips = { startMs: 0, thisSpan: Infinity, before: Infinity };
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

  /** Shortest round trip of the last minutes, in milliseconds; Infinity before the first. */
  get roundTripMs(): number {
    return Math.min(this.#roundTrips.thisSpan, this.#roundTrips.before);
  }

  /**
   * Bytes that connections should be able to carry per round trip: twice what they do, so that more connections are tried as long as they
   * help. More connections than the line needs would take more than this job's share of it. A long line is believed to be wide at first.
   */
  get carried(): number {
    const roundTripMs = this.roundTripMs;
    if (roundTripMs === Infinity) return 0;
    if (roundTripMs >= longDelayMs && this.#plateau < plateauIntervals) return this.#limit;
    return Math.min(this.#limit, (2 * this.rate * roundTripMs) / 1000);
  }

  /** Bytes per second over the last intervals. */
  get rate(): number {
    return Math.max(0, ...this.#rates);
  }

  observeRoundTrip(milliseconds: number): void {
    if (!Number.isFinite(milliseconds)) return;
    // A long line would need many round trips to find out that it is wide.
    if (this.roundTripMs === Infinity && milliseconds >= longDelayMs) this.#limit = Math.max(this.#limit, 2 * firstLimit);
    const spans = this.#roundTrips;
    const now = this.#clock.now();
    if (now - spans.startMs >= roundTripSpanMs) {
      spans.before = spans.thisSpan;
      spans.thisSpan = Infinity;
      spans.startMs = now;
    }
    spans.thisSpan = Math.min(spans.thisSpan, Math.max(0.05, milliseconds));
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
    // Time in which nothing was asked for says nothing of the line.
    if (this.#chunksInFlight === 0 && this.#clock.now() - this.#intervalStart > 2 * this.#intervalMs()) {
      this.#intervalStart = this.#clock.now();
      this.#intervalBytes = 0;
    }
    this.#inFlight += bytes;
    this.#chunksInFlight += 1;
  }

  #release(bytes: number, plainSize: number, receivedBytes: number): void {
    this.#inFlight -= bytes;
    this.#chunksInFlight -= 1;
    if (receivedBytes > 0 && plainSize > 0) {
      this.#chunkBytes += (bytes - this.#chunkBytes) * 0.1;
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

  #intervalMs(): number {
    return Math.max(shortestIntervalMs, Number.isFinite(this.roundTripMs) ? this.roundTripMs : 0);
  }

  #adapt(): void {
    const elapsed = this.#clock.now() - this.#intervalStart;
    const roundTrip = Number.isFinite(this.roundTripMs) ? this.roundTripMs : 1;
    if (elapsed < this.#intervalMs()) return;
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
    const least = Math.min(firstLimit, Math.max(fewestChunks * this.#chunkBytes, (this.rate * shortestFlightMs) / 1000));
    // A chunk counts until it is whole: two more are always partly there.
    this.#limit = Math.min(largestLimit, Math.max(least, gain * product + 2 * this.#chunkBytes));
  }
}
