import { constants } from 'node:http2';
import type { ClientHttp2Stream, IncomingHttpHeaders, IncomingHttpStatusHeader } from 'node:http2';
import { HttpError, errorCode, toError } from '../base/errors.ts';
import type { FarshoreError } from '../base/errors.ts';
import { answerText, maxAnswerTextBytes } from './answer-text.ts';
import { networkError } from './network-error.ts';

/** What an exchange needs from its session. */
export interface ExchangeContext {
  /** `host:port` for messages. */
  at: string;
  /** Limit of the body of a 2xx answer. */
  maxBytes: number;
  /** An answer's header (0) or a piece of its body arrived. */
  onBytes(bytes: number): void;
  /** The exchange begins or ceases to wait for the remote; calls alternate, true first. */
  onWaiting(waits: boolean): void;
  /** Called once: nothing more comes from this exchange. */
  onSettled(): void;
  /** True when the whole session is ending: its reason will come through `fail`. */
  sessionEnds(): boolean;
}

/**
 * One request on an HTTP/2 stream and its answer. Settles exactly once, whatever the stream, the session and the
 * caller do afterwards.
 */
export class SessionExchange {
  readonly #stream: ClientHttp2Stream;
  readonly #context: ExchangeContext;
  #failure: FarshoreError | undefined;
  #settled = false;
  #waits = false;
  /** The remote has finished the body (END_STREAM). */
  #complete = false;
  /** Rejects whatever the caller is awaiting. */
  #reject: (e: FarshoreError) => void = () => {};

  constructor(stream: ClientHttp2Stream, context: ExchangeContext) {
    this.#stream = stream;
    this.#context = context;
  }

  /** To be called once, in the same tick in which the stream was made, before `whole` or `streamed`. */
  start(): void {
    const stream = this.#stream;
    this.#wait(true);
    stream.on('error', (e) => this.#broken(e));
    stream.on('close', () => this.#broken(undefined));
    // Node ends the readable side also when the stream is reset or the connection closed, and for a reset with
    // NO_ERROR nothing else tells the difference: only a null pushed while the stream is open is the remote's END_STREAM.
    const push = stream.push.bind(stream);
    stream.push = (piece: unknown, encoding?: BufferEncoding): boolean => {
      if (piece === null && !stream.closed && !stream.destroyed) this.#complete = true;
      return push(piece, encoding);
    };
  }

  /** Ends the exchange with `reason`; without effect once it is settled. */
  fail(reason: FarshoreError): void {
    if (this.#settled) return;
    this.#failure = reason;
    this.#settle();
    this.#reject(reason);
    this.#cancel();
  }

  /** The body of a 2xx answer. HttpError for another status. */
  async whole(): Promise<Buffer> {
    return new Promise<Buffer>((resolve, reject) => {
      this.#reject = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      this.#stream.once('response', (headers) => this.#answered(headers, (announced) => this.#collect(announced, resolve)));
    });
  }

  /** The body of a 2xx answer piece by piece, once its header is there. */
  async streamed(): Promise<AsyncIterable<Buffer>> {
    return new Promise<AsyncIterable<Buffer>>((resolve, reject) => {
      this.#reject = reject;
      if (this.#failure !== undefined) reject(this.#failure);
      this.#stream.once('response', (headers) =>
        this.#answered(headers, (announced) => {
          this.#wait(false);
          resolve(this.#iterate(announced));
        }),
      );
    });
  }

  #answered(headers: IncomingHttpHeaders & IncomingHttpStatusHeader, onSuccess: (announced: number | undefined) => void): void {
    if (this.#settled) return;
    this.#context.onBytes(0);
    const status = headers[':status'] ?? 0;
    if (status < 200 || status > 299) {
      this.#collectErrorText(status);
      return;
    }
    const announced = parseLength(headers['content-length']);
    if (announced !== undefined && announced > this.#context.maxBytes) this.fail(this.#tooLong());
    else onSuccess(announced);
  }

  #collect(announced: number | undefined, resolve: (body: Buffer) => void): void {
    // One copy into the final place; allocated when the first byte is there, not on the remote's mere word.
    let body: Buffer | undefined;
    const parts: Buffer[] = [];
    let total = 0;
    this.#stream.on('data', (piece: Buffer) => {
      if (this.#settled) return;
      this.#context.onBytes(piece.length);
      const at = total;
      total += piece.length;
      if (total > this.#context.maxBytes) this.fail(this.#tooLong());
      else if (announced === undefined) parts.push(piece);
      else if (total > announced) this.fail(this.#wrongLength(announced, total));
      else {
        body ??= Buffer.allocUnsafeSlow(announced);
        body.set(piece, at);
      }
    });
    // A flowing stream ends before it closes.
    this.#stream.on('close', () => this.#broken(new Error('closed')));
    this.#stream.on('end', () => {
      if (this.#settled || !this.#complete) return;
      if (announced !== undefined && total !== announced) this.fail(this.#wrongLength(announced, total));
      else {
        this.#settle();
        resolve(body ?? Buffer.concat(parts, total));
      }
    });
  }

  #collectErrorText(status: number): void {
    const parts: Buffer[] = [];
    let total = 0;
    const finish = (): void => {
      if (this.#settled) return;
      this.fail(new HttpError(status, answerText(status, parts)));
    };
    this.#stream.on('data', (piece: Buffer) => {
      this.#context.onBytes(piece.length);
      parts.push(piece);
      total += piece.length;
      if (total >= maxAnswerTextBytes) finish();
    });
    this.#stream.on('end', () => {
      if (this.#complete) finish();
    });
  }

