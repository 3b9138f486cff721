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

  /** Hands everything on; a promise where a sink holds the writer back. */
  drain(): Promise<void> | void {
    const steps = this.#waiting;
    for (let at = 0; at < steps.length; at += 1) {
      const pending = steps[at]!();
      if (pending !== undefined) return this.#drainAfter(pending, steps.splice(0).slice(at + 1));
    }
    steps.length = 0;
  }

  async #drainAfter(pending: Promise<void>, steps: ReadonlyArray<() => Promise<void> | void>): Promise<void> {
    await pending;
    for (const step of steps) {
      const more = step();
      if (more !== undefined) await more;
    }
  }
}
