import type { Injection } from '../chunking/payload-chunker.ts';

/** Takes the bytes of a stream in order; they must not be changed. A promise holds the writer back. */
export interface ByteSink {
  write(bytes: Buffer): Promise<void> | void;
}

/** Takes a payload archive: as PayloadChunker does. Positions count injected chunks. */
export interface PayloadSink extends ByteSink {
  /** A file's payload begins at `position`, which is where the stream stands. */
  suggest(position: number): void;
  /** Chunks of the previous archive come next, where the stream stands. */
  inject(injection: Injection): Promise<void> | void;
}

export interface ArchiveSinks {
  /** The unified archive, or the metadata archive of a split one. */
  archive: ByteSink;
  /** Makes the archive a split one. */
  payload?: PayloadSink;
}

/** Keeps what an encoder wrote until it can be handed on, in order. */
export class SinkQueue {
  readonly #waiting: Array<() => Promise<void> | void> = [];

  add(step: () => Promise<void> | void): void {
    this.#waiting.push(step);
  }

  /** Hands everything on. */
  async drain(): Promise<void> {
    if (this.#waiting.length === 0) return;
    for (const step of this.#waiting.splice(0)) {
      const pending = step();
      if (pending !== undefined) await pending;
    }
  }
}