  async *#iterate(announced: number | undefined): AsyncGenerator<Buffer> {
    let total = 0;
    const pieces = this.#stream.iterator() as AsyncIterableIterator<Buffer>;
    try {
      for (;;) {
        this.#wait(true);
        const next = await pieces.next().catch(async () => this.#endOfBroken());
        this.#wait(false);
        if (next.done === true) break;
        this.#context.onBytes(next.value.length);
        total += next.value.length;
        if (total > this.#context.maxBytes) throw this.#tooLong();
        yield next.value;
      }
      if (!this.#complete || this.#failure !== undefined) await this.#failed();
      if (announced !== undefined && total !== announced) throw this.#wrongLength(announced, total);
    } finally {
      this.#settle();
      this.#cancel();
    }
  }

  /**
   * What an error of the stream's iterator means. Node closes the stream as soon as the remote has finished, and calls that an error to a
   * reader that was slower, even when it has handed out the whole body. Otherwise it is an echo of what `fail` was or will be told.
   */
  async #endOfBroken(): Promise<{ done: true; value: undefined }> {
    if (this.#failure === undefined && this.#complete) {
      if (this.#stream.readableEnded) return { done: true, value: undefined };
      this.fail(networkError('net.reset', `${this.#context.at} closed an answer before it was read`));
    }
    return this.#failed();
  }

  /** Rejects with the reason that `fail` was or will be told. */
  async #failed(): Promise<never> {
    return new Promise<never>((_resolve, reject) => {
      if (this.#failure === undefined) this.#reject = reject;
      else reject(this.#failure);
    });
  }

  #broken(e: unknown): void {
    if (this.#settled || this.#context.sessionEnds()) return;
    // A complete body may still be on its way to the caller.
    if (e === undefined && this.#complete) return;
    const { at } = this.#context;
    const code = this.#stream.rstCode ?? constants.NGHTTP2_NO_ERROR;
    if (code === constants.NGHTTP2_PROTOCOL_ERROR) this.fail(networkError('net.protocol', `${at} sent an answer that breaks HTTP/2, or a body that differs from its content-length`, e));
    else this.fail(networkError('net.reset', `${at} cut an answer off (HTTP/2 error ${code}${e === undefined ? '' : `, ${errorCode(e) || toError(e).message}`})`, e));
  }

  #wait(waits: boolean): void {
    if (this.#settled || waits === this.#waits) return;
    this.#waits = waits;
    this.#context.onWaiting(waits);
  }

  #settle(): void {
    if (this.#settled) return;
    this.#wait(false);
    this.#settled = true;
    this.#context.onSettled();
  }

  #cancel(): void {
    if (this.#stream.destroyed) return;
    if (!this.#stream.closed) this.#stream.close(constants.NGHTTP2_CANCEL);
    this.#stream.destroy();
  }

  #tooLong(): FarshoreError {
    return networkError('net.protocol', `${this.#context.at} sent more than ${this.#context.maxBytes} bytes`);
  }

  #wrongLength(announced: number, total: number): FarshoreError {
    return networkError('net.protocol', `${this.#context.at} announced ${announced} bytes and sent ${total}`);
  }
}

function parseLength(text: string | undefined): number | undefined {
  return text !== undefined && /^[0-9]{1,15}$/.test(text) ? Number(text) : undefined;
}
