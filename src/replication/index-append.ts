import type { Digest } from '../base/bytes.ts';
import type { DigestSet } from '../base/digest-set.ts';
import { toError } from '../base/errors.ts';
import type { IndexPlace } from '../protocol/backup-client.ts';

/** Chunks that one append names, a quarter of what the protocol takes in a body. */
const appendedAtOnce = 4000;

export interface IndexAppendParts {
  /** Of the index, in its order. */
  entries: AsyncIterable<{ digest: Digest; size: number }>;
  /** Chunks that the remote has registered for the session: only these may be named. */
  known: DigestSet;
  /** Chunks that the remote has, in the order of the archive. */
  append: (places: readonly IndexPlace[]) => Promise<void>;
}

/**
 * Names the chunks of an index to the remote, in order and one request after another as the protocol wants it, but while later chunks are still on their
 * way: after the last one only the last request is left.
 */
export class IndexAppend {
  readonly #parts: IndexAppendParts;
  readonly #entries: AsyncIterator<{ digest: Digest; size: number }>;
  #places: IndexPlace[] = [];
  /** Read from the index, but not known to the remote yet. */
  #next: { digest: Digest; size: number } | null = null;
  #start = 0;
  #chunkCount = 0;
  #running: Promise<void> | null = null;
  #failure: Error | undefined;
  #ended = false;

  constructor(parts: IndexAppendParts) {
    this.#parts = parts;
    this.#entries = parts.entries[Symbol.asyncIterator]();
  }

  /** Call when more chunks may be known; does not wait. What goes wrong comes out of `finish`. */
  advance(): void {
    if (this.#running !== null || this.#failure !== undefined || this.#ended) return;
    if (this.#next !== null && !this.#parts.known.has(this.#next.digest)) return;
    const running = this.#run(false)
      .catch((e: unknown) => {
        this.#failure = toError(e);
      })
      .finally(() => {
        if (this.#running === running) this.#running = null;
      });
    this.#running = running;
  }

  /** The rest. All chunks have to be known. */
  async finish(): Promise<{ chunkCount: number; size: number }> {
    await this.#running;
    if (this.#failure !== undefined) throw this.#failure;
    await this.#run(true);
    return { chunkCount: this.#chunkCount, size: this.#start };
  }

  /** Lets go of the index; what is under way ends by itself. */
  async close(): Promise<void> {
    this.#ended = true;
    await this.#running;
    await this.#entries.return?.();
  }

  /** `all`: also what is not known, which the remote refuses, and what does not fill a request. */
  async #run(all: boolean): Promise<void> {
    while (!this.#ended) {
      const next = this.#next ?? (await this.#read());
      if (next === null) break;
      this.#next = next;
      if (!all && !this.#parts.known.has(next.digest)) return;
      this.#next = null;
      this.#places.push({ digest: next.digest, start: this.#start });
      this.#start += next.size;
      this.#chunkCount += 1;
      if (this.#places.length >= appendedAtOnce) await this.#send();
    }
    if (all && this.#places.length > 0) await this.#send();
  }

  async #read(): Promise<{ digest: Digest; size: number } | null> {
    const { done, value } = await this.#entries.next();
    return done === true ? null : { digest: Buffer.from(value.digest), size: value.size };
  }

  async #send(): Promise<void> {
    const places = this.#places;
    this.#places = [];
    await this.#parts.append(places);
  }
}
