import { Duplex } from 'node:stream';
import type { Socket } from 'node:net';
import type { Clock } from '../base/clock.ts';
import { FairBucket, type Toll } from './fair-bucket.ts';

/** What is written before it is paid for; reads are of that size, too. */
const pieceLength = 64 * 1024;

/** Bytes per second and bytes; what is missing or 0 is not limited. */
export interface RateLimits {
  rateIn?: number | undefined;
  burstIn?: number | undefined;
  rateOut?: number | undefined;
  burstOut?: number | undefined;
}

/** What gives each connection the toll that it pays, if any. */
export interface TollSource {
  toll(): Toll;
}

/** One pair of buckets for all connections of a job (spec sync 9). Counts bytes below TLS. */
export class RateLimiter {
  #incoming: TollSource | undefined;
  #outgoing: TollSource | undefined;

  constructor(limits: RateLimits, clock?: Clock) {
    const bucket = (rate: number | undefined, burst: number | undefined): TollSource | undefined =>
      rate === undefined || rate <= 0 ? undefined : new FairBucket({ rate, burst: burst ?? rate }, clock === undefined ? {} : { clock });
    this.#incoming = bucket(limits.rateIn, limits.burstIn);
    this.#outgoing = bucket(limits.rateOut, limits.burstOut);
  }

  /** Of limits that are made elsewhere. */
  static of(incoming: TollSource | undefined, outgoing: TollSource | undefined): RateLimiter {
    const limiter = new RateLimiter({});
    limiter.#incoming = incoming;
    limiter.#outgoing = outgoing;
    return limiter;
  }

  /** What one more connection pays; undefined: nothing. */
  tolls(): { incoming: Toll | undefined; outgoing: Toll | undefined } {
    return { incoming: this.#incoming?.toll(), outgoing: this.#outgoing?.toll() };
  }

  /** The stream to put below TLS: the socket itself when nothing is limited, so that an unlimited line costs nothing. */
  wrap(socket: Socket): Socket | ThrottledSocket {
    const { incoming, outgoing } = this.tolls();
    return incoming === undefined && outgoing === undefined ? socket : new ThrottledSocket(socket, incoming, outgoing);
  }
}

/** A connected socket that waits between reads and between writes until its tolls are paid. */
export class ThrottledSocket extends Duplex {
  readonly #socket: Socket;
  readonly #incoming: Toll | undefined;
  readonly #outgoing: Toll | undefined;
  /** Takes back the payment that is waited for. */
  #readWait: (() => void) | null = null;
  #writeWait: (() => void) | null = null;
  #wanted = false;

  constructor(socket: Socket, incoming: Toll | undefined, outgoing: Toll | undefined) {
    super({ allowHalfOpen: true, highWaterMark: 256 * 1024, emitClose: true });
    this.#socket = socket;
    this.#incoming = incoming;
    this.#outgoing = outgoing;
    socket.pause();
    socket.on('data', (bytes: Buffer) => {
      this.#readWait = this.#incoming?.pay(bytes.length, () => this.#readOn()) ?? null;
      this.#wanted = this.push(bytes);
      if (this.#readWait !== null || !this.#wanted) socket.pause();
    });
    let ended = false;
    socket.on('end', () => {
      ended = true;
      this.push(null);
    });
    socket.on('error', (e) => this.destroy(e));
    socket.on('close', () => {
      // What has arrived in full is still to be read.
      if (ended && !this.readableEnded) this.once('end', () => this.destroy());
      else this.destroy();
    });
  }

  /** True while a bucket, not the other side, holds this connection back. */
  get heldBack(): boolean {
    return this.#readWait !== null || this.#writeWait !== null;
  }

  #readOn(): void {
    this.#readWait = null;
    if (this.#wanted) this.#socket.resume();
  }

  override _read(): void {
    this.#wanted = true;
    if (this.#readWait === null) this.#socket.resume();
  }

  override _write(bytes: Buffer, encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    // What is paid for afterwards must be little: a whole answer may come as one buffer.
    const piece = bytes.subarray(0, pieceLength);
    const rest = bytes.subarray(pieceLength);
    const goOn = (): void => {
      if (rest.length === 0 || this.destroyed) done();
      else this._write(rest, encoding, done);
    };
    this.#socket.write(piece, (error) => {
      if (error !== null && error !== undefined) done(error);
      else if (this.destroyed) done();
      else {
        this.#writeWait = this.#outgoing?.pay(piece.length, () => {
          this.#writeWait = null;
          goOn();
        }) ?? null;
        if (this.#writeWait === null) goOn();
      }
    });
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#socket.end(() => done());
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#readWait?.();
    this.#writeWait?.();
    this.#socket.destroy();
    done(error);
  }
}
