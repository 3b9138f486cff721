import { pause } from '../base/async.ts';
import type { Digest } from '../base/bytes.ts';
import { errorChain, NetworkError } from '../base/errors.ts';
import type { ReaderClient } from '../protocol/reader-client.ts';
import type { TextSink } from '../terminal/output.ts';

/** Before the second, third ... attempt to connect again in a row; the first comes at once. After the last one nobody tries any more: about two minutes. */
export const reconnectPausesMs: readonly number[] = [1000, 2000, 5000, 10_000, 20_000, 30_000, 30_000, 30_000];

/** Another attempt does not help against these. */
const lasting = new Set(['net.fingerprint', 'net.certificate', 'net.not-tls']);

/** Whether a session that ended with `e` may be opened again with success. */
export function mayReconnect(e: unknown): e is NetworkError {
  return e instanceof NetworkError && !lasting.has(e.code);
}

/** What commands need of a reader session; `ReaderClient` has it, and `SteadyReader`. */
export type SnapshotReader = Pick<ReaderClient, 'chunk' | 'download'> & { close(): void };

export interface SteadyReaderParts {
  /** Opens a reader session of the snapshot. */
  open: () => Promise<ReaderClient>;
  stderr: TextSink;
  /** Default: the real one. */
  pause?: (milliseconds: number, signal: AbortSignal) => Promise<void>;
}

/**
 * A reader session that outlives its connection: whoever wants something when it has broken connects again, a bounded number of times with growing pauses, and the
 * indexes are read again, since they entitle to chunks. Everything that was under way is asked for again. Throws what the session throws.
 */
export class SteadyReader implements SnapshotReader {
  readonly #parts: SteadyReaderParts;
  /** Files that were read, in order. */
  readonly #downloaded = new Map<string, { maxBytes: number }>();
  readonly #closing = new AbortController();
  #reader: ReaderClient;
  #opening: Promise<ReaderClient> | null = null;
  /** Sessions that ended since something was had from one. */
  #failures = 0;

  private constructor(reader: ReaderClient, parts: SteadyReaderParts) {
    this.#reader = reader;
    this.#parts = parts;
  }

  /** Throws what connecting throws: the first time nothing is tried again. */
  static async open(parts: SteadyReaderParts): Promise<SteadyReader> {
    return new SteadyReader(await parts.open(), parts);
  }

  /** Fulfilled when the whole file is there. */
  readonly download = async (fileName: string, options: { maxBytes: number }): Promise<AsyncIterable<Buffer>> => {
    const pieces = await this.#steadily(async (reader) => Array.fromAsync(await reader.download(fileName, options)));
    this.#downloaded.set(fileName, options);
    return eachOf(pieces);
  };

  readonly chunk = async (digest: Digest, options: { maxBytes: number }): Promise<Buffer> => this.#steadily((reader) => reader.chunk(digest, options));

  close(): void {
    this.#closing.abort(new Error('the session was closed'));
    this.#reader.close();
  }

  async #steadily<T>(work: (reader: ReaderClient) => Promise<T>): Promise<T> {
    for (;;) {
      const reader = await this.#session();
      try {
        const result = await work(reader);
        this.#failures = 0;
        return result;
      } catch (e) {
        // Only what the end of the session did to it is tried again.
        if (reader.failure === undefined || !mayReconnect(reader.failure) || this.#closing.signal.aborted) throw e;
      }
    }
  }

  async #session(): Promise<ReaderClient> {
    const { failure } = this.#reader;
    if (!mayReconnect(failure) || this.#closing.signal.aborted) return this.#reader;
    this.#opening ??= this.#reopen(failure).finally(() => (this.#opening = null));
    return this.#opening;
  }

  async #reopen(failure: NetworkError): Promise<ReaderClient> {
    for (let cause = failure; ; ) {
      if (this.#failures > reconnectPausesMs.length) {
        // The next one who wants something begins anew.
        this.#failures = 0;
        throw cause;
      }
      await this.#wait(cause);
      this.#failures += 1;
      try {
        this.#reader = await this.#opened();
        return this.#reader;
      } catch (e) {
        if (!mayReconnect(e)) throw e;
        cause = e;
      }
    }
  }

  async #wait(cause: NetworkError): Promise<void> {
    const milliseconds = this.#failures === 0 ? 0 : reconnectPausesMs[this.#failures - 1]!;
    this.#parts.stderr.write(`connection lost (${errorChain(cause)}), connecting again${milliseconds === 0 ? '' : ` in ${milliseconds / 1000} s`}\n`);
    if (milliseconds > 0) await (this.#parts.pause ?? pause)(milliseconds, this.#closing.signal);
  }

  /** A new session that is entitled to what the last one was. */
  async #opened(): Promise<ReaderClient> {
    const reader = await this.#parts.open();
    try {
      for (const [fileName, options] of this.#downloaded) {
        for await (const _piece of await reader.download(fileName, options)) {
          // What the server remembers of it is what counts.
        }
      }
      this.#closing.signal.throwIfAborted();
      return reader;
    } catch (e) {
      reader.close();
      throw e;
    }
  }
}

// An iterable that is made of what is there.
async function* eachOf(pieces: readonly Buffer[]): AsyncGenerator<Buffer, void, undefined> {
  yield* pieces;
}
